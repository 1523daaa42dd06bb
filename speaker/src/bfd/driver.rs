//! The loop of the thread: one owner of all sessions, fed by sockets, deadlines and what is wanted.
//!
//! Each round first reads what has come and only then lets deadlines pass, so that a thread that got no processor for
//! a while does not take its own absence for the routers'. Every round is bounded.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bfd_proto::{Discard, Endpoint, Event, Path, SessionConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::Order;
use super::estate::Estate;
use super::link::Links;
use super::listener::Listeners;
use super::table::{self, Table, Turns};
use crate::plan::PacketCounts;

/// How long the reason of a discarded packet stands before another takes its place.
const SAME_DISCARD: Duration = Duration::from_secs(1);

/// What follows from the orders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Obeyed {
    GoOn,
    Vanish,
}

#[derive(Debug)]
pub(super) struct Driver {
    endpoint: Endpoint,
    listeners: Listeners,
    links: Links,
    wanted: watch::Receiver<Arc<[SessionConfig]>>,
    table: watch::Sender<Arc<Table>>,
    bell: UnixStream,
    orders: mpsc::Receiver<Order>,
    turn: u64,
    turns: BTreeMap<Path, Turns>,
    packets: BTreeMap<Path, PacketCounts>,
    /// Why a packet of a router was discarded, until one is taken; routers with a session only. A flood of packets with
    /// changing faults changes this once a second.
    discarded: BTreeMap<IpAddr, (Instant, Discard)>,
    ending: bool,
}

