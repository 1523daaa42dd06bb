//! Two ends and the network between them, on virtual time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use bfd_proto::*;

pub(crate) const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// 300 ms both ways, three packets.
pub(crate) fn config(local: IpAddr, remote: IpAddr) -> SessionConfig {
    SessionConfig {
        path: Path { local, remote, link: 0, hops: Hops::Single },
        desired_min_tx: Interval::from_millis(300),
        required_min_rx: Interval::from_millis(300),
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        passive: false,
        minimum_ttl: 254,
    }
}

/// One end, and what has come out of it.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: SessionConfig,
    pub(crate) events: Vec<(Instant, Event)>,
    pub(crate) sent: Vec<(Instant, Packet)>,
}

impl End {
    fn new(seed: u64, config: SessionConfig) -> Self {
        Self { endpoint: Endpoint::new(seed), config, events: Vec::new(), sent: Vec::new() }
    }

    pub(crate) fn status(&self) -> SessionStatus {
        self.endpoint.session(self.config.path).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        self.status().state
    }

    /// When and why it went down, each time.
    pub(crate) fn downs(&self) -> Vec<(Instant, DownReason)> {
        let down = |(at, event): &(Instant, Event)| match event {
            Event::Down { reason, .. } => Some((*at, *reason)),
            Event::Up { .. } => None,
        };
        self.events.iter().filter_map(down).collect()
    }
}

/// Packets on their way: when they arrive, at which end, and what they are.
type Wire = VecDeque<(Instant, usize, [u8; PACKET_LEN])>;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) ends: [End; 2],
    pub(crate) latency: Duration,
    wire: Wire,
    /// Whether a packet of this end is lost; the number counts the packets of the world.
    lost: Box<dyn FnMut(usize, u64) -> bool>,
    count: u64,
    /// An end that does nothing until then.
    paused: Option<(usize, Instant)>,
}

impl World {
    pub(crate) fn new(seed: u64, a: SessionConfig, b: SessionConfig) -> Self {
        let now = Instant::now();
        let ends = [End::new(seed, a), End::new(seed ^ 0xABCD, b)];
        let mut world = Self {
            now,
            start: now,
            ends,
            latency: millis(1),
            wire: VecDeque::new(),
            lost: Box::new(|_, _| false),
            count: 0,
            paused: None,
        };
        for at in 0..2 {
            let config = world.ends[at].config;
            world.ends[at].endpoint.set_sessions(now, &[config]);
            world.drain(at);
        }
        world
    }

    /// Both with 300 ms three times.
    pub(crate) fn usual(seed: u64) -> Self {
        Self::new(seed, config(A, B), config(B, A))
    }

    pub(crate) fn lose(&mut self, lost: impl FnMut(usize, u64) -> bool + 'static) {
        self.lost = Box::new(lost);
    }

    pub(crate) fn edit(&mut self, at: usize, edit: impl FnOnce(&mut SessionConfig)) {
        edit(&mut self.ends[at].config);
        let config = self.ends[at].config;
        self.ends[at].endpoint.set_sessions(self.now, &[config]);
        self.drain(at);
    }

    pub(crate) fn remove(&mut self, at: usize) {
        self.ends[at].endpoint.set_sessions(self.now, &[]);
        self.drain(at);
    }

    /// This end neither hears nor says anything for a while: what comes meanwhile waits in its sockets.
    pub(crate) fn pause(&mut self, at: usize, length: Duration) {
        let awake = self.now + length + Duration::from_micros(1);
        for packet in self.wire.iter_mut().filter(|(_, to, _)| *to == at) {
            packet.0 = packet.0.max(awake);
        }
        self.paused = Some((at, awake));
        self.run(length);
        self.paused = None;
    }

    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds, and says how long that took.
    pub(crate) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + limit);
        while !holds(self) {
            assert!(self.step(end), "it does not hold after {limit:?}");
        }
        self.now - start
    }

    pub(crate) fn both_are(&self, state: State) -> bool {
        self.ends.iter().all(|end| end.state() == state)
    }

    fn step(&mut self, end: Instant) -> bool {
        let paused = self.paused.map(|(at, _)| at);
        let runs = self.ends.iter().enumerate().filter(|(at, _)| Some(*at) != paused);
        let deadlines = runs.filter_map(|(_, end)| end.endpoint.poll_timeout());
        let arrivals = self.wire.iter().map(|(at, ..)| *at);
        let Some(next) = deadlines.chain(arrivals).min().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        while let Some(at) = self.wire.iter().position(|(at, ..)| *at <= self.now) {
            let (_, to, octets) = self.wire.remove(at).unwrap();
            let path = self.ends[to].config.path;
            let arrival = Arrival {
                local: path.local,
                remote: path.remote,
                link: path.link,
                ttl: 255,
                hops: path.hops,
            };
            let _ = self.ends[to].endpoint.handle_packet(self.now, arrival, &octets);
            self.drain(to);
        }
        for at in (0..2).filter(|at| Some(*at) != paused) {
            self.ends[at].endpoint.handle_timeout(self.now);
            self.drain(at);
        }
        true
    }

    fn drain(&mut self, at: usize) {
        let end = &mut self.ends[at];
        let mut burst = 0;
        while let Some((_, octets)) = end.endpoint.poll_transmit(self.now) {
            burst += 1;
            assert!(burst < 4, "an endpoint must come to rest");
            end.sent.push((self.now, Packet::parse(&octets).unwrap()));
            self.count += 1;
            if !(self.lost)(at, self.count) {
                let arrives = self.now + self.latency;
                let held = self
                    .paused
                    .filter(|(end, _)| *end == 1 - at)
                    .map_or(arrives, |(_, until)| arrives.max(until));
                self.wire.push_back((held, 1 - at, octets));
            }
        }
        while let Some(event) = end.endpoint.poll_event() {
            end.events.push((self.now, event));
        }
    }
}
