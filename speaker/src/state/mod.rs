//! The last plan on file, for a start while the API server is away.
//!
//! [`Memory`] writes what is announced, and gives it back to a process that finds no API server. What is restored
//! was announced by the last process of this node when it ended: it is as if that one had gone on, which no outage of the
//! API server ends. A file that may be wrong is not used: `file` checks what it says of itself. Leaves out
//! the plan of a running process, which needs no file.

mod file;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bgp_proto::{Change, RouteSet};
use runtime::client::CallError;
use runtime::watch::Barrier;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::plan::Plan;
use crate::takeover::Role;
pub use file::{StateFault, StateFile};

/// Between two writes. A plan that withdraws takes the file away at once.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// How long the first answer of the API server is waited for.
const API_WAIT: Duration = Duration::from_secs(5);

/// How long a server that answers may take to give the first list.
const FIRST_LIST_WAIT: Duration = Duration::from_secs(10);

/// How long the end waits for the file; part of the grace period of a Pod.
pub const END_LIMIT: Duration = Duration::from_secs(1);

/// What an end leaves on file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The newest plan, for the next start.
    Keep,
    /// Nothing: there is to be no next start.
    Remove,
}

/// The plan that is to be announced, and its file.
#[derive(Debug)]
pub struct Memory {
    feeding: JoinHandle<()>,
    keeping: JoinHandle<()>,
    end: oneshot::Sender<Ending>,
}

impl Memory {
    /// Passes on the plans of this process, and before the first one what is on file, where that is to be used
    /// (`restore`). What is passed on is what is kept on file, so that a plan from there stays young while it is in use.
    #[must_use]
    pub fn start(
        file: &StateFile,
        answered: impl Future<Output = Result<(), CallError>> + Send + 'static,
        barrier: Barrier,
        plan: watch::Receiver<Arc<Plan>>,
        role: &watch::Receiver<Role>,
    ) -> (Self, watch::Receiver<Arc<Plan>>) {
        let (sender, wanted) = watch::channel(Arc::new(Plan::unsynced()));
        let (end, ending) = oneshot::channel();
        let keeping = tokio::spawn(keep(file.clone(), wanted.clone(), role.clone(), ending));
        let restored = restore(file.clone(), answered, barrier, role.clone());
        let feeding = tokio::spawn(feed(restored, plan, sender));
        (Self { feeding, keeping, end }, wanted)
    }

    /// Passes nothing on any more, and leaves the file as it is to be. A write that is under way is over then. Bounded.
    pub async fn end(self, ending: Ending) {
        // A keeper that has ended by itself has nothing left to do.
        let _ = self.end.send(ending);
        if tokio::time::timeout(END_LIMIT, self.keeping).await.is_err() {
            warn!("the state folder does not answer");
        }
        self.feeding.abort();
    }
}

/// What is on file, as far as this process knows.
enum Kept {
    /// Nothing, or nothing that holds.
    Nothing,
    /// This plan.
    This(Arc<Plan>),
}

/// Writes what is announced, while this process announces. Ends when it is told to, or the plan's sender is gone.
async fn keep(
    file: StateFile,
    mut plan: watch::Receiver<Arc<Plan>>,
    mut role: watch::Receiver<Role>,
    mut ending: oneshot::Receiver<Ending>,
) {
    let mut kept = Kept::Nothing;
    let mut write_at: Option<Instant> = None;
    let mut touch_at = Instant::now() + file.touch_every();
    let mut failing = false;
    loop {
        let now = Arc::clone(&plan.borrow_and_update());
        if now.synced && role.borrow_and_update().speaks() {
            if let Kept::This(before) = &kept
                && withdraws(before, &now)
            {
                file.remove();
                kept = Kept::Nothing;
            }
            let differs = match &kept {
                Kept::Nothing => true,
                Kept::This(before) => !is_same(before, &now),
            };
            if differs && write_at.is_none_or(|at| at <= Instant::now()) {
                write_at = Some(Instant::now() + WRITE_EVERY);
                touch_at = Instant::now() + file.touch_every();
                match write(&file, &now).await {
                    Ok(()) => (kept, failing) = (Kept::This(now), false),
                    Err(error) if !failing => {
                        // What an earlier process left there may be withdrawn by now.
                        file.remove();
                        (kept, failing) = (Kept::Nothing, true);
                        warn!(file = %file.path().display(), error, "the last plan cannot be kept: a start while the API server is away announces nothing");
                    }
                    Err(_) => {}
                }
                continue;
            }
            if !differs && touch_at <= Instant::now() {
                touch_at = Instant::now() + file.touch_every();
                file.touch(SystemTime::now());
            }
            let next = if differs { write_at.unwrap_or(touch_at) } else { touch_at };
            tokio::select! {
                changed = plan.changed() => if changed.is_err() { return },
                changed = role.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(next) => {}
                ending = &mut ending => {
                    let newest = Arc::clone(&plan.borrow_and_update());
                    let is_kept = matches!(&kept, Kept::This(before) if is_same(before, &newest));
                    return finish(&file, ending.ok(), (newest.synced && !is_kept).then_some(newest)).await;
                }
            }
        } else {
            // Whoever announces meanwhile writes there.
            kept = Kept::Nothing;
            tokio::select! {
                changed = plan.changed() => if changed.is_err() { return },
                changed = role.changed() => if changed.is_err() { return },
                ending = &mut ending => {
                    // Where this process announces it has announced nothing, and the file is of the one before.
                    let removes = role.borrow().speaks() && ending == Ok(Ending::Remove);
                    return if removes { file.remove() };
                }
            }
        }
    }
}

