//! One peer as this node runs it: how TCP reaches it, our addresses towards it, and what `bgp_proto` is told of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::config::{Peer, RemoteAsn, RouterAt};
use api::service::IpFamily;
use bgp_proto::{
    Asn, Families, Family, HoldTime, PeerConfig, PeerKey, Receive, RemoteAs, RouteSet, RouterId,
};
use ipnet::IpNet;

use super::dial::Target;
use super::interface::Home;
use super::listen::{Entrance, unspecified};

/// The upper bound of the connect retry timer when the BGPPeer does not give one.
const CONNECT_RETRY_MAX: Duration = Duration::from_secs(15);

/// The restart time of the graceful restart capability (RFC 4724): about twice what a restart takes.
const RESTART_TIME: Duration = Duration::from_secs(30);

/// One peer that runs.
#[derive(Debug)]
pub(super) struct Member {
    /// Its key in the core, new for each TCP identity.
    pub(super) key: PeerKey,
    /// The key of the session with the same router that this one takes the place of.
    pub(super) replaces: Option<PeerKey>,
    /// The name of its BGPPeer, which it shares with others where that names a network of routers.
    pub(super) object: String,
    /// The checked BGPPeer.
    pub(super) peer: Arc<Peer>,
    /// How to reach it.
    pub(super) target: Target,
    /// Our addresses on the session.
    pub(super) home: Home,
    /// The routes that the session was told to have.
    pub(super) routes: Arc<RouteSet>,
    /// Our address on the newest connection.
    pub(super) local: Option<IpAddr>,
    /// When and why the last attempt to connect failed.
    pub(super) dial_fault: Option<(Instant, String)>,
    /// Since when a router of a network has had no connection.
    pub(super) idle_since: Option<Instant>,
}

impl Member {
    /// A peer that starts now, at this address.
    pub(super) fn new(
        key: PeerKey,
        object: &str,
        peer: &Arc<Peer>,
        remote: SocketAddr,
        routes: &Arc<RouteSet>,
    ) -> Self {
        let target = target_of(peer, remote);
        Self {
            key,
            replaces: None,
            object: object.to_owned(),
            peer: Arc::clone(peer),
            home: Home::locate(target.remote, target.source),
            target,
            routes: Arc::clone(routes),
            local: None,
            dial_fault: None,
            idle_since: None,
        }
    }

    /// The same session as the plan wants it now; `Err` gives the member back when it has to be another session.
    pub(super) fn becomes(
        self,
        peer: &Arc<Peer>,
        remote: SocketAddr,
        routes: &Arc<RouteSet>,
    ) -> Result<Self, Box<Self>> {
        let target = target_of(peer, remote);
        if !self.target.is_same_session(&target) {
            return Err(Box::new(self));
        }
        Ok(Self { peer: Arc::clone(peer), target, routes: Arc::clone(routes), ..self })
    }

    /// Whether it is one of several routers of one BGPPeer.
    pub(super) fn is_of_range(&self) -> bool {
        matches!(self.peer.router, RouterAt::Range(_))
    }

    /// Where it may call, if it may.
    pub(super) fn entrance(&self) -> Option<Entrance> {
        let remote = self.target.remote.ip();
        let from = match &self.peer.router {
            RouterAt::Range(range) => *range,
            RouterAt::Address(_) | RouterAt::Gateway(_) | RouterAt::Interface(_) => IpNet::from(remote),
        };
        entrance_of(&self.peer, remote, from)
    }

    /// The family that is wanted on the session, has routes, and cannot be told with a next hop. `over_ipv6` says that
    /// the router takes IPv4 routes with IPv6 next hops (RFC 8950).
    pub(super) fn family_without_next_hop(&self, over_ipv6: bool) -> Option<Family> {
        let other = self.other_family();
        let has_next_hop = match other {
            Family::Ipv4Unicast => over_ipv6 || self.next_hop_v4().is_some(),
            Family::Ipv6Unicast => self.home.v6.is_some(),
        };
        let missing = self.is_dual_stack() && !has_next_hop;
        (missing && self.routes.has(other)).then_some(other)
    }

    /// Whether both families go over this one session. An unnumbered link has no second one to put IPv4 on.
    pub(super) fn is_dual_stack(&self) -> bool {
        self.peer.dual_stack || self.is_unnumbered()
    }

    fn is_unnumbered(&self) -> bool {
        matches!(self.peer.router, RouterAt::Interface(_))
    }

    fn other_family(&self) -> Family {
        match self.target.remote.ip() {
            IpAddr::V4(_) => Family::Ipv6Unicast,
            IpAddr::V6(_) => Family::Ipv4Unicast,
        }
    }

