//! The leader's desk: what has been seen, what is held, whose turn it is. Turns inputs and outcomes into the next write.
//!
//! Decisions are [`crate::plan`]'s; here is only what keeps them in step with the API server: the barrier before the
//! first one, one write a Service at a time, and no belief in news older than our own last write. `outcome` takes in what
//! became of a write.

mod outcome;
mod recollection;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::config::Rejection;
use api::names::condition::ConditionType;
use api::names::event::EventReason;
use api::report::Reporter;
use api::selector::Labels;
use api::service::{ServiceKey, ServiceView};
use api::v1beta1::IPAddressPool;
use runtime::chance::Jitter;
use runtime::event::{EventRecorder, EventType, Regarding};
use runtime::version::is_older;

use crate::alloc::{Allocator, Terms};
use crate::clock::{Clock, cpu_time};
use crate::cluster::{Cluster, Effect};
use crate::contest::{Contests, Permit, Repairs};
use crate::input::{Extras, Input};
use crate::metrics::Metrics;
use crate::overlap::network;
use crate::patch::Job;
use crate::plan::{Outcome, Step, Surroundings, existing, plan};
use crate::pool_condition::full_sentence;
use crate::queue::Queue;
use crate::report::{Report, Waiting};
use crate::sheet::Sheet;

use recollection::Recollection;

/// Services that wait for the same rival do not wake at the same moment.
const SPREAD: Duration = Duration::from_secs(3);
/// Services whose leftover annotation is still to be removed; what does not fit keeps it.
const ABANDONED: usize = 1000;

/// The state of one term of leadership.
#[derive(Debug)]
pub(crate) struct Desk {
    class: Option<String>,
    terms: Terms,
    recorder: EventRecorder,
    metrics: Metrics,
    jitter: Jitter,
    cluster: Cluster,
    /// Exists from the moment when everything has been read once.
    allocator: Option<Allocator>,
    queue: Queue,
    memory: Recollection,
    /// Services that a change elsewhere could help.
    waiting: BTreeSet<ServiceKey>,
    written: BTreeMap<ServiceKey, Written>,
    contests: Contests,
    repairs: Repairs,
    /// Services whose rivals are still to be told of.
    news: BTreeSet<ServiceKey>,
    failing: BTreeSet<ServiceKey>,
    /// Pools with nothing left.
    full: BTreeSet<String>,
    abandoned: VecDeque<(ServiceKey, String)>,
    clock: Clock,
    /// CPU time when everything had been read; until every Service was looked at once.
    adopting_since: Option<Duration>,
    changed: bool,
}

/// Our last write of a Service.
#[derive(Debug)]
struct Written {
    /// The version after it: older news are not believed.
    version: Box<str>,
    ingress: Box<[IpAddr]>,
}

impl Desk {
    pub(crate) fn new(
        class: Option<String>,
        terms: Terms,
        extras: Extras,
        recorder: EventRecorder,
        metrics: Metrics,
        seed: u64,
    ) -> Self {
        Self {
            class,
            terms,
            recorder,
            metrics,
            jitter: Jitter::new(seed),
            cluster: Cluster::new(extras),
            allocator: None,
            queue: Queue::default(),
            memory: Recollection::default(),
            waiting: BTreeSet::new(),
            written: BTreeMap::new(),
            contests: Contests::default(),
            repairs: Repairs::default(),
            news: BTreeSet::new(),
            failing: BTreeSet::new(),
            full: BTreeSet::new(),
            abandoned: VecDeque::new(),
            clock: Clock::read(),
            adopting_since: None,
            changed: false,
        }
    }

    /// Takes in a change.
    pub(crate) fn take(&mut self, input: Input, now: Instant) {
        let written = &self.written;
        let is_stale = |view: &ServiceView| {
            written.get(&view.key).is_some_and(|last| is_older(&view.resource_version, &last.version))
        };
        let effect = self.cluster.take(input, is_stale);
        self.metrics.updates.inc();
        if self.allocator.is_none() {
            self.activate(now);
            return;
        }
        match effect {
            Effect::Nothing => {}
            Effect::Service(view) => {
                self.contests.look(&view);
                self.mark(&view.key);
            }
            Effect::ServicesGone(keys) => keys.iter().for_each(|key| self.forget(key, now)),
            Effect::Namespace(name) => {
                let first = ServiceKey::new(name.clone(), "");
                let inside = self.waiting.range(first..).take_while(|key| key.namespace() == name);
                let keys: Vec<ServiceKey> = inside.cloned().collect();
                keys.iter().for_each(|key| self.mark(key));
            }
            Effect::Network => self.resurvey(),
            Effect::Config => self.reconfigure(),
        }
        self.changed = true;
    }

