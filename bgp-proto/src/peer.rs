//! What a caller says about a peer.
//!
//! Addresses, ports, passwords and socket options are the driver's; nothing here opens a connection.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::family::Families;
use crate::number::{Asn, HoldTime, RouterId};
use crate::wire::capability::Role;

/// The caller's number for a peer; never given to another peer while in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u32);

/// The caller's number for a TCP connection; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Which AS the peer may be in. Another one in its OPEN is answered by 2/2 (RFC 4271 §6.2).
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

/// What becomes of the routes that a peer announces. None is ever used; the question is what is known
/// of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receive {
    /// UPDATEs are counted and dropped unread; nothing in them can end the session.
    #[default]
    Discard,
    /// UPDATEs are judged as RFC 7606 has it (but for its §5.2), verdicts are counted and the last faults kept. An UPDATE
    /// whose routes cannot be told ends the session, as it would on a router.
    Inspect,
}

/// A BGP role (RFC 9234 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolePolicy {
    /// What we are to the peer.
    pub role: Role,
    /// Refuse a peer that names no role, with 2/11 (RFC 9234 §4.2).
    pub strict: bool,
}

/// One peer, as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// The caller's number for it.
    pub key: PeerKey,
    /// Our AS towards this peer; neither 0 (RFC 7607) nor AS_TRANS (RFC 6793).
    pub local_asn: Asn,
    /// The AS that we expect of it.
    pub remote: RemoteAs,
    /// Our BGP Identifier towards this peer (RFC 4271 §4.2, RFC 6286).
    pub router_id: RouterId,
    /// The Hold Time that we propose; `None` is [`HoldTime::DEFAULT`]. The smaller one of both sides holds (RFC 4271 §4.2).
    pub hold_time: Option<HoldTime>,
    /// How often we send KEEPALIVE; `None`, and everything longer than that, is a third of the
    /// negotiated Hold Time. Each interval is shortened by up to a quarter, but to no less than a second (RFC 4271 §4.4, §10).
    pub keepalive: Option<Duration>,
    /// The longest wait between two attempts to connect; the first wait is one second, each one has a jitter of 20 %
    /// (ConnectRetry and IdleHold of RFC 4271 §8.1.1).
    pub connect_retry_max: Duration,
    /// The families that we offer (RFC 4760 §8).
    pub families: Families,
    /// The Restart Time of the graceful restart capability (RFC 4724 §3), whole seconds up to 4095; `None` leaves
    /// the capability out.
    pub graceful_restart: Option<Duration>,
    /// The N bit (RFC 8538): ask the peer to keep our routes after a NOTIFICATION too. Only with
    /// `graceful_restart`; off unless asked for, because the routes of a dead node live longer with it.
    pub keep_after_notification: bool,
    /// The Long-Lived Stale Time (RFC 9494), whole seconds up to 16,777,215. Only with
    /// `graceful_restart`; `None` leaves the capability out.
    pub long_lived: Option<Duration>,
    /// Our role on an eBGP session (RFC 9234); `None` leaves the capability out.
    pub role: Option<RolePolicy>,
    /// Offer messages of up to 65535 octets (RFC 8654).
    pub extended_messages: bool,
    /// Offer IPv4 routes with IPv6 next hops where the session runs over IPv6 (RFC 8950).
    pub extended_next_hop: bool,
    /// Answer a peer that dials with our OPEN only when its own has come, so that nothing is said to a
    /// stranger (DelayOpen of RFC 4271 §8.1.1, for dynamic neighbours).
    pub delay_open: bool,
    /// What becomes of received routes.
    pub receive: Receive,
    /// How long the peer may take nothing off the wire (RFC 9687); `None` is the larger of 480 s and
    /// twice the Hold Time.
    pub send_hold: Option<Duration>,
    /// Never dial, wait for the peer (PassiveTcpEstablishment of RFC 4271 §8.1.1).
    pub passive: bool,
    /// Next hop (RFC 4271 §5.1.3) of IPv4 routes when the session runs over IPv6; `None`: IPv4 is announced only where
    /// `extended_next_hop` was negotiated.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop (RFC 2545 §3) of IPv6 routes when the session runs over IPv4; `None`, or an IPv4 address in IPv6 clothes:
    /// IPv6 is not announced then.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// On a session between link-local addresses, announce with our link-local address as next hop, IPv4 too where
    /// `extended_next_hop` was negotiated. For unnumbered links, whose router has no other way to us.
    pub link_local_next_hop: bool,
    /// A peer that goes when this one comes: the same router, by another connection (a password, an address of ours). It
    /// ends with Cease / Other Configuration Change (RFC 4486), and its counters go on here.
    pub replaces: Option<PeerKey>,
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
            keep_after_notification: false,
            long_lived: None,
            role: None,
            extended_messages: true,
            extended_next_hop: true,
            delay_open: false,
            receive: Receive::Discard,
            send_hold: None,
            passive: false,
            next_hop_v4: None,
            next_hop_v6: None,
            link_local_next_hop: false,
            replaces: None,
        }
    }

    /// Whether an address of ours can be a next hop: a link-local one only where the router is on its link.
    pub(crate) fn may_be_next_hop(&self, local: Ipv6Addr) -> bool {
        self.link_local_next_hop || !local.is_unicast_link_local()
    }

    /// Whether going from one to the other needs a new session: everything that was said in OPEN or
    /// shaped what the peer was told. Retry, who dials, send hold and the receive mode apply at once.
    pub(crate) fn needs_restart(&self, new: &Self) -> bool {
        let lasting = |config: &Self| Self {
            connect_retry_max: Duration::ZERO,
            send_hold: None,
            passive: false,
            delay_open: false,
            receive: Receive::Discard,
            replaces: None,
            ..config.clone()
        };
        lasting(self) != lasting(new)
    }
}
