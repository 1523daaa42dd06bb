//! Tells the API server how this node stands: its SpeakerState, its ConfigurationState, and session events.
//!
//! Only the node's own objects, written by server-side apply, on change only and at a bounded pace. Nothing here
//! feeds back into what is announced, so the API server may be away for as long as it likes. `report`, `object`,
//! `pace`, `session` and `service` are pure; `writer` keeps one object, `services` those of the Services, where wanted; `farewell` is
//! the last word of a speaker that is removed.

pub mod answer;
pub mod farewell;
pub mod object;
pub mod pace;
pub mod report;
pub mod routes;
pub mod service;
pub mod services;
pub mod session;
pub mod why;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::herald::{SpeakerState, SpeakerStateStatus};
use api::names::{ABLE_ANNOTATION, speaker_configuration_state};
use api::v1beta1::{ConfigurationState, ConfigurationStateStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::{Api, Client, Resource};
use runtime::event::{EventRecorder, EventType, Regarding};
use tokio::sync::watch::Receiver;

use crate::peering::connected_networks;
use crate::plan::{Plan, SessionTable};
use crate::watch::configuration::ConfigReport;
use crate::watch::node::NodeView;
use object::Owner;
use pace::Pace;
use report::Difference;
use session::SessionNews;
use writer::{TryAgain, Writer};

/// States are compared with what was written no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The kernel is asked for the node's networks no more often than this.
const ASK_NETWORKS_EVERY: Duration = Duration::from_secs(60);

/// Session events that wait until the object that they are about exists.
const WAITING_NEWS: usize = 64;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Inlets {
    /// The plan in force.
    pub plan: Receiver<Arc<Plan>>,
    /// The sessions.
    pub sessions: Receiver<Arc<SessionTable>>,
    /// What was made of the configuration.
    pub config: Receiver<Arc<ConfigReport>>,
    /// The own Node.
    pub node: Receiver<Option<NodeView>>,
    /// How often that was read completely: each time, the objects that were written may have other contents, or be gone.
    pub reads: Receiver<u64>,
}

/// Writes until the senders of the states are gone.
pub async fn run(client: Client, namespace: String, node: String, inlets: Inlets, events: EventRecorder) {
    let mut keeper = Keeper::new(&client, namespace, node, inlets, events);
    let mut looked: Option<Instant> = None;
    let mut stale = true;
    loop {
        let now = Instant::now();
        let look_at = looked.map_or(now, |looked| looked + LOOK_EVERY);
        if stale && now >= look_at {
            keeper.look(now);
            (looked, stale) = (Some(now), false);
        }
        keeper.write_if_due(now).await;
        let look_at = if stale { look_at } else { look_at.max(keeper.networks.ask_at.unwrap_or(now)) };
        let wake_at = keeper.due(Instant::now()).map_or(look_at, |due| due.min(look_at));
        match keeper.wait(wake_at).await {
            Woken::Deadline => stale |= Instant::now() >= look_at,
            Woken::Changed => stale = true,
            Woken::Ended => return,
        }
    }
}

enum Woken {
    Deadline,
    Changed,
    Ended,
}

/// One of the two objects: what is wanted, what was written, when to write next.
#[derive(Debug)]
struct Kept<K, S> {
    writer: Writer<K>,
    wanted: S,
    written: Option<S>,
    pace: Pace,
    not_before: Option<Instant>,
}

impl<K, S: Clone> Kept<K, S> {
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.pace.due(now)?;
        Some(self.not_before.map_or(due, |wait| due.max(wait)))
    }

    fn judge(&mut self, result: Result<(), TryAgain>) {
        let now = Instant::now();
        match result {
            Ok(()) => {
                self.written = Some(self.wanted.clone());
                self.not_before = None;
                self.pace.wrote(now);
            }
            Err(TryAgain(wait)) => self.not_before = Some(now + wait),
        }
    }
}

