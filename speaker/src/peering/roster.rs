//! Which peers run: the plan's peers with the key, the connection target and the BGP settings of each.
//!
//! Whatever belongs to TCP (address, port, source, password) is the peer's identity here: when it changes, the
//! peer gets a new [`PeerKey`] and so a new session, and no other session notices. What belongs to BGP (timers,
//! AS numbers, families) goes into [`PeerConfig`], which `bgp_proto` compares by itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::config::{Peer, RemoteAsn};
use bgp_proto::{Asn, Families, Family, HoldTime, PeerConfig, PeerKey, RemoteAs, RouteSet, RouterId};

use super::dial::Target;
use super::gather::News;
use super::interface::Home;
use super::router_id;
use crate::plan::Plan;

/// The upper bound of the connect retry timer when the BGPPeer does not give one.
const CONNECT_RETRY_MAX: Duration = Duration::from_secs(15);

/// The restart time of the graceful restart capability (RFC 4724): about twice what a restart takes.
const RESTART_TIME: Duration = Duration::from_secs(30);

/// One peer that is dialled.
#[derive(Debug)]
pub(super) struct Member {
    /// Its key in the core, new for each TCP identity.
    pub(super) key: PeerKey,
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
}

/// All peers of this node.
#[derive(Debug)]
pub(super) struct Roster {
    members: BTreeMap<String, Member>,
    refused: BTreeMap<String, (Arc<Peer>, Instant)>,
    /// The members' names, and for the words of farewell those of the members before.
    names: BTreeMap<PeerKey, String>,
    next_key: u32,
    fallback_router_id: RouterId,
}

impl Roster {
    /// Nobody yet. The node's name gives the router ID of sessions that have no IPv4 address to give one.
    pub(super) fn new(node_name: &str) -> Self {
        Self {
            members: BTreeMap::new(),
            refused: BTreeMap::new(),
            names: BTreeMap::new(),
            next_key: 0,
            fallback_router_id: router_id::from_node_name(node_name),
        }
    }

    /// What the plan would change about the routes of the peers that run. Peers that come, go or change are no
    /// news of this kind: [`Self::same_peers`] tells.
    pub(super) fn news(&self, plan: &Plan) -> News {
        let mut news = News::Nothing;
        for (name, member) in &self.members {
            let Some(wanted) = plan.peers.get(name) else { continue };
            for change in RouteSet::diff(&member.routes, &wanted.routes) {
                match change {
                    bgp_proto::Change::Unset(_) => return News::Withdraws,
                    bgp_proto::Change::Set(..) => news = News::Announces,
                }
            }
        }
        news
    }

    /// Whether the plan has exactly the peers that run, unchanged.
    pub(super) fn same_peers(&self, plan: &Plan) -> bool {
        let known = self.members.len() + self.refused.len();
        known == plan.peers.len()
            && plan.peers.iter().all(|(name, wanted)| {
                let member = self.members.get(name).map(|member| &member.peer);
                let refused = self.refused.get(name).map(|(peer, _)| peer);
                member.or(refused).is_some_and(|peer| Arc::ptr_eq(peer, &wanted.peer) || *peer == wanted.peer)
            })
    }

    /// Takes over the plan's peers and routes.
    pub(super) fn apply(&mut self, now: Instant, plan: &Plan) {
        let former: Vec<_> = self.members.iter().map(|(name, member)| (member.key, name.clone())).collect();
        let mut before = std::mem::take(&mut self.members);
        let mut refused_before = std::mem::take(&mut self.refused);
        for (name, wanted) in &plan.peers {
            if wanted.peer.refused.is_some() {
                let since = match refused_before.remove(name) {
                    Some((peer, since)) if peer.refused == wanted.peer.refused => since,
                    Some(_) | None => now,
                };
                self.refused.insert(name.clone(), (Arc::clone(&wanted.peer), since));
                continue;
            }
            let target = target_of(&wanted.peer);
            let member = match before.remove(name) {
                Some(member) if member.target.is_same_session(&target) => Member {
                    peer: Arc::clone(&wanted.peer),
                    target,
                    routes: Arc::clone(&wanted.routes),
                    ..member
                },
                Some(_) | None => Member {
                    key: self.fresh_key(),
                    peer: Arc::clone(&wanted.peer),
                    home: Home::locate(target.remote, target.source),
                    target,
                    routes: Arc::clone(&wanted.routes),
                    local: None,
                    dial_fault: None,
                },
            };
            self.members.insert(name.clone(), member);
        }
        let current = self.members.iter().map(|(name, member)| (member.key, name.clone()));
        self.names = former.into_iter().chain(current).collect();
    }