/// The end of a process that announces: `news` is the plan that is not on file yet.
async fn finish(file: &StateFile, ending: Option<Ending>, news: Option<Arc<Plan>>) {
    match (ending, news) {
        (Some(Ending::Remove), _) => file.remove(),
        (Some(Ending::Keep), Some(news)) => {
            if let Err(error) = write(file, &news).await {
                debug!(error, "the last plan is not on file");
            }
        }
        (Some(Ending::Keep), None) | (None, _) => {}
    }
}

async fn write(file: &StateFile, plan: &Arc<Plan>) -> Result<(), String> {
    let (file, plan) = (file.clone(), Arc::clone(plan));
    // Writing down ten thousand routes takes longer than a withdrawal may wait.
    let written = spawn_blocking(move || file.write(&plan)).await;
    written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Waits until it is clear whether the API server is away, and gives the plan on file if it is and this process
/// announces. `answered` is the first word of the server.
async fn restore(
    file: StateFile,
    answered: impl Future<Output = Result<(), CallError>>,
    barrier: Barrier,
    mut role: watch::Receiver<Role>,
) -> Option<Plan> {
    let watches = barrier.waiting().len();
    let is_there = match tokio::time::timeout(API_WAIT, answered).await {
        Ok(Ok(()) | Err(CallError::Refused(_))) => true,
        Ok(Err(error)) => {
            warn!(%error, "API server does not answer yet: trying again until it does");
            false
        }
        Err(_elapsed) => false,
    };
    if is_there {
        tokio::time::sleep(FIRST_LIST_WAIT).await;
    }
    role.wait_for(|role| role.speaks()).await.ok()?;
    // One list is a fact of today, and the file is of yesterday: then all of today's are waited for.
    if barrier.waiting().len() < watches {
        return None;
    }
    match spawn_blocking(move || file.read(SystemTime::now())).await.ok()? {
        Ok(plan) => {
            info!(
                peers = plan.peers.len(),
                "the API server is away: announcing what the last speaker of this node announced"
            );
            Some(plan)
        }
        Err(StateFault::None) => None,
        Err(fault) => {
            warn!(%fault, "the API server is away, and the plan on file is not used");
            None
        }
    }
}

/// Passes the plans of this process on, and before the first one what was restored.
async fn feed(
    restored: impl Future<Output = Option<Plan>>,
    mut plan: watch::Receiver<Arc<Plan>>,
    wanted: watch::Sender<Arc<Plan>>,
) {
    let mut restored = std::pin::pin!(restored);
    let mut waits = true;
    loop {
        let now = Arc::clone(&plan.borrow_and_update());
        waits &= !now.synced;
        if now.synced {
            wanted.send_replace(now);
        }
        tokio::select! {
            changed = plan.changed() => if changed.is_err() {
                // Nobody plans any more, and the last plan stays in force.
                return std::future::pending().await;
            },
            found = &mut restored, if waits => {
                waits = false;
                if let Some(found) = found {
                    wanted.send_replace(Arc::new(found));
                }
            }
        }
    }
}

/// Whether a route or a peer of the first plan is not in the second.
fn withdraws(before: &Plan, after: &Plan) -> bool {
    before.peers.iter().any(|(name, old)| {
        let Some(new) = after.peers.get(name) else { return true };
        !Arc::ptr_eq(&old.routes, &new.routes)
            && RouteSet::diff(&old.routes, &new.routes).any(|change| matches!(change, Change::Unset(_)))
    })
}

fn is_same(one: &Plan, other: &Plan) -> bool {
    one.peers.len() == other.peers.len()
        && one.peers.iter().zip(&other.peers).all(|((name, one), (other_name, other))| {
            name == other_name
                && (Arc::ptr_eq(&one.peer, &other.peer) || one.peer == other.peer)
                && (Arc::ptr_eq(&one.routes, &other.routes)
                    || RouteSet::diff(&one.routes, &other.routes).next().is_none())
        })
}
