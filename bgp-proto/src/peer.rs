//! What a caller says about a peer.
//!
//! Addresses, ports, passwords and socket options are the driver's; nothing here opens a connection.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::family::Families;
use crate::number::{Asn, HoldTime, RouterId};

/// The caller's number for a peer; never given to another peer while in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u32);

/// The caller's number for a TCP connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Which AS the peer may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteAs {
    /// This one and no other.
    Exactly(Asn),
    /// Our own: iBGP, whatever the number.
    Internal,
    /// Any but our own: eBGP.
    External,
}

impl RemoteAs {
    /// Whether a peer that says it is in `asn` may stay.
    #[must_use]
    pub fn admits(self, asn: Asn, local: Asn) -> bool {
        match self {
            Self::Exactly(expected) => asn == expected,
            Self::Internal => asn == local,
            Self::External => asn != local,
        }
    }
}

/// One peer, as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// The caller's number for it.
    pub key: PeerKey,
    /// Our AS towards this peer.
    pub local_asn: Asn,
    /// The AS that we expect of it.
    pub remote: RemoteAs,
    /// Our BGP Identifier towards this peer.
    pub router_id: RouterId,
    /// The Hold Time that we propose; `None` is [`HoldTime::DEFAULT`].
    pub hold_time: Option<HoldTime>,
    /// How often we send KEEPALIVE; `None`, and everything longer than that, is a third of the
    /// negotiated Hold Time.
    pub keepalive: Option<Duration>,
    /// The longest wait between two attempts to connect; the first wait is one second.
    pub connect_retry_max: Duration,
    /// The families that we offer.
    pub families: Families,
    /// The Restart Time of the graceful restart capability, whole seconds up to 4095; `None` leaves
    /// the capability out.
    pub graceful_restart: Option<Duration>,
    /// How long the peer may take nothing off the wire (RFC 9687); `None` is the larger of 480 s and
    /// twice the Hold Time.
    pub send_hold: Option<Duration>,
    /// Never dial, wait for the peer.
    pub passive: bool,
    /// Next hop of IPv4 routes when the session runs over IPv6; `None`: IPv4 is not announced then.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes when the session runs over IPv4; `None`: IPv6 is not announced then.
    pub next_hop_v6: Option<Ipv6Addr>,
}

impl PeerConfig {
    /// A peer with every choice left to its default: 15 s Hold Time, retry up to 15 s, both families,
    /// no graceful restart, dialled.
    #[must_use]
    pub fn new(key: PeerKey, local_asn: Asn, remote: RemoteAs, router_id: RouterId) -> Self {
        Self {
            key,
            local_asn,
            remote,
            router_id,
            hold_time: None,
            keepalive: None,
            connect_retry_max: Duration::from_secs(15),
            families: Families::BOTH,
            graceful_restart: None,
            send_hold: None,
            passive: false,
            next_hop_v4: None,
            next_hop_v6: None,
        }
    }

    /// Whether going from one to the other needs a new session: everything that was said in OPEN or
    /// shaped what the peer was told. Retry, role and send hold apply at once.
    pub(crate) fn needs_restart(&self, new: &Self) -> bool {
        let lasting = |config: &Self| Self {
            connect_retry_max: Duration::ZERO,
            send_hold: None,
            passive: false,
            ..config.clone()
        };
        lasting(self) != lasting(new)
    }
}
