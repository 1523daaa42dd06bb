//! Two speakers on virtual time, joined by TCP connections that cut the stream where they like and
//! hold a bounded number of octets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach, Update};
use bgp_proto::*;
use bytes::{Buf, BytesMut};

/// What a direction of a connection holds before the writer is blocked.
const PIPE: usize = 128 * 1024;

#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

pub(crate) const KEY: PeerKey = PeerKey(7);

pub(crate) fn router_id(last: u8) -> RouterId {
    RouterId::try_new(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

pub(crate) fn config(local_asn: u32, remote_asn: u32, id: u8) -> PeerConfig {
    PeerConfig {
        next_hop_v6: Some("2001:db8::1".parse().unwrap()),
        ..PeerConfig::new(KEY, Asn(local_asn), RemoteAs::Exactly(Asn(remote_asn)), router_id(id))
    }
}

pub(crate) fn attrs(med: u32) -> Arc<PathAttrs> {
    Arc::new(PathAttrs { med: Some(med), ..PathAttrs::default() })
}

pub(crate) fn prefix(number: u32) -> Prefix {
    Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(0xC000_0200 + number)))
}

pub(crate) fn routes(numbers: std::ops::Range<u32>) -> Arc<RouteSet> {
    Arc::new(numbers.map(|number| (prefix(number), attrs(0))).collect())
}

/// A connection between the two.
struct Wire {
    /// What each end calls it; `None` once that end has closed.
    ids: [Option<ConnectionId>; 2],
    /// Octets on their way to each end.
    flight: [VecDeque<u8>; 2],
    /// Octets that arrived at each end and are not used up.
    inbox: [Vec<u8>; 2],
    /// The end has been told that its write is blocked.
    blocked: [bool; 2],
    dialled_by: usize,
    /// Nothing passes any more, and nobody is told.
    cut: bool,
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) ends: [Speaker; 2],
    pub(crate) log: [Vec<String>; 2],
    /// What each end was told, read off the wire.
    pub(crate) tables: [BTreeMap<Prefix, u32>; 2],
    pub(crate) ends_of_rib: [usize; 2],
    /// Notifications that each end received: code, subcode.
    pub(crate) notifications: [Vec<(u8, u8)>; 2],
    pub(crate) reads: [bool; 2],
    pub(crate) listens: [bool; 2],
    pub(crate) delay_dials: bool,
    dials: Vec<usize>,
    wires: Vec<Wire>,
    next_id: u64,
    segment: usize,
}

impl Pair {
    pub(crate) fn new(configs: [&PeerConfig; 2]) -> Self {
        Self::with([Speaker::new(1, false), Speaker::new(2, false)], configs)
    }

    pub(crate) fn with(mut ends: [Speaker; 2], configs: [&PeerConfig; 2]) -> Self {
        let now = epoch();
        for (end, config) in ends.iter_mut().zip(configs) {
            end.set_peers(now, std::slice::from_ref(config));
        }
        Self {
            now,
            ends,
            log: Default::default(),
            tables: Default::default(),
            ends_of_rib: [0; 2],
            notifications: Default::default(),
            reads: [true; 2],
            listens: [false, true],
            delay_dials: false,
            dials: Vec::new(),
            wires: Vec::new(),
            next_id: 1,
            segment: 7,
        }
    }

