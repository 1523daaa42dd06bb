//! What the halves of the speaker hand to each other: the wanted state one way, the sessions' state the other way.
//!
//! [`Plan`] travels from the deciding side to peering, [`SessionTable`] comes back for status, metrics and
//! readiness. Both are complete states in `tokio::sync::watch` channels, never changes, and share structure:
//! a route set that did not change is the same `Arc`. Holds data only; who decides and who dials is elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use api::config::Peer;
use bfd_proto::State;
use bgp_proto::{Counters, Families, RouteSet, VerdictCounts};

pub use crate::decide::verdict::{Announcement, Reason, Verdict};
pub use crate::decide::verdicts::Verdicts;

/// Everything that this node wants its routers to know, at one moment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The peers that run on this node (their node selectors match), by the name of the BGPPeer object.
    /// A peer with `refused` set is listed too, so that its row says why it stays down; it is never dialled.
    pub peers: BTreeMap<String, PeerPlan>,
    /// What was decided for each Service of this speaker's class.
    pub verdicts: Arc<Verdicts>,
    /// Whether all watches have been complete once. Until then `peers` is empty, and emptiness means nothing:
    /// neither is anything to be withdrawn nor any session to be closed.
    pub synced: bool,
    /// Counts the published plans of this process, from 0 (the unsynced one).
    pub version: u64,
    /// When the events behind the newest plans came in.
    pub heard: Heard,
    /// The BGPAdvertisements for a bounded number of nodes that this node could follow, for the other speakers to know.
    pub able: Arc<BTreeSet<String>>,
}

/// When the events came in that changed the routes of the newest plans. Holds the last few plans, so that one that was
/// overtaken before anybody looked at it is timed, too.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<[(u64, Instant)]>);

impl Heard {
    /// How many plans are remembered.
    pub const KEPT: usize = 32;

    /// The same with one more: the plan of that version came of an event at that time.
    #[must_use]
    pub fn with(&self, version: u64, at: Instant) -> Self {
        let first = (self.0.len() + 1).saturating_sub(Self::KEPT);
        Self(self.0.iter().skip(first).copied().chain([(version, at)]).collect())
    }

    /// The events behind plans that are newer than that version, oldest first.
    pub fn after(&self, version: u64) -> impl Iterator<Item = Instant> {
        self.0.iter().filter(move |(of, _)| *of > version).map(|(_, at)| *at)
    }
}

/// One peer of this node and the routes that it is to have.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// The checked BGPPeer; the same `Arc` as long as nothing in it changed.
    pub peer: Arc<Peer>,
    /// All routes wanted on this session; the same `Arc` as long as no route changed.
    pub routes: Arc<RouteSet>,
}

impl Plan {
    /// The plan of a speaker that does not know the cluster yet.
    #[must_use]
    pub fn unsynced() -> Self {
        Self {
            peers: BTreeMap::new(),
            verdicts: Arc::new(Verdicts::default()),
            synced: false,
            version: 0,
            heard: Heard::default(),
            able: Arc::default(),
        }
    }

    /// Whether some session is to have other routes than by the plan before.
    #[must_use]
    pub fn moves_routes(&self, before: &Self) -> bool {
        self.peers.iter().any(|(name, plan)| {
            let known = before.peers.get(name);
            known.is_none_or(|known| !Arc::ptr_eq(&known.routes, &plan.routes))
        })
    }
}

/// How the process ends, told to peering once; the channel carries `None` while the speaker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopHow {
    /// Planned restart: TCP is closed without a Cease, graceful restart keeps the routes.
    Restart,
    /// The node leaves: routes are withdrawn and the sessions end with this text for the router's operator.
    Remove(String),
}

impl fmt::Display for StopHow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.write_str("restart: routers keep the routes"),
            Self::Remove(why) => write!(f, "removal: {why}"),
        }
    }
}

/// The sessions of this node, by the name of the BGPPeer object; where that names a network of routers, by
/// `NAME@ADDRESS` for each that has called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTable {
    /// One row for each peer of the plan, refused ones included.
    pub sessions: BTreeMap<String, SessionRow>,
}

