//! The leader's desk: what has been seen, what is held, whose turn it is. Turns inputs and outcomes into the next write.
//!
//! Decisions are [`crate::plan`]'s; here is only what keeps them in step with the API server: the barrier before the
//! first one, one write a Service at a time, and no belief in news older than our own last write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use api::names::event::EventReason;
use api::selector::Labels;
use api::service::{Ingress, ServiceKey, ServiceView};
use runtime::chance::Jitter;
use runtime::event::{EventRecorder, EventType, Regarding};
use runtime::status::StatusOutcome;

use crate::alloc::Allocator;
use crate::cluster::{Cluster, Effect};
use crate::input::Input;
use crate::metrics::Metrics;
use crate::patch::{Job, Rival, Sent, is_older};
use crate::plan::{Event, Memory, Outcome, Step, Surroundings, Write, existing, plan};
use crate::queue::Queue;
use crate::report::{Report, Waiting};

/// How long a Service rests whose status another controller writes.
const FOREIGN_REST: Duration = Duration::from_secs(300);
/// Services whose leftover annotation is still to be removed; what does not fit keeps it.
const ABANDONED: usize = 1000;

/// The state of one term of leadership.
#[derive(Debug)]
pub(crate) struct Desk {
    class: Option<String>,
    recorder: EventRecorder,
    metrics: Metrics,
    jitter: Jitter,
    cluster: Cluster,
    /// Exists from the moment when everything has been read once.
    allocator: Option<Allocator>,
    queue: Queue,
    memory: BTreeMap<ServiceKey, Memory>,
    /// Services that a change elsewhere could help.
    waiting: BTreeSet<ServiceKey>,
    /// The version after our last write: older news are not believed.
    written: BTreeMap<ServiceKey, String>,
    take_over: BTreeMap<ServiceKey, TakeOver>,
    /// The managers that were named in the last event about a foreign status.
    rivals: BTreeMap<ServiceKey, Vec<String>>,
    failing: BTreeSet<ServiceKey>,
    abandoned: VecDeque<(ServiceKey, String)>,
    changed: bool,
}

/// The one time that a predecessor's fields are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TakeOver {
    Next,
    Done,
}

impl Desk {
    pub(crate) fn new(class: Option<String>, recorder: EventRecorder, metrics: Metrics, seed: u64) -> Self {
        Self {
            class,
            recorder,
            metrics,
            jitter: Jitter::new(seed),
            cluster: Cluster::default(),
            allocator: None,
            queue: Queue::default(),
            memory: BTreeMap::new(),
            waiting: BTreeSet::new(),
            written: BTreeMap::new(),
            take_over: BTreeMap::new(),
            rivals: BTreeMap::new(),
            failing: BTreeSet::new(),
            abandoned: VecDeque::new(),
            changed: false,
        }
    }

    /// Takes in a change.
    pub(crate) fn take(&mut self, input: Input) {
        let written = &self.written;
        let is_stale = |view: &ServiceView| {
            written.get(&view.key).is_some_and(|version| is_older(&view.resource_version, version))
        };
        let effect = self.cluster.take(input, is_stale);
        self.metrics.updates.inc();
        if self.allocator.is_none() {
            self.activate();
            return;
        }
        match effect {
            Effect::Nothing => {}
            Effect::Service(key) => self.mark(&key),
            Effect::ServicesGone(keys) => keys.into_iter().for_each(|key| self.forget(&key)),
            Effect::Namespace(name) => {
                let first = ServiceKey::new(name.clone(), "");
                let inside = self.waiting.range(first..).take_while(|key| key.namespace == name);
                let keys: Vec<ServiceKey> = inside.cloned().collect();
                keys.iter().for_each(|key| self.mark(key));
            }
            Effect::Config => self.reconfigure(),
        }
        self.changed = true;
    }

    /// The next write, if a Service needs one.
    pub(crate) fn next_job(&mut self, now: Instant) -> Option<Job> {
        self.allocator.as_ref()?;
        while let Some(key) = self.queue.next(now) {
            let Some(view) = self.cluster.services.get(&key).cloned() else {
                self.queue.done(&key);
                continue;
            };
            let started = Instant::now();
            let step = self.plan(&view)?;
            self.metrics.reconcile_duration.observe(started.elapsed().as_secs_f64());
            match step.write.clone() {
                Some(write) => {
                    let take_over = self.take_over.get(&key) == Some(&TakeOver::Next);
                    return Some(Job { view, step, write, take_over });
                }
                None => {
                    self.finish(&view, step);
                    self.queue.done(&key);
                }
            }
        }
        None
    }

    /// The next Service whose leftover annotation has to go.
    pub(crate) fn next_abandoned(&mut self) -> Option<(ServiceKey, String)> {
        self.abandoned.pop_front()
    }