/// The networks that the node is connected to, as the kernel said last. They change when somebody changes an interface,
/// so nobody waits for that: the kernel is asked again once in a while.
#[derive(Debug, Default)]
struct Networks {
    known: Vec<String>,
    /// `None`: it was never asked.
    ask_at: Option<Instant>,
}

impl Networks {
    fn look(&mut self, now: Instant) {
        if self.ask_at.is_none_or(|at| at <= now) {
            self.ask_at = Some(now + ASK_NETWORKS_EVERY);
            // A kernel that does not answer has not taken the networks away.
            if let Some(networks) = connected_networks() {
                self.known = networks;
            }
        }
    }
}

/// What a ConfigurationState says: of the configuration, and of what the node could announce.
#[derive(Clone, Debug, Default, PartialEq)]
struct Configured {
    status: ConfigurationStateStatus,
    able: Arc<BTreeSet<String>>,
}

struct Keeper {
    namespace: String,
    node: String,
    inlets: Inlets,
    events: EventRecorder,
    known: Arc<SessionTable>,
    news: Vec<SessionNews>,
    speaker: Kept<SpeakerState, SpeakerStateStatus>,
    configuration: Kept<ConfigurationState, Configured>,
    /// Whether what an earlier process wrote has been read.
    resumed: bool,
    /// The API server may have other data than when we wrote.
    doubtful: bool,
    networks: Networks,
}

impl Keeper {
    fn new(client: &Client, namespace: String, node: String, inlets: Inlets, events: EventRecorder) -> Self {
        // What is up when this process begins to speak came from the one before: that is no news.
        let known = Arc::clone(&inlets.sessions.borrow());
        let now = Instant::now();
        Self {
            speaker: Kept {
                writer: Writer::new(Api::namespaced(client.clone(), &namespace)),
                wanted: SpeakerStateStatus::default(),
                written: None,
                pace: Pace::new(now),
                not_before: None,
            },
            configuration: Kept {
                writer: Writer::new(Api::namespaced(client.clone(), &namespace)),
                wanted: Configured::default(),
                written: None,
                pace: Pace::new(now),
                not_before: None,
            },
            namespace,
            node,
            known,
            inlets,
            events,
            news: Vec::new(),
            resumed: false,
            doubtful: false,
            networks: Networks::default(),
        }
    }

    async fn wait(&mut self, wake_at: Instant) -> Woken {
        let sleep = tokio::time::sleep_until(wake_at.into());
        let Inlets { plan, sessions, config, node, reads } = &mut self.inlets;
        let changed = tokio::select! {
            () = sleep => return Woken::Deadline,
            changed = plan.changed() => changed,
            changed = sessions.changed() => changed,
            changed = config.changed() => changed,
            changed = node.changed() => changed,
            changed = reads.changed() => {
                // Before the first write there is nothing to doubt.
                self.doubtful |= self.resumed;
                changed
            }
        };
        if changed.is_err() {
            return Woken::Ended;
        }
        self.note_sessions();
        Woken::Changed
    }

    /// Session transitions are told even when they are over before the next look at the whole.
    fn note_sessions(&mut self) {
        let now = Arc::clone(&self.inlets.sessions.borrow());
        let news = session::news(&self.known, &now);
        let room = WAITING_NEWS.saturating_sub(self.news.len());
        self.news.extend(news.into_iter().take(room));
        self.known = now;
        self.tell_news();
    }

    /// Events are found by the uid of the object that they are about, so they wait for it.
    fn tell_news(&mut self) {
        let Some(uid) = self.speaker.writer.uid() else { return };
        let regarding = Regarding {
            api_version: SpeakerState::api_version(&()).into_owned(),
            kind: SpeakerState::kind(&()).into_owned(),
            namespace: Some(self.namespace.clone()),
            name: self.node.clone(),
            uid: Some(uid.to_owned()),
        };
        for SessionNews { reason, note } in self.news.drain(..) {
            let kind = if reason.is_warning() { EventType::Warning } else { EventType::Normal };
            self.events.publish(regarding.clone(), kind, reason, note);
        }
    }