    /// What the core is to run.
    pub(super) fn configs(&self) -> Vec<PeerConfig> {
        self.members.values().map(|member| member.config(self.fallback_router_id)).collect()
    }

    /// The peers that are dialled, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(name, member)| (name.as_str(), member))
    }

    /// As [`Self::members`], to change what is known about them.
    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// The peers that stay down by their configuration, and since when.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&str, &Peer, Instant)> {
        self.refused.iter().map(|(name, (peer, since))| (name.as_str(), peer.as_ref(), *since))
    }

    /// The name of a peer that runs, or ran until the last plan.
    pub(super) fn name(&self, key: PeerKey) -> Option<&str> {
        self.names.get(&key).map(String::as_str)
    }

    /// A peer that runs.
    pub(super) fn member_mut(&mut self, key: PeerKey) -> Option<&mut Member> {
        self.members.get_mut(self.names.get(&key)?).filter(|member| member.key == key)
    }

    /// Whether the peer still runs.
    pub(super) fn contains(&self, key: PeerKey) -> bool {
        self.members.values().any(|member| member.key == key)
    }

    fn fresh_key(&mut self) -> PeerKey {
        let key = PeerKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        key
    }
}

impl Member {
    /// The family that is wanted on the session, has routes, and has no next hop there.
    pub(super) fn family_without_next_hop(&self) -> Option<Family> {
        let other = self.other_family();
        let missing = self.peer.dual_stack && !self.families().contains(other);
        (missing && self.routes.iter().any(|(prefix, _)| prefix.family() == other)).then_some(other)
    }

    fn other_family(&self) -> Family {
        match self.target.remote.ip() {
            IpAddr::V4(_) => Family::Ipv6Unicast,
            IpAddr::V6(_) => Family::Ipv4Unicast,
        }
    }

    fn families(&self) -> Families {
        let own = Families::NONE.with(Family::of(self.target.remote.ip()));
        let other = self.other_family();
        let has_next_hop = match other {
            Family::Ipv4Unicast => self.home.v4.is_some(),
            Family::Ipv6Unicast => self.home.v6.is_some(),
        };
        if self.peer.dual_stack && has_next_hop { own.with(other) } else { own }
    }

    /// Whether the session carries this family besides the one it runs over.
    fn other_is(&self, family: Family) -> bool {
        self.other_family() == family && self.families().contains(family)
    }

    fn config(&self, fallback_router_id: RouterId) -> PeerConfig {
        let peer = &self.peer;
        let configured = peer.router_id.or(self.home.v4).and_then(|address| RouterId::try_new(address).ok());
        let seconds = |seconds: u16| Duration::from_secs(seconds.into());
        let remote = match peer.remote_asn {
            RemoteAsn::Exactly(asn) => RemoteAs::Exactly(Asn(asn)),
            RemoteAsn::Internal => RemoteAs::Internal,
            RemoteAsn::External => RemoteAs::External,
        };
        let router_id = configured.unwrap_or(fallback_router_id);
        PeerConfig {
            hold_time: peer.hold_time.and_then(|hold| HoldTime::try_new(hold).ok()),
            keepalive: peer.keepalive.map(seconds),
            connect_retry_max: peer.connect_time.map_or(CONNECT_RETRY_MAX, seconds),
            families: self.families(),
            graceful_restart: peer.graceful_restart.then_some(RESTART_TIME),
            // The socket gives the next hop of its own family.
            next_hop_v4: self.home.v4.filter(|_| self.other_is(Family::Ipv4Unicast)),
            next_hop_v6: self.home.v6.filter(|_| self.other_is(Family::Ipv6Unicast)),
            ..PeerConfig::new(self.key, Asn(peer.local_asn), remote, router_id)
        }
    }
}

fn target_of(peer: &Peer) -> Target {
    Target {
        remote: SocketAddr::new(peer.address, peer.port),
        source: peer.source,
        key: peer.password.clone(),
        // Twice the hold time: the core's hold timer sees a dead path first and has the words for it; this only
        // ends what the kernel would otherwise keep for a quarter of an hour.
        dead_after: hold_of(peer).map(|hold| 2 * hold),
    }
}

