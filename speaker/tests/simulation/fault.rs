//! What the events of a scenario do to the world.

use bgp_proto::{CloseCause, Event, PathFault, Stop};
use std::time::Duration;

use crate::chance::Chance;
use crate::cluster::{Health, Kind, Object, is_v6};
use crate::node::Micros;
use crate::scenario::Happens;
use crate::wire::{NODE, ROUTER};
use crate::world::{Happening, MILLI, SECOND, World};

/// What BFD at 300 ms and three packets needs to notice.
const BFD_NOTICES: Micros = 950 * MILLI;
/// A speaker that withdraws everything is given this long, as by its driver.
const REMOVAL: Micros = 5 * SECOND;

impl Happens {
    /// When the last of its own consequences ends, from its beginning on.
    pub(crate) fn lasts(&self) -> Micros {
        match self {
            Self::PowerOff { lasts, .. }
            | Self::LinkDown { lasts, .. }
            | Self::NodeSuspended { lasts, .. }
            | Self::RouterStopsReading { lasts, .. }
            | Self::ApiAway { lasts, .. } => lasts * MILLI,
            Self::SpeakerKilled { away, .. }
            | Self::SpeakerRestarts { away, .. }
            | Self::RouterKilled { away, .. }
            | Self::RouterPowerOff { away, .. } => away * MILLI,
            Self::SpeakerRemoved { away, .. } => REMOVAL + away * MILLI,
            Self::Endpoint { .. }
            | Self::ServiceMade { .. }
            | Self::ServiceGone { .. }
            | Self::AllServicesGone
            | Self::Excluded { .. }
            | Self::NetworkUnavailable { .. }
            | Self::Leaves { .. }
            | Self::Community { .. }
            | Self::Width { .. }
            | Self::PeerRemoved { .. }
            | Self::PeerConfigured { .. }
            | Self::TakeOver { .. }
            | Self::StoreRestored { .. } => 0,
        }
    }
}

impl World {
    pub(crate) fn befall(&mut self, event: &Happens) {
        let until = self.now + event.lasts();
        let byte = |number: usize| u8::try_from(number).unwrap();
        match *event {
            Happens::Endpoint { service, node, health } => self.endpoint(service, byte(node), health),
            Happens::ServiceMade { service, local } => {
                let address = self.address_of(service);
                self.write(Kind::Service, service, Some(Object::Service { address, local }));
            }
            Happens::ServiceGone { service } => self.write(Kind::Service, service, None),
            Happens::AllServicesGone => {
                (0..self.scenario.services).for_each(|service| self.write(Kind::Service, service, None));
            }
            Happens::Excluded { node, excluded } => {
                let object = Object::Node { excluded, network_unavailable: false, leaving: false };
                self.write(Kind::Node, byte(node), Some(object));
            }
            Happens::NetworkUnavailable { node, unavailable } => {
                let object =
                    Object::Node { excluded: false, network_unavailable: unavailable, leaving: false };
                self.write(Kind::Node, byte(node), Some(object));
            }
            Happens::Leaves { node, leaving } => {
                let object = Object::Node { excluded: false, network_unavailable: false, leaving };
                self.write(Kind::Node, byte(node), Some(object));
            }
            Happens::Community { community } => {
                let most = self.width();
                self.write(Kind::Advertisement, 0, Some(Object::Advertisement { community, most }));
            }
            Happens::Width { most } => {
                let Some(Object::Advertisement { community, .. }) =
                    self.objects.get(&(Kind::Advertisement, 0))
                else {
                    return;
                };
                let community = *community;
                self.write(Kind::Advertisement, 0, Some(Object::Advertisement { community, most }));
            }
            Happens::PeerRemoved { router } => {
                self.judge.trouble_of_router(router, self.now + SECOND);
                self.write(Kind::Peer, byte(router), None);
            }
            Happens::PeerConfigured { router, hold } => {
                self.judge.trouble_of_router(router, self.now + SECOND);
                self.judge.see_hold(hold);
                self.write(Kind::Peer, byte(router), Some(Object::Peer { hold }));
            }
            Happens::PowerOff { node, .. } => self.power_off(node, until),
            Happens::LinkDown { node, router, .. } => {
                let link = &mut self.links[node][router];
                *link = (*link).max(until);
                self.judge.trouble(node, router, until);
                self.bfd(node, router, [true, true], until);
            }
            Happens::SpeakerKilled { node, .. } => {
                self.trouble_by_absence(node, until);
                self.end_process(node, true);
                self.start_again(node, until);
            }
            Happens::SpeakerRestarts { node, .. } => {
                self.trouble_by_absence(node, until);
                self.ask_to_end(node, Stop::Restart);
                self.end_process(node, true);
                self.start_again(node, until);
            }
            Happens::SpeakerRemoved { node, .. } => {
                self.judge.trouble_of_node(node, until);
                self.ask_to_end(node, Stop::Remove("removed".to_owned()));
                let generation = self.nodes[node].generation;
                self.schedule(self.now + REMOVAL, Happening::End { node, generation });
                self.start_again(node, until);
            }
            Happens::NodeSuspended { node, .. } => {
                let suspended = &mut self.nodes[node].suspended_until;
                *suspended = (*suspended).max(until);
                self.judge.trouble_of_node(node, until);
                for router in 0..self.routers.len() {
                    self.bfd(node, router, [false, true], until);
                }
            }
            Happens::RouterKilled { router, .. } => {
                let down = &mut self.routers[router].down_until;
                *down = (*down).max(until);
                for wire in self.open_wires(ROUTER, router) {
                    self.close(wire, ROUTER, CloseCause::Eof);
                }
                self.router_is_gone(router, until);
            }
            Happens::RouterPowerOff { router, .. } => {
                let off = &mut self.routers[router].off_until;
                *off = (*off).max(until);
                self.vanish(ROUTER, router);
                for node in 0..self.nodes.len() {
                    self.bfd(node, router, [true, false], until);
                }
                self.router_is_gone(router, until);
            }
            Happens::RouterStopsReading { router, .. } => {
                let stuck = &mut self.routers[router].stuck_until;
                *stuck = (*stuck).max(until);
                self.judge.trouble_of_router(router, until);
                for node in 0..self.nodes.len() {
                    self.bfd(node, router, [true, false], until);
                }
            }
            Happens::ApiAway { node, history_lost, .. } => {
                let away: Vec<usize> =
                    node.map_or_else(|| (0..self.nodes.len()).collect(), |node| vec![node]);
                away.into_iter().for_each(|node| self.api_away(node, until, history_lost));
            }
            Happens::TakeOver { node } => self.take_over(node),
            Happens::StoreRestored { seed } => self.restore(seed),
        }
    }