    /// Works out what the objects should say and how much that differs from what they do say.
    fn look(&mut self, now: Instant) {
        self.networks.look(now);
        let plan = Arc::clone(&self.inlets.plan.borrow());
        if !plan.synced {
            return;
        }
        let status = report::status(&plan, &self.inlets.sessions.borrow(), &self.networks.known);
        let difference = match &self.speaker.written {
            Some(written) => report::difference(written, &status),
            None => Difference::Transition,
        };
        self.speaker.wanted = status;
        self.speaker.pace.note(now, difference);

        let before = self.configuration.written.as_ref().map_or(&[][..], |told| &told.status.conditions);
        let at = Timestamp::now().round(Unit::Second).unwrap_or(Timestamp::UNIX_EPOCH);
        let status = object::configuration_status(&self.inlets.config.borrow(), before, &Time(at));
        let wanted = Configured { status, able: Arc::clone(&plan.able) };
        let difference = match &self.configuration.written {
            Some(written) if *written == wanted => Difference::None,
            Some(written) if !written.able.is_subset(&wanted.able) => Difference::Awaited,
            Some(_) | None => Difference::Transition,
        };
        self.configuration.wanted = wanted;
        self.configuration.pace.note(now, difference);
    }

    fn due(&mut self, now: Instant) -> Option<Instant> {
        // Without the Node there is no owner for the objects; when it appears, that is a change.
        self.owner()?;
        [self.speaker.due(now), self.configuration.due(now)].into_iter().flatten().min()
    }

    async fn write_if_due(&mut self, now: Instant) {
        let Some(owner) = self.owner() else { return };
        if std::mem::take(&mut self.doubtful) {
            self.look_back().await;
            self.look(now);
        }
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.configuration.due(now)) {
            if !std::mem::replace(&mut self.resumed, true) {
                self.resume().await;
                self.look(now);
            }
            if is_due(self.configuration.due(now)) {
                let Configured { status, able } = &self.configuration.wanted;
                let (object, status) = (owner.configuration_state(able), owner.configuration_status(status));
                let result = self.configuration.writer.write(&object, &status).await;
                self.configuration.judge(result);
            }
        }
        if is_due(self.speaker.due(now)) {
            let status = owner.speaker_status(&self.speaker.wanted);
            let result = self.speaker.writer.write(&owner.speaker_state(), &status).await;
            self.speaker.judge(result);
            self.tell_news();
        }
    }

    /// Reads what the own objects say by now. What cannot be read is written.
    async fn look_back(&mut self) {
        let found = self.speaker.writer.look_back(&self.node).await;
        self.speaker.written = found.and_then(|found| found.status);
        let found = self.configuration.writer.look_back(&speaker_configuration_state(&self.node)).await;
        self.configuration.written = found.and_then(configured);
    }

    /// Takes up what an earlier process wrote, so that a restart alone neither writes nor counts as a transition.
    async fn resume(&mut self) {
        let found = self.configuration.writer.read(&speaker_configuration_state(&self.node)).await;
        self.configuration.written = found.and_then(configured);
    }

    fn owner(&self) -> Option<Owner> {
        let node = self.inlets.node.borrow();
        let node_uid = node.as_ref().map(|node| node.uid.clone()).filter(|uid| !uid.is_empty())?;
        Some(Owner { namespace: self.namespace.clone(), node: self.node.clone(), node_uid })
    }
}

fn configured(found: ConfigurationState) -> Option<Configured> {
    let able = found.metadata.annotations.and_then(|all| all.get(ABLE_ANNOTATION).cloned());
    let able = able.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
    Some(Configured { status: found.status?, able: Arc::new(able) })
}

#[cfg(test)]
mod tests;
