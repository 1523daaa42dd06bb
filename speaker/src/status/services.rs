//! Keeps the ServiceBGPStatus objects of this node, where they are switched on: ten writes a second at most, only what
//! differs, and nothing feeds back into what is announced.
//!
//! Leaves out what the objects say (`service`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::names::FIELD_MANAGER_SPEAKER;
use api::v1beta1::ServiceBGPStatus;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use runtime::client::{CallError, call};
use runtime::status::{StatusOutcome, WRITE_LIMIT, apply_object, apply_status};
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use super::Inlets;
use super::object::Owner;
use super::service::{Shelf, Step, meant_peers, object, selector, status};
use crate::plan::Plan;

/// Time between two writes.
const SPACING: Duration = Duration::from_millis(100);

/// Changes of the plan are gathered this long.
const GATHER: Duration = Duration::from_secs(1);

/// First wait after a failure; it doubles up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LAST_WAIT: Duration = Duration::from_secs(60);

/// The most objects that one answer of the API server lists.
const PAGE: u32 = 500;

/// How long it may take to clear the objects away at a removal.
const CLEAR_LIMIT: Duration = Duration::from_secs(5);

/// Why a write brought nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("field managers {0:?} write the object, too")]
    Foreign(Vec<String>),
    #[error("the object went away meanwhile")]
    Gone,
}

/// Writes until the senders of the states are gone.
pub async fn run(client: Client, namespace: String, node: String, inlets: Inlets) {
    let selector = match selector(&node) {
        Ok(selector) => selector,
        Err(fault) => return tracing::warn!(%fault, "no ServiceBGPStatus is written"),
    };
    let api: Api<ServiceBGPStatus> = Api::namespaced(client, &namespace);
    let Inlets { mut plan, node: mut own, mut reads, .. } = inlets;
    let Ok(()) = plan.wait_for(|plan| plan.synced).await.map(drop) else { return };
    let uid = own.wait_for(|own| own.as_ref().is_some_and(|own| !own.uid.is_empty())).await;
    let Ok(Some(node_uid)) = uid.map(|own| own.as_ref().map(|own| own.uid.clone())) else { return };
    let owner = Owner { namespace, node, node_uid };
    let mut wait = FIRST_WAIT;
    loop {
        match keep(&api, &owner, &selector, &mut plan, &mut reads, &mut wait).await {
            Ok(End::Over) => return,
            Ok(End::Doubt) => {}
            Err(fault) => {
                tracing::warn!(%fault, "ServiceBGPStatus not written: trying again");
                sleep(wait).await;
                wait = (wait * 2).min(LAST_WAIT);
            }
        }
    }
}

/// Why the objects are kept no longer.
enum End {
    /// The plan's sender is gone.
    Over,
    /// The API server may have other data than those that were read.
    Doubt,
}

/// Reads what is there and keeps it true. After a failure it is not known what is there.
async fn keep(
    api: &Api<ServiceBGPStatus>,
    owner: &Owner,
    selector: &str,
    plan: &mut Receiver<Arc<Plan>>,
    reads: &mut Receiver<u64>,
    wait: &mut Duration,
) -> Result<End, Fault> {
    reads.mark_unchanged();
    let mut shelf = read(api, selector).await?;
    loop {
        let wanted = meant_peers(&plan.borrow_and_update());
        let mut steps = VecDeque::from(shelf.steps(&owner.node, &wanted));
        while let Some(step) = steps.pop_front() {
            take(api, owner, &step).await?;
            *wait = FIRST_WAIT;
            shelf.done(&owner.node, step);
            sleep(SPACING).await;
            if plan.has_changed().unwrap_or(false) || reads.has_changed().unwrap_or(false) {
                break;
            }
        }
        if steps.is_empty() {
            let changed = tokio::select! {
                changed = plan.changed() => changed,
                changed = reads.changed() => return Ok(if changed.is_ok() { End::Doubt } else { End::Over }),
            };
            if changed.is_err() {
                return Ok(End::Over);
            }
        } else if reads.has_changed().unwrap_or(false) {
            return Ok(End::Doubt);
        }
        sleep(GATHER).await;
    }
}

async fn read(api: &Api<ServiceBGPStatus>, selector: &str) -> Result<Shelf, Fault> {
    let mut shelf = Shelf::default();
    let mut page = ListParams::default().labels(selector).limit(PAGE);
    loop {
        let list = call(WRITE_LIMIT, api.list(&page)).await?;
        for found in list.items {
            shelf.put(found.metadata.name.unwrap_or_default(), found.status);
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(shelf),
        }
    }
}

async fn take(api: &Api<ServiceBGPStatus>, owner: &Owner, step: &Step) -> Result<(), Fault> {
    match step {
        Step::Write(service, peers) => {
            judge(apply_object(api, FIELD_MANAGER_SPEAKER, &object(owner, service)).await)?;
            judge(apply_status(api, FIELD_MANAGER_SPEAKER, &status(owner, service, peers)).await)
        }
        Step::Remove(name) => match call(WRITE_LIMIT, api.delete(name, &DeleteParams::default())).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused(answer)) if answer.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        },
    }
}

fn judge(outcome: StatusOutcome) -> Result<(), Fault> {
    match outcome {
        StatusOutcome::Applied { .. } => Ok(()),
        StatusOutcome::Conflict { managers, .. } => Err(Fault::Foreign(managers)),
        StatusOutcome::Gone => Err(Fault::Gone),
        StatusOutcome::Failed(error) => Err(error.into()),
    }
}

/// This speaker is removed, and its objects with it.
pub async fn clear(client: Client, namespace: &str, node: &str) {
    let Ok(selector) = selector(node) else { return };
    let api: Api<ServiceBGPStatus> = Api::namespaced(client, namespace);
    let all = ListParams::default().labels(&selector);
    if let Err(error) = call(CLEAR_LIMIT, api.delete_collection(&DeleteParams::default(), &all)).await {
        tracing::warn!(%error, "the ServiceBGPStatus objects of this node are left behind");
    }
}
