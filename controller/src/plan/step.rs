//! What follows from the decision about one Service: the status to write and the events to tell.
//!
//! Leaves out the decision itself and every call to the API server.

use std::net::IpAddr;

use api::names::FIELD_MANAGER_CONTROLLER;
use api::names::event::EventReason;
use api::service::{Ingress, ServiceView};

use crate::alloc::{Denied, quoted};

/// What the Service should show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Write {
    /// `status.loadBalancer.ingress`, all with `ipMode: VIP`; empty = no address.
    pub ingress: Vec<IpAddr>,
    /// Annotation `metallb.io/ip-allocated-from-pool`; `None` = not there.
    pub pool: Option<String>,
    /// Herald's condition; `None` = not there, because nothing is to be said.
    pub remark: Option<Remark>,
    /// The addresses in the status are left to another controller; the rest is written.
    pub yields: bool,
}

/// What the Service's condition `herald-lb.io/AddressAssigned` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Whether the Service has the addresses that it asks for.
    pub holds: bool,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// One line for `kubectl describe service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The reason; whether it is a warning follows from it.
    pub reason: EventReason,
    /// The sentence.
    pub note: String,
}

/// How a Service stands after a pass. A change of it is a transition, and only transitions are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outcome {
    /// No pass has been made.
    #[default]
    Unplanned,
    /// Another controller serves it (class, or not of type LoadBalancer).
    NotOurs,
    /// Nothing is decided about it: it is being deleted, or there is no pool to judge its addresses by.
    LeftAlone,
    /// It has what it asked for.
    Given,
    /// It got another address, because an older Service has the one that it showed.
    Displaced {
        /// Who has it.
        why: String,
    },
    /// It keeps an address that no pool would hand out any more.
    Kept {
        /// Those addresses.
        addresses: Vec<IpAddr>,
        /// The pool they came from.
        pool: String,
    },
    /// It has an address, and another controller shows a different one.
    Contested {
        /// The field managers that write there.
        managers: Vec<String>,
        /// The addresses that wait for it.
        addresses: Vec<IpAddr>,
    },
    /// It has one family and not the other.
    Partial(Denied),
    /// It has no address, or its wish is unreadable and it keeps what it has.
    Denied(Denied),
}

/// What is remembered of a Service between two passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// How it stood.
    pub outcome: Outcome,
    /// Whether it used annotations with the old prefix.
    pub deprecated: bool,
    /// Whether our share in its status has been given up already. What another field manager owns can still be there.
    pub cleared: bool,
}

/// The result of one pass over one Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// The write that is needed, if the Service does not show it yet.
    pub write: Option<Write>,
    /// To be told once the write is done; at once if there is none.
    pub events: Vec<Event>,
    /// To be remembered once the write is done; at once if there is none.
    pub memory: Memory,
    /// Addresses that changed hands: Services that wait should be tried again.
    pub released: Vec<IpAddr>,
}

/// What was decided about one Service.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    /// Addresses to show in order of the families, and the pool; `None` = the status is none of our business.
    pub(super) show: Option<Write>,
    /// Why addresses that the Service shows now are taken from it.
    pub(super) moved: Option<Moved>,
}

/// Why a Service does not keep the addresses that it shows.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) why: String,
    pub(super) cause: Cause,
}

/// What kind of reason that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The Service or the configuration asks for something else.
    Wish,
    /// Another Service has them.
    Conflict,
    /// They were never ours: somebody else wrote them.
    Foreign,
}

impl Moved {
    /// The addresses that the Service shows could not become its holding.
    pub(super) fn refused(denied: Denied, view: &ServiceView) -> Self {
        let ours = || view.managed.iter().any(|entry| entry.manager == FIELD_MANAGER_CONTROLLER);
        let foreign = matches!(denied, Denied::OutsidePools { .. } | Denied::AvoidedAddress { .. })
            && !view.managed.is_empty()
            && !ours();
        let moved = Self::from(denied);
        if foreign { Self { cause: Cause::Foreign, ..moved } } else { moved }
    }
}

impl<T: Into<String>> From<T> for Moved {
    fn from(why: T) -> Self {
        Self { why: why.into(), cause: Cause::Wish }
    }
}

