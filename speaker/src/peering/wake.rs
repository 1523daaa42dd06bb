//! What the driver waits for: each wait is cancel-safe, so that they can run side by side in one `select!`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bgp_proto::{ConnectionId, PeerKey};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::dial::DialFault;
use super::turn::Live;
use crate::plan::{Plan, StopHow};
use crate::takeover::Turn;

/// What ended a wait.
pub(super) enum Wake {
    /// A plan; `None` when its sender is gone.
    Plan(Option<Arc<Plan>>),
    /// The process is to end.
    Stop(StopHow),
    /// An attempt to connect ended.
    Dialled(PeerKey, Result<TcpStream, DialFault>),
    /// A router has called, from this address.
    Called(TcpStream, SocketAddr),
    /// These connections can be read or written.
    Ready(Vec<ConnectionId>),
    /// The state of a watched path has changed.
    Path,
    /// The speaker before or after this one has done something.
    Turn(Turn),
    /// A deadline has come.
    Deadline,
}

/// The one clock of the sessions; tests may pause it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Until the deadline; for ever without one.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The next plan; `None` when its sender is gone.
pub(super) async fn next_plan(plans: Option<&mut watch::Receiver<Arc<Plan>>>) -> Option<Arc<Plan>> {
    match plans {
        Some(plans) => plans.changed().await.ok().map(|()| Arc::clone(&plans.borrow_and_update())),
        None => std::future::pending().await,
    }
}

/// How to end, once that is asked for. A sender that is gone asks for a planned restart.
pub(super) async fn stop_asked(stop: Option<&mut watch::Receiver<Option<StopHow>>>) -> StopHow {
    let Some(stop) = stop else { return std::future::pending().await };
    match stop.wait_for(Option::is_some).await {
        Ok(how) => how.clone().unwrap_or(StopHow::Restart),
        Err(_sender_gone) => StopHow::Restart,
    }
}

/// The connections for which a turn would achieve something; waits until there is one.
pub(super) async fn any_ready(connections: &BTreeMap<ConnectionId, Live>) -> Vec<ConnectionId> {
    poll_fn(|context| {
        let ready: Vec<_> = connections
            .iter()
            .filter(|(_, live)| live.connection.poll_ready(context))
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() { Poll::Pending } else { Poll::Ready(ready) }
    })
    .await
}
