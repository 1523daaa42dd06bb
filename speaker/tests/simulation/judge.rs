//! What must hold: on every word that a node says, on every route that a router loses, all the time, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use bgp_proto::Prefix;

use crate::cluster::{candidates, truth, wanted};
use crate::node::{Micros, describe, node_addresses};
use crate::router::{Cause, Lost};
use crate::witness::Told;
use crate::world::{MILLI, SECOND, Tally, World};

/// Announcements may be gathered for 8 ms, and then the world's clock has to tick.
const GATHERED: Micros = 50 * MILLI;
/// From a healthy state on, a router must know within this what its node knows.
const PROMPT: Micros = SECOND;
/// What BFD, the wire and the router need together.
const BFD_BOUND: Micros = 2_500 * MILLI;
/// A dead path is noticed by the hold timer; then something must also be done about it.
const HOLD_SLACK: Micros = 2 * SECOND;
/// When everything is healthy, an address is announced after this at the latest: the longest pause between two dials
/// (15 s), what a connection needs, and the pauses of TCP.
const PATIENCE: Micros = 40 * SECOND;
/// Consequences of a trouble show until the restart time, a hold time and a pause between dials are over.
const AFTERMATH: Micros = 80 * SECOND;

#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) fault: Option<String>,
    pub(crate) tally: Tally,
    /// From then on nobody may say anything but KEEPALIVE.
    pub(crate) quiet_from: Micros,
    /// Until when something was wrong between a node and a router that may cost routes.
    troubles: Vec<Vec<Option<Micros>>>,
    longest_hold: u16,
    wrong_since: BTreeMap<(usize, usize, Prefix), Micros>,
    missing_since: BTreeMap<(usize, usize, Prefix), Micros>,
    pub(crate) healthy_since: BTreeMap<(usize, usize), Micros>,
    /// When a router last heard anything of a node.
    pub(crate) heard: BTreeMap<(usize, usize), Micros>,
    /// Since when nobody has served an address although somebody could.
    pub(crate) gap_since: BTreeMap<(usize, Prefix), Micros>,
    /// Since when the same nodes have been the ones to serve such an address.
    pub(crate) places_since: BTreeMap<(usize, Prefix), (BTreeSet<usize>, Micros)>,
    /// Since when nothing has been wrong anywhere.
    pub(crate) calm_since: Option<Micros>,
}

impl Judge {
    pub(crate) fn new(nodes: usize, routers: usize, hold: u16) -> Self {
        Self {
            fault: None,
            tally: Tally::default(),
            quiet_from: Micros::MAX,
            troubles: vec![vec![None; routers]; nodes],
            longest_hold: hold,
            wrong_since: BTreeMap::new(),
            missing_since: BTreeMap::new(),
            healthy_since: BTreeMap::new(),
            heard: BTreeMap::new(),
            gap_since: BTreeMap::new(),
            places_since: BTreeMap::new(),
            calm_since: None,
        }
    }

    pub(crate) fn trouble(&mut self, node: usize, router: usize, until: Micros) {
        let trouble = &mut self.troubles[node][router];
        *trouble = (*trouble).max(Some(until));
    }

    pub(crate) fn trouble_of_node(&mut self, node: usize, until: Micros) {
        (0..self.troubles[node].len()).for_each(|router| self.trouble(node, router, until));
    }

    pub(crate) fn trouble_of_router(&mut self, router: usize, until: Micros) {
        (0..self.troubles.len()).for_each(|node| self.trouble(node, router, until));
    }

    /// A hold time that may be agreed from here on.
    pub(crate) fn see_hold(&mut self, hold: u16) {
        self.longest_hold = self.longest_hold.max(hold);
    }

    pub(crate) fn blame(&mut self, at: Micros, what: String) {
        if self.fault.is_none() {
            let millis = at / MILLI;
            self.fault = Some(format!("after {}.{:03} s: {what}", millis / 1_000, millis % 1_000));
        }
    }
}