impl From<Denied> for Moved {
    fn from(denied: Denied) -> Self {
        let conflict = matches!(denied, Denied::InUse { .. } | Denied::PortInUse { .. });
        let cause = if conflict { Cause::Conflict } else { Cause::Wish };
        Self { why: denied.to_string(), cause }
    }
}

impl Step {
    pub(super) fn new(
        view: &ServiceView,
        decision: Decision,
        before: &Memory,
        released: Vec<IpAddr>,
    ) -> Self {
        let shown = view.addresses();
        let mut events = Vec::new();
        let mut cleared = false;
        let mut write = None;
        if let Some(mut wanted) = decision.show {
            if !wanted.yields {
                events.extend(changes(shown, &wanted.ingress, decision.moved.as_ref()));
            }
            wanted.remark = remark(&decision.outcome);
            cleared = wanted.ingress.is_empty() && wanted.pool.is_none();
            write = needed(view, shown, wanted).filter(|write| {
                let nothing_shown = matches!(view.ingress, Ingress::None);
                !(before.cleared && cleared && nothing_shown && is_shown(view, write.remark.as_ref()))
            });
        }
        if view.deprecated_annotations && !before.deprecated {
            let note =
                "annotations with the prefix metallb.universe.tf/ are deprecated, use metallb.io/".to_owned();
            events.push(Event { reason: EventReason::DeprecatedAnnotation, note });
        }
        // What the Service's own condition says already was told by whoever led before.
        let known = before.outcome == Outcome::Unplanned
            && view.condition.is_some()
            && is_shown(view, remark(&decision.outcome).as_ref());
        if decision.outcome != before.outcome && !known {
            events.extend(transition(view, &decision.outcome));
        }
        let memory = Memory { outcome: decision.outcome, deprecated: view.deprecated_annotations, cleared };
        Self { write, events, memory, released }
    }
}

/// The same addresses in any order.
pub(super) fn same_set(left: &[IpAddr], right: &[IpAddr]) -> bool {
    left.len() == right.len() && left.iter().all(|address| right.contains(address))
}

/// Equal addresses in another order stay as they are: the order was somebody's choice, and rewriting it gains nothing.
fn needed(view: &ServiceView, shown: &[IpAddr], wanted: Write) -> Option<Write> {
    let invalid = matches!(view.ingress, Ingress::Invalid(_));
    let same = !invalid && same_set(shown, &wanted.ingress);
    let settled = same || wanted.yields;
    if settled && view.allocated_from_pool == wanted.pool && is_shown(view, wanted.remark.as_ref()) {
        return None;
    }
    Some(if same { Write { ingress: shown.to_vec(), ..wanted } } else { wanted })
}

