//! What one Service needs: pure, from its view, the pools inside the allocator and what was decided last time.
//!
//! The policy is *Keep*: an address in use is given up only when the Service itself asks for something else, stops
//! being ours, or genuinely conflicts with another Service. An edit of a pool moves an address only where the policy
//! *Renumber* is asked for.
//!
//! Leaves out when a Service is looked at, and the writing.

mod demand;
mod step;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Instant;

use api::names::FIELD_MANAGER_CONTROLLER;
use api::selector::Labels;
use api::service::{Ingress, IpFamily, ServiceView, class_is_ours};

use crate::alloc::{Allocator, Applicant, Denied, Existing, Request, Want};

pub use step::{Event, Memory, Outcome, Remark, Step, Write};

use demand::Demand;
use step::{Cause, Decision, Moved, same_set};

/// The facts around a Service that are not written on it.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Labels of its Namespace; empty if that is not known.
    pub namespace_labels: &'a Labels,
    /// The load-balancer class that is ours; `None` = Services without a class.
    pub class: Option<&'a str>,
    /// Field managers that write the addresses of this Service too: the status is left to them.
    pub rivals: &'a [String],
    /// When this is.
    pub now: Instant,
}

/// Decides about one Service. Level-triggered: the same input twice gives a second step without a write.
pub fn plan(
    view: &ServiceView,
    around: &Surroundings<'_>,
    allocator: &mut Allocator,
    before: &Memory,
) -> Step {
    allocator.advance(around.now);
    if allocator.holding(&view.key).is_some_and(|held| held.uid != view.uid) {
        allocator.release(&view.key);
    }
    let decision =
        if is_ours(view, around) { decide(view, around, allocator) } else { leave(view, allocator) };
    let decision = if around.rivals.is_empty() { decision } else { yielded(decision, around.rivals) };
    Step::new(view, decision, before, allocator.take_touched())
}

/// What is given stays given; only the status is left to the others, with a word about it.
fn yielded(decision: Decision, rivals: &[String]) -> Decision {
    match decision.show {
        Some(write) if !write.ingress.is_empty() => {
            let outcome = Outcome::Contested { managers: rivals.to_vec(), addresses: write.ingress.clone() };
            Decision { outcome, show: Some(Write { yields: true, ..write }), moved: None }
        }
        Some(_) | None => decision,
    }
}

/// What a Service that already shows addresses brings along when the allocator is rebuilt; `None` when it shows none
/// or is not ours.
#[must_use]
pub fn existing(view: &ServiceView, around: &Surroundings<'_>) -> Option<Existing> {
    if !is_ours(view, around) {
        return None;
    }
    let demand = Demand::try_new(view).ok()?;
    let addresses = one_of_each_family(&demand, view.addresses());
    if addresses.is_empty() {
        return None;
    }
    Some(candidate(view, &demand, addresses, view.vouched_pool().map(str::to_owned)))
}

fn is_ours(view: &ServiceView, around: &Surroundings<'_>) -> bool {
    view.is_load_balancer() && class_is_ours(view.class.as_deref(), around.class)
}

/// A Service of another controller is not looked at; only what our own field manager still owns there is given up.
fn leave(view: &ServiceView, allocator: &mut Allocator) -> Decision {
    allocator.release(&view.key);
    let ours = view.managed.iter().any(|entry| entry.manager == FIELD_MANAGER_CONTROLLER);
    let moved = Some("the service is no longer served by this controller".into());
    Decision { outcome: Outcome::NotOurs, show: ours.then(Write::default), moved }
}

