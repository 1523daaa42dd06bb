//! Writes the status of configuration objects and the ConfigurationState `controller`: only what differs, one after the
//! other, gathered for a moment.
//!
//! Leaves out what they should say: that is the [`Report`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::config::{Kind, ObjectRef};
use api::names::{CONTROLLER_STATE, FIELD_MANAGER_CONTROLLER, label};
use api::report::settle;
use api::v1beta1::{
    BFDProfile, BGPAdvertisement, Community, ConfigurationState, ConfigurationStateStatus, IPAddressPool,
    L2Advertisement,
};
use api::v1beta2::BGPPeer;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use runtime::client::{CallError, call};
use runtime::lease::Leadership;
use runtime::status::{StatusOutcome, apply_object, apply_status};
use runtime::watch::not_installed;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::patch::take_over;
use crate::reconcile::time_left;
use crate::report::{Counters, ObjectReport, Report};

/// Changes within this time become one write.
const GATHER: Duration = Duration::from_secs(2);
/// After a failed write.
const RETRY: Duration = Duration::from_secs(15);
/// The name of our ConfigurationState in logs.
const STATE: &str = "ConfigurationState controller";
/// What it means that a CRD knows only MetalLB's fields.
const NARROW: &str = "the CRD of this kind has no room for Herald's fields: what specs say in them is dropped, and there are no \
                      conditions and no resting addresses in status; apply Herald's CRDs (manifests/crds) and restart the \
                      controller";
/// How the API server begins to refuse a field that the CRD does not have.
const UNDECLARED: &str = "field not declared in schema";
/// For the one read.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Keeps all status up to date with the reports. Ends when nobody reports any more.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    deployment: Option<String>,
    leadership: watch::Receiver<Leadership>,
    mut reports: watch::Receiver<Option<Arc<Report>>>,
) {
    let mut writer = Writer {
        client,
        namespace,
        deployment,
        leadership,
        written: BTreeMap::new(),
        taken_over: BTreeSet::new(),
        narrow: BTreeSet::new(),
        state: None,
        failing: false,
    };
    let mut due = false;
    loop {
        if due {
            // A failed write is made again even if nothing new is reported.
            if let Ok(Err(_)) = timeout(RETRY, reports.changed()).await {
                return;
            }
        } else if reports.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(GATHER).await;
        let report = reports.borrow_and_update().clone();
        if let Some(report) = report {
            due = writer.write(&report).await.is_err();
        }
    }
}

/// Why a write did not come to its end.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// The CRD does not have one of the fields.
    NoRoom,
    /// The API server refused it for another reason; that has been logged.
    Refused,
    /// Without the lease, or without an answer; that has been logged.
    Unavailable,
}

struct Writer {
    client: Client,
    namespace: String,
    /// The Deployment that owns the ConfigurationState.
    deployment: Option<String>,
    leadership: watch::Receiver<Leadership>,
    /// What was written last, and the version of the object that it answered to: it is not written again until the
    /// object has changed.
    written: BTreeMap<ObjectRef, (String, Value)>,
    state: Option<ConfigurationStateStatus>,
    /// Objects whose status another manager wrote before us; each is taken over once.
    taken_over: BTreeSet<String>,
    /// Kinds whose CRD knows only MetalLB's fields. What is beyond those is not written.
    narrow: BTreeSet<Kind>,
    failing: bool,
}