    /// Whether everything has been read once, so that addresses are given.
    pub(crate) fn gives(&self) -> bool {
        self.allocator.is_some()
    }

    /// The next write, if a Service needs one.
    pub(crate) fn next_job(&mut self, now: Instant) -> Option<Job> {
        let allocator = self.allocator.as_mut()?;
        if allocator.next_rest_ends().is_some_and(|end| end <= now) {
            allocator.advance(now);
            self.changed = true;
        }
        for key in self.contests.due(now) {
            self.mark(&key);
        }
        while let Some(key) = self.queue.next(now) {
            let Some(view) = self.cluster.service(&key) else {
                self.queue.done(&key);
                continue;
            };
            let started = Instant::now();
            let mut step = self.plan(&view, now)?;
            self.metrics.reconcile_duration.observe(started.elapsed().as_secs_f64());
            let Some(write) = step.write.take() else {
                self.finish(&view, step);
                self.queue.done(&key);
                continue;
            };
            let take_over = !write.yields && self.contests.tries(&key);
            if !take_over && self.is_repair(&view, &write) {
                step.events.retain(|event| !event.reason.is_assignment());
                if let Permit::NotBefore(next) = self.permit(&view, now) {
                    self.rest(&view, next);
                    continue;
                }
            }
            return Some(Job { view, step, write, take_over });
        }
        if let Some(cpu) = self.adopting_since.take().and_then(|since| cpu_time()?.checked_sub(since)) {
            tracing::info!(cpu_us = cpu.as_micros(), "every Service has been looked at");
        }
        None
    }

    /// The next Service whose leftover annotation has to go.
    pub(crate) fn next_abandoned(&mut self) -> Option<(ServiceKey, String)> {
        self.abandoned.pop_front()
    }

