//! Which peers run: the plan's peers with the key, the connection target and the BGP settings of each.
//!
//! Whatever belongs to TCP (address, port, source, key, TTL security) is the peer's identity here: when it changes,
//! the peer gets a new [`PeerKey`] and so a new session, and no other session notices. What belongs to BGP (timers,
//! AS numbers, families) goes into `PeerConfig`, which `bgp_proto` compares by itself.
//!
//! A peer of the plan may stand by instead: refused, its router not found yet, or a network whose routers call; each of
//! those that did is a member of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::config::{Peer, RouterAt, SessionKey};
use api::herald::peer_of;
use bgp_proto::{PeerConfig, PeerKey, RouteSet, RouterId};

use super::gather::News;
use super::listen::Entrance;
use super::member::{Member, entrance_of};
use super::router_id;
use super::whereabouts::{NotFound, Whereabouts, scope};
use crate::plan::Plan;

/// How many routers of one network may have a session with this node.
pub(super) const RANGE_MAX: usize = 32;

/// How long the row of a router of a network stays when its connection is gone.
const RANGE_IDLE: Duration = Duration::from_secs(60);

/// All peers of this node.
#[derive(Debug)]
pub(super) struct Roster {
    plan: Arc<Plan>,
    members: BTreeMap<String, Member>,
    standing_by: BTreeMap<String, StandBy>,
    whereabouts: Whereabouts,
    /// The members' names, and for the words of farewell those of the members before.
    names: BTreeMap<PeerKey, String>,
    /// Members that went since the plan and whose names are kept for one more round.
    retired: Vec<PeerKey>,
    next_key: u32,
    fallback_router_id: RouterId,
}

/// A peer of the plan that has no session of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StandBy {
    /// The checked BGPPeer.
    pub(super) peer: Arc<Peer>,
    /// Since when it is so.
    pub(super) since: Instant,
    /// Why.
    pub(super) why: Why,
}

impl StandBy {
    /// From now on, or since `before` if that was for the same reason.
    fn new(now: Instant, peer: &Arc<Peer>, why: Why, before: Option<&Self>) -> Self {
        // A refusal for another reason is another refusal.
        let same = |before: &&Self| before.why == why && before.peer.refused == peer.refused;
        let since = before.filter(same).map_or(now, |before| before.since);
        Self { peer: Arc::clone(peer), since, why }
    }
}

/// Why a peer has no session of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its configuration forbids it.
    Refused,
    /// Its router is not found.
    NotFound(NotFound),
    /// Another peer has the router that it leads to.
    SameRouter {
        /// The other peer.
        other: String,
        /// The router.
        remote: SocketAddr,
    },
    /// Its routers call.
    Range,
}

/// Whom a caller was looking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callee {
    /// This session.
    Member(PeerKey),
    /// Nobody: no peer waits for calls from there.
    Nobody,
    /// A network of routers that has no place left.
    Full,
}

impl Roster {
    /// Nobody yet. The node's name gives the router ID of sessions that have no IPv4 address to give one.
    pub(super) fn new(node_name: &str) -> Self {
        Self {
            plan: Arc::new(Plan::unsynced()),
            members: BTreeMap::new(),
            standing_by: BTreeMap::new(),
            whereabouts: Whereabouts::default(),
            names: BTreeMap::new(),
            retired: Vec::new(),
            next_key: 0,
            fallback_router_id: router_id::from_node_name(node_name),
        }
    }

    /// What the plan would change about the routes of the peers that run. Peers that come, go or change are no
    /// news of this kind: [`Self::same_peers`] tells.
    pub(super) fn news(&self, plan: &Plan) -> News {
        let mut news = News::Nothing;
        for member in self.members.values() {
            let Some(wanted) = plan.peers.get(&member.object) else { continue };
            for change in RouteSet::diff(&member.routes, &wanted.routes) {
                match change {
                    bgp_proto::Change::Unset(_) => return News::Withdraws,
                    bgp_proto::Change::Set(..) => news = News::Announces,
                }
            }
        }
        news
    }

