//! A node with the speaker's real parts in it: intake, decisions, the window for news, and the BGP core.
//!
//! What `peering::driver` does around sockets is done here around simulated ones, in the same order; what it reads of
//! the kernel (addresses, routes) is known here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::config::Peer;
use bgp_proto::{
    Asn, Change as RouteChange, Families, HoldTime, PeerConfig, PeerKey, Prefix, RemoteAs, RouteSet,
    RouterId, Speaker,
};
use runtime::watch::Barrier;
use speaker::decide::snapshot::ExcludeLabel;
use speaker::peering::gather::{Gathering, News as RouteNews};
use speaker::plan::Plan;
use speaker::status::pace::Pace;
use speaker::status::report::Difference;
use speaker::watch::WatchSettings;
use speaker::watch::intake::{Fact, Intake, SliceUse};

use crate::cluster::{
    Key, Kind, News, Objects, Offer, candidates, chosen, communities, fact, is_peer, leaves, node_name,
    offers_to_all, router_name,
};

/// What the speaker asks routers to wait for its restart, as `peering` does.
pub(crate) const RESTART_TIME: Duration = Duration::from_secs(30);

/// How long a node that leaves says so before it withdraws, as `watch` does.
const NOTICE: Micros = 5_000_000;

/// How long a node that lost its place to others stays, as `decide::Announcer` does.
const LINGER: Micros = 5_000_000;

/// Microseconds since the run began.
pub(crate) type Micros = u64;

/// The machine: what is left when the speaker's process is gone.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) process: Option<Process>,
    /// No power until then.
    pub(crate) off_until: Micros,
    /// Nothing runs until then: a virtual machine that is paused.
    pub(crate) suspended_until: Micros,
    /// Nobody starts the speaker before.
    pub(crate) start_after: Micros,
    /// The API server is not reachable until then.
    pub(crate) api_away_until: Micros,
    /// When it is back, its history does not reach back to what was seen.
    pub(crate) history_lost: bool,
    /// Counts the processes.
    pub(crate) generation: u64,
    /// When the speaker's last session with each router came up, takeovers included.
    pub(crate) sessions_since: BTreeMap<usize, Micros>,
    pub(crate) kubelet: Kubelet,
}

/// What the kubelet and the node controller know of the speaker's Pod.
#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    /// Since when the speaker has not been ready, as the kubelet sees it.
    pub(crate) failing_since: Option<Micros>,
    /// Since when nothing has been heard of the node.
    pub(crate) silent_since: Option<Micros>,
}

/// One watch of one process.
#[derive(Debug)]
pub(crate) enum Stream {
    /// The list is on its way; at its end the watch goes on from this place in the log.
    Listing(VecDeque<News>, usize),
    /// Everything before this place in the log has been told.
    Following(usize),
}

/// A speaker that runs.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) bgp: Speaker,
    pub(crate) streams: BTreeMap<Kind, Stream>,
    /// The newest dial to each router.
    pub(crate) dials: BTreeMap<usize, u64>,
    /// Asked to end: no dials, no plans.
    pub(crate) stopping: bool,
    /// What has been told, by the judge's own bookkeeping.
    pub(crate) view: Objects,
    /// What follows from it, by the oracle: for each router.
    pub(crate) wanted: Vec<BTreeMap<Prefix, u8>>,
    /// When each of these began to be wanted so.
    pub(crate) wanted_since: BTreeMap<(usize, Prefix), Micros>,
    /// The Services that were wanted until others were chosen for them, and until when they stay: at every router, also at one
    /// that comes meanwhile.
    lingers: BTreeMap<u8, (Prefix, Micros)>,
    /// The Services for which this node was to announce last.
    chosen: BTreeSet<u8>,
    /// What is watched only on demand.
    slices_watched: Option<SliceUse>,
    states_watched: bool,
    /// Whether the node could follow the advertisement, as the plan says; what is written of it, and when.
    pub(crate) able: Option<bool>,
    pub(crate) pace: Pace,
    pub(crate) status_due: Option<Instant>,
    named: BTreeMap<Kind, BTreeSet<u8>>,
    synced: BTreeSet<Kind>,
    /// The watches that have been complete since they began.
    listed: BTreeSet<Kind>,
    /// Whether the list of slices has been complete since their nodes are read.
    hosts_listed: bool,
    number: usize,
    intake: Intake,
    gathering: Gathering,
    waiting: Option<Plan>,
    /// When to plan again without news.
    plan_due: Option<Instant>,
    members: BTreeMap<String, (Arc<Peer>, Arc<RouteSet>)>,
    has_planned: bool,
    /// Whether the node leaves, by what was told, and since when that is so; nothing before all was told once.
    leaves: Option<(bool, Micros)>,
    /// Until when a node that leaves says so before it withdraws.
    notice_until: Option<Micros>,
}

