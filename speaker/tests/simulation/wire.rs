//! TCP between nodes and routers: in order, late, bounded, and as silent about a dead end as TCP is.

use std::collections::VecDeque;

use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::{CloseCause, ConnectFault, ConnectionId, Event, HangUp, SpeakerEvent};
use bytes::{Buf as _, BytesMut};

use crate::node::{Micros, node_addresses, router_of};
use crate::router::key_of;
use crate::witness;
use crate::world::{Happening, MILLI, SECOND, World};

/// A node's end and a router's end.
pub(crate) const NODE: usize = 0;
pub(crate) const ROUTER: usize = 1;

/// How often a node's kernel probes a connection, as `peering::sockopt` has it.
const PROBED_AFTER: Micros = 10 * SECOND;

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) node: usize,
    pub(crate) router: usize,
    /// Whether each end still knows the connection.
    pub(crate) open: [bool; 2],
    /// On their way to each end.
    flows: [VecDeque<Packet>; 2],
    /// When the last of these is to arrive.
    last: [Micros; 2],
    blocked: [bool; 2],
    /// Whether what is on its way to each end was lost and waits for the sender's kernel to send it again.
    lost: [bool; 2],
    inbox: [Vec<u8>; 2],
}

#[derive(Debug)]
struct Packet {
    at: Micros,
    load: Load,
}

#[derive(Debug)]
enum Load {
    Octets(Vec<u8>),
    Closed(CloseCause),
}

/// Each end has its own name for a wire.
pub(crate) fn id(wire: u64, end: usize) -> ConnectionId {
    ConnectionId(wire * 2 + end as u64)
}

impl World {
    // ---- opening ----

    fn dial(&mut self, node: usize, router: usize) {
        self.next_dial += 1;
        let (dial, generation) = (self.next_dial, self.nodes[node].generation);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.dials.insert(router, dial);
        let delay = self.chance.between(200, 3 * MILLI);
        let began = self.now;
        self.schedule(self.now + delay, Happening::Dialled { node, generation, router, dial, began });
    }

    pub(crate) fn dialled(&mut self, node: usize, generation: u64, router: usize, dial: u64, began: Micros) {
        let (at, now) = (self.now, self.instant());
        if self.nodes[node].generation != generation {
            return;
        }
        if self.nodes[node].suspended_until > at {
            let resumes = self.nodes[node].suspended_until;
            self.schedule(resumes, Happening::Dialled { node, generation, router, dial, began });
            return;
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.dials.get(&router) != Some(&dial) || process.stopping {
            return;
        }
        let peer = bgp_proto::PeerKey(u32::try_from(router).unwrap());
        let silent = self.links[node][router] > at || self.routers[router].off_until > at;
        if silent && at < began + 3 * SECOND {
            // The kernel asks again after a second.
            self.schedule(at + SECOND, Happening::Dialled { node, generation, router, dial, began });
            return;
        }
        process.dials.remove(&router);
        let refused = self.routers[router].bgp.is_none();
        if silent || refused {
            let reason = if silent { ConnectFault::TimedOut } else { ConnectFault::Refused };
            process.bgp.handle_event(now, Event::ConnectFailed { peer, reason });
        } else {
            let wire = self.next_wire;
            self.next_wire += 1;
            self.wires.insert(
                wire,
                Wire {
                    node,
                    router,
                    open: [true; 2],
                    flows: Default::default(),
                    last: [at; 2],
                    blocked: [false; 2],
                    lost: [false; 2],
                    inbox: Default::default(),
                },
            );
            let (local, remote) = addresses(node, router);
            process
                .bgp
                .handle_event(now, Event::Connected { peer, connection: id(wire, NODE), local, remote });
            self.schedule(self.routers[router].stuck_until, Happening::Accept { wire });
            self.schedule(at + PROBED_AFTER, Happening::Probe { wire });
        }
        self.drain_node(node);
    }

    /// The kernel has accepted it already; now the process does.
    pub(crate) fn accept(&mut self, wire: u64) {
        let now = self.instant();
        let Some(&Wire { node, router, open: [_, true], .. }) = self.wires.get(&wire) else { return };
        if self.routers[router].stuck_until > self.now {
            self.schedule(self.routers[router].stuck_until, Happening::Accept { wire });
            return;
        }
        let (remote, local) = addresses(node, router);
        if let Some(bgp) = &mut self.routers[router].bgp {
            let connection = id(wire, ROUTER);
            bgp.handle_event(now, Event::Accepted { peer: key_of(node), connection, local, remote });
            self.drain_router(router);
        }
    }

    // ---- doing what the cores want ----

    pub(crate) fn drain_node(&mut self, node: usize) {
        loop {
            for wire in self.wires_of(NODE, node) {
                self.transmit(wire, NODE);
            }
            let mut quiet = true;
            while let Some(event) =
                self.nodes[node].process.as_mut().and_then(|process| process.bgp.poll_event())
            {
                quiet = false;
                match event {
                    SpeakerEvent::Dial { peer } => self.dial(node, router_of(peer)),
                    SpeakerEvent::HangUp { connection, how } => self.hang_up(connection, NODE, how),
                    SpeakerEvent::Up { peer } => {
                        self.nodes[node].sessions_since.insert(router_of(peer), self.now);
                        self.judge.tally.sessions += 1;
                    }
                    SpeakerEvent::Down { .. } => {}
                }
            }
            if quiet {
                return;
            }
        }
    }

    pub(crate) fn drain_router(&mut self, router: usize) {
        loop {
            for wire in self.wires_of(ROUTER, router) {
                self.transmit(wire, ROUTER);
            }
            let (events, lost) = self.routers[router].events(self.now);
            self.judge_losses(router, &lost);
            if events.is_empty() {
                return;
            }
            self.obey_router(events);
        }
    }

    fn obey_router(&mut self, events: Vec<SpeakerEvent>) {
        for event in events {
            if let SpeakerEvent::HangUp { connection, how } = event {
                self.hang_up(connection, ROUTER, how);
            }
        }
    }

    fn wires_of(&self, end: usize, owner: usize) -> Vec<u64> {
        let mine = |wire: &Wire| wire.open[end] && [wire.node, wire.router][end] == owner;
        self.wires.iter().filter(|(_, wire)| mine(wire)).map(|(number, _)| *number).collect()
    }

    fn hang_up(&mut self, connection: ConnectionId, end: usize, how: HangUp) {
        let number = connection.0 / 2;
        if self.wires.get(&number).is_none_or(|wire| !wire.open[end]) {
            return;
        }
        let cause = match how {
            HangUp::AfterFlush => {
                if let Some(wire) = self.wires.get_mut(&number) {
                    // The last words fit into the socket.
                    wire.blocked[end] = false;
                }
                self.transmit_last(number, end);
                CloseCause::Eof
            }
            HangUp::Abort => CloseCause::Reset,
        };
        self.close(number, end, cause);
    }

    /// This end is gone, and the other will hear of it.
    pub(crate) fn close(&mut self, number: u64, end: usize, cause: CloseCause) {
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.open[end] = false;
            self.send(number, 1 - end, Load::Closed(cause));
        }
    }