impl SessionTable {
    /// The rows of one BGPPeer, with their names: its own, or those of the routers of its network.
    pub fn rows_of(&self, peer: &str) -> impl Iterator<Item = (&str, &SessionRow)> {
        let callers = format!("{peer}@");
        let own = self.sessions.get_key_value(peer);
        let others =
            self.sessions.range(callers.clone()..).take_while(move |(name, _)| name.starts_with(&callers));
        own.into_iter().chain(others).map(|(name, row)| (name.as_str(), row))
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionPhase {
    /// The configuration forbids the session (a missing Secret, say); it is not tried.
    Refused,
    /// RFC 4271 §8.2.2: waiting before the next attempt.
    Idle,
    /// RFC 4271 §8.2.2: TCP is being connected.
    Connect,
    /// RFC 4271 §8.2.2: TCP could not be connected, the retry timer runs.
    Active,
    /// RFC 4271 §8.2.2: our OPEN is on its way.
    OpenSent,
    /// RFC 4271 §8.2.2: both OPENs agree, the first KEEPALIVE is awaited.
    OpenConfirm,
    /// RFC 4271 §8.2.2: routes flow.
    Established,
}

impl SessionPhase {
    /// The word that SpeakerState and `speakerctl peers` show.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "Refused",
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

/// One session as the operator sees it. Wall-clock times: the driver turns its instants into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The router's address; all zeros while it is not found, and the network's where routers of a network may call.
    pub address: IpAddr,
    /// The router's TCP port.
    pub port: u16,
    /// The router's AS number: the one it sent, else the configured one, else (dynamic ASN) `None`.
    pub remote_asn: Option<u32>,
    /// Our AS number on this session.
    pub local_asn: u32,
    /// Where the session stands.
    pub phase: SessionPhase,
    /// When it entered that phase.
    pub since: SystemTime,
    /// The address families whose routes the session carries; before it is Established, those that it is to carry.
    pub carries: Families,
    /// The routes that are written to the session to the last one, as far as it carries their family; `None` while
    /// something is missing.
    pub written: Option<Arc<RouteSet>>,
    /// Prefixes that the router has been told and not yet untold.
    pub prefixes_sent: u32,
    /// Prefixes wanted but not yet on the wire.
    pub prefixes_pending: u32,
    /// Negotiated hold time in seconds; `None` while not negotiated or switched off.
    pub hold_time_seconds: Option<u16>,
    /// Negotiated keepalive interval in seconds; `None` as above.
    pub keepalive_seconds: Option<u16>,
    /// The router's BGP Identifier.
    pub router_id: Option<Ipv4Addr>,
    /// Our BGP Identifier on this session; `None` while there is none to be tried.
    pub local_router_id: Option<Ipv4Addr>,
    /// Our address on the connection.
    pub local_address: Option<IpAddr>,
    /// Why the session is refused or went down last.
    pub last_error: Option<SessionFault>,
    /// How often the session has been Established since the process started.
    pub established_count: u32,
    /// BGP messages sent over all connections of this session.
    pub messages_sent: u64,
    /// BGP messages received over all connections of this session.
    pub messages_received: u64,
    /// UPDATE messages sent over all connections of this session.
    pub updates_sent: u64,
    /// What received UPDATEs were worth; `None` unless the peer's are inspected.
    pub verdicts: Option<VerdictCounts>,
    /// BGP messages of each type, both ways.
    pub messages: Counters,
    /// Octets that were written and that the router's TCP had not acknowledged at the last look; `None` while the session is
    /// not Established, or where the kernel does not say.
    pub unacknowledged: Option<u32>,
    /// How BFD stands on the way to this router; `None` where no BFD is wanted.
    pub bfd: Option<BfdRow>,
}

/// One BFD session as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdRow {
    /// Its state; AdminDown when the router's operator switched it off.
    pub state: State,
    /// How long silence is borne, as agreed with the router; `None` until it is heard.
    pub detection_time: Option<Duration>,
    /// Why it is not up, in words.
    pub message: Option<String>,
    /// How often it came up since it is wanted.
    pub ups: u64,
    /// How often it went down from Up since it is wanted.
    pub downs: u64,
    /// Control packets both ways.
    pub packets: PacketCounts,
}

/// Packets of one BFD session, counted where they pass; clones read the same numbers.
#[derive(Clone, Debug, Default)]
pub struct PacketCounts(Arc<[AtomicU64; 2]>);

impl PacketCounts {
    /// Overwrites both numbers.
    pub fn set(&self, received: u64, sent: u64) {
        let [ours_received, ours_sent] = &*self.0;
        ours_received.store(received, Ordering::Relaxed);
        ours_sent.store(sent, Ordering::Relaxed);
    }

    /// Packets that were taken from the router.
    #[must_use]
    pub fn received(&self) -> u64 {
        let [received, _] = &*self.0;
        received.load(Ordering::Relaxed)
    }

    /// Packets that were sent to the router.
    #[must_use]
    pub fn sent(&self) -> u64 {
        let [_, sent] = &*self.0;
        sent.load(Ordering::Relaxed)
    }
}

/// The same counters, whatever they show: a packet is no news.
impl PartialEq for PacketCounts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PacketCounts {}

/// Why a session is not up, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFault {
    /// The sentence.
    pub text: String,
    /// When it happened.
    pub at: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_overtaken_plans_are_remembered_and_only_so_many() {
        let start = Instant::now();
        let at = |version: u64| start + Duration::from_millis(version);
        let mut heard = Heard::default();
        for version in 1..=40 {
            heard = heard.with(version, at(version));
        }
        assert_eq!(heard.after(38).collect::<Vec<_>>(), [at(39), at(40)]);
        assert_eq!(heard.after(0).count(), Heard::KEPT);
        assert_eq!(heard.after(40).count(), 0);
    }
}