    fn endpoint(&mut self, service: u8, node: u8, health: Option<Health>) {
        let address = self.address_of(service);
        let mut endpoints = match self.objects.get(&(Kind::Slice, service)) {
            Some(Object::Slice { endpoints, .. }) => endpoints.clone(),
            _ => Vec::new(),
        };
        endpoints.retain(|(host, _)| *host != node);
        endpoints.extend(health.map(|health| (node, health)));
        self.write(Kind::Slice, service, Some(Object::Slice { v6: is_v6(address), endpoints }));
    }

    fn power_off(&mut self, node: usize, until: Micros) {
        let off = &mut self.nodes[node].off_until;
        *off = (*off).max(until);
        self.nodes[node].process = None;
        self.nodes[node].generation += 1;
        self.vanish(NODE, node);
        self.judge.trouble_of_node(node, until);
        for router in 0..self.routers.len() {
            self.bfd(node, router, [false, true], until);
        }
        self.schedule(until, Happening::Start { node });
    }

    fn router_is_gone(&mut self, router: usize, until: Micros) {
        self.routers[router].end();
        self.judge.trouble_of_router(router, until);
        self.schedule(until, Happening::StartRouter { router });
    }

    /// Being away for a short while is what graceful restart is for; anything else is an excuse for a loss.
    fn trouble_by_absence(&mut self, node: usize, until: Micros) {
        let short = until < self.now + 15 * SECOND;
        let complete = (0..self.routers.len()).all(|router| {
            let rib = &self.routers[router].ribs[node];
            rib.session.is_some() && rib.complete.len() == 2 && rib.stale_until.is_none()
        });
        let told = self.nodes[node].process.as_ref().is_some_and(|process| !process.stopping);
        if !(short && complete && told) {
            self.judge.trouble_of_node(node, until);
        }
    }

    fn ask_to_end(&mut self, node: usize, how: Stop) {
        let now = self.instant();
        if let Some(process) = &mut self.nodes[node].process {
            process.stopping = true;
            process.bgp.stop(now, how);
        }
        if self.nodes[node].suspended_until <= self.now {
            self.drain_node(node);
        }
    }

    /// The kernel closes what the process had open.
    pub(crate) fn end_process(&mut self, node: usize, heard: bool) {
        if self.nodes[node].process.take().is_none() {
            return;
        }
        self.nodes[node].generation += 1;
        if heard {
            for wire in self.open_wires(NODE, node) {
                self.close(wire, NODE, CloseCause::Eof);
            }
        }
    }

