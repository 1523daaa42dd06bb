//! What a bounded number of nodes needs of the cluster around the speakers: kubelets and the node controller, who say which
//! speakers are ready; the object in which each speaker says what it could; the watches that run on demand.

use std::collections::{BTreeMap, BTreeSet};

use bgp_proto::Prefix;

use crate::cluster::{Kind, Object, SPEAKERS, candidates, is_peer, offers, places, router_name};
use crate::node::{Micros, Process};
use crate::world::{SECOND, World};

/// How often a kubelet looks whether the speaker runs.
pub(crate) const KUBELET_LOOKS: Micros = SECOND;
/// A probe that fails for so long makes a Pod unready (three times, every five seconds).
const UNREADY_AFTER: Micros = 10 * SECOND;
/// A node that is not heard of for so long has no ready Pods.
const NODE_GRACE: Micros = 40 * SECOND;
/// Nobody serves an address for longer than this after its nodes died without a word, or lost what they need.
const FOUND_DEAD: Micros = NODE_GRACE + 20 * SECOND;
/// Where everything works and a node is barred at once, another one has its place after this: what the node could is written
/// 1.5 s later, or 3 s after it was written before.
const TOLD: Micros = 5 * SECOND + SECOND / 2;
/// After a trouble everybody is ready and has said what he could.
const SETTLED: Micros = 12 * SECOND;

impl World {
    /// How many nodes announce, if that is bounded now.
    pub(crate) fn width(&self) -> Option<u16> {
        match self.objects.get(&(Kind::Advertisement, 0)) {
            Some(Object::Advertisement { most, .. }) => *most,
            _ => None,
        }
    }

    /// Whether a speaker is ready, as its probe says: it knows everything, and has a session if it has peers.
    pub(crate) fn is_ready(&self, node: usize) -> bool {
        let runs = |process: &Process| process.has_planned() && !process.stopping;
        let peers = self.objects.range((Kind::Peer, 0)..=(Kind::Peer, u8::MAX)).next().is_some();
        let up = self.routers.iter().any(|router| router.ribs[node].session.is_some());
        self.nodes[node].process.as_ref().is_some_and(runs) && (up || !peers)
    }

    /// What the kubelet of a node and the node controller make of it.
    pub(crate) fn kubelet(&mut self, number: usize) {
        let at = self.now;
        let probe = self.is_ready(number);
        let node = &mut self.nodes[number];
        let silent = node.off_until.max(node.suspended_until).max(node.api_away_until) > at;
        let silent_since = silent.then(|| node.kubelet.silent_since.unwrap_or(at));
        node.kubelet.silent_since = silent_since;
        let failing_since = (!probe).then(|| node.kubelet.failing_since.unwrap_or(at));
        node.kubelet.failing_since = failing_since;
        let gone = node.process.as_ref().is_none_or(|process| process.stopping);
        let before = match self.objects.get(&(Kind::Slice, SPEAKERS)) {
            Some(Object::Speakers { ready }) => ready.clone(),
            _ => BTreeSet::new(),
        };
        let own = u8::try_from(number).unwrap();
        let is_ready = match (silent_since, failing_since) {
            (Some(since), _) => before.contains(&own) && at < since + NODE_GRACE,
            (None, None) => true,
            (None, Some(since)) => before.contains(&own) && !gone && at < since + UNREADY_AFTER,
        };
        let mut ready = before;
        if is_ready {
            ready.insert(own);
        } else {
            ready.remove(&own);
        }
        self.write(Kind::Slice, SPEAKERS, Some(Object::Speakers { ready }));
    }

    /// Everything that a speaker watches is listed anew.
    pub(crate) fn list_everything(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let watched: Vec<Kind> =
            Kind::ALL.into_iter().chain([Kind::State]).filter(|kind| process.watches(*kind)).collect();
        watched.into_iter().for_each(|kind| self.list(node, kind));
    }

    /// Watches begin because they are needed now, and what the speaker could say of itself is written in its time.
    pub(crate) fn heed_wishes(&mut self, number: usize) {
        let (at, now) = (self.now, self.instant());
        let written = match self.objects.get(&(Kind::State, u8::try_from(number).unwrap())) {
            Some(Object::State { able }) => Some(*able),
            _ => None,
        };
        let node = &mut self.nodes[number];
        let reachable = node.api_away_until <= at;
        let Some(process) = &mut node.process else { return };
        let anew = process.wishes(at, now);
        process.note_status(now, written);
        if !reachable {
            process.status_due = None;
        }
        for kind in anew {
            if reachable {
                self.list(number, kind);
            } else if let Some(process) = &mut self.nodes[number].process {
                // It begins when the API server is back.
                process.streams.remove(&kind);
            }
        }
        self.drain_node(number);
    }

