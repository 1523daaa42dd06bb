//! Every state against every event, to be read beside RFC 4271 §8.2.2.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_proto::wire::header::Framer;
use bgp_proto::wire::notification::Notification;
use bgp_proto::*;
use bytes::{Buf, BytesMut};

use crate::pair::{KEY, config, epoch};
use crate::vectors::message;

const STATES: [State; 6] =
    [State::Idle, State::Connect, State::Active, State::OpenSent, State::OpenConfirm, State::Established];
const FIRST: ConnectionId = ConnectionId(1);
const SECOND: ConnectionId = ConnectionId(2);
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 11));
/// AS 65530, id 10.0.0.1, hold time 90 s.
const OPEN: &str = "0033 01 04 fffa 005a 0a000001 16 02 14 0104 00010001 0104 00020001 0200 4104 0000fffa";
const OPEN_OF_ANOTHER_AS: &str = "0025 01 04 fff9 005a 0a000001 08 02 06 4104 0000fff9";

struct Bench {
    speaker: Speaker,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (mut speaker, now) = (Speaker::new(1, false), epoch());
        speaker.set_peers(now, &[config(64_500, 65_530, 11)]);
        speaker.set_routes(KEY, Arc::default());
        Self { speaker, now }
    }

    fn at(state: State) -> Self {
        let mut bench = Self::new();
        match state {
            State::Connect => {}
            State::Active => bench.event(Event::ConnectFailed { peer: KEY, reason: ConnectFault::Refused }),
            State::Idle => {
                bench.event(connected(FIRST));
                bench.event(Event::Closed { connection: FIRST, reason: CloseCause::Reset });
            }
            State::OpenSent => bench.event(connected(FIRST)),
            State::OpenConfirm | State::Established => {
                bench.event(connected(FIRST));
                bench.input(FIRST, OPEN);
                if state == State::Established {
                    bench.input(FIRST, "0013 04");
                }
            }
        }
        bench.drain();
        assert_eq!(bench.state(), state);
        bench
    }

    fn state(&self) -> State {
        self.speaker.session(KEY).map_or(State::Idle, |status| status.state)
    }

    fn event(&mut self, event: Event) {
        self.speaker.handle_event(self.now, event);
    }

    fn input(&mut self, connection: ConnectionId, hex: &str) {
        self.speaker.handle_input(self.now, connection, &message(hex));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.speaker.handle_timeout(self.now);
    }

    /// What the driver would have to do and to write.
    fn drain(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for connection in [FIRST, SECOND] {
            let mut out = BytesMut::new();
            while self.speaker.poll_transmit(self.now, connection, &mut out) {}
            while let Some(frame) = Framer::default().next(&out).unwrap() {
                let said = Notification::parse(frame.body);
                let is_notification = frame.kind == wire::header::MessageType::Notification;
                let code = if is_notification {
                    format!(" {}/{}", said.code.code, said.code.subcode)
                } else {
                    String::new()
                };
                done.push(format!("{}:{}{code}", connection.0, frame.kind));
                let length = frame.octets.len();
                out.advance(length);
            }
        }
        while let Some(event) = self.speaker.poll_event() {
            done.push(match event {
                SpeakerEvent::Dial { .. } => "dial".to_owned(),
                SpeakerEvent::HangUp { connection, how } => format!("{}:hang up {how:?}", connection.0),
                SpeakerEvent::Up { .. } => "up".to_owned(),
                SpeakerEvent::Down { reason, .. } => format!("down {}", reason.word()),
            });
        }
        done
    }
}

fn connected(connection: ConnectionId) -> Event {
    Event::Connected { peer: KEY, connection, local: ADDRESS, remote: ADDRESS }
}