    /// This end is gone without a word. What did not get through a dead link before is not sent again.
    pub(crate) fn vanish(&mut self, end: usize, owner: usize) {
        for number in self.wires_of(end, owner) {
            if let Some(wire) = self.wires.get_mut(&number) {
                wire.open[end] = false;
                if self.links[wire.node][wire.router] > self.now {
                    wire.flows[1 - end].clear();
                }
            }
        }
    }

    fn transmit(&mut self, number: u64, end: usize) {
        let now = self.instant();
        loop {
            let pipe = self.scenario.pipe;
            let Some(wire) = self.wires.get_mut(&number) else { return };
            if !wire.open[end] {
                return;
            }
            let full = wire.in_flight(1 - end) >= pipe;
            let connection = id(number, end);
            let (node, router) = (wire.node, wire.router);
            if full {
                if !std::mem::replace(&mut wire.blocked[end], true)
                    && let Some(bgp) = self.core(end, node, router)
                {
                    bgp.handle_event(now, Event::WriteBlocked { connection });
                }
                return;
            }
            let freed = std::mem::take(&mut wire.blocked[end]);
            let Some(bgp) = self.core(end, node, router) else { return };
            if freed {
                bgp.handle_event(now, Event::WriteProgress { connection });
            }
            let mut out = BytesMut::new();
            if !bgp.poll_transmit(now, connection, &mut out) {
                return;
            }
            self.said(number, end, &out);
        }
    }

    fn transmit_last(&mut self, number: u64, end: usize) {
        let now = self.instant();
        let Some(&Wire { node, router, .. }) = self.wires.get(&number) else { return };
        let mut out = BytesMut::new();
        while self
            .core(end, node, router)
            .is_some_and(|bgp| bgp.poll_transmit(now, id(number, end), &mut out))
        {}
        if !out.is_empty() {
            self.said(number, end, &out);
        }
    }