fn decide(view: &ServiceView, around: &Surroundings<'_>, allocator: &mut Allocator) -> Decision {
    let demand = match Demand::try_new(view) {
        Ok(demand) => demand,
        Err(denied) => {
            allocator.release(&view.key);
            let moved = Some(denied.clone().into());
            return Decision { outcome: Outcome::Denied(denied), show: Some(Write::default()), moved };
        }
    };
    let moved = match settle(view, around, &demand, allocator) {
        Settled::Kept(moved) => return Decision { moved, ..kept(view, around, &demand, allocator) },
        Settled::Nothing => None,
        Settled::Moved(why) => Some(why),
    };
    // Without a pool there is nothing to judge foreign addresses by: they stay until there is one. Not those that
    // another Service has.
    let nothing_to_judge_by = allocator.cannot_judge()
        && !view.addresses().is_empty()
        && allocator.admits(&view.key, view.addresses(), &demand.sharing);
    if view.deleting || nothing_to_judge_by {
        return Decision { outcome: Outcome::LeftAlone, show: None, moved: None };
    }
    allocator.release(&view.key);
    match allocate(view, around, &demand, allocator) {
        Ok(()) => displaced(Decision { moved, ..kept(view, around, &demand, allocator) }),
        Err(denied) => {
            let moved = moved.or_else(|| Some(denied.clone().into()));
            Decision { outcome: Outcome::Denied(denied), show: Some(Write::default()), moved }
        }
    }
}

enum Settled {
    /// The allocator holds what the Service keeps, and why that is not what it shows.
    Kept(Option<Moved>),
    /// There was nothing to keep.
    Nothing,
    /// Nothing of what there was can be kept, and why.
    Moved(Moved),
}

/// A Service that lost its address to another one is told so, also when it gets a new one at once.
fn displaced(decision: Decision) -> Decision {
    match (&decision.outcome, &decision.moved) {
        (Outcome::Given, Some(Moved { why, cause: Cause::Conflict })) => {
            Decision { outcome: Outcome::Displaced { why: why.clone() }, ..decision }
        }
        _ => decision,
    }
}

/// Keeps the addresses that the Service shows; failing that, those that were given to it and that it does not show
/// (the write is still to be made, or somebody wiped it).
fn settle(
    view: &ServiceView,
    around: &Surroundings<'_>,
    demand: &Demand<'_>,
    allocator: &mut Allocator,
) -> Settled {
    let shown = view.addresses();
    let mut moved = None;
    if !shown.is_empty() {
        // Once we gave addresses ourselves, the annotation does not vouch for others in their place. It does for what
        // stands beside them: a Service that changed while there was no pool to judge by shows more than it holds.
        let recorded = match allocator.holding(&view.key) {
            Some(held) if same_set(&held.addresses, shown) => Some(held.pool.clone()),
            Some(held) if !held.addresses.iter().all(|address| shown.contains(address)) => None,
            Some(_) | None => view.vouched_pool().map(str::to_owned),
        };
        match keep(view, around, demand, shown, recorded, allocator) {
            Ok(()) => return Settled::Kept(None),
            Err(why) => moved = Some(why),
        }
    } else if let Ingress::Invalid(text) = &view.ingress {
        moved = Some(format!("status shows {text:?}, which is no IP address").into());
    }
    if let Some(held) = allocator.holding(&view.key).cloned() {
        match keep(view, around, demand, &held.addresses, Some(held.pool), allocator) {
            Ok(()) => return Settled::Kept(moved),
            Err(why) => moved = moved.or(Some(why)),
        }
    }
    moved.map_or(Settled::Nothing, Settled::Moved)
}

fn keep(
    view: &ServiceView,
    around: &Surroundings<'_>,
    demand: &Demand<'_>,
    addresses: &[IpAddr],
    recorded: Option<String>,
    allocator: &mut Allocator,
) -> Result<(), Moved> {
    let kept = one_of_each_family(demand, addresses);
    if kept.is_empty() {
        return Err("the service has no clusterIP of that IP family".into());
    }
    if let Some(pool) = demand.pool
        && recorded.as_deref() != Some(pool)
        && kept.iter().all(|address| allocator.pool_around(*address) != Some(pool))
    {
        return Err(format!("the service asks for pool {pool}").into());
    }
    if let Ok(requested) = &demand.addresses
        && !requested.is_empty()
        && !same_set(requested, &kept)
    {
        return Err("the service asks for other addresses".into());
    }
    let applicant = applicant(view, around);
    let objection = |address: &IpAddr| allocator.objection(*address, recorded.as_deref(), applicant);
    if let Some(why) = kept.iter().find_map(objection) {
        return Err(why.into());
    }
    let existing = candidate(view, demand, kept, recorded);
    allocator.adopt(existing).map_err(|denied| Moved::refused(denied, view))
}