impl Driver {
    pub(super) fn new(
        seed: u64,
        wanted: watch::Receiver<Arc<[SessionConfig]>>,
        table: watch::Sender<Arc<Table>>,
        bell: UnixStream,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            endpoint: Endpoint::new(seed),
            listeners: Listeners::default(),
            links: Links::default(),
            wanted,
            table,
            bell,
            orders,
            turn: 0,
            turns: BTreeMap::new(),
            packets: BTreeMap::new(),
            discarded: BTreeMap::new(),
            ending: false,
        }
    }

    /// Goes on with what another process has left: its sessions, and its sockets, so that the routers hear the same port.
    pub(super) fn inherit(mut self, estate: Estate) -> Self {
        let now = Instant::now();
        for (ear, socket) in estate.ears {
            self.listeners.inherit(ear, socket);
        }
        for (image, socket) in estate.sessions {
            let (router, local) = (image.path.remote, image.path.local);
            match self.endpoint.adopt(now, &image) {
                Ok(()) => {
                    info!(%router, %local, "BFD session taken over");
                    if let Some(socket) = socket {
                        self.links.inherit(image.path, socket);
                    }
                }
                Err(reason) => warn!(%router, %reason, "BFD session not taken over: it starts anew"),
            }
        }
        // Before anything is heard: what is taken depends on what is wanted.
        self.take_orders(now);
        self
    }

    /// Until the owner is gone. The routers are told once: a process that is about to start again must not wait for
    /// their detection time, and where that one packet is lost they notice the silence.
    pub(super) fn run(mut self) {
        loop {
            // From before the sockets are read: whatever came until then is known when the deadlines are judged.
            let now = Instant::now();
            self.hear(now);
            self.take_orders(now);
            if self.obey(now) == Obeyed::Vanish {
                return;
            }
            self.endpoint.handle_timeout(now);
            self.listeners.retry(now);
            self.speak(now);
            self.note_events();
            if self.ending {
                return;
            }
            self.tell(now);
            self.wait();
        }
    }

    fn hear(&mut self, now: Instant) {
        let Self { endpoint, listeners, links, discarded, .. } = self;
        listeners.receive(|arrival, octets| match endpoint.handle_packet(now, arrival, octets) {
            Ok(path) => {
                links.heard(path);
                discarded.remove(&arrival.remote);
            }
            Err(reason) => {
                debug!(from = %arrival.remote, %reason, "BFD packet discarded");
                let stands = discarded.get(&arrival.remote).is_some_and(|(at, _)| now < *at + SAME_DISCARD);
                if !stands && endpoint.sessions().any(|status| status.path.remote == arrival.remote) {
                    discarded.insert(arrival.remote, (now, reason));
                }
            }
        });
    }

    fn take_orders(&mut self, now: Instant) {
        let mut octets = [0; 64];
        loop {
            match self.bell.read(&mut octets) {
                Ok(0) => {
                    self.ending = true;
                    break;
                }
                Ok(_) => {}
                Err(_empty) => break,
            }
        }
        match self.wanted.has_changed() {
            Ok(false) => return,
            Ok(true) => {}
            Err(_owner_gone) => self.ending = true,
        }
        let wanted = Arc::clone(&self.wanted.borrow_and_update());
        let wanted: &[SessionConfig] = if self.ending { &[] } else { &wanted };
        self.endpoint.set_sessions(now, wanted);
        self.listeners.serve(now, self.endpoint.sessions().map(|status| status.path));
    }

    /// Answers whoever wants to go on with the sessions, or ends because somebody does.
    fn obey(&mut self, now: Instant) -> Obeyed {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Copy(to) => {
                    // What is owed to routers is said before: the copy owes nothing.
                    self.speak(now);
                    // Who asked may have given up.
                    let _ = to.send(self.estate(now));
                }
                Order::Vanish => return Obeyed::Vanish,
            }
        }
        Obeyed::GoOn
    }

    fn estate(&self, now: Instant) -> Estate {
        let images = self.endpoint.images(now).into_iter();
        Estate {
            sessions: images.map(|image| (image, self.links.copy(image.path))).collect(),
            ears: self.listeners.copies(),
        }
    }

    fn speak(&mut self, now: Instant) {
        while let Some((path, octets)) = self.endpoint.poll_transmit(now) {
            self.links.send(now, path, &octets);
        }
    }

    fn note_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Up { path } => {
                    info!(router = %path.remote, local = %path.local, "BFD session up");
                    self.turn += 1;
                    self.turns.entry(path).or_default().rose = Some(self.turn);
                }
                Event::Down { path, reason } => {
                    warn!(router = %path.remote, word = reason.word(), reason = %reason, "BFD session down");
                    if reason.is_failure() {
                        self.turn += 1;
                        self.turns.entry(path).or_default().failed = Some((self.turn, reason));
                    }
                }
            }
        }
    }

    fn tell(&mut self, now: Instant) {
        let statuses: Vec<_> = self.endpoint.sessions().collect();
        let runs = |path: &Path| statuses.iter().any(|status| status.path == *path);
        self.turns.retain(|path, _| runs(path));
        self.packets.retain(|path, _| runs(path));
        self.discarded.retain(|remote, _| statuses.iter().any(|status| status.path.remote == *remote));
        self.links.keep(statuses.iter().map(|status| status.path));
        self.listeners.serve(now, statuses.iter().map(|status| status.path));
        let rows = statuses.iter().map(|status| {
            let path = status.path;
            let obstacle = self.listeners.obstacle(path).map(ToString::to_string);
            let obstacle = obstacle.or_else(|| Some(self.links.obstacle(path)?.to_string()));
            let discarded = self.discarded.get(&path.remote).map(|(_, reason)| reason);
            let obstacle =
                obstacle.or_else(|| Some(format!("packets of the router are discarded: {}", discarded?)));
            let packets = self.packets.entry(path).or_default().clone();
            (path, table::row(status, obstacle, self.turns.get(&path).copied().unwrap_or_default(), packets))
        });
        let table = Table { rows: rows.collect() };
        self.table.send_if_modified(|told| {
            let differs = **told != table;
            if differs {
                *told = Arc::new(table);
            }
            differs
        });
    }

    /// Until something comes in, a deadline passes or something else is wanted.
    fn wait(&self) {
        let deadline = [self.endpoint.poll_timeout(), self.listeners.retry_at()].into_iter().flatten().min();
        let limit =
            deadline.and_then(|at| Timespec::try_from(at.saturating_duration_since(Instant::now())).ok());
        let mut descriptors: Vec<PollFd<'_>> = self
            .listeners
            .descriptors()
            .chain([self.bell.as_fd()])
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        // Whatever it says, the round that follows looks at everything; an interrupted wait is a short one.
        let _ = poll(&mut descriptors, limit.as_ref());
    }
}