    /// Another process has this end now, and finds out by itself whether there is room.
    pub(crate) fn unblock(&mut self, number: u64, end: usize) {
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.blocked[end] = false;
        }
    }

    pub(crate) fn said(&mut self, number: u64, end: usize, octets: &[u8]) {
        if end == NODE {
            self.overhear(number, octets);
        }
        self.send(number, 1 - end, Load::Octets(octets.to_vec()));
    }

    /// The judge hears what a node says when it says it.
    fn overhear(&mut self, number: u64, mut octets: &[u8]) {
        let Some(&Wire { node, router, .. }) = self.wires.get(&number) else { return };
        while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(octets).unwrap() {
            if frame.kind == MessageType::Update {
                self.judge_words(node, router, &witness::update(frame.body));
            }
            octets.advance(frame.octets.len());
        }
    }

    fn send(&mut self, number: u64, to: usize, load: Load) {
        let delay = self.chance.between(200, 3 * MILLI);
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let at = wire.last[to].max(self.now + delay);
        wire.last[to] = at;
        wire.flows[to].push_back(Packet { at, load });
        self.schedule(at, Happening::Arrive { wire: number, to });
    }

    /// The node's kernel looks whether the other end still knows the connection.
    pub(crate) fn probe(&mut self, number: u64) {
        let Some(&Wire { node, open: [true, _], .. }) = self.wires.get(&number) else { return };
        let resumes = self.nodes[node].suspended_until;
        if resumes > self.now {
            self.schedule(resumes, Happening::Probe { wire: number });
            return;
        }
        self.send(number, ROUTER, Load::Octets(Vec::new()));
        self.schedule(self.now + PROBED_AFTER, Happening::Probe { wire: number });
    }

    // ---- arriving ----

    pub(crate) fn arrive(&mut self, number: u64, to: usize) {
        let now = self.now;
        let Some(wire) = self.wires.get(&number) else { return };
        let (node, router) = (wire.node, wire.router);
        if wire.flows[to].front().is_none_or(|packet| packet.at > now) {
            return;
        }
        let (off, stuck) = if to == NODE {
            (self.nodes[node].off_until, self.nodes[node].suspended_until)
        } else {
            (self.routers[router].off_until, self.routers[router].stuck_until)
        };
        let passes = self.links[node][router].max(off);
        // A machine that is paused sends nothing again.
        let sender = if to == ROUTER && wire.lost[to] { self.nodes[node].suspended_until } else { 0 };
        if passes.max(sender) > now {
            // TCP tries again, later and later.
            let pause = self.chance.between(50 * MILLI, SECOND);
            if let Some(wire) = self.wires.get_mut(&number) {
                wire.lost[to] = true;
            }
            self.schedule(passes.max(sender) + pause, Happening::Arrive { wire: number, to });
            return;
        }
        if stuck > now {
            self.schedule(stuck, Happening::Arrive { wire: number, to });
            return;
        }
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.lost[to] = false;
        }
        while let Some(wire) = self.wires.get_mut(&number) {
            let Some(packet) = wire.flows[to].pop_front_if(|packet| packet.at <= now) else { break };
            if !wire.open[to] {
                // Nobody here knows that connection.
                if wire.open[1 - to] && matches!(packet.load, Load::Octets(_)) {
                    self.send(number, 1 - to, Load::Closed(CloseCause::Reset));
                }
                continue;
            }
            match packet.load {
                Load::Octets(octets) => self.read(number, to, &octets),
                Load::Closed(reason) => self.closed(number, to, reason),
            }
        }
        // Room was made.
        if to == NODE {
            self.drain_node(node);
            self.drain_router_if_running(router);
        } else {
            self.drain_router(router);
            if self.nodes[node].suspended_until <= now {
                self.drain_node(node);
            }
        }
        self.wires.retain(|_, wire| wire.open.contains(&true));
    }

    fn drain_router_if_running(&mut self, router: usize) {
        if self.routers[router].stuck_until <= self.now {
            self.drain_router(router);
        }
    }

    fn read(&mut self, number: u64, to: usize, octets: &[u8]) {
        let (at, now) = (self.now, self.instant());
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let (node, router, connection) = (wire.node, wire.router, id(number, to));
        let mut unread = std::mem::take(&mut wire.inbox[to]);
        unread.extend_from_slice(octets);
        let used = if to == NODE {
            let Some(process) = &mut self.nodes[node].process else { return };
            process.bgp.handle_input(now, connection, &unread)
        } else {
            if !octets.is_empty() {
                self.judge.heard.insert((node, router), at);
            }
            let (used, events, lost) = self.routers[router].read(at, now, node, connection, &unread);
            self.judge_losses(router, &lost);
            self.obey_router(events);
            used
        };
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.inbox[to] = unread.split_off(used);
        }
    }

    fn closed(&mut self, number: u64, to: usize, reason: CloseCause) {
        let now = self.instant();
        let Some(wire) = self.wires.get_mut(&number) else { return };
        wire.open[to] = false;
        let (node, router, connection) = (wire.node, wire.router, id(number, to));
        if let Some(bgp) = self.core(to, node, router) {
            bgp.handle_event(now, Event::Closed { connection, reason });
        }
    }

    pub(crate) fn core(&mut self, end: usize, node: usize, router: usize) -> Option<&mut bgp_proto::Speaker> {
        if end == NODE {
            self.nodes[node].process.as_mut().map(|process| &mut process.bgp)
        } else {
            self.routers[router].bgp.as_mut()
        }
    }
}

impl Wire {
    fn in_flight(&self, to: usize) -> usize {
        let octets = |packet: &Packet| match &packet.load {
            Load::Octets(octets) => octets.len(),
            Load::Closed(_) => 0,
        };
        self.flows[to].iter().map(octets).sum()
    }
}

fn addresses(node: usize, router: usize) -> (std::net::IpAddr, std::net::IpAddr) {
    let last = u8::try_from(100 + router).unwrap();
    (node_addresses(node).0.into(), [10, 0, 2, last].into())
}