impl Process {
    pub(crate) fn start(now: Instant, number: usize, routers: usize, seed: u64) -> Self {
        let settings = WatchSettings {
            node: node_name(number),
            namespace: "metallb-system".to_owned(),
            class: None,
            exclude_label: ExcludeLabel::Honoured,
            seed,
        };
        Self {
            bgp: Speaker::new(seed, true),
            streams: BTreeMap::new(),
            dials: BTreeMap::new(),
            stopping: false,
            view: Objects::new(),
            wanted: vec![BTreeMap::new(); routers],
            wanted_since: BTreeMap::new(),
            lingers: BTreeMap::new(),
            chosen: BTreeSet::new(),
            slices_watched: Some(SliceUse::Counts),
            states_watched: false,
            able: None,
            pace: Pace::new(now),
            status_due: None,
            named: BTreeMap::new(),
            synced: BTreeSet::new(),
            listed: BTreeSet::new(),
            hosts_listed: false,
            number,
            intake: Intake::new(&settings, &Barrier::new()),
            gathering: Gathering::default(),
            waiting: None,
            plan_due: None,
            members: BTreeMap::new(),
            has_planned: false,
            leaves: None,
            notice_until: None,
        }
    }

    /// Whether the sessions know what is wanted of them.
    pub(crate) fn has_planned(&self) -> bool {
        self.has_planned
    }