    /// Whether the plan has exactly the peers of the one before, unchanged.
    pub(super) fn same_peers(&self, plan: &Plan) -> bool {
        self.plan.peers.len() == plan.peers.len()
            && plan.peers.iter().all(|(name, wanted)| {
                let known = self.plan.peers.get(name).map(|known| &known.peer);
                known.is_some_and(|peer| Arc::ptr_eq(peer, &wanted.peer) || *peer == wanted.peer)
            })
    }

    /// Which peers have another password in the plan, and had one before.
    pub(super) fn new_passwords(&self, plan: &Plan) -> Vec<(PeerKey, SessionKey)> {
        let differs = |member: &Member| {
            let wanted = plan.peers.get(&member.object).filter(|wanted| wanted.peer.refused.is_none())?;
            match (&member.target.key, &wanted.peer.key) {
                (Some(SessionKey::Md5(had)), Some(SessionKey::Md5(wanted))) if had != wanted => {
                    Some((member.key, SessionKey::Md5(wanted.clone())))
                }
                (None | Some(SessionKey::Md5(_) | SessionKey::TcpAo(_)), _) => None,
            }
        };
        self.members.values().filter_map(differs).collect()
    }

    /// Takes over the plan's peers and routes.
    pub(super) fn apply(&mut self, now: Instant, plan: &Arc<Plan>) {
        self.plan = Arc::clone(plan);
        let former: Vec<_> = self.members.iter().map(|(name, member)| (member.key, name.clone())).collect();
        let mut before = std::mem::take(&mut self.members);
        let standing_by = std::mem::take(&mut self.standing_by);
        for (name, wanted) in &plan.peers {
            let peer = &wanted.peer;
            let remote = match self.place(name, peer) {
                Ok(remote) => remote,
                Err(why) => {
                    if why == Why::Range {
                        self.keep_callers(name, peer, &wanted.routes, &mut before);
                    }
                    let by = StandBy::new(now, peer, why, standing_by.get(name));
                    self.standing_by.insert(name.clone(), by);
                    continue;
                }
            };
            let member = match before.remove(name) {
                Some(old) => self.goes_on(old, peer, remote, &wanted.routes),
                None => Member::new(self.fresh_key(), name, peer, remote, &wanted.routes),
            };
            self.members.insert(name.clone(), member);
        }
        let wanted: BTreeSet<&RouterAt> = plan.peers.values().map(|wanted| &wanted.peer.router).collect();
        self.whereabouts.keep(|router| wanted.contains(router));
        let current = self.members.iter().map(|(name, member)| (member.key, name.clone()));
        self.names = former.into_iter().chain(current).collect();
    }

    /// Asks again where routers are that are not written down; says whether peers come, go or change by it. `is_up` says
    /// whose session is Established.
    pub(super) fn look_again(&mut self, now: Instant, is_up: impl Fn(PeerKey) -> bool) -> bool {
        let up = self.members.values().filter(|member| is_up(member.key));
        let up: BTreeSet<&RouterAt> = up.map(|member| &member.peer.router).collect();
        self.whereabouts.look_again(now, |router| up.contains(router))
    }

    /// Another process of this node has a session of the peer `name`, with the router at `remote`.
    pub(super) fn expect_router(&mut self, plan: &Plan, name: &str, remote: SocketAddr) {
        if let Some(wanted) = plan.peers.get(name) {
            self.whereabouts.look_near(&wanted.peer.router, remote);
        }
    }

    /// Takes over the last plan once more, because the network around it has changed.
    pub(super) fn apply_again(&mut self, now: Instant) {
        let plan = Arc::clone(&self.plan);
        self.apply(now, &plan);
    }

    /// How soon to look at the network and at idle callers again; `None` when there is nothing to look at.
    pub(super) fn look_interval(&self) -> Option<Duration> {
        let callers = self.members.values().any(Member::is_of_range).then_some(RANGE_IDLE / 4);
        [self.whereabouts.interval(), callers].into_iter().flatten().min()
    }

    /// Interfaces on which sessions are unnumbered.
    pub(super) fn unnumbered(&self) -> BTreeSet<&str> {
        let routers = self.plan.peers.values().filter(|wanted| wanted.peer.refused.is_none());
        let interfaces = routers.filter_map(|wanted| match &wanted.peer.router {
            RouterAt::Interface(name) => Some(name.as_str()),
            RouterAt::Address(_) | RouterAt::Gateway(_) | RouterAt::Range(_) => None,
        });
        interfaces.collect()
    }