type Step = (&'static str, fn(&mut Bench));

/// Events by their numbers in RFC 4271 §8.1; those of optional features that we do not have are left out.
const EVENTS: &[Step] = &[
    ("2 ManualStop (administrative shutdown)", |b| {
        b.speaker.stop(b.now, Stop::AdminShutdown("bye".to_owned()))
    }),
    ("  stop for a restart", |b| b.speaker.stop(b.now, Stop::Restart)),
    ("  stop for removal of the node", |b| b.speaker.stop(b.now, Stop::Remove("bye".to_owned()))),
    ("8 AutomaticStop (peer removed)", |b| b.speaker.set_peers(b.now, &[])),
    ("  peer edited", |b| {
        let hold_time = Some(HoldTime::try_new(33).unwrap());
        b.speaker.set_peers(b.now, &[PeerConfig { hold_time, ..config(64_500, 65_530, 11) }]);
    }),
    ("9 ConnectRetryTimer_Expires (20 s pass)", |b| {
        if b.state() < State::OpenSent {
            b.pass(Duration::from_secs(20));
        }
    }),
    ("10 HoldTimer_Expires (240 s pass)", |b| {
        if b.state() >= State::OpenSent {
            b.pass(Duration::from_secs(240));
        }
    }),
    ("11 KeepaliveTimer_Expires (5 s pass)", |b| {
        if b.state() >= State::OpenSent {
            b.pass(Duration::from_secs(5));
        }
    }),
    ("  SendHoldTimer_Expires (RFC 9687; the peer goes on sending)", |b| {
        b.event(Event::WriteBlocked { connection: FIRST });
        while b.state() == State::Established {
            b.pass(Duration::from_secs(10));
            b.input(FIRST, "0013 04");
        }
    }),
    ("16 Tcp_CR_Acked (our dial)", |b| b.event(connected(SECOND))),
    ("17 TcpConnectionConfirmed (peer's dial)", |b| {
        b.event(Event::Accepted { peer: KEY, connection: SECOND, local: ADDRESS, remote: ADDRESS });
    }),
    ("  dial failed", |b| b.event(Event::ConnectFailed { peer: KEY, reason: ConnectFault::TimedOut })),
    ("18 TcpConnectionFails", |b| b.event(Event::Closed { connection: FIRST, reason: CloseCause::Eof })),
    ("19 BGPOpen", |b| b.input(FIRST, OPEN)),
    ("21 BGPHeaderErr", |b| b.input(FIRST, "0013 09")),
    ("22 BGPOpenMsgErr", |b| b.input(FIRST, OPEN_OF_ANOTHER_AS)),
    ("23 OpenCollisionDump (peer's dial, then its OPEN)", |b| {
        b.event(Event::Accepted { peer: KEY, connection: SECOND, local: ADDRESS, remote: ADDRESS });
        b.input(SECOND, OPEN);
    }),
    ("24 NotifMsgVerErr", |b| b.input(FIRST, "0017 03 02 01 0004")),
    ("25 NotifMsg", |b| b.input(FIRST, "0015 03 06 04")),
    ("26 KeepAliveMsg", |b| b.input(FIRST, "0013 04")),
    ("27 UpdateMsg", |b| b.input(FIRST, "001b 02 0004 180a0000 0000")),
    ("28 UpdateMsgErr", |b| b.input(FIRST, "0017 02 ffff 0000")),
    ("  ROUTE-REFRESH (RFC 2918)", |b| b.input(FIRST, "0017 05 0001 00 01")),
    ("  BFD says that the path is dead (RFC 9384)", |b| {
        let fault = PathFault::Silence { after: Duration::from_millis(900) };
        b.event(Event::PathDown { peer: KEY, fault });
    }),
    ("  BFD says that the path is whole", |b| b.event(Event::PathUp { peer: KEY })),
];

#[test]
fn every_state_knows_what_to_do_with_every_event() {
    let mut table = String::new();
    for (name, event) in EVENTS {
        writeln!(table, "{name}").unwrap();
        for state in STATES {
            let mut bench = Bench::at(state);
            event(&mut bench);
            let done = bench.drain().join(", ");
            let line = format!("    {:<12} {:<12} {done}", state.to_string(), bench.state().to_string());
            writeln!(table, "{}", line.trim_end()).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_timeout_that_comes_twice_or_early_does_nothing() {
    for state in STATES {
        let mut bench = Bench::at(state);
        let deadline = bench.speaker.poll_timeout().unwrap();
        bench.speaker.handle_timeout(bench.now);
        assert_eq!(
            (bench.drain(), bench.speaker.poll_timeout()),
            (Vec::new(), Some(deadline)),
            "{state}: early"
        );
        bench.now = deadline;
        bench.speaker.handle_timeout(deadline);
        bench.drain();
        assert!(bench.speaker.poll_timeout().unwrap() > deadline, "{state}: no deadline stays in the past");
        bench.speaker.handle_timeout(deadline);
        assert_eq!(bench.drain(), Vec::<String>::new(), "{state}: twice");
    }
}

#[test]
fn a_path_that_is_whole_again_is_dialled_unless_a_dial_has_just_begun() {
    let mut bench = Bench::at(State::Connect);
    bench.event(Event::PathUp { peer: KEY });
    assert_eq!(bench.drain(), Vec::<String>::new());
    bench.now += Duration::from_secs(2);
    bench.event(Event::PathUp { peer: KEY });
    assert_eq!(bench.drain(), ["dial"], "its first SYN is lost");
}

#[test]
fn a_session_that_bfd_ended_is_dialled_again_after_its_wait() {
    let mut bench = Bench::at(State::Established);
    bench.event(Event::PathDown { peer: KEY, fault: PathFault::Signalled });
    bench.drain();
    let wait = bench.speaker.poll_timeout().unwrap().saturating_duration_since(bench.now);
    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    bench.now += wait;
    bench.speaker.handle_timeout(bench.now);
    assert_eq!(bench.drain(), ["dial"]);
    bench.event(Event::PathUp { peer: KEY });
    assert_eq!(bench.drain(), Vec::<String>::new(), "that dial has just begun");
}

#[test]
fn a_hundred_inbound_connections_leave_two_at_most() {
    let mut bench = Bench::at(State::OpenSent);
    for number in 10..110 {
        let connection = ConnectionId(number);
        bench.event(Event::Accepted { peer: KEY, connection, local: ADDRESS, remote: ADDRESS });
    }
    let mut hung_up = 0;
    while let Some(event) = bench.speaker.poll_event() {
        hung_up += usize::from(matches!(event, SpeakerEvent::HangUp { how: HangUp::Abort, .. }));
    }
    assert_eq!(hung_up, 99);
    bench.input(ConnectionId(109), OPEN);
    bench.input(ConnectionId(109), "0013 04");
    assert_eq!(bench.state(), State::Established, "the newest one is good");
}

#[test]
fn events_of_unknown_connections_and_peers_are_ignored() {
    let mut bench = Bench::at(State::Established);
    let stranger = ConnectionId(99);
    bench.event(Event::Closed { connection: stranger, reason: CloseCause::Eof });
    bench.event(Event::WriteBlocked { connection: stranger });
    bench.event(Event::WriteProgress { connection: stranger });
    bench.event(Event::ConnectFailed { peer: PeerKey(1), reason: ConnectFault::Refused });
    bench.event(Event::PathDown { peer: PeerKey(1), fault: PathFault::Signalled });
    bench.event(Event::PathUp { peer: PeerKey(1) });
    bench.speaker.set_routes(PeerKey(1), Arc::default());
    assert_eq!(bench.speaker.handle_input(bench.now, stranger, &[0; 100]), 100);
    assert_eq!((bench.drain(), bench.state()), (Vec::new(), State::Established));
    bench.event(Event::Connected { peer: PeerKey(1), connection: stranger, local: ADDRESS, remote: ADDRESS });
    assert_eq!(bench.drain(), ["99:hang up Abort"]);
}
