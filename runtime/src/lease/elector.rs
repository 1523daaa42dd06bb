//! `Elector`: the task that reads and writes the lease as `decide` says, and tells everybody through a channel.
//!
//! Leaves out the rules. Every call is bounded, for a leader by the time that is left to it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::decide::{Action, Candidate, Record};
use super::{Leadership, LeaseSettings};
use crate::chance::Jitter;
use crate::client::{CallError, call};
use crate::complaint::Complaint;
use crate::watch::Synced;

/// One read or write of the lease: a leader has time for two that hang before its deadline.
const CALL_LIMIT: Duration = Duration::from_secs(3);
/// The whole release at the end.
const RELEASE_LIMIT: Duration = Duration::from_secs(6);
/// What a released lease says: whoever looks may take it after this time, or at once, because nobody holds it.
const RELEASED_SECONDS: i32 = 1;

/// The handle of a running election.
#[derive(Debug)]
pub struct Elector {
    release: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts to stand for election. The receiver tells about every change and every renewal; it says
/// [`Leadership::Standby`] at the latest when the renew deadline passes. `seen` is marked when the lease could be read or written
/// for the first time: who cannot do that stands by for nothing.
///
/// Must be called inside a tokio runtime. The election goes on until [`Elector::release`] or until the handle is dropped.
#[must_use]
pub fn start(
    client: Client,
    settings: LeaseSettings,
    seen: Synced,
) -> (watch::Receiver<Leadership>, Elector) {
    let (says, hears) = watch::channel(Leadership::Standby);
    let (release, released) = oneshot::channel();
    let office = Office {
        api: Api::namespaced(client, &settings.namespace),
        candidate: Candidate::new(&settings),
        jitter: Jitter::new(crate::chance::fresh_seed()),
        acquired: None,
        complaint: Complaint::about(format!("Lease {}", settings.name)),
        troubled: false,
        seen,
        says,
        settings,
    };
    (hears, Elector { release, task: tokio::spawn(office.run(released)) })
}

impl Elector {
    /// Ends the election and gives the lease back, so that somebody else can lead at once. Ends within 6 s, whatever the
    /// server does; writers must have stopped before.
    pub async fn release(mut self) {
        // A task that has ended already has nothing to give back.
        let _ = self.release.send(());
        if tokio::time::timeout(RELEASE_LIMIT, &mut self.task).await.is_err() {
            tracing::warn!("the lease could not be given back in time: others take over when it runs out");
            self.task.abort();
        }
    }
}

struct Office {
    api: Api<Lease>,
    candidate: Candidate,
    jitter: Jitter,
    /// When the present holder took the lease, as the lease says; kept over renewals.
    acquired: Option<MicroTime>,
    /// What is wrong with reading or writing the lease.
    complaint: Complaint,
    /// Something is, and that is logged already.
    troubled: bool,
    seen: Synced,
    says: watch::Sender<Leadership>,
    settings: LeaseSettings,
}

impl Office {
    async fn run(mut self, mut released: oneshot::Receiver<()>) {
        let interrupted = loop {
            let pause = tokio::select! {
                pause = self.turn() => pause,
                _ = &mut released => break true,
            };
            tokio::select! {
                () = self.pause(pause) => {}
                _ = &mut released => break false,
            }
        };
        // An interrupted write may have made us leader without our knowing.
        if interrupted || self.candidate.leadership(now()).is_leader() {
            self.give_back().await;
        }
    }