    pub(crate) fn open_wires(&self, end: usize, owner: usize) -> Vec<u64> {
        let mine =
            self.wires.iter().filter(|(_, wire)| wire.open[end] && [wire.node, wire.router][end] == owner);
        mine.map(|(number, _)| *number).collect()
    }

    fn start_again(&mut self, node: usize, at: Micros) {
        let after = &mut self.nodes[node].start_after;
        *after = (*after).max(at);
        let at = *after;
        self.schedule(at, Happening::Start { node });
    }

    fn api_away(&mut self, number: usize, until: Micros, history_lost: bool) {
        self.judge.trouble_of_node(number, until);
        let node = &mut self.nodes[number];
        node.api_away_until = node.api_away_until.max(until);
        node.history_lost |= history_lost;
        let back = node.api_away_until;
        self.schedule(back, Happening::ApiBack { node: number });
    }

    /// The store is put back to other data: nobody is told of what is different, everybody lists anew.
    fn restore(&mut self, seed: u64) {
        let mut chance = Chance::new(seed);
        for node in 0..self.nodes.len() {
            let excluded = chance.once_in(4);
            let key = (Kind::Node, u8::try_from(node).unwrap());
            let leaving = chance.once_in(6);
            self.objects.insert(key, Object::Node { excluded, network_unavailable: false, leaving });
        }
        for router in 0..self.routers.len() {
            let hold = [9, 15][chance.below(2)];
            self.judge.see_hold(hold);
            self.judge.trouble_of_router(router, self.now + SECOND);
            self.objects.insert((Kind::Peer, u8::try_from(router).unwrap()), Object::Peer { hold });
        }
        for service in 0..self.scenario.services {
            let address = self.address_of(service);
            self.objects.remove(&(Kind::Service, service));
            if !chance.once_in(3) {
                let local = chance.once_in(2);
                self.objects.insert((Kind::Service, service), Object::Service { address, local });
            }
            let mut endpoints = Vec::new();
            for node in 0..self.nodes.len() {
                let health = [Health::Ready, Health::Unready, Health::Terminating][chance.below(3)];
                if chance.once_in(2) {
                    endpoints.push((u8::try_from(node).unwrap(), health));
                }
            }
            self.objects.insert((Kind::Slice, service), Object::Slice { v6: is_v6(address), endpoints });
        }
        for node in 0..self.nodes.len() {
            self.judge.trouble_of_node(node, self.now + SECOND);
            if self.nodes[node].api_away_until > self.now {
                self.nodes[node].history_lost = true;
            } else if self.nodes[node].process.is_some() {
                self.list_everything(node);
            }
        }
    }

    // ---- BFD, as a model: who notices a fault of some length, and when ----

    fn bfd(&mut self, node: usize, router: usize, sides: [bool; 2], until: Micros) {
        if !self.scenario.bfd || until < self.now + SECOND {
            return;
        }
        self.schedule(self.now + BFD_NOTICES, Happening::Path { node, router, sides, up: false });
        let back = self.chance.between(SECOND, 2 * SECOND);
        self.schedule(until + back, Happening::Path { node, router, sides, up: true });
    }

    pub(crate) fn path(&mut self, node: usize, router: usize, sides: [bool; 2], up: bool) {
        for end in [NODE, ROUTER] {
            let resumes = [self.nodes[node].suspended_until, self.routers[router].stuck_until][end];
            if !sides[end] {
                continue;
            }
            if resumes > self.now {
                // Its BFD sleeps as well, and looks anew from there on.
                let sides = [end == NODE, end == ROUTER];
                self.schedule(resumes + BFD_NOTICES, Happening::Path { node, router, sides, up });
                continue;
            }
            if up == self.is_silent(end, node, router) {
                continue;
            }
            let now = self.instant();
            let peer = bgp_proto::PeerKey(u32::try_from([router, node][end]).unwrap());
            let Some(bgp) = self.core(end, node, router) else { continue };
            let fault = PathFault::Silence { after: Duration::from_millis(900) };
            bgp.handle_event(now, if up { Event::PathUp { peer } } else { Event::PathDown { peer, fault } });
            if end == NODE {
                self.drain_node(node);
            } else {
                self.drain_router(router);
            }
        }
    }

    /// Whether this end hears nothing of the other.
    fn is_silent(&self, end: usize, node: usize, router: usize) -> bool {
        let (machine, device) = (&self.nodes[node], &self.routers[router]);
        let other = if end == NODE {
            device.off_until.max(device.stuck_until)
        } else {
            machine.off_until.max(machine.suspended_until)
        };
        self.links[node][router].max(other) > self.now
    }
}