    /// The families that are offered to the router.
    pub(super) fn families(&self) -> Families {
        let own = Families::NONE.with(Family::of(self.target.remote.ip()));
        let other = self.other_family();
        // IPv4 over an IPv6 session needs no IPv4 address where the router knows RFC 8950, which its OPEN tells.
        let may_have_next_hop = match other {
            Family::Ipv4Unicast => true,
            Family::Ipv6Unicast => self.home.v6.is_some(),
        };
        if self.is_dual_stack() && may_have_next_hop { own.with(other) } else { own }
    }

    /// An unnumbered link may have an IPv4 address that the router cannot reach; there RFC 8950 is the rule.
    fn next_hop_v4(&self) -> Option<std::net::Ipv4Addr> {
        self.home.v4.filter(|_| !self.is_unnumbered())
    }

    /// Whether the session carries this family besides the one it runs over.
    fn other_is(&self, family: Family) -> bool {
        self.other_family() == family && self.families().contains(family)
    }

    /// Our BGP identifier on this session: the configured one, else our IPv4 address, else one of the node's name.
    pub(super) fn router_id(&self, fallback: RouterId) -> RouterId {
        let address = self.peer.router_id.or(self.home.v4);
        address.and_then(|address| RouterId::try_new(address).ok()).unwrap_or(fallback)
    }

    /// What the core is to run.
    pub(super) fn config(&self, fallback_router_id: RouterId) -> PeerConfig {
        let peer = &self.peer;
        let seconds = |seconds: u16| Duration::from_secs(seconds.into());
        let remote = match peer.remote_asn {
            RemoteAsn::Exactly(asn) => RemoteAs::Exactly(Asn(asn)),
            RemoteAsn::Internal => RemoteAs::Internal,
            RemoteAsn::External => RemoteAs::External,
        };
        PeerConfig {
            hold_time: peer.hold_time.and_then(|hold| HoldTime::try_new(hold).ok()),
            keepalive: peer.keepalive.map(seconds),
            connect_retry_max: peer.connect_time.map_or(CONNECT_RETRY_MAX, seconds),
            families: self.families(),
            graceful_restart: peer.graceful_restart.then_some(RESTART_TIME),
            // The socket gives the next hop of its own family.
            next_hop_v4: self.next_hop_v4().filter(|_| self.other_is(Family::Ipv4Unicast)),
            next_hop_v6: self.home.v6.filter(|_| self.other_is(Family::Ipv6Unicast)),
            link_local_next_hop: self.is_unnumbered(),
            passive: !peer.connect.dials(),
            // Whoever calls from a network is a stranger until it has said who it is.
            delay_open: self.is_of_range(),
            replaces: self.replaces,
            receive: if peer.inspect { Receive::Inspect } else { Receive::Discard },
            ..PeerConfig::new(self.key, Asn(peer.local_asn), remote, self.router_id(fallback_router_id))
        }
    }
}

/// Where routers of this peer may call, if they may. `near` gives the family.
pub(super) fn entrance_of(peer: &Peer, near: IpAddr, from: IpNet) -> Option<Entrance> {
    let address = peer.source.unwrap_or_else(|| unspecified(near));
    let at = SocketAddr::new(address, peer.listen_port);
    peer.connect.listens().then(|| Entrance { at, from, key: peer.key.clone() })
}

/// An address of the family that the peer is of, for rows of routers that are not found.
pub(super) fn nowhere(peer: &Peer) -> IpAddr {
    match &peer.router {
        RouterAt::Address(address) => *address,
        RouterAt::Range(range) => range.network(),
        RouterAt::Gateway(IpFamily::V4) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        RouterAt::Gateway(IpFamily::V6) | RouterAt::Interface(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn target_of(peer: &Peer, remote: SocketAddr) -> Target {
    Target {
        remote,
        source: peer.source,
        key: peer.key.clone(),
        hops: peer.ttl_security,
        // A dead path is the hold timer's, and a router that takes nothing the send hold timer's; both have the words for
        // it. To the kernel a window that stays closed is silence as well, though the router answers its probes, so
        // this comes behind them: it ends what waits in the kernel for ever without filling its buffer.
        dead_after: hold_of(peer).send_hold().map(|limit| 2 * limit),
    }
}

/// The proposed hold time; what is agreed on is never longer.
fn hold_of(peer: &Peer) -> HoldTime {
    peer.hold_time.and_then(|hold| HoldTime::try_new(hold).ok()).unwrap_or(HoldTime::DEFAULT)
}
