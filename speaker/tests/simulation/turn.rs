//! One process follows another on a node, and the sessions change hands.
//!
//! The new one has listed everything by then, and its plan is made of that, not of what the old one saw. All of it is one
//! moment: what can happen in the middle of a hand-over is tested on real sockets.

use bgp_proto::CloseCause;
use bytes::BytesMut;

use crate::cluster::Kind;
use crate::node::{Process, Stream};
use crate::wire::{NODE, id};
use crate::world::World;

impl World {
    /// The next process takes the sessions over. Nothing happens where it cannot come so far: without an API server, or
    /// where there is nothing to take over.
    pub(crate) fn take_over(&mut self, number: usize) {
        let (at, now) = (self.now, self.instant());
        let seed = self.chance.next();
        let node = &self.nodes[number];
        let awake = node.off_until.max(node.suspended_until).max(node.api_away_until) <= at;
        let runs = |process: &Process| process.is_synced() && !process.stopping;
        if !awake || !node.process.as_ref().is_some_and(runs) {
            return;
        }
        let mut next = Process::start(now, number, self.routers.len(), seed);
        for kind in Kind::ALL {
            for news in self.listed(number, kind) {
                next.take(at, now, kind, &news);
            }
            next.streams.insert(kind, Stream::Following(self.end_of_log(kind)));
        }
        if !next.has_planned() {
            return;
        }
        let Some(before) = self.nodes[number].process.take() else { return };
        self.nodes[number].generation += 1;
        self.judge.tally.takeovers += 1;
        for wire in self.open_wires(NODE, number) {
            let connection = id(wire, NODE);
            let image = before.bgp.owner(connection).zip(before.bgp.image(now, connection));
            match image.map(|(peer, image)| next.bgp.adopt(now, peer, connection, &image)) {
                Some(Ok(())) => self.unblock(wire, NODE),
                Some(Err(fault)) => {
                    let mut words = BytesMut::new();
                    fault.last_words(&mut words);
                    self.said(wire, NODE, &words);
                    self.close(wire, NODE, CloseCause::Eof);
                }
                // It was not Established yet: it ends with the process that opened it. To the router it may have been, and two
                // ends in a row keep nothing (RFC 4724 §4.2).
                None => {
                    let router = self.wires[&wire].router;
                    self.judge.trouble(number, router, at);
                    self.close(wire, NODE, CloseCause::Eof);
                }
            }
        }
        self.nodes[number].process = Some(next);
        for kind in Kind::ALL {
            self.wake_watch(number, kind, 0);
        }
        self.drain_node(number);
        self.heed_wishes(number);
    }
}