    /// One look at the lease, and one write if there is something to write. Returns how long to pause.
    async fn turn(&mut self) -> Duration {
        let action = match self.candidate.known() {
            Some(action) => action,
            None => match self.read().await {
                Ok(record) => self.candidate.observe(now(), record),
                Err(error) => return self.failed(&error),
            },
        };
        let started = now();
        let written = match action {
            Action::Wait { time } => {
                self.tell();
                self.recovered();
                return self.jitter.between(time, time + self.candidate.spread());
            }
            Action::Create => self.create().await,
            Action::Hold { version, transitions, taking_over } => {
                self.write(version, transitions, taking_over).await
            }
        };
        match written {
            Ok(record) => {
                self.recovered();
                self.candidate.held(started, record);
                self.tell();
                self.candidate.retry()
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Waits; a leader's deadline within that time is told in time.
    async fn pause(&mut self, time: Duration) {
        let end = now() + time;
        if let Leadership::Leader { until } = self.candidate.leadership(now())
            && until < end
        {
            tokio::time::sleep_until(until.into()).await;
            self.tell();
        }
        tokio::time::sleep_until(end.into()).await;
    }

    fn failed(&mut self, error: &CallError) -> Duration {
        self.candidate.doubt();
        self.tell();
        let outrun = error.is_conflict();
        if !outrun {
            self.complaint.raise(&error.to_string());
        }
        if !outrun && !self.troubled {
            self.troubled = true;
            tracing::warn!(lease = self.settings.name, %error, "the lease cannot be read or written: trying again");
        }
        let (least, most) = self.candidate.retry_after_failure(now(), outrun);
        self.jitter.between(least, most)
    }

    fn recovered(&mut self) {
        self.seen.mark();
        if std::mem::take(&mut self.troubled) {
            self.complaint.settle();
            tracing::info!(lease = self.settings.name, "the lease can be read and written again");
        }
    }

    /// Tells everybody where we stand; a change is logged once.
    fn tell(&self) {
        let leadership = self.candidate.leadership(now());
        let before = *self.says.borrow();
        // Only news wake the readers; a renewal is news, because the deadline moves.
        self.says.send_if_modified(|said| std::mem::replace(said, leadership) != leadership);
        if before.is_leader() != leadership.is_leader() {
            let (lease, identity) = (&self.settings.name, &self.settings.identity);
            match leadership {
                Leadership::Leader { .. } => tracing::info!(lease, identity, "leading"),
                Leadership::Standby => tracing::warn!(lease, identity, "leading no more"),
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Record>, CallError> {
        let limit = self.candidate.patience(now(), CALL_LIMIT);
        let lease = call(limit, self.api.get_opt(&self.settings.name)).await?;
        Ok(lease.map(|lease| self.record(lease)))
    }

    async fn create(&mut self) -> Result<Record, CallError> {
        let lease = self.lease(None, 0, true);
        let limit = self.candidate.patience(now(), CALL_LIMIT);
        let lease = call(limit, self.api.create(&PostParams::default(), &lease)).await?;
        Ok(self.record(lease))
    }

    async fn write(
        &mut self,
        version: String,
        transitions: i32,
        taking_over: bool,
    ) -> Result<Record, CallError> {
        let lease = self.lease(Some(version), transitions, taking_over);
        let limit = self.candidate.patience(now(), CALL_LIMIT);
        let lease =
            call(limit, self.api.replace(&self.settings.name, &PostParams::default(), &lease)).await?;
        Ok(self.record(lease))
    }

    async fn give_back(mut self) {
        // Nobody may believe in us any more before the lease is free.
        self.says.send_replace(Leadership::Standby);
        let held = match call(CALL_LIMIT, self.api.get_opt(&self.settings.name)).await {
            Ok(lease) => {
                lease.map(|lease| self.record(lease)).filter(|record| record.holder == self.settings.identity)
            }
            Err(error) => return self.not_given_back(&error),
        };
        let Some(record) = held else { return };
        let mut lease = self.lease(Some(record.version), record.transitions, false);
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(RELEASED_SECONDS);
        }
        match call(CALL_LIMIT, self.api.replace(&self.settings.name, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = self.settings.name, "the lease is given back"),
            Err(error) => self.not_given_back(&error),
        }
    }

    fn not_given_back(&self, error: &CallError) {
        let lease = &self.settings.name;
        tracing::warn!(lease, %error, "the lease could not be given back: others take over when it runs out");
    }

    fn record(&mut self, lease: Lease) -> Record {
        let spec = lease.spec.unwrap_or_default();
        self.acquired = spec.acquire_time;
        Record {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(
                u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0),
            ),
            transitions: spec.lease_transitions.unwrap_or(0),
            version: lease.metadata.resource_version.unwrap_or_default(),
        }
    }

    fn lease(&self, version: Option<String>, transitions: i32, taking_over: bool) -> Lease {
        let time = Some(MicroTime(Timestamp::now()));
        let seconds = i32::try_from(self.candidate.duration().as_secs()).unwrap_or(i32::MAX);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.settings.namespace.clone()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.settings.identity.clone()),
                lease_duration_seconds: Some(seconds),
                lease_transitions: Some(transitions),
                acquire_time: if taking_over { time.clone() } else { self.acquired.clone() },
                renew_time: time,
                ..LeaseSpec::default()
            }),
        }
    }
}

/// The monotonic clock, as tokio sees it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
