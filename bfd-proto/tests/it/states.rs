//! The state table of RFC 5880 §6.8.6, cell by cell.

use std::time::{Duration, Instant};

use bfd_proto::*;

use crate::world::{A, B, config};

/// An endpoint with one session, spoken to by hand.
struct Bench {
    endpoint: Endpoint,
    now: Instant,
    mine: [u8; 4],
}

impl Bench {
    fn new(config: SessionConfig) -> Self {
        let now = Instant::now();
        let mut endpoint = Endpoint::new(3);
        endpoint.set_sessions(now, &[config]);
        let mine = endpoint.poll_transmit(now).map_or([0; 4], |(_, octets)| octets[4..8].try_into().unwrap());
        Self { endpoint, now, mine }
    }

    /// In this state, by the packets that lead to it.
    fn in_state(state: State) -> Self {
        let mut bench = Self::new(config(A, B));
        match state {
            State::Down => {}
            State::Init => bench.hear(State::Down, 0),
            State::Up => bench.hear(State::Init, 0),
            State::AdminDown => {
                bench.hear(State::Init, 0);
                bench.endpoint.set_sessions(bench.now, &[]);
            }
        }
        while bench.endpoint.poll_event().is_some() || bench.endpoint.poll_transmit(bench.now).is_some() {}
        assert_eq!(bench.state(), state);
        bench
    }

    fn octets(&self, state: State, flags: u8) -> [u8; 24] {
        let code = [State::AdminDown, State::Down, State::Init, State::Up].iter().position(|s| *s == state);
        let mut octets = [0; 24];
        octets[..8].copy_from_slice(&[
            0x20,
            u8::try_from(code.unwrap()).unwrap() << 6 | flags,
            3,
            24,
            0,
            0,
            0,
            9,
        ]);
        octets[8..12].copy_from_slice(&self.mine);
        octets[12..20].copy_from_slice(&[0, 4, 147, 224, 0, 4, 147, 224]);
        octets
    }

    fn hear(&mut self, state: State, flags: u8) {
        let arrival = Arrival { local: A, remote: B, link: 0, ttl: 255, hops: Hops::Single };
        let octets = self.octets(state, flags);
        let _ = self.endpoint.handle_packet(self.now, arrival, &octets);
    }

    fn state(&self) -> State {
        self.endpoint.session(config(A, B).path).unwrap().state
    }

    fn said(&mut self) -> Option<Packet> {
        self.endpoint.poll_transmit(self.now).map(|(_, octets)| Packet::parse(&octets).unwrap())
    }
}

#[test]
fn every_state_follows_every_state_of_the_other_side() {
    use State::{AdminDown, Down, Init, Up};
    let check = |here: State, heard: State, expected: State| {
        let mut bench = Bench::in_state(here);
        bench.hear(heard, 0);
        assert_eq!(bench.state(), expected, "{here} hears {heard}");
        // A change is told at once, and nothing else is.
        assert_eq!(bench.said().map(|packet| packet.state), (here != expected).then_some(expected));
    };
    check(Down, AdminDown, Down);
    check(Down, Down, Init);
    check(Down, Init, Up);
    check(Down, Up, Down);
    check(Init, AdminDown, Down);
    check(Init, Down, Init);
    check(Init, Init, Up);
    check(Init, Up, Up);
    check(Up, AdminDown, Down);
    check(Up, Down, Down);
    check(Up, Init, Up);
    check(Up, Up, Up);
    for heard in [AdminDown, Down, Init, Up] {
        check(AdminDown, heard, AdminDown);
    }
}

#[test]
fn the_end_of_a_session_says_whether_the_path_has_failed() {
    let check = |heard: State, expected: DownReason, failure: bool| {
        let mut bench = Bench::in_state(State::Up);
        bench.hear(heard, 0);
        let path = config(A, B).path;
        assert_eq!(bench.endpoint.poll_event(), Some(Event::Down { path, reason: expected }));
        assert_eq!(expected.is_failure(), failure);
        assert!(!expected.to_string().is_empty() && !expected.word().is_empty());
        assert_eq!(bench.said().unwrap().diagnostic, Diagnostic::NEIGHBOUR_DOWN);
    };
    check(State::AdminDown, DownReason::PeerAdminDown, false);
    check(State::Down, DownReason::SignalledDown { diagnostic: Diagnostic::NONE }, true);
}