    /// When [`Self::next_job`] should be asked again although nothing has come in.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        let rest = self.allocator.as_ref().and_then(Allocator::next_rest_ends);
        self.queue.wakes().into_iter().chain(self.contests.wakes()).chain(rest).min()
    }

    /// What is to be shown, if anything changed since the last time.
    pub(crate) fn report(&mut self) -> Option<Report> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let allocator = self.allocator.as_ref()?;
        let waiting = self.waiting.iter().filter_map(|key| match self.memory.trouble(key)? {
            Outcome::Denied(denied) | Outcome::Partial(denied) => {
                Some(Waiting { service: key.clone(), word: denied.word(), message: denied.to_string() })
            }
            Outcome::Unplanned
            | Outcome::NotOurs
            | Outcome::LeftAlone
            | Outcome::Given
            | Outcome::Displaced { .. }
            | Outcome::Contested { .. }
            | Outcome::Kept { .. } => None,
        });
        let report = Report::new(&self.cluster, allocator, &self.clock, waiting.collect());
        self.metrics.show(&report);
        self.tell_full_pools(&report);
        Some(report)
    }

    /// Tells of pools that have just become full; one that says so already in its status was told of before.
    fn tell_full_pools(&mut self, report: &Report) {
        let full: BTreeMap<&String, String> =
            report.usage.iter().filter_map(|(name, usage)| Some((name, full_sentence(usage)?))).collect();
        self.full.retain(|name| full.contains_key(name));
        for (name, sentence) in full {
            if self.full.insert(name.clone())
                && let Some(pool) = self.cluster.pool(name)
                && !is_shown_full(pool)
            {
                tracing::warn!(pool = name, sentence, "a pool is full");
                let (kind, reason) = (EventType::Warning, EventReason::PoolExhausted);
                self.recorder.publish(Regarding::object(pool), kind, reason, sentence);
            }
        }
    }

    /// Builds the allocator as soon as everything has been read once, and looks at every Service.
    fn activate(&mut self, now: Instant) {
        if !self.cluster.is_synced() {
            return;
        }
        self.adopting_since = cpu_time();
        self.cluster.rebuild_config();
        let mut services: Vec<&Sheet> = self.cluster.services.values().collect();
        services.sort_by(|one, other| (one.created, &one.uid).cmp(&(other.created, &other.uid)));
        let nothing = Labels::new();
        let class = self.class.as_deref();
        let around = Surroundings { namespace_labels: &nothing, class, rivals: &[], now };
        let adopted = services.iter().filter_map(|sheet| existing(&sheet.view(), &around));
        let network = network(&self.cluster.config, &self.cluster.around());
        let (mut allocator, refused) =
            Allocator::rebuild(&self.cluster.config.pools, network, self.terms, now, adopted);
        for rest in self.cluster.resting() {
            let service = ServiceKey::new(rest.namespace.clone(), rest.service.clone());
            let left = self.clock.left_until(&rest.until, now);
            if let (Ok(address), Some(left)) = (rest.address.parse(), left) {
                allocator.rest_on(address, &service, left);
            }
        }
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
        self.resurvey();
    }

    /// Nodes, routers and cluster networks may have moved with respect to the pools.
    fn resurvey(&mut self) {
        let network = network(&self.cluster.config, &self.cluster.around());
        if let Some(allocator) = &mut self.allocator
            && allocator.set_network(network)
        {
            self.mark_all();
        }
    }

    fn tell_rejections(&self, before: &[Rejection]) {
        let told =
            |rejection: &&Rejection| Reporter::Controller.speaks_of(rejection) && !before.contains(rejection);
        for rejection in self.cluster.rejections.iter().filter(told) {
            let (object, reason) = (&rejection.object, &rejection.reason);
            let in_force = rejection.in_force;
            tracing::warn!(%object, reason = reason.word(), why = %reason, in_force, "a configuration object is rejected");
        }
    }

    fn plan(&mut self, view: &ServiceView, now: Instant) -> Option<Step> {
        let allocator = self.allocator.as_mut()?;
        let nothing = Labels::new();
        let namespace_labels = self.cluster.labels_of(view.key.namespace()).unwrap_or(&nothing);
        let rivals = self.contests.rivals(&view.key);
        let around = Surroundings { namespace_labels, class: self.class.as_deref(), rivals, now };
        let before = self.memory.of(&view.key);
        let step = plan(view, &around, allocator, &before);
        match &step.memory.outcome {
            Outcome::Denied(_) | Outcome::Partial(_) => {
                self.waiting.insert(view.key.clone());
            }
            Outcome::Unplanned
            | Outcome::NotOurs
            | Outcome::LeftAlone
            | Outcome::Given
            | Outcome::Displaced { .. }
            | Outcome::Contested { .. }
            | Outcome::Kept { .. } => {
                self.waiting.remove(&view.key);
            }
        }
        if !step.released.is_empty() {
            self.mark_waiting(&view.key);
        }
        Some(step)
    }

    fn forget(&mut self, key: &ServiceKey, now: Instant) {
        if let Some(allocator) = &mut self.allocator {
            allocator.advance(now);
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
        self.memory.forget(key);
        self.waiting.remove(key);
        self.written.remove(key);
        self.contests.forget(key);
        self.repairs.forget(key);
        self.news.remove(key);
        self.failing.remove(key);
    }

    fn mark(&mut self, key: &ServiceKey) {
        if let Some(turn) = self.cluster.turn(key) {
            self.queue.mark(turn);
        }
    }

    fn mark_all(&mut self) {
        for sheet in self.cluster.services.values() {
            self.queue.mark(sheet.turn());
        }
    }

    fn mark_waiting(&mut self, except: &ServiceKey) {
        for turn in self.waiting.iter().filter(|key| *key != except).filter_map(|key| self.cluster.turn(key))
        {
            self.queue.mark(turn);
        }
    }
}

fn is_shown_full(pool: &IPAddressPool) -> bool {
    let exhausted = ConditionType::Exhausted.as_str();
    let mut shown = pool.status.iter().flat_map(|status| &status.conditions);
    shown.any(|condition| condition.type_ == exhausted && condition.status == "True")
}