    /// When [`Self::next_job`] should be asked again although nothing has come in.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        self.queue.wakes()
    }

    /// Takes in the outcome of a write.
    pub(crate) fn written(&mut self, job: Job, sent: Sent, now: Instant) {
        self.changed = true;
        let Job { view, step, write, take_over } = job;
        let key = view.key.clone();
        self.metrics.writes.inc();
        let outcome = match sent {
            Sent::Ended(outcome) => outcome,
            Sent::Contested { managers, sentence, rival } => {
                return self.contested(&view, managers, &sentence, rival, now);
            }
        };
        match outcome {
            StatusOutcome::Applied { resource_version } => {
                if take_over {
                    self.take_over.insert(key.clone(), TakeOver::Done);
                }
                self.rivals.remove(&key);
                if self.failing.remove(&key) {
                    tracing::info!(service = %key, "status is written again");
                }
                self.show(&key, &write, resource_version);
                tracing::info!(service = %key, ingress = ?write.ingress, pool = write.pool, "status written");
                self.finish(&view, step);
                self.queue.done(&key);
            }
            // The watch says what became of it.
            StatusOutcome::Gone => self.queue.done(&key),
            StatusOutcome::Conflict { managers, message } => {
                self.contested(&view, managers, &message, Rival::Foreign, now);
            }
            StatusOutcome::Failed(error) => {
                self.metrics.write_errors.inc();
                if self.failing.insert(key.clone()) {
                    tracing::warn!(service = %key, %error, "status cannot be written: trying again");
                }
                self.retry(&view, now);
            }
        }
    }

    /// What is to be shown, if anything changed since the last time.
    pub(crate) fn report(&mut self) -> Option<Report> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let allocator = self.allocator.as_ref()?;
        let waiting = self.waiting.iter().filter_map(|key| match &self.memory.get(key)?.outcome {
            Outcome::Denied(denied) | Outcome::Partial(denied) => {
                Some(Waiting { service: key.clone(), word: denied.word(), message: denied.to_string() })
            }
            Outcome::Unplanned
            | Outcome::NotOurs
            | Outcome::LeftAlone
            | Outcome::Given
            | Outcome::Kept { .. } => None,
        });
        let report = Report::new(&self.cluster, allocator, waiting.collect());
        self.metrics.show(&report);
        Some(report)
    }

    /// Builds the allocator as soon as everything has been read once, and looks at every Service.
    fn activate(&mut self) {
        if !self.cluster.is_synced() {
            return;
        }
        self.cluster.rebuild_config();
        let mut services: Vec<&ServiceView> = self.cluster.services.values().collect();
        services.sort_by_key(|view| (view.created, view.uid.clone()));
        let nothing = Labels::new();
        let around = Surroundings { namespace_labels: &nothing, class: self.class.as_deref() };
        let adopted = services.iter().filter_map(|view| existing(view, &around));
        let (allocator, refused) = Allocator::rebuild(&self.cluster.config.pools, adopted);
        for (service, denied) in &refused {
            tracing::warn!(%service, reason = denied.word(), why = %denied, "the address in its status cannot be kept");
        }
        tracing::info!(
            services = services.len(),
            adopted = allocator.len(),
            pools = self.cluster.config.pools.len(),
            "everything is read: giving addresses"
        );
        self.allocator = Some(allocator);
        self.mark_all();
        self.tell_rejections(&[]);
        self.changed = true;
    }

    fn reconfigure(&mut self) {
        let before = self.cluster.rejections.clone();
        let changed = self.cluster.rebuild_config();
        self.tell_rejections(&before);
        if changed && let Some(allocator) = &mut self.allocator {
            allocator.set_pools(&self.cluster.config.pools);
            tracing::info!(pools = self.cluster.config.pools.len(), "pools changed");
            self.mark_all();
        }
    }

    fn tell_rejections(&self, before: &[api::config::Rejection]) {
        for rejection in self.cluster.rejections.iter().filter(|rejection| !before.contains(rejection)) {
            let (object, reason) = (&rejection.object, &rejection.reason);
            let in_force = rejection.in_force;
            tracing::warn!(%object, reason = reason.word(), why = %reason, in_force, "a configuration object is rejected");
        }
    }

    fn plan(&mut self, view: &ServiceView) -> Option<Step> {
        let allocator = self.allocator.as_mut()?;
        let nothing = Labels::new();
        let namespace_labels = self.cluster.labels_of(&view.key.namespace).unwrap_or(&nothing);
        let around = Surroundings { namespace_labels, class: self.class.as_deref() };
        let before = self.memory.get(&view.key).cloned().unwrap_or_default();
        let step = plan(view, &around, allocator, &before);
        match &step.memory.outcome {
            Outcome::Denied(_) | Outcome::Partial(_) => {
                self.waiting.insert(view.key.clone());
            }
            Outcome::Unplanned
            | Outcome::NotOurs
            | Outcome::LeftAlone
            | Outcome::Given
            | Outcome::Kept { .. } => {
                self.waiting.remove(&view.key);
            }
        }
        if !step.released.is_empty() {
            self.mark_waiting(&view.key);
        }
        Some(step)
    }

    /// What was planned is true now: tell it and remember it.
    fn finish(&mut self, view: &ServiceView, step: Step) {
        if !self.is_known(view) {
            return;
        }
        for event in step.events {
            self.tell(view, event);
        }
        self.memory.insert(view.key.clone(), step.memory);
    }

    fn tell(&self, view: &ServiceView, Event { reason, note }: Event) {
        let kind = if reason.is_warning() { EventType::Warning } else { EventType::Normal };
        tracing::info!(service = %view.key, reason = reason.as_str(), note, "event");
        let regarding =
            Regarding::service(view.key.namespace.clone(), view.key.name.clone(), view.uid.clone());
        self.recorder.publish(regarding, kind, reason, note);
    }

    /// Our own write is the newest that is known of the Service until the watch brings something newer.
    fn show(&mut self, key: &ServiceKey, write: &Write, resource_version: String) {
        let Some(mut view) = self.cluster.services.get(key).cloned() else {
            return;
        };
        if is_older(&view.resource_version, &resource_version) {
            view.ingress = match write.ingress.as_slice() {
                [] => Ingress::None,
                addresses => Ingress::Addresses(addresses.to_vec()),
            };
            view.allocated_from_pool.clone_from(&write.pool);
            view.resource_version.clone_from(&resource_version);
            self.cluster.services.apply(key.clone(), Some(view));
        }
        self.written.insert(key.clone(), resource_version);
    }

    fn contested(
        &mut self,
        view: &ServiceView,
        managers: Vec<String>,
        sentence: &str,
        rival: Rival,
        now: Instant,
    ) {
        let key = &view.key;
        let names = managers.join(", ");
        match (rival, self.take_over.get(key)) {
            (Rival::Predecessor, None) => {
                self.take_over.insert(key.clone(), TakeOver::Next);
                let note = format!("The load balancer status written earlier by {names} is taken over once");
                self.tell(view, Event { reason: EventReason::StatusTakenOver, note });
                self.rest(view, now);
            }
            (Rival::Predecessor, Some(TakeOver::Next | TakeOver::Done)) | (Rival::Foreign, _) => {
                self.take_over.insert(key.clone(), TakeOver::Done);
                if self.rivals.insert(key.clone(), managers.clone()) != Some(managers) {
                    tracing::warn!(service = %key, rivals = names, sentence, "another controller writes the status");
                    let note = format!(
                        "{names} writes the load balancer status too: switch it off or give one of the two a \
                         loadBalancerClass; not trying again for 5 minutes"
                    );
                    self.tell(view, Event { reason: EventReason::ForeignLoadBalancerStatus, note });
                }
                let spread = self.jitter.between(Duration::ZERO, Duration::from_secs(30));
                self.rest(view, now + FOREIGN_REST + spread);
            }
        }
    }

    fn retry(&mut self, view: &ServiceView, now: Instant) {
        if self.is_known(view) {
            self.queue.failed(view, now, self.jitter.draw());
        } else {
            self.queue.done(&view.key);
        }
    }

    fn rest(&mut self, view: &ServiceView, until: Instant) {
        if self.is_known(view) {
            self.queue.rest(view, until);
        } else {
            self.queue.done(&view.key);
        }
    }

    /// Whether the Service that was planned is still the one of that name.
    fn is_known(&self, view: &ServiceView) -> bool {
        self.cluster.services.get(&view.key).is_some_and(|now| now.uid == view.uid)
    }

    fn forget(&mut self, key: &ServiceKey) {
        if let Some(allocator) = &mut self.allocator {
            if let Some(holding) = allocator.holding(key)
                && self.abandoned.len() < ABANDONED
            {
                self.abandoned.push_back((key.clone(), holding.uid.clone()));
            }
            allocator.release(key);
            if !allocator.take_touched().is_empty() {
                self.mark_waiting(key);
            }
        }
        self.queue.forget(key);
        self.memory.remove(key);
        self.waiting.remove(key);
        self.written.remove(key);
        self.take_over.remove(key);
        self.rivals.remove(key);
        self.failing.remove(key);
    }

    fn mark(&mut self, key: &ServiceKey) {
        if let Some(view) = self.cluster.services.get(key) {
            self.queue.mark(view);
        }
    }

    fn mark_all(&mut self) {
        for view in self.cluster.services.values() {
            self.queue.mark(view);
        }
    }

    fn mark_waiting(&mut self, except: &ServiceKey) {
        for view in
            self.waiting.iter().filter(|key| *key != except).filter_map(|key| self.cluster.services.get(key))
        {
            self.queue.mark(view);
        }
    }
}
