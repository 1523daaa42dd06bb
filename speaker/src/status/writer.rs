//! Keeps one of the node's own objects in the API server as it should be: makes it, writes its status, tries again.
//!
//! Leaves out when to write (`pace`) and what (`report`, `object`).

use std::fmt::Debug;
use std::time::Duration;

use api::names::FIELD_MANAGER_SPEAKER;
use kube::Api;
use runtime::client::call;
use runtime::status::{StatusOutcome, WRITE_LIMIT, apply_object, apply_status};
use runtime::watch::not_installed;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// First wait after a write that failed; it doubles up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LAST_WAIT: Duration = Duration::from_secs(60);
/// Wait after another field manager was found in our own object.
const FOREIGN_WAIT: Duration = Duration::from_secs(300);

/// One object.
#[derive(Debug)]
pub(super) struct Writer<K> {
    api: Api<K>,
    /// The object as it was made last, and its uid; `None` while it is not known to exist.
    made: Option<(Value, String)>,
    wait: Duration,
    failing: bool,
}

/// Try again no sooner than in this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TryAgain(pub(super) Duration);

impl<K> Writer<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    pub(super) fn new(api: Api<K>) -> Self {
        Self { api, made: None, wait: FIRST_WAIT, failing: false }
    }

    /// The object's uid, once it exists.
    pub(super) fn uid(&self) -> Option<&str> {
        self.made.as_ref().map(|(_, uid)| uid.as_str())
    }

    /// The object as it is in the API server; `None` when there is none or nobody answers.
    pub(super) async fn read(&self, name: &str) -> Option<K> {
        call(WRITE_LIMIT, self.api.get_opt(name)).await.ok().flatten()
    }

    /// The same after the API server's data may have changed. An object that is not the one we made is made again with the
    /// next write.
    pub(super) async fn look_back(&mut self, name: &str) -> Option<K> {
        let found = self.read(name).await;
        let uid = found.as_ref().and_then(|found| found.meta().uid.as_deref());
        if uid.is_none() || uid != self.uid() {
            self.made = None;
        }
        found
    }

    /// Makes the object where needed and writes its status.
    pub(super) async fn write(&mut self, object: &Value, status: &Value) -> Result<(), TryAgain> {
        if self.made.as_ref().is_none_or(|(made, _)| made != object) {
            self.made = None;
            match apply_object(&self.api, FIELD_MANAGER_SPEAKER, object).await {
                // It would have been made: there is no such kind, or no such namespace.
                StatusOutcome::Gone => {
                    self.tell_failure(&K::kind(&()), &not_installed::<K>());
                    return Err(self.back_off());
                }
                outcome @ (StatusOutcome::Applied { .. }
                | StatusOutcome::Conflict { .. }
                | StatusOutcome::Failed(_)) => self.judge(outcome)?,
            }
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let uid = self.read(name).await.and_then(|found| found.meta().uid.clone());
            self.made = uid.map(|uid| (object.clone(), uid));
        }
        let outcome = apply_status(&self.api, FIELD_MANAGER_SPEAKER, status).await;
        self.judge(outcome)
    }

    fn judge(&mut self, outcome: StatusOutcome) -> Result<(), TryAgain> {
        let kind = K::kind(&());
        match outcome {
            StatusOutcome::Applied { .. } => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%kind, "own status is written again");
                }
                self.wait = FIRST_WAIT;
                Ok(())
            }
            StatusOutcome::Gone => {
                self.made = None;
                Err(self.back_off())
            }
            StatusOutcome::Conflict { managers, .. } => {
                self.tell_failure(&kind, &format!("field managers {managers:?} write it, too"));
                Err(TryAgain(FOREIGN_WAIT))
            }
            StatusOutcome::Failed(error) => {
                self.tell_failure(&kind, &error.to_string());
                Err(self.back_off())
            }
        }
    }

    fn back_off(&mut self) -> TryAgain {
        let wait = self.wait;
        self.wait = (wait * 2).min(LAST_WAIT);
        TryAgain(wait)
    }

    fn tell_failure(&mut self, kind: &str, reason: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(kind, reason, "own status cannot be written: trying again until it works");
        }
    }
}