fn candidate(
    view: &ServiceView,
    demand: &Demand<'_>,
    addresses: Vec<IpAddr>,
    recorded_pool: Option<String>,
) -> Existing {
    Existing {
        service: view.key.clone(),
        uid: view.uid.clone(),
        addresses,
        recorded_pool,
        named_pool: demand.pool.map(str::to_owned),
        sharing: demand.sharing.clone(),
    }
}

fn one_of_each_family(demand: &Demand<'_>, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first = |family| addresses.iter().copied().find(|address| IpFamily::of(*address) == family);
    demand.families.iter().filter_map(|family| first(*family)).collect()
}

fn allocate(
    view: &ServiceView,
    around: &Surroundings<'_>,
    demand: &Demand<'_>,
    allocator: &mut Allocator,
) -> Result<(), Denied> {
    let addresses = demand.addresses.as_ref().map_err(Clone::clone)?;
    let want = if addresses.is_empty() {
        demand.pool.map_or(Want::Any, Want::FromPool)
    } else {
        demand.check_families(addresses)?;
        Want::Exactly { addresses, pool: demand.pool }
    };
    allocator.allocate(&request(view, around, demand, want)).map(|_| ())
}

fn applicant<'a>(view: &'a ServiceView, around: &Surroundings<'a>) -> Applicant<'a> {
    Applicant {
        namespace: view.key.namespace(),
        namespace_labels: around.namespace_labels,
        labels: &view.labels,
    }
}

fn request<'a>(
    view: &'a ServiceView,
    around: &Surroundings<'a>,
    demand: &'a Demand<'_>,
    want: Want<'a>,
) -> Request<'a> {
    Request {
        service: &view.key,
        uid: &view.uid,
        applicant: applicant(view, around),
        families: &demand.families,
        one_will_do: demand.one_will_do,
        sharing: &demand.sharing,
        want,
    }
}

/// The allocator holds something for the Service: add the family that is missing, and say how it stands.
fn kept(
    view: &ServiceView,
    around: &Surroundings<'_>,
    demand: &Demand<'_>,
    allocator: &mut Allocator,
) -> Decision {
    let held = |allocator: &Allocator| allocator.holding(&view.key).map_or(0, |held| held.addresses.len());
    let mut outcome = Outcome::Given;
    if held(allocator) < demand.families.len() {
        let missing = match &demand.addresses {
            // An explicit request that is met says exactly what is wanted.
            Ok(requested) if !requested.is_empty() => demand.check_families(requested),
            Ok(_) if view.deleting => Ok(()),
            Ok(_) => {
                let want = demand.pool.map_or(Want::Any, Want::FromPool);
                allocator.extend(&request(view, around, demand, want))
            }
            Err(_) => Ok(()),
        };
        if let Err(denied) = missing {
            outcome = Outcome::Partial(denied);
        }
    }
    let Some(holding) = allocator.holding(&view.key) else {
        return Decision { outcome, show: Some(Write::default()), moved: None };
    };
    let stranded = |address: &IpAddr| !allocator.hands_out(*address);
    let addresses: Vec<IpAddr> = holding.addresses.iter().copied().filter(stranded).collect();
    if !addresses.is_empty() {
        outcome = Outcome::Kept { addresses, pool: holding.pool.clone() };
    }
    if let Err(denied) = &demand.addresses {
        outcome = Outcome::Denied(denied.clone());
    }
    let show =
        Write { ingress: holding.addresses.clone(), pool: Some(holding.pool.clone()), ..Write::default() };
    Decision { outcome, show: Some(show), moved: None }
}