impl World {
    /// A node says something: it must be what its facts say at that moment.
    pub(crate) fn judge_words(&mut self, node: usize, router: usize, told: &Told) {
        let at = self.now;
        self.judge.tally.updates += 1;
        if at > self.judge.quiet_from {
            self.judge.blame(at, format!("an UPDATE of n{node} to r{router} long after the end: {told:?}"));
        }
        let Some(process) = &self.nodes[node].process else { return };
        if process.stopping {
            return;
        }
        let (v4, v6) = node_addresses(node);
        let mut faults = Vec::new();
        for prefix in &told.announced {
            let what = describe(node, router, prefix);
            let since = process.wanted_since.get(&(router, *prefix)).copied().unwrap_or_default();
            // A machine that was paused finds out that the time is over when it runs again.
            let woke = self.nodes[node].suspended_until;
            let lingers = process.lingers_until(prefix).is_some_and(|until| at <= until.max(woke) + GATHERED);
            match process.wanted[router].get(prefix) {
                None if lingers => {}
                None => faults.push(format!("{what}: announced although nothing known says so")),
                Some(community) if told.community != Some(*community) && at > since + GATHERED => {
                    faults.push(format!("{what}: community {:?}, not {community}", told.community));
                }
                Some(_) => {}
            }
            let next_hop = if prefix.address().is_ipv4() { v4.into() } else { v6.into() };
            if told.next_hop != Some(next_hop) {
                faults.push(format!("{what}: next hop {:?}", told.next_hop));
            }
        }
        let (leaves, leaves_since) = process.leaves();
        if !told.announced.is_empty() && told.shutting_down != leaves && at > leaves_since + GATHERED {
            let what = describe(node, router, &told.announced[0]);
            let marked = if told.shutting_down { "marked as leaving" } else { "not marked as leaving" };
            faults.push(format!("{what}: {marked}"));
        }
        for prefix in &told.withdrawn {
            let since = process.wanted_since.get(&(router, *prefix)).copied().unwrap_or_default();
            if process.wanted[router].contains_key(prefix) && at > since + GATHERED {
                faults.push(format!("{}: withdrawn without a cause", describe(node, router, prefix)));
            }
            if process.lingers_until(prefix).is_some_and(|until| at + GATHERED < until) {
                faults
                    .push(format!("{}: withdrawn before others could come", describe(node, router, prefix)));
            }
        }
        if let Some(fault) = faults.into_iter().next() {
            self.judge.blame(at, fault);
        }
    }

    /// A router loses routes: a withdrawal was judged when it was said, for the rest there must be a reason.
    pub(crate) fn judge_losses(&mut self, router: usize, lost: &[Lost]) {
        let at = self.now;
        self.judge.tally.routes_lost += lost.len() as u64;
        for Lost { node, prefix, cause } in lost {
            let excused = match cause {
                Cause::Withdrawn => true,
                Cause::Swept => {
                    let process = self.nodes[*node].process.as_ref();
                    process.is_none_or(|process| {
                        let since = process.wanted_since.get(&(router, *prefix)).copied();
                        !process.wanted[router].contains_key(prefix)
                            || since.is_none_or(|since| at < since + PROMPT)
                    })
                }
                Cause::StaleTimer | Cause::SessionLost(_) | Cause::NotKept => {
                    self.judge.troubles[*node][router].is_some_and(|until| at <= until + AFTERMATH)
                }
            };
            if !excused {
                let what = describe(*node, router, prefix);
                self.judge.blame(at, format!("{what}: lost without a cause: {cause:?}"));
            }
        }
    }

    /// Looks at all tables: what is wrong must not be so for long.
    pub(crate) fn look(&mut self) {
        for router in 0..self.routers.len() {
            for node in 0..self.nodes.len() {
                self.look_at(node, router);
            }
        }
        self.look_for_gaps();
    }