    /// Whether every watch has been complete once.
    pub(crate) fn is_synced(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.synced.contains(kind))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.bgp.poll_timeout(), self.gathering.due(), self.plan_due, self.status_due]
            .into_iter()
            .flatten()
            .min()
    }

    /// Until when a prefix stays although others were chosen for it.
    pub(crate) fn lingers_until(&self, prefix: &Prefix) -> Option<Micros> {
        self.lingers.values().filter(|(what, _)| what == prefix).map(|(_, until)| *until).max()
    }

    /// Whether the node leaves, as far as this process has been told, and since when that is so.
    pub(crate) fn leaves(&self) -> (bool, Micros) {
        self.leaves.unwrap_or_default()
    }

    pub(crate) fn handle_deadlines(&mut self, at: Micros, now: Instant) {
        self.bgp.handle_timeout(now);
        if self.notice_until.is_some_and(|until| until <= at) {
            self.judge_anew(at);
        }
        if self.plan_due.is_some_and(|due| due <= now) {
            self.plan(now);
        }
        if self.gathering.is_due(now) {
            self.pass_on(now);
        }
    }

    /// Takes what a watch says, as `watch::follow` does, and hands the plan to the sessions, as `driver` does.
    pub(crate) fn take(&mut self, at: Micros, now: Instant, kind: Kind, news: &News) {
        self.note(kind, news);
        self.judge_anew(at);
        self.intake.take(fact(kind, news));
        self.plan(now);
    }

    fn plan(&mut self, now: Instant) {
        let planned = self.intake.plan(now);
        self.plan_due = self.intake.due(now);
        let Some(planned) = planned else { return };
        self.able = Some(!planned.plan.able.is_empty());
        if self.stopping || !planned.plan.synced {
            return;
        }
        let same = self.same_peers(&planned.plan);
        self.gathering.note(now, self.route_news(&planned.plan));
        self.waiting = Some(planned.plan);
        if !same || self.gathering.is_due(now) {
            self.pass_on(now);
        }
    }

    /// Which watches begin anew because more is needed of them than before, as `watch::on_demand` has it. What is not
    /// needed any more ends here.
    pub(crate) fn wishes(&mut self, at: Micros, now: Instant) -> Vec<Kind> {
        let mut anew = Vec::new();
        let slices = self.intake.slices_needed();
        if std::mem::replace(&mut self.slices_watched, slices) != slices {
            self.hosts_listed = false;
            match slices {
                Some(_) => anew.push(Kind::Slice),
                None => self.forget(at, now, Kind::Slice, Fact::SlicesForgotten),
            }
        }
        let states = self.intake.needs_states();
        if std::mem::replace(&mut self.states_watched, states) != states {
            if states {
                anew.push(Kind::State);
            } else {
                self.forget(at, now, Kind::State, Fact::StatesForgotten);
            }
        }
        anew
    }

    /// Whether a watch runs, or would if the API server were there.
    pub(crate) fn watches(&self, kind: Kind) -> bool {
        match kind {
            Kind::Slice => self.slices_watched.is_some(),
            Kind::State => self.states_watched,
            Kind::Node
            | Kind::Pool
            | Kind::Peer
            | Kind::Advertisement
            | Kind::Community
            | Kind::BfdProfile
            | Kind::Secret
            | Kind::Service => true,
        }
    }

    fn forget(&mut self, at: Micros, now: Instant, kind: Kind, fact: Fact) {
        self.streams.remove(&kind);
        self.view.retain(|(of, _), _| *of != kind);
        self.named.remove(&kind);
        self.listed.remove(&kind);
        self.judge_anew(at);
        self.intake.take(fact);
        self.plan(now);
    }

    /// When the object that says what this node could is written next; `written` is what it says.
    pub(crate) fn note_status(&mut self, now: Instant, written: Option<bool>) {
        let Some(able) = self.able else { return };
        let difference = match (written.unwrap_or_default(), able) {
            (true, false) => Difference::Awaited,
            (false, true) => Difference::Transition,
            (true, true) | (false, false) => Difference::None,
        };
        self.pace.note(now, difference);
        self.status_due = self.pace.due(now);
    }

    fn same_peers(&self, plan: &Plan) -> bool {
        plan.peers.len() == self.members.len()
            && plan.peers.iter().all(|(name, peer)| {
                self.members.get(name).is_some_and(|(known, _)| Arc::ptr_eq(known, &peer.peer))
            })
    }

    fn route_news(&self, plan: &Plan) -> RouteNews {
        let mut news = RouteNews::Nothing;
        for (name, (_, routes)) in &self.members {
            let Some(wanted) = plan.peers.get(name) else { continue };
            for change in RouteSet::diff(routes, &wanted.routes) {
                match change {
                    RouteChange::Unset(_) => return RouteNews::Withdraws,
                    RouteChange::Set(..) => news = RouteNews::Announces,
                }
            }
        }
        news
    }

    fn pass_on(&mut self, now: Instant) {
        self.gathering.released(now);
        let Some(plan) = self.waiting.take() else { return };
        self.has_planned = true;
        let configs: Vec<PeerConfig> =
            plan.peers.iter().map(|(name, peer)| self.config(name, &peer.peer)).collect();
        self.bgp.set_peers(now, &configs);
        for (config, peer) in configs.iter().zip(plan.peers.values()) {
            self.bgp.set_routes(config.key, Arc::clone(&peer.routes));
        }
        let members = plan.peers.into_iter().map(|(name, peer)| (name, (peer.peer, peer.routes)));
        self.members = members.collect();
    }

    fn config(&self, name: &str, peer: &Peer) -> PeerConfig {
        let router: u32 = name.trim_start_matches('r').parse().unwrap();
        let (v4, v6) = node_addresses(self.number);
        PeerConfig {
            hold_time: peer.hold_time.map(|hold| HoldTime::try_new(hold).unwrap()),
            families: Families::BOTH,
            graceful_restart: peer.graceful_restart.then_some(RESTART_TIME),
            next_hop_v6: Some(v6),
            ..PeerConfig::new(
                PeerKey(router),
                Asn(peer.local_asn),
                RemoteAs::Exactly(Asn(65530)),
                RouterId::try_new(v4).unwrap(),
            )
        }
    }

    /// The judge's copy of what the watches said: what is not named in a list is gone when the list is complete.
    fn note(&mut self, kind: Kind, news: &News) {
        let key = |number: u8| -> Key { (kind, number) };
        match news {
            News::Restarted => {
                self.named.insert(kind, BTreeSet::new());
            }
            News::Apply(number, object) => {
                self.named.entry(kind).or_default().insert(*number);
                self.view.insert(key(*number), object.clone());
            }
            News::Delete(number, _) => {
                self.view.remove(&key(*number));
            }
            News::Synced => {
                let named = self.named.get(&kind).cloned().unwrap_or_default();
                self.view.retain(|(of, number), _| *of != kind || named.contains(number));
                self.synced.insert(kind);
                self.listed.insert(kind);
                self.hosts_listed |= kind == Kind::Slice && self.slices_watched == Some(SliceUse::Hosts);
            }
        }
    }

    fn judge_anew(&mut self, at: Micros) {
        if !self.is_synced() {
            return;
        }
        let leaves = leaves(&self.view, self.number);
        let before = self.leaves.map(|(leaves, _)| leaves);
        if before != Some(leaves) {
            self.leaves = Some((leaves, at));
            // Who has told nobody anything has nothing to take back in two steps.
            self.notice_until = (leaves && before.is_some()).then_some(at + NOTICE);
        }
        let notice = self.notice_until.is_some_and(|until| at < until);
        if !notice {
            self.notice_until = None;
        }
        if self.slices_watched.is_some() && !self.listed.contains(&Kind::Slice) {
            // Nothing follows from half a list.
            return;
        }
        let mut offers = offers_to_all(&self.view, self.number, notice);
        if !self.hosts_listed {
            offers.iter_mut().for_each(Offer::forget_hosts);
        }
        // While a list is not complete nobody is known, and then every node announces.
        let whole = [Kind::Slice, Kind::State].iter().all(|kind| self.listed.contains(kind));
        let candidates = if whole { candidates(&self.view) } else { BTreeSet::new() };
        let chosen = chosen(&self.view, &candidates, &offers, self.number);
        let meant = communities(&chosen);
        let chosen: BTreeSet<u8> = chosen.into_iter().map(|offer| offer.service).collect();
        // What was a Service's place here is others' now, and nothing else is in the way. Whether another Service has the
        // same address does not matter: it may go first.
        let given_up = |offer: &&Offer| !chosen.contains(&offer.service);
        let given_up: BTreeMap<u8, Prefix> =
            offers.iter().filter(given_up).map(|offer| (offer.service, offer.prefix)).collect();
        self.lingers.retain(|service, (prefix, _)| given_up.get(service) == Some(prefix));
        for (service, prefix) in given_up {
            if self.chosen.contains(&service) {
                self.lingers.insert(service, (prefix, at + LINGER));
            }
        }
        self.chosen = chosen;
        for router in 0..self.wanted.len() {
            let now = if is_peer(&self.view, router) { meant.clone() } else { BTreeMap::new() };
            for (prefix, community) in &now {
                if self.wanted[router].get(prefix) != Some(community) {
                    self.wanted_since.insert((router, *prefix), at);
                }
            }
            self.wanted[router] = now;
        }
    }
}

/// Addresses of a node, where its routes point.
pub(crate) fn node_addresses(number: usize) -> (Ipv4Addr, Ipv6Addr) {
    let last = u8::try_from(11 + number).unwrap();
    (Ipv4Addr::new(10, 0, 2, last), Ipv6Addr::new(0xfd00, 0x10, 0, 2, 0, 0, 0, last.into()))
}

/// The number of the router that a core's key stands for.
pub(crate) fn router_of(peer: PeerKey) -> usize {
    usize::try_from(peer.0).unwrap()
}

/// The name that a router has in the objects, for messages.
pub(crate) fn describe(node: usize, router: usize, prefix: &Prefix) -> String {
    format!("{prefix} by {} at {}", node_name(node), router_name(router))
}