    /// Who may call where.
    pub(super) fn entrances(&self) -> Vec<Entrance> {
        let members = self.members.values().filter(|member| !member.is_of_range());
        let ranges = self.standing_by.values().filter_map(StandBy::entrance);
        members.filter_map(Member::entrance).chain(ranges).collect()
    }

    /// Whom somebody at `from` who called our address `local` wants. A router of a network gets a place.
    pub(super) fn callee(&mut self, from: SocketAddr, local: SocketAddr) -> Callee {
        let may_enter = |entrance: &Entrance| {
            let at = entrance.at;
            at.port() == local.port() && (at.ip().is_unspecified() || at.ip() == local.ip())
        };
        let is_member = |member: &&Member| {
            same_place(member.target.remote, from) && member.entrance().is_some_and(|one| may_enter(&one))
        };
        if let Some(member) = self.members.values().find(is_member) {
            return Callee::Member(member.key);
        }
        let range = self.standing_by.iter().find(|(_, by)| {
            by.entrance().is_some_and(|one| may_enter(&one) && one.from.contains(&from.ip()))
        });
        match range.map(|(object, _)| object.clone()) {
            Some(object) => self.admit(&object, from).map_or(Callee::Full, Callee::Member),
            None => Callee::Nobody,
        }
    }

    /// Gives a place to a router that called another process of this node, by the name of its row. Says whether it is
    /// one of a network, and had none.
    pub(super) fn expect_caller(&mut self, name: &str, remote: SocketAddr) -> bool {
        let object = peer_of(name);
        let belongs = self.standing_by.get(object).and_then(StandBy::entrance);
        let belongs = belongs.is_some_and(|entrance| entrance.from.contains(&remote.ip()));
        belongs && object != name && !self.members.contains_key(name) && self.admit(object, remote).is_some()
    }

    /// A place for a router of a network; `None` when there is none left.
    fn admit(&mut self, object: &str, from: SocketAddr) -> Option<PeerKey> {
        let places = self.members.values().filter(|member| member.object == object).count();
        let wanted = self.plan.peers.get(object).filter(|_| places < RANGE_MAX)?.clone();
        // It calls from another port each time.
        let mut remote = from;
        remote.set_port(wanted.peer.port);
        let key = self.fresh_key();
        let name = caller_name(object, from);
        self.names.insert(key, name.clone());
        self.members.insert(name, Member::new(key, object, &wanted.peer, remote, &wanted.routes));
        Some(key)
    }

    /// Notes which routers of networks have a connection, and forgets those that have had none for long, or for a
    /// moment when places are short. Says whether one was forgotten.
    pub(super) fn retire(
        &mut self,
        now: Instant,
        is_connected: impl Fn(PeerKey) -> bool,
        idle: Duration,
    ) -> bool {
        for key in self.retired.drain(..) {
            self.names.remove(&key);
        }
        self.members.retain(|_, member| {
            if !member.is_of_range() || is_connected(member.key) {
                member.idle_since = None;
                return true;
            }
            let since = *member.idle_since.get_or_insert(now);
            let stays = now.saturating_duration_since(since) < idle;
            if !stays {
                self.retired.push(member.key);
            }
            stays
        });
        !self.retired.is_empty()
    }

    /// How long the row of a router of a network stays when its connection is gone.
    pub(super) const fn idle_time() -> Duration {
        RANGE_IDLE
    }

    /// What the core is to run.
    pub(super) fn configs(&self) -> Vec<PeerConfig> {
        self.members.values().map(|member| member.config(self.fallback_router_id)).collect()
    }

    /// Our BGP identifier on the session of a member.
    pub(super) fn router_id(&self, member: &Member) -> RouterId {
        member.router_id(self.fallback_router_id)
    }

