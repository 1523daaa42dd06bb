//! Events in any order on one speaker, and what holds whatever happens; many sessions over a long time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::wire::notification::Notification;
use bgp_proto::*;
use bytes::{Buf, BytesMut};
use proptest::prelude::*;

use crate::pair::{KEY, epoch, router_id, routes};
use crate::script::open;
use crate::vectors::{V4, external, message};

#[derive(Clone, Debug)]
enum Happening {
    Connected,
    Accepted,
    ConnectFailed,
    Closed(usize),
    Input { connection: usize, what: usize },
    Garbage { connection: usize, octets: Vec<u8> },
    Blocked(usize),
    Progress(usize),
    Pass(u64),
    Tick,
    Routes(u32),
    Hold(u16),
    Unconfigure,
    Stop(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let at = 0..4_usize;
    prop_oneof![
        3 => Just(Connected),
        1 => Just(Accepted),
        1 => Just(ConnectFailed),
        1 => at.clone().prop_map(Closed),
        8 => (at.clone(), 0..8_usize).prop_map(|(connection, what)| Input { connection, what }),
        1 => (at.clone(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(connection, octets)| Garbage { connection, octets }),
        1 => at.clone().prop_map(Blocked),
        1 => at.prop_map(Progress),
        4 => (0..20_000_u64).prop_map(Pass),
        1 => Just(Tick),
        2 => (0..3_000_u32).prop_map(Routes),
        1 => (0..90_u16).prop_map(Hold),
        1 => Just(Unconfigure),
        1 => (0..30_usize).prop_map(Stop),
    ]
}

/// The speaker, and what an observer at its border knows.
struct Observed {
    speaker: Speaker,
    now: Instant,
    /// Connections that were not hung up, oldest first.
    open: Vec<ConnectionId>,
    gone: BTreeSet<ConnectionId>,
    next: u64,
    is_up: bool,
    dialling: bool,
}

impl Observed {
    fn new() -> Self {
        let mut speaker = Speaker::new(3, false);
        let now = epoch();
        speaker.set_peers(now, &[external(64_500)]);
        Self { speaker, now, open: Vec::new(), gone: BTreeSet::new(), next: 1, is_up: false, dialling: false }
    }

    fn connection(&mut self, which: usize) -> ConnectionId {
        self.open.get(which).copied().unwrap_or(ConnectionId(9_999))
    }

    fn connect(&mut self, dialled: bool) {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.open.push(connection);
        let event = if dialled {
            Event::Connected { peer: KEY, connection, local: V4, remote: V4 }
        } else {
            Event::Accepted { peer: KEY, connection, local: V4, remote: V4 }
        };
        self.dialling &= !dialled;
        self.speaker.handle_event(self.now, event);
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Connected if self.dialling => self.connect(true),
            Happening::Connected | Happening::Tick => self.speaker.handle_timeout(self.now),
            Happening::Accepted => self.connect(false),
            Happening::ConnectFailed => {
                self.dialling = false;
                let event = Event::ConnectFailed { peer: KEY, reason: ConnectFault::Refused };
                self.speaker.handle_event(self.now, event);
            }
            Happening::Closed(which) => {
                let connection = self.connection(*which);
                self.open.retain(|open| *open != connection);
                self.speaker.handle_event(self.now, Event::Closed { connection, reason: CloseCause::Reset });
            }
            Happening::Input { connection, what } => {
                let id = self.connection(*connection);
                let octets = match what {
                    0..=2 => open(&[]),
                    3..=5 => message("0013 04"),
                    6 => message("0017 05 0001 00 01"),
                    _ => message("0017 02 0000 0000"),
                };
                assert!(self.speaker.handle_input(self.now, id, &octets) <= octets.len());
            }
            Happening::Garbage { connection, octets } => {
                let id = self.connection(*connection);
                assert!(self.speaker.handle_input(self.now, id, octets) <= octets.len());
            }
            Happening::Blocked(which) => {
                let connection = self.connection(*which);
                self.speaker.handle_event(self.now, Event::WriteBlocked { connection });
            }
            Happening::Progress(which) => {
                let connection = self.connection(*which);
                self.speaker.handle_event(self.now, Event::WriteProgress { connection });
            }
            Happening::Pass(millis) => {
                self.now += Duration::from_millis(*millis);
                self.speaker.handle_timeout(self.now);
            }
            Happening::Routes(count) => self.speaker.set_routes(KEY, routes(0..*count)),
            Happening::Hold(seconds) => {
                let hold_time = HoldTime::try_new(*seconds).ok();
                self.speaker.set_peers(self.now, &[PeerConfig { hold_time, ..external(64_500) }]);
            }
            Happening::Unconfigure => {
                self.speaker.set_peers(self.now, &[]);
                self.observe();
                self.speaker.set_peers(self.now, &[external(64_500)]);
            }
            Happening::Stop(0) => self.speaker.stop(self.now, Stop::Restart),
            Happening::Stop(1) => self.speaker.stop(self.now, Stop::Remove("x".repeat(300))),
            Happening::Stop(2) => self.speaker.stop(self.now, Stop::AdminShutdown("bye".to_owned())),
            Happening::Stop(_) => {}
        }
        self.observe();
    }

    fn observe(&mut self) {
        self.hear();
        while let Some(event) = self.speaker.poll_event() {
            match event {
                SpeakerEvent::Dial { .. } => self.dialling = true,
                SpeakerEvent::Up { .. } => {
                    assert!(!self.is_up, "one session is Established at a time");
                    self.is_up = true;
                }
                SpeakerEvent::Down { .. } => self.is_up = false,
                SpeakerEvent::HangUp { connection, .. } => {
                    let mut last = BytesMut::new();
                    while self.speaker.poll_transmit(self.now, connection, &mut last) {}
                    self.read(&last, true);
                    self.open.retain(|open| *open != connection);
                    self.gone.insert(connection);
                }
            }
        }
        assert!(self.open.len() <= 2, "at most two connections: {:?}", self.open);
        let is_established = self.coming_up();
        assert_eq!(is_established, self.is_up);
        if let Some(due) = self.speaker.poll_timeout() {
            assert!(due > self.now || !self.ticked_is_due(), "no deadline is left in the past after a tick");
        }
    }

    /// A tick at one instant does all there is to do at it.
    fn ticked_is_due(&mut self) -> bool {
        self.speaker.handle_timeout(self.now);
        let first = self.speaker.poll_timeout();
        let before = self.speaker.session(KEY).map(|status| (status.counters, status.state));
        self.speaker.handle_timeout(self.now);
        assert_eq!(self.speaker.session(KEY).map(|status| (status.counters, status.state)), before);
        self.hear();
        first.is_some_and(|due| due <= self.now) && self.speaker.poll_timeout() == first
    }

    /// Takes what is to be written on connections that live; what is gone says nothing.
    fn hear(&mut self) {
        for connection in self.open.clone() {
            let mut out = BytesMut::new();
            while self.speaker.poll_transmit(self.now, connection, &mut out) {}
            self.read(&out, false);
        }
        let mut out = BytesMut::new();
        for connection in &self.gone {
            assert!(
                !self.speaker.poll_transmit(self.now, *connection, &mut out),
                "nothing after the last words"
            );
        }
    }

    fn read(&self, mut out: &[u8], last: bool) {
        while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(out).expect("our own frames are legal") {
            out.advance(frame.octets.len());
            match frame.kind {
                MessageType::Notification => {
                    let said = Notification::parse(frame.body);
                    assert!(said.code.name().is_some(), "{:?}", said.code);
                    assert!(out.is_empty(), "a NOTIFICATION is the last word");
                }
                MessageType::Update | MessageType::RouteRefresh => {
                    assert!(self.is_up || last || self.coming_up(), "no routes before Established");
                }
                MessageType::Open | MessageType::Keepalive => {}
            }
        }
        assert!(out.is_empty(), "whole messages only");
    }

    /// Established already, and the event not yet taken.
    fn coming_up(&self) -> bool {
        self.speaker.session(KEY).is_some_and(|status| status.state == State::Established)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_the_invariants_hold(happenings in proptest::collection::vec(happening(), 1..80)) {
        let mut observed = Observed::new();
        observed.observe();
        for happening in &happenings {
            observed.happen(happening);
        }
    }
}

/// Routers that answer every KEEPALIVE with one, all at once on one speaker: a day, or twenty minutes of it
/// where the build is slow.
#[test]
fn a_thousand_sessions_live_through_a_day() {
    const SESSIONS: u32 = 1_000;
    let seconds = if cfg!(debug_assertions) { 1_200 } else { 86_400 };
    let mut now = epoch();
    let end = now + Duration::from_secs(seconds);
    let mut speaker = Speaker::new(11, false);
    let peers: Vec<PeerConfig> = (0..SESSIONS)
        .map(|number| PeerConfig {
            hold_time: Some(HoldTime::try_new(90).unwrap()),
            ..PeerConfig::new(PeerKey(number), Asn(64_500), RemoteAs::External, router_id(11))
        })
        .collect();
    speaker.set_peers(now, &peers);
    let table = routes(0..100);
    let hello = [open(&[]), message("0013 04")].concat();
    for number in 0..SESSIONS {
        let (peer, connection) = (PeerKey(number), ConnectionId(number.into()));
        speaker.set_routes(peer, Arc::clone(&table));
        speaker.handle_event(now, Event::Connected { peer, connection, local: V4, remote: V4 });
        speaker.handle_input(now, connection, &hello);
    }
    let keepalive = message("0013 04");
    let mut out = BytesMut::new();
    let mut said = BTreeMap::<u32, u64>::new();
    // A driver that looks every five seconds: late for each deadline, early enough for all.
    while now < end {
        now += Duration::from_secs(5);
        speaker.handle_timeout(now);
        for number in 0..SESSIONS {
            let connection = ConnectionId(number.into());
            out.clear();
            while speaker.poll_transmit(now, connection, &mut out) {}
            if !out.is_empty() {
                *said.entry(number).or_default() += 1;
                assert_eq!(speaker.handle_input(now, connection, &keepalive), keepalive.len());
            }
        }
        while speaker.poll_event().is_some() {}
    }
    assert!(
        speaker.sessions().all(|status| status.state == State::Established && status.established_count == 1)
    );
    assert!(speaker.sessions().all(|status| status.prefixes_sent == 100));
    let least = seconds / 35;
    assert!(said.len() == 1_000 && said.values().all(|times| *times >= least), "{said:?}");
}