impl Writer {
    async fn write(&mut self, report: &Report) -> Result<(), Failed> {
        let now = Time(Timestamp::now());
        let mut refused = false;
        self.written.retain(|object, _| report.objects.contains_key(object));
        for (object, one) in &report.objects {
            let Some(status) = status_of(one, &now) else {
                continue;
            };
            if self.written.get(object).is_some_and(|(version, last)| {
                *version == one.resource_version && without_times(last) == without_times(&status)
            }) {
                continue;
            }
            match self.write_object(object, one, &status).await {
                Ok(()) => {
                    self.written.insert(object.clone(), (one.resource_version.clone(), status));
                }
                // One object that cannot be written keeps nobody from writing the others.
                Err(Failed::Refused | Failed::NoRoom) => refused = true,
                Err(Failed::Unavailable) => return Err(Failed::Unavailable),
            }
        }
        if let Err(failed) = self.write_state(report, &now).await {
            if failed == Failed::NoRoom && !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(object = STATE, "{NARROW}");
            }
            return Err(failed);
        }
        if refused {
            return Err(Failed::Refused);
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!("status of the configuration is written again");
        }
        Ok(())
    }

    async fn write_object(
        &mut self,
        object: &ObjectRef,
        one: &ObjectReport,
        status: &Value,
    ) -> Result<(), Failed> {
        let resource = resource(object.kind);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let mut body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": { "name": object.name, "namespace": self.namespace, "uid": one.uid },
            "status": status,
        });
        if !self.narrow.contains(&object.kind) {
            match self.apply(&object.to_string(), &api, &body).await {
                Err(Failed::NoRoom) => {
                    self.narrow.insert(object.kind);
                    tracing::warn!(kind = object.kind.as_str(), "{NARROW}");
                }
                done => return done,
            }
        }
        match one.counters.filter(|counters| one.shown_counters.as_ref() != Some(counters)) {
            Some(counters) => {
                body["status"] = numbers(counters);
                self.apply(&object.to_string(), &api, &body).await
            }
            None => Ok(()),
        }
    }

    async fn write_state(&mut self, report: &Report, now: &Time) -> Result<(), Failed> {
        let api: Api<ConfigurationState> = Api::namespaced(self.client.clone(), &self.namespace);
        let shown = match self.state.take() {
            Some(shown) => shown,
            None => match call(READ_LIMIT, api.get_opt(CONTROLLER_STATE)).await {
                Ok(object) => object.and_then(|object| object.status).unwrap_or_default(),
                Err(error) => return Err(self.failed(STATE, &error)),
            },
        };
        let mut wanted = report.state.settle(&shown, now);
        add_narrow(&mut wanted.error_summary, &self.narrow);
        if wanted == shown {
            self.state = Some(shown);
            return Ok(());
        }
        let namespace = self.namespace.clone();
        let head = |more: Value| {
            let mut body = json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
                "metadata": { "name": CONTROLLER_STATE, "namespace": namespace },
            });
            merge(&mut body, more);
            body
        };
        let labels = json!({ label::COMPONENT_TYPE: label::COMPONENT_CONTROLLER });
        let mut object = head(json!({ "metadata": { "labels": labels }, "spec": {} }));
        if let Some(owner) = self.owner().await {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        if time_left(*self.leadership.borrow(), Instant::now()).is_none() {
            return Err(Failed::Unavailable);
        }
        match apply_object(&api, FIELD_MANAGER_CONTROLLER, &object).await {
            // It would have been made: there is no such kind, or no such namespace.
            StatusOutcome::Gone => {
                if !std::mem::replace(&mut self.failing, true) {
                    let error = not_installed::<ConfigurationState>();
                    tracing::warn!(
                        object = STATE,
                        error,
                        "status of the configuration cannot be written: trying again"
                    );
                }
                return Err(Failed::Refused);
            }
            made @ (StatusOutcome::Applied { .. }
            | StatusOutcome::Conflict { .. }
            | StatusOutcome::Failed(_)) => self.judge(STATE, made)?,
        }
        self.apply(STATE, &api, &head(json!({ "status": wanted }))).await?;
        self.state = Some(wanted);
        Ok(())
    }

    /// The Deployment as an owner. Without it (a controller that runs by hand, a missing right) the object has none.
    async fn owner(&self) -> Option<Value> {
        let name = self.deployment.as_deref()?;
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        match call(READ_LIMIT, api.get_metadata(name)).await {
            Ok(found) => {
                let uid = found.metadata.uid?;
                Some(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid }))
            }
            Err(error) => {
                tracing::debug!(deployment = name, %error, "the ConfigurationState gets no owner");
                None
            }
        }
    }

    /// One write, with the lease only.
    async fn apply<K>(&mut self, object: &str, api: &Api<K>, body: &Value) -> Result<(), Failed>
    where
        K: kube::Resource + Clone + Debug + DeserializeOwned,
    {
        let Some(limit) = time_left(*self.leadership.borrow(), Instant::now()) else {
            return Err(Failed::Unavailable);
        };
        let outcome = match timeout(limit, apply_status(api, FIELD_MANAGER_CONTROLLER, body)).await {
            Ok(StatusOutcome::Conflict { managers, .. }) if self.taken_over.insert(object.to_owned()) => {
                tracing::info!(
                    object,
                    managers = managers.join(", "),
                    "status written earlier is taken over once"
                );
                take_over(api, body, limit).await
            }
            Ok(outcome) => outcome,
            Err(_elapsed) => StatusOutcome::Failed(CallError::TimedOut { limit }),
        };
        self.judge(object, outcome)
    }

    fn judge(&mut self, object: &str, outcome: StatusOutcome) -> Result<(), Failed> {
        match outcome {
            StatusOutcome::Applied { .. } | StatusOutcome::Gone => Ok(()),
            StatusOutcome::Conflict { managers, message } => {
                let managers = managers.join(", ");
                tracing::warn!(
                    object,
                    managers,
                    sentence = message,
                    "another manager holds fields of its status: left alone"
                );
                Ok(())
            }
            StatusOutcome::Failed(CallError::Refused(status)) if status.message.contains(UNDECLARED) => {
                Err(Failed::NoRoom)
            }
            StatusOutcome::Failed(error) => Err(self.failed(object, &error)),
        }
    }

    fn failed(&mut self, object: &str, error: &CallError) -> Failed {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(object, %error, "status of the configuration cannot be written: trying again");
        }
        match error {
            CallError::Refused(_) => Failed::Refused,
            CallError::TimedOut { .. }
            | CallError::Unreachable(_)
            | CallError::Unreadable(_)
            | CallError::NotSent(_) => Failed::Unavailable,
        }
    }
}