    fn look_at(&mut self, node: usize, router: usize) {
        let at = self.now;
        let device = &self.routers[router];
        let machine = &self.nodes[node];
        let reachable =
            machine.off_until <= at && machine.suspended_until <= at && self.links[node][router] <= at;
        let process = machine.process.as_ref().filter(|process| process.is_synced() && !process.stopping);
        let router_works = device.bgp.is_some() && device.stuck_until <= at && device.off_until <= at;
        if !router_works {
            // Its table is out of everybody's reach: clocks start again when it is back.
            self.judge.wrong_since.retain(|(_, of, _), _| *of != router);
            self.judge.missing_since.retain(|(_, of, _), _| *of != router);
            self.judge.healthy_since.remove(&(node, router));
            return;
        }
        let healthy_since = if reachable && process.is_some() {
            Some(*self.judge.healthy_since.entry((node, router)).or_insert(at))
        } else {
            self.judge.healthy_since.remove(&(node, router));
            None
        };
        let truth = match process {
            Some(process) => process.wanted[router].clone(),
            None => wanted(&self.objects, &candidates(&self.objects), node, router, false),
        };
        // Who has had no session with that router since it started cannot tell it anything.
        let session_since = machine.sessions_since.get(&router);
        let could_tell_since = healthy_since.and_then(|healthy| Some(healthy.max(*session_since?)));
        // What was on its way may come after the last moment at which the node was well.
        let heard = self.judge.heard.get(&(node, router)).copied().unwrap_or_default();
        let rib = &device.ribs[node];
        let hold = Micros::from(self.judge.longest_hold) * SECOND;
        let mut faults = Vec::new();
        let prefixes: BTreeSet<Prefix> = truth.keys().chain(rib.routes.keys()).copied().collect();
        for clock in [&mut self.judge.wrong_since, &mut self.judge.missing_since] {
            let other = |of: &(usize, usize, Prefix)| (of.0, of.1) != (node, router);
            clock.retain(|of, _| other(of) || prefixes.contains(&of.2));
        }
        for prefix in prefixes {
            let key = (node, router, prefix);
            let has = rib.routes.contains_key(&prefix);
            let serves = reachable && truth.contains_key(&prefix);
            let until = process.and_then(|process| process.lingers_until(&prefix));
            let lingers = reachable && until.is_some_and(|until| at <= until);
            if has && !serves && !lingers {
                let since = *self.judge.wrong_since.entry(key).or_insert(at);
                let limit = match (rib.session, rib.stale_until) {
                    // A router that stood still goes by its timers only when it runs again.
                    (None, Some(stale)) => since.max(stale) + SECOND,
                    (_, _) => match could_tell_since {
                        Some(could) => since.max(could) + PROMPT,
                        None if self.scenario.bfd && !reachable => since.max(heard) + BFD_BOUND,
                        None => since.max(heard) + hold + HOLD_SLACK,
                    },
                };
                if at > limit {
                    let seconds = (at - since) / SECOND;
                    let what = describe(node, router, &prefix);
                    faults.push(format!("{what}: held for {seconds} s although it cannot serve"));
                }
            } else {
                self.judge.wrong_since.remove(&key);
            }
            if !has && serves && healthy_since.is_some() {
                let since = *self.judge.missing_since.entry(key).or_insert(at);
                if at > since + PATIENCE {
                    faults.push(format!("{}: not announced", describe(node, router, &prefix)));
                }
            } else {
                self.judge.missing_since.remove(&key);
            }
        }
        if let Some(fault) = faults.into_iter().next() {
            self.judge.blame(at, fault);
        }
    }

    /// When all is over, the tables are the truth.
    pub(crate) fn verdict(mut self) -> Result<Tally, String> {
        for router in 0..self.routers.len() {
            for node in 0..self.nodes.len() {
                let truth = truth(&self.objects, node, router);
                let rib = &self.routers[router].ribs[node];
                let table: BTreeMap<Prefix, u8> = rib
                    .routes
                    .iter()
                    .map(|(prefix, held)| (*prefix, held.community.unwrap_or(u8::MAX)))
                    .collect();
                let stale = rib.routes.values().any(|held| held.stale);
                if table != truth || stale {
                    let at = self.now;
                    self.judge.blame(
                        at,
                        format!("at the end r{router} has {table:?} by n{node}, the truth is {truth:?}"),
                    );
                }
            }
        }
        match self.judge.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(self.judge.tally),
        }
    }
}
