//! What can be read about a session: state, counters, and why it last went down.

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::DecodeError;
use crate::event::{CloseCause, ConnectFault, PathFault};
use crate::family::Families;
use crate::inspection::VerdictCounts;
use crate::number::{Asn, HoldTime, RouterId};
use crate::peer::{PeerKey, RemoteAs};
use crate::wire::capability::Role;
use crate::wire::check::Verdict;
use crate::wire::header::MessageType;
use crate::wire::notification::ErrorCode;

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waiting before the next attempt because the last session failed, or stopped.
    Idle,
    /// A dial is under way.
    Connect,
    /// Waiting for the peer to dial, or for the next dial after one that failed.
    Active,
    /// TCP is up and our OPEN is out.
    OpenSent,
    /// OPENs are exchanged and agreed.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        })
    }
}

/// How many messages went one way, over the life of the session's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// OPEN (RFC 4271 §4.2).
    pub opens: u64,
    /// UPDATE (RFC 4271 §4.3), End-of-RIB included.
    pub updates: u64,
    /// KEEPALIVE (RFC 4271 §4.4).
    pub keepalives: u64,
    /// NOTIFICATION (RFC 4271 §4.5).
    pub notifications: u64,
    /// ROUTE-REFRESH (RFC 2918), marks included (RFC 7313).
    pub refreshes: u64,
}

impl MessageCounts {
    /// Messages of all types.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.opens, self.updates, self.keepalives, self.notifications, self.refreshes]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub(crate) fn count(&mut self, kind: MessageType) {
        let counter = match kind {
            MessageType::Open => &mut self.opens,
            MessageType::Update => &mut self.updates,
            MessageType::Notification => &mut self.notifications,
            MessageType::Keepalive => &mut self.keepalives,
            MessageType::RouteRefresh => &mut self.refreshes,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Messages of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What the peer sent.
    pub received: MessageCounts,
    /// What was handed to the driver for the peer.
    pub sent: MessageCounts,
}

/// A session as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// Whose.
    pub key: PeerKey,
    /// Its state; with two connections, the one that is further.
    pub state: State,
    /// Since when it is in this state, on the caller's clock.
    pub since: Instant,
    /// The peer's BGP Identifier, once its OPEN is in.
    pub remote_router_id: Option<RouterId>,
    /// The peer's AS, once its OPEN is in.
    pub remote_asn: Option<Asn>,
    /// The negotiated Hold Time (RFC 4271 §4.2), once there is one.
    pub hold: Option<HoldTime>,
    /// How often we send KEEPALIVE, before jitter; `None` when unknown or off.
    pub keepalive: Option<Duration>,
    /// The families that both sides speak, once known.
    pub families: Families,
    /// Whether IPv4 routes may have IPv6 next hops (RFC 8950), once known.
    pub extended_next_hop: bool,
    /// The families whose End-of-RIB has come from the peer in this session (RFC 4724 §2).
    pub end_of_rib_received: Families,
    /// The families whose routes go over this session: agreed on, and with a next hop. None while it is not Established.
    pub announces: Families,
    /// How many routes the peer has been told and not had withdrawn.
    pub prefixes_sent: u32,
    /// Routes that are not told because their attributes do not fit a message.
    pub prefixes_too_large: u32,
    /// Whether the peer knows all that is wanted now, End-of-RIB included.
    pub converged: bool,
    /// How often the session has been Established.
    pub established_count: u32,
    /// Messages both ways.
    pub counters: Counters,
    /// What received UPDATEs were worth (RFC 7606 §2); all zero unless the peer's are inspected.
    pub verdicts: VerdictCounts,
    /// When, on the caller's clock, and why it last went down or failed to come up.
    pub last_down: Option<(Instant, DownReason)>,
}

/// Why a session is not, or no longer, Established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// TCP did not come up.
    ConnectFailed(ConnectFault),
    /// TCP ended without a NOTIFICATION.
    Closed(CloseCause),
    /// The router said why it ends the session.
    NotificationReceived {
        /// Code and subcode; inside a Hard Reset, those that it wraps.
        code: ErrorCode,
        /// Whether it came as a Hard Reset (RFC 8538).
        hard: bool,
        /// The Shutdown Communication (RFC 9003), fit for a log line.
        text: Option<String>,
    },
    /// The router sent something that a session cannot survive.
    Malformed(DecodeError),
    /// The router is in an AS that is not the configured one: 2/2 was said (RFC 4271 §6.2).
    WrongAs {
        /// What is configured here.
        expected: RemoteAs,
        /// What its OPEN says.
        found: Asn,
    },
    /// The router's BGP Identifier is ours although both are in one AS: 2/3 was said (RFC 6286 §2.2).
    SameRouterId(RouterId),
    /// Both sides have no family in common: 2/7 was said (RFC 5492 §5).
    NoCommonFamily,
    /// The router's role is not the counterpart of ours: 2/11 was said (RFC 9234 §4.2).
    RoleMismatch {
        /// What we are configured to be.
        ours: Role,
        /// The code of what the router says it is; `None` when it says nothing and has to.
        found: Option<u8>,
    },
    /// An UPDATE whose routes cannot be told (RFC 7606), where received routes are inspected.
    FaultyUpdate(Verdict),
    /// A message came that has no place in the state: 5/1, 5/2 or 5/3 was said (RFC 6608).
    UnexpectedMessage {
        /// The state.
        state: State,
        /// The message.
        kind: MessageType,
    },
    /// Silence for the Hold Time: 4/0 was said (RFC 4271 §6.5).
    HoldTimerExpired {
        /// The Hold Time, or the four minutes that an OPEN may take.
        after: Duration,
    },
    /// The router took nothing off the wire for too long (RFC 9687).
    SendHoldTimerExpired {
        /// How long.
        after: Duration,
    },
    /// BFD found the path to the router dead: 6/10 was said (RFC 9384).
    PathDown(PathFault),
    /// The other of two connections to the same router stays: 6/7 was said (RFC 4271 §6.8).
    CollisionLost,
    /// The router came back on a new connection while we thought the old one alive (RFC 4724 §4.2).
    Superseded,
    /// Our configuration of this peer changed: 6/6 was said (RFC 4486).
    ConfigurationChanged,
    /// Our configuration no longer has this peer: 6/3 was said (RFC 4486).
    PeerRemoved,
    /// This speaker was told to stop.
    Stopped,
}

