//! What follows from the end of a write: it is told and remembered, tried again, or left to whoever else writes there; and
//! how often a status that somebody takes away is put back.
//!
//! Leaves out which write comes next.

use std::time::{Duration, Instant};

use api::names::FIELD_MANAGER_CONTROLLER;
use api::names::event::EventReason;
use api::service::{Ingress, ServiceCondition, ServiceKey, ServiceView};
use runtime::event::{EventType, Regarding};
use runtime::status::StatusOutcome;
use runtime::version::is_older;

use super::{Desk, SPREAD, Written};
use crate::contest::Permit;
use crate::patch::{Job, Rival, Sent};
use crate::plan::{Event, Step, Write};
use crate::queue::Turn;

impl Desk {
    /// Takes in the outcome of a write.
    pub(crate) fn written(&mut self, job: Job, sent: Sent, now: Instant) {
        self.changed = true;
        let Job { view, step, write, take_over: _ } = job;
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
                if !write.yields {
                    self.contests.show(&key, now);
                }
                if self.failing.remove(&key) {
                    tracing::info!(service = %key, "status is written again");
                }
                self.show(&key, &write, resource_version);
                let ingress: Vec<_> = write.ingress.iter().map(ToString::to_string).collect();
                let (ingress, yields) = (ingress.join(", "), write.yields);
                tracing::info!(service = %key, ingress, pool = write.pool, yields, "status written");
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

    /// Whether the write puts back what we wrote already and somebody took away.
    pub(super) fn is_repair(&self, view: &ServiceView, write: &Write) -> bool {
        let before = self.written.get(&view.key);
        !write.ingress.is_empty()
            && !write.yields
            && view.addresses() != write.ingress
            && before.is_some_and(|last| *last.ingress == *write.ingress)
    }

    pub(super) fn permit(&mut self, view: &ServiceView, now: Instant) -> Permit {
        let permit = self.repairs.permit(&view.key, now);
        if permit == (Permit::Now { tell: true }) {
            let others = view.managed.iter().filter(|entry| entry.manager != FIELD_MANAGER_CONTROLLER);
            let who =
                others.max_by_key(|entry| entry.time).map_or("somebody", |entry| entry.manager.as_str());
            let note = format!(
                "{who} removes the load balancer status again and again: tools that apply whole objects must leave \
                 out /status; it is put back at most once a minute"
            );
            self.tell(view, Event { reason: EventReason::ForeignLoadBalancerStatus, note });
        }
        permit
    }

    /// What was planned is true now: tell it and remember it.
    pub(super) fn finish(&mut self, view: &ServiceView, step: Step) {
        let Some(Turn { key, .. }) = self.turn_of(view) else {
            return;
        };
        for event in step.events {
            // A rival is told of when it appears, not each time it is tried again.
            let rival = event.reason == EventReason::ForeignLoadBalancerStatus;
            if !rival || self.news.remove(&view.key) {
                self.tell(view, event);
            }
        }
        self.memory.keep(key, step.memory);
    }

    pub(super) fn tell(&self, view: &ServiceView, Event { reason, note }: Event) {
        let kind = if reason.is_warning() { EventType::Warning } else { EventType::Normal };
        tracing::info!(service = %view.key, reason = reason.as_str(), note, "event");
        let regarding = Regarding::service(view.key.namespace(), view.key.name(), view.uid.clone());
        self.recorder.publish(regarding, kind, reason, note);
    }

    /// Our own write is the newest that is known of the Service until the watch brings something newer.
    fn show(&mut self, key: &ServiceKey, write: &Write, resource_version: String) {
        let (Some(mut view), Some(Turn { key, .. })) = (self.cluster.service(key), self.cluster.turn(key))
        else {
            return;
        };
        if is_older(&view.resource_version, &resource_version) {
            if !write.yields {
                view.ingress = match write.ingress.as_slice() {
                    [] => Ingress::None,
                    addresses => Ingress::Addresses(addresses.to_vec()),
                };
            }
            view.allocated_from_pool.clone_from(&write.pool);
            view.condition = write.remark.as_ref().map(|remark| ServiceCondition {
                holds: remark.holds,
                reason: remark.reason.to_owned(),
                message: remark.message.clone(),
                since: view.condition.and_then(|shown| shown.since),
            });
            view.resource_version.clone_from(&resource_version);
            self.cluster.put(&view);
        }
        let (version, ingress) = (resource_version.into(), write.ingress.as_slice().into());
        self.written.insert(key, Written { version, ingress });
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
        if rival == Rival::Predecessor && self.contests.inherit(key, &managers) {
            let note = format!("The load balancer status written earlier by {names} is taken over once");
            self.tell(view, Event { reason: EventReason::StatusTakenOver, note });
        } else {
            let spread = self.jitter.between(Duration::ZERO, SPREAD);
            if self.contests.lose(key, managers, now, spread) {
                tracing::warn!(service = %key, rivals = names, sentence, "another controller writes the status");
                self.news.insert(key.clone());
            }
        }
        self.rest(view, now);
    }

    fn retry(&mut self, view: &ServiceView, now: Instant) {
        match self.turn_of(view) {
            Some(turn) => self.queue.failed(turn, now, self.jitter.draw()),
            None => self.queue.done(&view.key),
        }
    }

    pub(super) fn rest(&mut self, view: &ServiceView, until: Instant) {
        match self.turn_of(view) {
            Some(turn) => self.queue.rest(turn, until),
            None => self.queue.done(&view.key),
        }
    }

    /// The place of the Service that was planned, if it is still the one of that name.
    fn turn_of(&self, view: &ServiceView) -> Option<Turn> {
        self.cluster.turn(&view.key).filter(|turn| *turn.uid == *view.uid)
    }
}
