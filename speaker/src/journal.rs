//! Tells what changed, once: log lines, events on Services, counters.
//!
//! Fed by the watch side with each new plan. Leaves out the state itself, which `status` and `metrics` show.

use std::collections::BTreeSet;
use std::time::Duration;

use api::config::ObjectRef;
use api::names::event::EventReason;
use api::service::ServiceKey;
use runtime::event::{EventRecorder, EventType, Regarding};
use tokio::sync::watch::Receiver;

use crate::decide::announcer::{Planned, Transition};
use crate::decide::verdict::Reason;
use crate::mark::Start;
use crate::metrics::Counters;
use crate::takeover::Role;
use crate::watch::configuration::ConfigReport;

/// Most events for the Services that are found when a node starts for the first time.
const FIRST_EVENTS: usize = 100;

/// Remembers what has been told.
#[derive(Debug)]
pub struct Journal {
    node: String,
    events: EventRecorder,
    counters: Counters,
    start: Start,
    role: Receiver<Role>,
    told_first: bool,
    node_known: bool,
    complaints: BTreeSet<(ObjectRef, String)>,
}

impl Journal {
    /// Nothing has been told yet.
    #[must_use]
    pub fn new(
        node: String,
        events: EventRecorder,
        counters: Counters,
        start: Start,
        role: Receiver<Role>,
    ) -> Self {
        Self {
            node,
            events,
            counters,
            start,
            role,
            told_first: false,
            node_known: true,
            complaints: BTreeSet::new(),
        }
    }

    /// So many facts came from the API server.
    pub fn count_updates(&self, facts: u64) {
        self.counters.updates.inc_by(facts);
    }

    /// So long it took from an EndpointSlice event to the plan that it led to.
    pub fn time_endpoints(&self, took: Duration) {
        self.counters.endpoint_to_plan.observe(took.as_secs_f64());
    }

    /// A new plan: tells which Services are announced now and which are no longer.
    pub fn record(&mut self, planned: &Planned, uid_of: impl Fn(&ServiceKey) -> Option<String>) {
        self.counters.plans.inc();
        if !self.told_first {
            self.told_first = true;
            self.record_first(planned, uid_of);
            return;
        }
        for transition in &planned.transitions {
            self.log(transition);
            if let (false, true) = transition.announced() {
                self.tell_assigned(&transition.service, uid_of(&transition.service));
            }
        }
    }

    /// Whether the cluster has a Node object of our name, once everything was read: tells when that turns.
    pub fn record_node(&mut self, known: bool) {
        match (self.node_known, known) {
            (true, false) => tracing::warn!(
                node = self.node,
                "there is no Node object of this name, so nothing is announced: check --node-name (NODE_NAME)"
            ),
            (false, true) => tracing::info!(node = self.node, "the Node object is there"),
            (true, true) | (false, false) => {}
        }
        self.node_known = known;
    }

    /// What was made of the configuration: tells what is newly rejected, and what is in order again.
    pub fn record_config(&mut self, report: &ConfigReport) {
        let complaints: BTreeSet<(ObjectRef, String)> =
            report.complaints().map(|(object, text)| (object.clone(), text)).collect();
        for (object, reason) in complaints.difference(&self.complaints) {
            tracing::warn!(kind = %object.kind, name = object.name, reason, "configuration object not accepted");
            self.counters.update_errors.inc();
        }
        let now: BTreeSet<&ObjectRef> = complaints.iter().map(|(object, _)| object).collect();
        let before: BTreeSet<&ObjectRef> = self.complaints.iter().map(|(object, _)| object).collect();
        for object in before.difference(&now) {
            tracing::info!(kind = %object.kind, name = object.name, "configuration object in order again");
        }
        self.complaints = complaints;
    }

    /// The first plan of the process: one line for all Services. What a restarted speaker finds is no news, and on a
    /// node that starts for the first time the number of events is limited.
    fn record_first(&self, planned: &Planned, uid_of: impl Fn(&ServiceKey) -> Option<String>) {
        let announced: Vec<&ServiceKey> = planned
            .transitions
            .iter()
            .filter(|transition| transition.announced() == (false, true))
            .map(|transition| &transition.service)
            .collect();
        tracing::info!(
            services = planned.transitions.len(),
            announced = announced.len(),
            peers = planned.plan.peers.len(),
            "all watches are complete, first plan made"
        );
        match self.start {
            Start::Again => {}
            Start::First => {
                for service in announced.into_iter().take(FIRST_EVENTS) {
                    self.tell_assigned(service, uid_of(service));
                }
            }
        }
        for transition in &planned.transitions {
            let reason = transition.after.as_ref().and_then(|verdict| verdict.reason()).map(Reason::word);
            tracing::debug!(service = %transition.service, reason, "first verdict");
        }
    }

    fn log(&self, transition: &Transition) {
        let service = &transition.service;
        if let Some(reason) = transition.withdrawal() {
            tracing::info!(%service, reason = reason.word(), detail = %reason, "service withdrawn");
        }
        let after = transition.after.as_ref();
        match (transition.announced(), after.and_then(|verdict| verdict.reason())) {
            ((false, true), _) => {
                let addresses = after.map(|verdict| verdict.addresses()).unwrap_or_default();
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                tracing::info!(%service, addresses = addresses.join(", "), "service announced");
            }
            ((false, false), Some(reason)) => {
                tracing::debug!(%service, reason = reason.word(), detail = %reason, "service withheld");
            }
            ((true, _) | (false, false), _) => {}
        }
    }

    /// Only the process that holds the sessions: of two that run side by side both would see the same.
    fn tell_assigned(&self, service: &ServiceKey, uid: Option<String>) {
        if !self.role.borrow().speaks() {
            return;
        }
        let regarding = Regarding::service(service.namespace(), service.name(), uid.unwrap_or_default());
        let note = format!("announcing from node {:?} with protocol \"bgp\"", self.node);
        self.events.publish(regarding, EventType::Normal, EventReason::NodeAssigned, note);
    }
}