    /// The speaker writes what it could, if it is time.
    pub(crate) fn write_status(&mut self, number: usize) {
        let (at, now) = (self.now, self.instant());
        let reachable = self.nodes[number].api_away_until <= at;
        let Some(process) = &mut self.nodes[number].process else { return };
        if !reachable {
            process.status_due = None;
        }
        let Some(able) = process.able.filter(|_| process.status_due.is_some_and(|due| due <= now)) else {
            return;
        };
        process.status_due = None;
        process.pace.wrote(now);
        self.write(Kind::State, u8::try_from(number).unwrap(), Some(Object::State { able }));
    }

    /// Looks for addresses that nobody serves although somebody could: a bounded number of nodes must not leave one alone for
    /// longer than it takes to learn that the chosen ones are gone.
    pub(crate) fn look_for_gaps(&mut self) {
        let at = self.now;
        // A router that was away for a moment only has no session yet, and its nodes need not know.
        let calm = (0..self.nodes.len()).all(|node| {
            let reachable = self.nodes[node].api_away_until <= at;
            let well = |router| self.is_well(node, router) && self.has_session(node, router);
            reachable && (0..self.routers.len()).all(well)
        });
        self.judge.calm_since = calm.then(|| self.judge.calm_since.unwrap_or(at));
        let candidates = candidates(&self.objects);
        for router in 0..self.routers.len() {
            let mut open = BTreeMap::new();
            for (prefix, places) in self.unserved(router, &candidates) {
                // A node that is ready by its session with another router keeps its place: nobody knows better.
                let excused = places.iter().any(|node| !self.is_well(*node, router) && self.is_ready(*node));
                if !excused {
                    open.insert(prefix, places);
                }
            }
            let judge = &mut self.judge;
            judge.gap_since.retain(|(of, prefix), _| *of != router || open.contains_key(prefix));
            judge.places_since.retain(|(of, prefix), _| *of != router || open.contains_key(prefix));
            let mut found = None;
            for (prefix, places) in open {
                let since = *judge.gap_since.entry((router, prefix)).or_insert(at);
                // Who comes after one that is found dead may have died meanwhile.
                let place = judge.places_since.entry((router, prefix)).or_insert((BTreeSet::new(), at));
                if place.0 != places {
                    *place = (places, at);
                }
                let barred = judge.calm_since.is_some_and(|calm| at > since.max(calm + SETTLED) + TOLD);
                if at > place.1 + FOUND_DEAD || barred {
                    found = found.or(Some((prefix, (at - since) / SECOND)));
                }
            }
            if let Some((prefix, seconds)) = found {
                let router = router_name(router);
                judge
                    .blame(at, format!("{prefix} at {router}: by nobody for {seconds} s although one could"));
            }
        }
    }

    /// The addresses to which a router has no path that leads anywhere although some node could serve them, with the nodes
    /// that are to announce them.
    fn unserved(&self, router: usize, candidates: &BTreeSet<u8>) -> Vec<(Prefix, BTreeSet<usize>)> {
        let (at, device) = (self.now, &self.routers[router]);
        if device.bgp.is_none() || device.stuck_until > at || device.off_until > at {
            return Vec::new();
        }
        let mut served = BTreeSet::new();
        let mut possible: BTreeMap<Prefix, BTreeSet<usize>> = BTreeMap::new();
        for node in 0..self.nodes.len() {
            for offer in offers(&self.objects, node, router, false) {
                let machine = &self.nodes[node];
                let has = device.ribs[node].routes.contains_key(&offer.prefix);
                if has && self.is_reachable(node, router) {
                    served.insert(offer.prefix);
                }
                if machine.api_away_until <= at && self.is_well(node, router) {
                    let chosen = places(&self.objects, candidates, &offer).unwrap_or_default();
                    let all = possible.entry(offer.prefix).or_default();
                    all.extend(chosen.into_iter().map(usize::from));
                }
            }
        }
        possible.into_iter().filter(|(prefix, _)| !served.contains(prefix)).collect()
    }

    /// Whether packets get from a router to a node.
    fn is_reachable(&self, node: usize, router: usize) -> bool {
        let machine = &self.nodes[node];
        let until = machine.off_until.max(machine.suspended_until).max(self.links[node][router]);
        until <= self.now
    }

    /// Whether a router has the session that the objects want.
    fn has_session(&self, node: usize, router: usize) -> bool {
        !is_peer(&self.objects, router) || self.routers[router].ribs[node].session.is_some()
    }

    /// Whether a router could know all that a node wants to tell it.
    fn is_well(&self, node: usize, router: usize) -> bool {
        self.is_reachable(node, router) && self.judge.healthy_since.contains_key(&(node, router))
    }
}