/// What the summary of the ConfigurationState says of CRDs without Herald's fields, after whatever it says of objects.
fn add_narrow(summary: &mut String, narrow: &BTreeSet<Kind>) {
    for kind in narrow {
        if !summary.is_empty() {
            summary.push('\n');
        }
        summary.push_str(&format!("{}: {NARROW}", kind.as_str()));
    }
}

/// The status that has to be written; `None` when the object shows it already.
fn status_of(one: &ObjectReport, now: &Time) -> Option<Value> {
    let conditions = settle(&one.wanted, &one.shown, now);
    let same = conditions.iter().all(|condition| one.shown.contains(condition));
    if same && one.counters == one.shown_counters && one.resting == one.shown_resting {
        return None;
    }
    let mut status = json!({ "conditions": conditions });
    if let Some(counters) = one.counters {
        merge(&mut status, numbers(counters));
    }
    if !one.resting.is_empty() {
        status["resting"] = json!(one.resting);
    }
    Some(status)
}

/// What MetalLB's own status of a pool has.
fn numbers(counters: Counters) -> Value {
    json!({
        "assignedIPv4": counters.assigned_ipv4, "assignedIPv6": counters.assigned_ipv6,
        "availableIPv4": counters.available_ipv4, "availableIPv6": counters.available_ipv6,
    })
}

/// The status without the moments at which its conditions began.
fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    status
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::IPAddressPool => ApiResource::erase::<IPAddressPool>(&()),
        Kind::BGPPeer => ApiResource::erase::<BGPPeer>(&()),
        Kind::BGPAdvertisement => ApiResource::erase::<BGPAdvertisement>(&()),
        Kind::Community => ApiResource::erase::<Community>(&()),
        Kind::BFDProfile => ApiResource::erase::<BFDProfile>(&()),
        Kind::L2Advertisement => ApiResource::erase::<L2Advertisement>(&()),
    }
}

#[cfg(test)]
mod tests {
    use api::config::{Config, Resources};
    use api::report::{Reporter, conditions};
    use api::v1beta1::{IPAddressPoolSpec, RestingAddress};

    use super::*;

    fn report() -> ObjectReport {
        let spec =
            IPAddressPoolSpec { addresses: vec!["10.0.4.0/24".to_owned()], ..IPAddressPoolSpec::default() };
        let resources = Resources { pools: vec![IPAddressPool::new("home", spec)], ..Resources::default() };
        let (config, rejections) = Config::build(&resources, &Config::default());
        let wanted = conditions(&resources, &config, &rejections, Reporter::Controller).into_values().next();
        let counters =
            Counters { assigned_ipv4: 1, assigned_ipv6: 0, available_ipv4: 255, available_ipv6: 0 };
        ObjectReport {
            wanted: wanted.unwrap_or_default(),
            counters: Some(counters),
            ..ObjectReport::default()
        }
    }

    fn time(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn a_status_is_written_only_when_it_differs() {
        let mut one = report();
        let status = status_of(&one, &time(1)).unwrap();
        assert_eq!(status["availableIPv4"], 255);
        assert_eq!(status["conditions"][0]["type"], "Accepted");
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:01Z");
        one.shown = serde_json::from_value(status["conditions"].clone()).unwrap();
        one.shown_counters = one.counters;
        assert_eq!(status_of(&one, &time(2)), None);
        one.counters =
            Some(Counters { assigned_ipv4: 2, assigned_ipv6: 0, available_ipv4: 254, available_ipv6: 0 });
        let rest = RestingAddress { address: "10.0.4.1".to_owned(), ..RestingAddress::default() };
        one.resting = vec![rest.clone()];
        let again = status_of(&one, &time(3)).unwrap();
        assert_eq!(again["resting"][0]["address"], "10.0.4.1");
        one.shown_counters = one.counters;
        one.shown_resting = vec![rest];
        assert_eq!(status_of(&one, &time(3)), None);
        one.resting.clear();
        let again = status_of(&one, &time(3)).unwrap();
        assert!(again.get("resting").is_none(), "a rest that is over goes with the next write");
        assert_eq!(again["conditions"], status["conditions"], "an unchanged verdict keeps its time");
    }

    #[test]
    fn times_alone_are_no_difference() {
        let one = report();
        let (early, late) = (status_of(&one, &time(1)).unwrap(), status_of(&one, &time(2)).unwrap());
        assert_ne!(early, late);
        assert_eq!(without_times(&early), without_times(&late));
    }

    #[test]
    fn crds_without_our_fields_are_named_after_the_faults() {
        let mut summary = String::new();
        add_narrow(&mut summary, &BTreeSet::new());
        assert_eq!(summary, "");
        add_narrow(&mut summary, &BTreeSet::from([Kind::IPAddressPool]));
        assert!(summary.starts_with("IPAddressPool: the CRD of this kind has no room"), "{summary}");
        let mut summary = "IPAddressPool/lan: no range".to_owned();
        add_narrow(&mut summary, &BTreeSet::from([Kind::IPAddressPool, Kind::BGPPeer]));
        assert_eq!(summary.lines().count(), 3, "{summary}");
    }
}