impl DownReason {
    /// One word in CamelCase, for conditions and labels.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::ConnectFailed(_) => "ConnectFailed",
            Self::Closed(_) => "ConnectionClosed",
            Self::NotificationReceived { .. } => "NotificationReceived",
            Self::Malformed(_) => "MalformedMessage",
            Self::WrongAs { .. } => "WrongAs",
            Self::SameRouterId(_) => "SameRouterId",
            Self::NoCommonFamily => "NoCommonFamily",
            Self::RoleMismatch { .. } => "RoleMismatch",
            Self::FaultyUpdate(_) => "FaultyUpdate",
            Self::UnexpectedMessage { .. } => "UnexpectedMessage",
            Self::HoldTimerExpired { .. } => "HoldTimerExpired",
            Self::SendHoldTimerExpired { .. } => "SendHoldTimerExpired",
            Self::PathDown(_) => "BFDDown",
            Self::CollisionLost => "CollisionLost",
            Self::Superseded => "Superseded",
            Self::ConfigurationChanged => "ConfigurationChanged",
            Self::PeerRemoved => "PeerRemoved",
            Self::Stopped => "Stopped",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectFailed(fault) => fault.fmt(f),
            Self::Closed(cause) => cause.fmt(f),
            Self::NotificationReceived { code, hard, text } => {
                let dress = if *hard { " as Hard Reset" } else { "" };
                write!(f, "router sent NOTIFICATION{dress}: {code}")?;
                text.as_ref().map_or(Ok(()), |text| write!(f, " (\"{text}\")"))
            }
            Self::Malformed(error) => error.fmt(f),
            Self::WrongAs { expected, found } => {
                write!(f, "router is in AS {found}, ")?;
                match expected {
                    RemoteAs::Exactly(asn) => write!(f, "configured is AS {asn}"),
                    RemoteAs::Internal => f.write_str("configured is our own AS (internal)"),
                    RemoteAs::External => f.write_str("configured is any AS but our own (external)"),
                }
            }
            Self::SameRouterId(id) => {
                write!(f, "router has our own router ID {id} in our own AS: give one of the two another ID")
            }
            Self::NoCommonFamily => f.write_str(
                "router speaks none of the configured address families: activate one of them on it",
            ),
            Self::RoleMismatch { ours, found: Some(code) } => {
                let theirs = Role::ALL.into_iter().find(|role| role.code() == *code);
                match theirs {
                    Some(theirs) => write!(f, "router's role is {theirs}")?,
                    None => write!(f, "router's role is {code}, which is not known")?,
                }
                write!(f, ", ours is {ours}: the router has to be {}", ours.counterpart())
            }
            Self::RoleMismatch { ours, found: None } => {
                write!(f, "router says no role, ours is {ours}: it has to be {}", ours.counterpart())
            }
            Self::FaultyUpdate(verdict) => {
                write!(f, "router sent an UPDATE whose routes cannot be told: {verdict}")
            }
            Self::UnexpectedMessage { state, kind } => write!(f, "router sent {kind} in {state}"),
            Self::HoldTimerExpired { after } => {
                write!(f, "hold timer expired: nothing heard for {} s", after.as_secs())
            }
            Self::SendHoldTimerExpired { after } => {
                write!(f, "send hold timer expired: the router took nothing for {} s", after.as_secs())
            }
            Self::PathDown(fault) => fault.fmt(f),
            Self::CollisionLost => f.write_str("another connection to the same router stays instead"),
            Self::Superseded => f.write_str("the router came back on a new connection"),
            Self::ConfigurationChanged => f.write_str("the configuration of this peer changed"),
            Self::PeerRemoved => f.write_str("the configuration no longer has this peer"),
            Self::Stopped => f.write_str("this speaker was told to stop"),
        }
    }
}