    /// Two speakers of which the first dials, up and agreed.
    pub(crate) fn up() -> Self {
        let mut pair = Self::new([
            &config(64_500, 65_530, 11),
            &PeerConfig { passive: true, ..config(65_530, 64_500, 1) },
        ]);
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.states(), [State::Established; 2]);
        pair
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [0, 1].map(|end| self.status(end).state)
    }

    pub(crate) fn status(&self, end: usize) -> SessionStatus {
        self.ends[end].session(KEY).unwrap()
    }

    pub(crate) fn set_routes(&mut self, end: usize, routes: Arc<RouteSet>) {
        self.ends[end].set_routes(KEY, routes);
    }

    /// All connections go dead without a sign.
    pub(crate) fn cut(&mut self) {
        self.wires.iter_mut().for_each(|wire| wire.cut = true);
    }

    /// Of each connection that both ends have: who dialled it.
    pub(crate) fn dialled_by(&self) -> Vec<usize> {
        let alive = self.wires.iter().filter(|wire| wire.ids.iter().all(Option::is_some));
        alive.map(|wire| wire.dialled_by).collect()
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            for _ in 0..100_000 {
                if !self.turn() {
                    break;
                }
            }
            let next = self.ends.iter().filter_map(Speaker::poll_timeout).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
        self.now = until;
    }

    /// The connection of an end.
    pub(crate) fn connection(&self, end: usize) -> ConnectionId {
        self.wires.iter().find_map(|wire| wire.ids[end]).unwrap()
    }

    /// One round of reading and writing, and no more.
    pub(crate) fn nudge(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn();
        }
    }

    /// Lets both dials that are held back succeed at once.
    pub(crate) fn release_dials(&mut self) {
        self.delay_dials = false;
        for from in std::mem::take(&mut self.dials) {
            self.connect(from);
        }
    }

    fn turn(&mut self) -> bool {
        let mut busy = false;
        for end in [0, 1] {
            while let Some(event) = self.ends[end].poll_event() {
                busy = true;
                self.obey(end, event);
            }
        }
        for at in 0..self.wires.len() {
            for end in [0, 1] {
                busy |= self.write(at, end);
                busy |= self.read(at, end);
            }
        }
        busy
    }

    fn obey(&mut self, end: usize, event: SpeakerEvent) {
        match event {
            SpeakerEvent::Dial { .. } if self.delay_dials => self.dials.push(end),
            SpeakerEvent::Dial { peer } if !self.listens[1 - end] => {
                let event = Event::ConnectFailed { peer, reason: ConnectFault::Refused };
                self.ends[end].handle_event(self.now, event);
            }
            SpeakerEvent::Dial { .. } => self.connect(end),
            SpeakerEvent::HangUp { connection, how } => {
                let Some(at) = self.wires.iter().position(|wire| wire.ids[end] == Some(connection)) else {
                    return;
                };
                if how == HangUp::AfterFlush {
                    self.write(at, end);
                }
                self.wires[at].ids[end] = None;
            }
            SpeakerEvent::Up { .. } => self.log[end].push("up".to_owned()),
            SpeakerEvent::Down { reason, .. } => self.log[end].push(format!("down: {reason}")),
        }
    }

    fn connect(&mut self, from: usize) {
        let (here, there) = (ConnectionId(self.next_id), ConnectionId(self.next_id + 1));
        self.next_id += 2;
        let address = |end: usize| IpAddr::from([10, 0, 2, if end == 0 { 11 } else { 1 }]);
        let mut ids = [Some(here); 2];
        ids[1 - from] = Some(there);
        self.wires.push(Wire {
            ids,
            flight: Default::default(),
            inbox: Default::default(),
            blocked: [false; 2],
            dialled_by: from,
            cut: false,
        });
        let (local, remote) = (address(from), address(1 - from));
        self.ends[from]
            .handle_event(self.now, Event::Connected { peer: KEY, connection: here, local, remote });
        let event = Event::Accepted { peer: KEY, connection: there, local: remote, remote: local };
        self.ends[1 - from].handle_event(self.now, event);
    }

    fn write(&mut self, at: usize, end: usize) -> bool {
        let wire = &mut self.wires[at];
        let Some(id) = wire.ids[end] else { return false };
        let mut busy = false;
        let mut out = BytesMut::new();
        while wire.flight[1 - end].len() < PIPE {
            if std::mem::take(&mut wire.blocked[end]) {
                self.ends[end].handle_event(self.now, Event::WriteProgress { connection: id });
            }
            if !self.ends[end].poll_transmit(self.now, id, &mut out) {
                return busy;
            }
            busy = true;
            wire.flight[1 - end].extend(out.split());
        }
        if !std::mem::replace(&mut wire.blocked[end], true) {
            self.ends[end].handle_event(self.now, Event::WriteBlocked { connection: id });
        }
        busy
    }

    fn read(&mut self, at: usize, end: usize) -> bool {
        let wire = &mut self.wires[at];
        let Some(id) = wire.ids[end] else { return false };
        if wire.cut || !self.reads[end] {
            return false;
        }
        if wire.flight[end].is_empty() {
            if wire.ids[1 - end].is_some() {
                return false;
            }
            wire.ids[end] = None;
            self.ends[end].handle_event(self.now, Event::Closed { connection: id, reason: CloseCause::Eof });
            return true;
        }
        let segment = self.segment.min(wire.flight[end].len());
        self.segment = self.segment * 31 % 4093 + 1;
        wire.inbox[end].extend(wire.flight[end].drain(..segment));
        let octets = std::mem::take(&mut wire.inbox[end]);
        let used = self.ends[end].handle_input(self.now, id, &octets);
        self.wires[at].inbox[end] = octets[used..].to_vec();
        self.witness(end, &octets[..used]);
        true
    }

    fn witness(&mut self, end: usize, mut octets: &[u8]) {
        while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(octets).unwrap() {
            match frame.kind {
                MessageType::Update => self.witness_update(end, &Update::parse(frame.body).unwrap()),
                MessageType::Notification => self.notifications[end].push((frame.body[0], frame.body[1])),
                MessageType::Open => self.tables[end].clear(),
                MessageType::Keepalive | MessageType::RouteRefresh => {}
            }
            octets.advance(frame.octets.len());
        }
    }

    fn witness_update(&mut self, end: usize, update: &Update<'_>) {
        if update.end_of_rib().is_some() {
            self.ends_of_rib[end] += 1;
        }
        let table = &mut self.tables[end];
        let attrs: Vec<_> = update.attrs().map(Result::unwrap).collect();
        let value =
            |code| attrs.iter().find(|attribute| attribute.code == code).map(|attribute| attribute.value);
        let med = value(4).map_or(0, |mut value| value.get_u32());
        let mut gone: BTreeSet<Prefix> =
            Nlri::try_new(update.withdrawn, Family::Ipv4Unicast).unwrap().collect();
        let mut here: Vec<Prefix> = Nlri::try_new(update.nlri, Family::Ipv4Unicast).unwrap().collect();
        if let Some(value) = value(MP_REACH_NLRI) {
            here.extend(Nlri::try_new(MpReach::parse(value).unwrap().nlri, Family::Ipv6Unicast).unwrap());
        }
        if let Some(value) = value(MP_UNREACH_NLRI) {
            gone.extend(Nlri::try_new(MpUnreach::parse(value).unwrap().nlri, Family::Ipv6Unicast).unwrap());
        }
        table.retain(|prefix, _| !gone.contains(prefix));
        table.extend(here.into_iter().map(|prefix| (prefix, med)));
    }
}