fn is_shown(view: &ServiceView, remark: Option<&Remark>) -> bool {
    match (&view.condition, remark) {
        (None, None) => true,
        // News of the past stay until something else is to be said: removing them alone is no write worth.
        (Some(shown), None) if shown.reason == EventReason::AddressConflict.as_str() => true,
        (Some(shown), Some(remark)) => {
            shown.holds == remark.holds && shown.reason == remark.reason && shown.message == remark.message
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The condition that goes with an outcome. Its words are the same as long as the outcome is.
fn remark(outcome: &Outcome) -> Option<Remark> {
    let (holds, reason, message) = match outcome {
        Outcome::Unplanned | Outcome::NotOurs | Outcome::LeftAlone | Outcome::Given => return None,
        Outcome::Kept { addresses, pool } => {
            (true, EventReason::AddressOutsidePool.as_str(), kept_note(addresses, pool))
        }
        Outcome::Displaced { why } => (true, EventReason::AddressConflict.as_str(), why.clone()),
        Outcome::Contested { managers, addresses } => {
            (false, EventReason::ForeignLoadBalancerStatus.as_str(), contested_note(managers, addresses))
        }
        Outcome::Partial(denied) | Outcome::Denied(denied) => (false, denied.word(), denied.to_string()),
    };
    Some(Remark { holds, reason, message })
}

fn kept_note(addresses: &[IpAddr], pool: &str) -> String {
    format!(
        "[{}] came from pool {pool}, and no pool would hand it out today: the service keeps it until it is deleted or \
         asks for another address",
        quoted(addresses)
    )
}

fn contested_note(managers: &[String], addresses: &[IpAddr]) -> String {
    format!(
        "{} writes the load balancer status too, in place of [{}]: switch it off, or give one of the two a \
         loadBalancerClass; the address stays reserved and is shown again once the other stops",
        managers.join(", "),
        quoted(addresses)
    )
}

fn changes(shown: &[IpAddr], wanted: &[IpAddr], moved: Option<&Moved>) -> Vec<Event> {
    let lost: Vec<IpAddr> = shown.iter().copied().filter(|address| !wanted.contains(address)).collect();
    let gained: Vec<IpAddr> = wanted.iter().copied().filter(|address| !shown.contains(address)).collect();
    let why = moved.map_or("the service no longer has that IP family", |moved| moved.why.as_str());
    let cause = moved.map(|moved| moved.cause);
    // What somebody else wrote is replaced, and nothing that was given is taken back.
    let is_replaced = cause == Some(Cause::Foreign) && !lost.is_empty();
    let foreign = format!(", which this controller did not give: {why}");
    let mut events = Vec::new();
    if !lost.is_empty() && (!is_replaced || gained.is_empty()) {
        let rest = if is_replaced { foreign.clone() } else { format!(": {why}") };
        let note = format!("Released IP [{}]{rest}", quoted(&lost));
        events.push(Event { reason: EventReason::ClearAssignment, note });
    }
    if cause == Some(Cause::Conflict) && !lost.is_empty() {
        let note = format!("[{}] belongs to another service: {why}", quoted(&lost));
        events.push(Event { reason: EventReason::AddressConflict, note });
    }
    if !gained.is_empty() {
        let additional = if gained.len() < wanted.len() { "additional " } else { "" };
        let rest =
            if is_replaced { format!(" in place of [{}]{foreign}", quoted(&lost)) } else { String::new() };
        let note = format!("Assigned {additional}IP [{}]{rest}", quoted(&gained));
        events.push(Event { reason: EventReason::IpAllocated, note });
    }
    events
}

fn transition(view: &ServiceView, outcome: &Outcome) -> Option<Event> {
    let (reason, note) = match outcome {
        Outcome::Unplanned
        | Outcome::NotOurs
        | Outcome::LeftAlone
        | Outcome::Given
        | Outcome::Displaced { .. } => return None,
        Outcome::Kept { addresses, pool } => (EventReason::AddressOutsidePool, kept_note(addresses, pool)),
        Outcome::Contested { managers, addresses } => {
            (EventReason::ForeignLoadBalancerStatus, contested_note(managers, addresses))
        }
        Outcome::Partial(denied) => (
            EventReason::AdditionalAssignFailed,
            format!("Failed to assign an additional IP to \"{}\": {denied}", view.key),
        ),
        Outcome::Denied(denied) => (reason_of(denied), note_of(view, denied)),
    };
    Some(Event { reason, note })
}

fn reason_of(denied: &Denied) -> EventReason {
    match denied {
        Denied::NoClusterIps => EventReason::NoClusterIpsIpFamily,
        Denied::NotEnoughClusterIps => EventReason::NotEnoughClusterIps,
        Denied::RequestedTwice { .. }
        | Denied::RequestNotAnAddress { .. }
        | Denied::RequestTooLong { .. }
        | Denied::RequestSameFamily { .. } => EventReason::LoadBalancerFailed,
        Denied::NoPools
        | Denied::Exhausted { .. }
        | Denied::PoolDisabled { .. }
        | Denied::PoolExhausted { .. }
        | Denied::PoolHasNoPair { .. }
        | Denied::UnknownPool { .. }
        | Denied::OutsidePools { .. }
        | Denied::AcrossPools { .. }
        | Denied::AvoidedAddress { .. }
        | Denied::PoolNotForService { .. }
        | Denied::RequestedFamily { .. }
        | Denied::RequestedPool { .. }
        | Denied::InUse { .. }
        | Denied::PortInUse { .. } => EventReason::AllocationFailed,
    }
}

fn note_of(view: &ServiceView, denied: &Denied) -> String {
    if reason_of(denied) == EventReason::AllocationFailed {
        return format!("Failed to allocate IP for \"{}\": {denied}", view.key);
    }
    denied.to_string()
}