#[test]
fn silence_ends_up_with_an_event_and_init_without_one() {
    let path = config(A, B).path;
    let check = |state: State, event: Option<Event>| {
        let mut bench = Bench::in_state(state);
        let detection = Duration::from_millis(900);
        bench.endpoint.handle_timeout(bench.now + detection - Duration::from_micros(1));
        assert_eq!(bench.state(), state, "early");
        bench.now += detection;
        bench.endpoint.handle_timeout(bench.now);
        assert_eq!(bench.state(), State::Down);
        assert_eq!(bench.endpoint.poll_event(), event);
        let said = bench.said().unwrap();
        assert_eq!((said.diagnostic, said.your_discriminator), (Diagnostic::TIME_EXPIRED, None));
        assert_eq!(said.desired_min_tx, Interval::from_millis(1000));
    };
    let reason = DownReason::TimeExpired { after: Duration::from_millis(900) };
    check(State::Up, Some(Event::Down { path, reason }));
    check(State::Init, None);
}

#[test]
fn a_poll_is_answered_at_once_and_never_with_a_poll() {
    for state in [State::Down, State::Init, State::Up] {
        let mut bench = Bench::in_state(State::Up);
        bench.hear(state, 0x20);
        let said = bench.said().unwrap();
        assert!(said.answers_poll && !said.poll, "{said:?}");
    }
}

#[test]
fn a_thousand_polls_before_the_next_turn_are_one_answer() {
    let mut bench = Bench::in_state(State::Up);
    for _ in 0..1000 {
        bench.hear(State::Up, 0x20);
    }
    assert!(bench.said().unwrap().answers_poll);
    assert_eq!(bench.said(), None);
}

#[test]
fn a_passive_end_waits_for_the_other_sides_first_packet() {
    let mut bench = Bench::new(SessionConfig { passive: true, ..config(A, B) });
    bench.now += Duration::from_secs(60);
    bench.endpoint.handle_timeout(bench.now);
    assert_eq!((bench.said(), bench.endpoint.poll_timeout()), (None, None));
    bench.hear(State::Down, 0);
    assert_eq!(bench.said().unwrap().state, State::Init);
}

#[test]
fn a_side_in_demand_mode_gets_no_periodic_packets_but_polls() {
    let mut bench = Bench::in_state(State::Up);
    // The poll that came with Up is answered, so that nothing is open.
    bench.hear(State::Up, 0x12);
    bench.now += Duration::from_millis(800);
    assert_eq!(bench.said(), None);
    let faster = SessionConfig { desired_min_tx: Interval::from_millis(100), ..config(A, B) };
    bench.endpoint.set_sessions(bench.now, &[faster]);
    assert!(bench.said().unwrap().poll);
}

#[test]
fn a_side_that_can_receive_nothing_gets_nothing_but_answers() {
    let mut bench = Bench::in_state(State::Up);
    let arrival = Arrival { local: A, remote: B, link: 0, ttl: 255, hops: Hops::Single };
    let mut octets = bench.octets(State::Up, 0x20);
    octets[16..20].fill(0);
    bench.endpoint.handle_packet(bench.now, arrival, &octets).unwrap();
    assert!(bench.said().unwrap().answers_poll);
    bench.now += Duration::from_millis(800);
    assert_eq!(bench.said(), None);
    assert_eq!(bench.endpoint.session(config(A, B).path).unwrap().transmit_interval, None);
}

#[test]
fn packets_say_that_this_bfd_ends_with_its_control_plane_and_takes_no_echo() {
    let mut bench = Bench::in_state(State::Down);
    bench.hear(State::Down, 0);
    let said = bench.said().unwrap();
    assert!(!said.independent && !said.demand);
    assert_eq!(said.required_min_echo_rx, None);
}
