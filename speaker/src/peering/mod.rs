//! Keeps the BGP sessions of this node: TCP around one `bgp_proto::Speaker`.
//!
//! [`run`] is told what is wanted (a [`Plan`]) and tells how it stands (a [`SessionTable`]); both are whole states
//! in watch channels. Inside:
//! `roster` (which peers run), `member` (one of them), `whereabouts` (finding routers that are not written down),
//! `driver` (the loop) with `wake` (what it waits for) and `turn` (what it writes at once),
//! `dial` (opening TCP), `listen` (being called), `connection` (octets in and out), `gather` (when news goes out), `latency`
//! (how long they take), `interface` (next hops) and `netlink` below it, `advert` (being found on unnumbered links), `paths`
//! (BFD beside the sessions), `report` (rows), `shutdown` (the mark before a removal), `sockopt` (socket options). Leaves
//! out every decision about Services (`decide`) and about BGP messages (`bgp_proto`).

mod advert;
mod connection;
mod dial;
mod driver;
pub mod gather;
mod interface;
mod latency;
mod listen;
mod member;
mod netlink;
mod paths;
mod report;
mod roster;
mod router_id;
mod shutdown;
pub(crate) mod sockopt;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod wake;
mod whereabouts;

use std::sync::Arc;
use std::time::Duration;

use api::herald::MAX_NETWORKS_LISTED;
use tokio::sync::watch;

use crate::metrics::WireTimes;
use crate::plan::{Plan, SessionTable, StopHow};
use crate::takeover::{Place, Role, Succession};

/// How long the orderly end takes at most.
pub const LONGEST_END: Duration = driver::LONGEST_END;

/// The networks that this node is connected to, as text, sorted; as many as one SpeakerState lists. `None` when the kernel
/// gives no answer. One short exchange with the kernel; needs no capability.
#[must_use]
pub fn connected_networks() -> Option<Vec<String>> {
    let networks = interface::connected_networks().ok()?;
    Some(networks.iter().take(MAX_NETWORKS_LISTED).map(ToString::to_string).collect())
}

/// What peering has to know besides the plan.
#[derive(Clone, Debug)]
pub struct PeeringSettings {
    /// The name of this node; gives the router ID of sessions that have neither a configured one nor an IPv4
    /// address.
    pub node_name: String,
    /// Where the jitter of timers comes from; different on each node.
    pub seed: u64,
    /// Where it is counted how long events take to the routers.
    pub times: WireTimes,
}

/// Runs the sessions until `stop` carries a [`StopHow`], and ends when the orderly end is done (a few seconds at
/// most). Nothing is dialled before the first synced plan: a speaker that has not looked yet has nothing to say, and
/// saying that would withdraw what the routers still hold from before a restart. When the plan's sender is gone, the
/// last plan stays in force; when the sender of `stop` is gone, that is a planned restart.
pub async fn run(
    plan: watch::Receiver<Arc<Plan>>,
    sessions: watch::Sender<Arc<SessionTable>>,
    settings: PeeringSettings,
    stop: watch::Receiver<Option<StopHow>>,
) {
    driver::Driver::new(&settings, sessions, Succession::alone()).run(plan, stop).await;
}

/// As [`run`], in a row of processes: takes over the sessions of a speaker that runs on this node, and hands them to
/// the next. `role` says whose turn it is.
pub async fn run_in_turn(
    plan: watch::Receiver<Arc<Plan>>,
    sessions: watch::Sender<Arc<SessionTable>>,
    settings: PeeringSettings,
    mut stop: watch::Receiver<Option<StopHow>>,
    place: Place,
    role: watch::Sender<Role>,
) {
    // An end that is asked for before it is known whether there is anything to end.
    let succession = tokio::select! {
        succession = Succession::begin(place, role) => succession,
        _ = stop.wait_for(Option::is_some) => return,
    };
    driver::Driver::new(&settings, sessions, succession).run(plan, stop).await;
}