/// The proposed hold time; `None` is off.
fn hold_of(peer: &Peer) -> Option<Duration> {
    peer.hold_time.and_then(|hold| HoldTime::try_new(hold).ok()).unwrap_or(HoldTime::DEFAULT).duration()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use api::config::Password;
    use bgp_proto::Prefix;

    use super::*;
    use crate::peering::tests::peer;
    use crate::plan::PeerPlan;

    fn plan(peers: impl IntoIterator<Item = (&'static str, Peer)>) -> Plan {
        let peers = peers
            .into_iter()
            .map(|(name, peer)| (name.to_owned(), PeerPlan { peer: Arc::new(peer), routes: Arc::default() }));
        Plan { peers: peers.collect(), synced: true, version: 1, ..Plan::unsynced() }
    }

    fn tor() -> Peer {
        peer(([127, 0, 0, 1], 179).into())
    }

    fn key(roster: &Roster, name: &str) -> PeerKey {
        roster.members().find(|(member, _)| *member == name).map(|(_, member)| member.key).unwrap()
    }

    #[test]
    fn what_tcp_sees_makes_a_new_session_and_what_bgp_sees_does_not() {
        let check = |change: fn(Peer) -> Peer, restarts: bool| {
            let mut roster = Roster::new("node-1");
            let now = Instant::now();
            roster.apply(now, &plan([("tor", tor()), ("other", tor())]));
            let (before, other) = (key(&roster, "tor"), key(&roster, "other"));
            roster.apply(now, &plan([("tor", change(tor())), ("other", tor())]));
            assert_eq!(key(&roster, "tor") != before, restarts, "{:?}", change(tor()));
            assert_eq!(key(&roster, "other"), other);
        };
        check(|peer| Peer { port: 1179, ..peer }, true);
        check(|peer| Peer { address: [127, 0, 0, 2].into(), ..peer }, true);
        check(|peer| Peer { source: Some([127, 0, 0, 1].into()), ..peer }, true);
        check(|peer| Peer { password: Password::try_new(*b"herald"), ..peer }, true);
        check(|peer| Peer { hold_time: Some(90), ..peer }, false);
        check(|peer| Peer { local_asn: 64_501, ..peer }, false);
        check(|peer| peer, false);
    }

    #[test]
    fn the_router_id_is_the_configured_one_else_our_ipv4_address_else_the_nodes_own() {
        let check = |peer: Peer, expected: Ipv4Addr| {
            let mut roster = Roster::new("node-1");
            roster.apply(Instant::now(), &plan([("tor", peer)]));
            assert_eq!(roster.configs()[0].router_id.to_address(), expected);
        };
        let localhost = Ipv4Addr::LOCALHOST;
        check(tor(), localhost);
        check(Peer { router_id: Some([192, 0, 2, 9].into()), ..tor() }, [192, 0, 2, 9].into());
        let v6 = peer((std::net::Ipv6Addr::LOCALHOST, 179).into());
        check(v6, router_id::from_node_name("node-1").to_address());
    }

    #[test]
    fn the_other_family_needs_dual_stack_and_a_next_hop() {
        let mut roster = Roster::new("node-1");
        roster.apply(Instant::now(), &plan([("tor", Peer { dual_stack: true, ..tor() })]));
        let member = roster.members.get_mut("tor").unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        member.routes = Arc::new([(Prefix::host(v6), Arc::default())].into_iter().collect());
        assert_eq!(member.family_without_next_hop(), Some(Family::Ipv6Unicast));
        assert_eq!(roster.configs()[0].families, Families::IPV4);

        let member = roster.members.get_mut("tor").unwrap();
        member.home.v6 = Some("2001:db8::11".parse().unwrap());
        assert_eq!(member.family_without_next_hop(), None);
        let config = roster.configs().remove(0);
        assert_eq!((config.families, config.next_hop_v4), (Families::BOTH, None));
        assert_eq!(config.next_hop_v6, Some("2001:db8::11".parse().unwrap()));
    }

    #[test]
    fn news_tells_withdrawals_from_announcements() {
        let mut roster = Roster::new("node-1");
        let with = |last: &[u8]| {
            let routes = last.iter().map(|last| (Prefix::host([10, 0, 4, *last].into()), Arc::default()));
            let mut plan = plan([("tor", tor())]);
            plan.peers.get_mut("tor").unwrap().routes = Arc::new(routes.collect());
            plan
        };
        roster.apply(Instant::now(), &with(&[1, 2]));
        assert_eq!(roster.news(&with(&[1, 2])), News::Nothing);
        assert_eq!(roster.news(&with(&[1, 2, 3])), News::Announces);
        assert_eq!(roster.news(&with(&[2, 3])), News::Withdraws);
        assert!(roster.same_peers(&with(&[])));
        assert!(!roster.same_peers(&plan([])));
    }
}