    /// The peers that run, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(name, member)| (name.as_str(), member))
    }

    /// As [`Self::members`], to change what is known about them.
    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// The peers without a session of their own. A network of which a router has called is not among them.
    pub(super) fn standing_by(&self) -> impl Iterator<Item = (&str, &StandBy)> {
        let has_callers = |name: &str| self.members.values().any(|member| member.object == name);
        let by = self.standing_by.iter().map(|(name, by)| (name.as_str(), by));
        by.filter(move |(name, _)| !has_callers(name))
    }

    /// The name of a peer that runs, or ran until the last plan or the last that were retired.
    pub(super) fn name(&self, key: PeerKey) -> Option<&str> {
        self.names.get(&key).map(String::as_str)
    }

    /// A peer that runs.
    pub(super) fn member(&self, key: PeerKey) -> Option<&Member> {
        self.members.get(self.names.get(&key)?).filter(|member| member.key == key)
    }

    /// As [`Self::member`], to change what is known about it.
    pub(super) fn member_mut(&mut self, key: PeerKey) -> Option<&mut Member> {
        self.members.get_mut(self.names.get(&key)?).filter(|member| member.key == key)
    }

    /// Whether the peer still runs.
    pub(super) fn contains(&self, key: PeerKey) -> bool {
        self.member(key).is_some()
    }

    /// Where a peer's router is, or why the peer stands by.
    fn place(&mut self, name: &str, peer: &Peer) -> Result<SocketAddr, Why> {
        if peer.refused.is_some() {
            return Err(Why::Refused);
        }
        let remote = self.whereabouts.of(&peer.router, peer.port).ok_or(Why::Range)?;
        let remote = remote.map_err(Why::NotFound)?;
        if peer.router.address().is_some() {
            return Ok(remote);
        }
        // A router that was looked up may be one that another peer names.
        let names_it = |other: &Peer| {
            other.refused.is_none()
                && (other.router.address(), other.port) == (Some(remote.ip()), remote.port())
        };
        let other = self.plan.peers.iter().find(|(other, wanted)| *other != name && names_it(&wanted.peer));
        match other {
            Some((other, _)) => Err(Why::SameRouter { other: other.clone(), remote }),
            None => Ok(remote),
        }
    }

    /// Routers of a network that have called go on, as far as they still belong to it.
    fn keep_callers(
        &mut self,
        object: &str,
        peer: &Arc<Peer>,
        routes: &Arc<RouteSet>,
        before: &mut BTreeMap<String, Member>,
    ) {
        let RouterAt::Range(range) = &peer.router else { return };
        let callers = before.extract_if(.., |_, member| member.object == object);
        for (name, member) in callers.filter(|(_, member)| range.contains(&member.target.remote.ip())) {
            let remote = member.target.remote;
            let member = self.goes_on(member, peer, remote, routes);
            self.members.insert(name, member);
        }
    }

    /// The same session as the plan wants it now, or another one in its place: with the same router it replaces the old.
    fn goes_on(
        &mut self,
        old: Member,
        peer: &Arc<Peer>,
        remote: SocketAddr,
        routes: &Arc<RouteSet>,
    ) -> Member {
        old.becomes(peer, remote, routes).unwrap_or_else(|old| {
            let replaces = (old.target.remote == remote).then_some(old.key);
            Member { replaces, ..Member::new(self.fresh_key(), &old.object, peer, remote, routes) }
        })
    }

    fn fresh_key(&mut self) -> PeerKey {
        let key = PeerKey(self.next_key);
        self.next_key = self.next_key.wrapping_add(1);
        key
    }
}

impl StandBy {
    /// Where the routers of a network may call.
    pub(super) fn entrance(&self) -> Option<Entrance> {
        match &self.peer.router {
            RouterAt::Range(range) if self.why == Why::Range => {
                entrance_of(&self.peer, range.network(), *range)
            }
            RouterAt::Range(_) | RouterAt::Address(_) | RouterAt::Gateway(_) | RouterAt::Interface(_) => None,
        }
    }
}

/// Whether both are the same machine; link-local addresses count on their link only.
fn same_place(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() && scope(one) == scope(other)
}

/// The row of a router of a network. Two links may have a router of one link-local address each.
fn caller_name(object: &str, from: SocketAddr) -> String {
    match scope(from) {
        0 => format!("{object}@{}", from.ip()),
        index => format!("{object}@{}%{index}", from.ip()),
    }
}

#[cfg(test)]
mod tests;
