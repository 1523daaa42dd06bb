//! A session as one process hands it to the next, and why the next may not take it.
//!
//! The two OPENs are the contract of a session: what they agree on is worked out again by whoever takes the session
//! over, from its own configuration, so that a session never runs under terms that its configuration would not agree to.
//! What else is known (timers, what the peer was told) is state. Left out: the socket, and octets that were read and not
//! understood or built and not written; those are the driver's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use crate::family::Families;
use crate::route_set::RouteSet;
use crate::status::{Counters, DownReason};
use crate::wire::notification::{ErrorCode, Notification};

/// An Established session, apart from its socket. All times are relative to the moment at which the image was made.
#[derive(Clone, Debug)]
pub struct SessionImage {
    /// Our OPEN as it was sent (RFC 4271 §4.2), header included.
    pub our_open: Vec<u8>,
    /// The peer's OPEN as it came, header included.
    pub their_open: Vec<u8>,
    /// Whether we dialled.
    pub dialled: bool,
    /// Our end of the connection.
    pub local: IpAddr,
    /// The next hop that IPv4 routes were told with; `None`: IPv4 is not announced.
    pub next_hop_v4: Option<IpAddr>,
    /// The next hop that IPv6 routes were told with; `None`: IPv6 is not announced.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// What is left of the hold timer (RFC 4271 §4.2); `None` is off.
    pub hold_left: Option<Duration>,
    /// When the next KEEPALIVE is due; `None` is never.
    pub keepalive_left: Option<Duration>,
    /// What is left of the send hold timer (RFC 9687); `None` while the peer takes octets.
    pub send_hold_left: Option<Duration>,
    /// Whether a KEEPALIVE is due that was not built yet.
    pub keepalive_due: bool,
    /// What the peer knows once it has read everything that was built for it.
    pub routes: Arc<RouteSet>,
    /// How many of these were told: some cannot be, for want of a next hop or of room.
    pub told: u32,
    /// The families whose End-of-RIB is still owed (RFC 4724 §2).
    pub end_of_rib_owed: Families,
    /// The families whose End-of-RIB has come from the peer.
    pub end_of_rib_received: Families,
    /// The families that the peer has asked for again and not heard to the end (RFC 2918).
    pub refresh_owed: Families,
    /// How long the session has been Established.
    pub up_for: Duration,
    /// How often it has been Established.
    pub established_count: u32,
    /// Messages both ways.
    pub counters: Counters,
}

/// Why a session cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptFault {
    /// The configuration no longer has this peer.
    UnknownPeer,
    /// The peer has a connection already, or the speaker is ending.
    Busy,
    /// Our OPEN would say something else today, or routes would have other next hops.
    ConfigurationChanged,
    /// What was handed over as an OPEN is none.
    Unreadable,
    /// Today the peer's OPEN would be refused.
    Refused(DownReason),
}

impl fmt::Display for AdoptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPeer => f.write_str("the configuration no longer has this peer"),
            Self::Busy => f.write_str("the peer has a connection already"),
            Self::ConfigurationChanged => f.write_str("the configuration of this peer changed"),
            Self::Unreadable => f.write_str("what was handed over as an OPEN message is none"),
            Self::Refused(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for AdoptFault {}

impl AdoptFault {
    /// Appends the NOTIFICATION that ends the connection: what a running process would say of the same change
    /// (RFC 4486).
    pub fn last_words(&self, out: &mut BytesMut) {
        let code = match self {
            Self::UnknownPeer => ErrorCode::PEER_DECONFIGURED,
            Self::Busy => ErrorCode::COLLISION,
            Self::ConfigurationChanged | Self::Unreadable | Self::Refused(_) => {
                ErrorCode::CONFIGURATION_CHANGE
            }
        };
        Notification { code, data: &[] }.encode(out);
    }
}
