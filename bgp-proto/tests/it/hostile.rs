//! What a speaker has to survive: bad octets, bad order, bad timing, in the groups of a list. UPDATEs that
//! are damaged inside (groups 5 to 10) are in `damage`; what other files test has its tests there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::wire::capability::{Capability, GracefulRestart};
use bgp_proto::wire::header::MessageType;
use bgp_proto::*;
use bytes::BytesMut;

use crate::pair::{KEY, Pair, config, epoch, prefix, routes};
use crate::script::{MANDATORY, ROUTE, Scripted, framed, open, raw_open, update};
use crate::vectors::{V4, external, message, peer_open, unhex};

const SECOND: Duration = Duration::from_secs(1);

// ---- 1: framing (see also `garbage`)

#[test]
fn keepalives_and_opens_stay_short_between_speakers_with_long_messages() {
    for (octets, expected) in [(message("0014 04 00"), [1, 2, 0, 20]), (message("1001 01"), [1, 2, 0x10, 1])]
    {
        let (mut scripted, id) = Scripted::up(external(64_500), &[Capability::ExtendedMessage]);
        scripted.input(id, &octets);
        assert_eq!(scripted.answer(id).as_deref(), Some(&expected[..]));
    }
}

#[test]
fn a_marker_with_any_wrong_octet_is_refused() {
    for at in 0..16 {
        let (mut scripted, id) = Scripted::up(external(64_500), &[]);
        let mut octets = message("0013 04");
        octets[at] = 0xFE;
        scripted.input(id, &octets);
        assert_eq!(scripted.answer(id).as_deref(), Some(&[1, 1][..]), "{at}");
    }
}

#[test]
fn every_unknown_message_type_is_answered_by_its_number() {
    for kind in (0..=255).filter(|kind| !(1..=5).contains(kind)) {
        let (mut scripted, id) = Scripted::up(external(64_500), &[]);
        scripted.input(id, &framed(kind, &[]));
        assert_eq!(scripted.answer(id), Some(vec![1, 3, kind]), "CAPABILITY (6) and all others");
    }
}

#[test]
fn half_a_header_with_a_wrong_length_is_not_waited_for() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.input(id, &message("ffff 02"));
    assert_eq!(scripted.answer(id), Some(vec![1, 2, 0xFF, 0xFF]), "65516 octets more would never be needed");
}

// ---- 2: OPEN (see also `open`)

/// The NOTIFICATION that answers an OPEN; `None` when it is accepted.
fn answer_to_open(octets: &[u8]) -> Option<Vec<u8>> {
    let mut scripted = Scripted::new(external(64_500));
    let id = scripted.connect();
    scripted.drain(id);
    scripted.input(id, octets);
    scripted.answer(id)
}

#[test]
fn each_fault_of_an_open_has_its_own_answer() {
    let check = |body: &str, expected: &[u8]| {
        assert_eq!(answer_to_open(&framed(1, &unhex(body))).as_deref(), Some(expected), "{body}");
    };
    check("03 fffa 005a 0a000001 00", &[2, 1, 0, 4]);
    check("05 fffa 005a 0a000001 00", &[2, 1, 0, 4]);
    check("04 0000 005a 0a000001 00", &[2, 2]);
    check("04 5ba0 005a 0a000001 00", &[2, 2]);
    check("04 fffa 005a 0a000001 08 02 06 4104 00000000", &[2, 2]);
    check("04 fffa 0001 0a000001 00", &[2, 6]);
    check("04 fffa 0002 0a000001 00", &[2, 6]);
    check("04 fffa 005a 00000000 00", &[2, 3]);
    check("04 fffa 005a 0a000001 ff", &[2, 0]);
    check("04 fffa 005a 0a000001 03 01 01 00", &[2, 4]);
    check("04 fffa 005a 0a000001 04 02 02 4100", &[2, 0]);
    check("04 fffa 005a 0a000001 04 02 02 0104", &[2, 0]);
    let exactly = PeerConfig { remote: RemoteAs::Exactly(Asn(65_531)), ..external(64_500) };
    let mut scripted = Scripted::new(exactly);
    let id = scripted.connect();
    scripted.input(id, &open(&[]));
    assert_eq!(scripted.answer(id), Some(vec![2, 2]));
}

#[test]
fn our_own_router_id_is_refused_on_ibgp() {
    let mut scripted = Scripted::new(PeerConfig { remote: RemoteAs::Internal, ..external(64_500) });
    let id = scripted.connect();
    scripted.input(id, &framed(1, &unhex("04 fbf4 005a 0a00000b 00")));
    assert_eq!(scripted.answer(id), Some(vec![2, 3]));
}

#[test]
fn an_open_cut_anywhere_inside_its_parameters_is_an_error_and_nothing_else() {
    let whole = open(&[Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
    for end in 29..whole.len() {
        let mut octets = whole[..end].to_vec();
        octets[16..18].copy_from_slice(&u16::try_from(end).unwrap().to_be_bytes());
        assert_eq!(answer_to_open(&octets), Some(vec![2, 0]), "{end}");
    }
}

#[test]
fn an_open_that_ends_right_behind_a_length_is_an_error() {
    for parameters in
        ["ff", "ff ff", "ff ff 00", "ff ff 00 01", "02 02", "01 ff", "ff ff ff ff", "ff ff 00 04 02 00"]
    {
        let octets = raw_open(&unhex(parameters));
        assert_eq!(answer_to_open(&octets), Some(vec![2, 0]), "{parameters}");
    }
}

#[test]
fn long_parameters_may_be_short() {
    assert_eq!(answer_to_open(&raw_open(&unhex("ff ff 0009 02 0006 4104 0000fffa"))), None);
    assert_eq!(answer_to_open(&raw_open(&unhex("ff ff 0000"))), None);
}

#[test]
fn capabilities_of_every_code_and_any_length_are_borne() {
    for code in (0..=255_u8).filter(|code| *code != 65) {
        for length in [0_u8, 1, 3, 4, 5, 200] {
            let mut parameters = vec![length + 4 + 8, 2, length + 2 + 8, code, length];
            parameters.extend(vec![0xA5; length.into()]);
            parameters.extend(unhex("0104 00010001 0200"));
            let answer = answer_to_open(&raw_open(&parameters));
            assert_eq!(answer, None, "capability {code} of {length} octets");
        }
    }
}

#[test]
fn sixty_times_the_same_family_is_one_family() {
    // 360 octets of capabilities in the long form, one parameter of them.
    let parameters = [unhex("ff ff 016b 02 0168"), unhex("0104 00010001").repeat(60)].concat();
    assert_eq!(answer_to_open(&raw_open(&parameters)), None);
}

#[test]
fn graceful_restart_with_stray_octets_is_borne() {
    assert_eq!(answer_to_open(&raw_open(&unhex("0b 02 09 4007 0078 00010180 00"))), None);
}

#[test]
fn an_open_of_4096_octets_is_read() {
    // 19 + 10 octets in front, 3 of the long form, one parameter of 4061 octets of unknown capabilities.
    let capability = [vec![200, 253], vec![7; 253]].concat();
    let mut value = capability.repeat(15);
    value.extend([200, u8::try_from(4061 - value.len() - 2).unwrap()]);
    value.resize(4061, 7);
    let parameters = [unhex("ff ff 0fe0 02 0fdd"), value].concat();
    let octets = raw_open(&parameters);
    assert_eq!(octets.len(), 4096);
    assert_eq!(answer_to_open(&octets), None);
}

#[test]
fn a_second_family_that_was_not_negotiated_does_not_wedge_the_session() {
    let mut scripted = Scripted::new(external(64_500));
    scripted.speaker.set_routes(KEY, routes(0..3));
    let id = scripted.connect();
    scripted.input(id, &peer_open(65_530, &[Capability::family(Family::Ipv4Unicast)]));
    scripted.input(id, &message("0013 04"));
    let updates = scripted.drain(id).into_iter().filter(|(kind, _)| *kind == MessageType::Update).count();
    assert_eq!((scripted.state(), updates), (State::Established, 2), "the routes and one End-of-RIB");
    assert!(scripted.speaker.session(KEY).unwrap().converged);
}

// ---- 3: state (see also `matrix`)

#[test]
fn an_update_in_open_confirm_is_no_keepalive() {
    let mut scripted = Scripted::new(external(64_500));
    let id = scripted.connect();
    scripted.input(id, &open(&[]));
    scripted.drain(id);
    scripted.input(id, &update(&[], &unhex(MANDATORY), &unhex(ROUTE)));
    assert_eq!(scripted.answer(id), Some(vec![5, 2, 2]));
}

#[test]
fn every_message_out_of_place_is_answered_by_state_and_type() {
    let refresh = message("0017 05 0001 00 01");
    let keepalive = message("0013 04");
    let empty = message("0017 02 0000 0000");
    for (octets, kind) in [(&empty, 2), (&keepalive, 4), (&refresh, 5)] {
        let mut scripted = Scripted::new(external(64_500));
        let id = scripted.connect();
        scripted.drain(id);
        scripted.input(id, octets);
        assert_eq!(scripted.answer(id), Some(vec![5, 1, kind]));
    }
    for (octets, kind) in [(&open(&[]), 1), (&empty, 2), (&refresh, 5)] {
        let mut scripted = Scripted::new(external(64_500));
        let id = scripted.connect();
        scripted.input(id, &open(&[]));
        scripted.drain(id);
        scripted.input(id, octets);
        assert_eq!(scripted.answer(id), Some(vec![5, 2, kind]));
    }
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.input(id, &open(&[]));
    assert_eq!(scripted.answer(id), Some(vec![5, 3, 1]), "a second OPEN");
}

#[test]
fn notifications_of_any_shape_end_the_session_without_an_answer() {
    for body in [
        "00 00",
        "06 02",
        "06 02 ff 41",
        "06 02 03 ff fe fd",
        "06 09",
        "06 09 06",
        "06 09 06 02 02 6869",
        "ff ff 00",
    ] {
        let (mut scripted, id) = Scripted::up(external(64_500), &[]);
        let octets = [framed(3, &unhex(body)), vec![0; 300]].concat();
        assert_eq!(scripted.input(id, &octets), octets.len(), "what comes behind is thrown away");
        assert_eq!(scripted.answer(id), None, "{body}");
        let (_, reason) = scripted.speaker.session(KEY).unwrap().last_down.unwrap();
        assert!(reason.to_string().starts_with("router sent NOTIFICATION"), "{reason}");
    }
}

#[test]
fn a_reset_or_half_close_in_each_state_leads_to_the_next_dial() {
    for depth in 0..3 {
        for reason in [CloseCause::Eof, CloseCause::Reset, CloseCause::Error(110)] {
            let mut scripted = Scripted::new(external(64_500));
            let id = scripted.connect();
            for octets in [open(&[]), message("0013 04")].iter().take(depth) {
                scripted.input(id, octets);
            }
            scripted.speaker.handle_event(scripted.now, Event::Closed { connection: id, reason });
            scripted.drain(id);
            assert_eq!(scripted.state(), State::Idle);
            let next = scripted.speaker.poll_timeout().expect("a dial is due");
            scripted.speaker.handle_timeout(next);
            assert_eq!(scripted.speaker.poll_event(), Some(SpeakerEvent::Dial { peer: KEY }));
        }
    }
}

// ---- 4: collision (see also `sim`)

#[test]
fn a_second_connection_while_established_is_refused_with_its_reason() {
    let (mut scripted, first) = Scripted::up(external(64_500), &[]);
    let second = scripted.accept();
    scripted.drain(second);
    scripted.input(second, &open(&[]));
    assert_eq!(scripted.answer(second), Some(vec![6, 7]));
    assert_eq!(scripted.state(), State::Established);
    scripted.input(first, &message("0013 04"));
    assert_eq!(scripted.state(), State::Established);
}

#[test]
fn a_hundred_connections_a_second_neither_grow_nor_harm() {
    let (mut scripted, first) = Scripted::up(external(64_500), &[]);
    for round in 0..1_000 {
        let id = scripted.accept();
        if round % 3 == 0 {
            scripted.input(id, &open(&[]));
        }
        scripted.drain(id);
        scripted.now += SECOND / 100;
        if round % 100 == 0 {
            scripted.input(first, &message("0013 04"));
        }
    }
    assert_eq!(scripted.state(), State::Established);
    assert_eq!(scripted.speaker.session(KEY).unwrap().established_count, 1);
}

// ---- 11: ROUTE-REFRESH (see also `garbage` and `rib_out`)

#[test]
fn a_thousand_refreshes_between_speakers_that_mark_are_two_walks_at_most() {
    let (mut scripted, id) =
        Scripted::up(external(64_500), &[Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
    scripted.speaker.set_routes(KEY, routes(0..100));
    scripted.drain(id);
    scripted.input(id, &message("0017 05 0001 00 01").repeat(1_000));
    let marks: Vec<u8> = scripted
        .drain(id)
        .into_iter()
        .filter(|(kind, _)| *kind == MessageType::RouteRefresh)
        .map(|(_, body)| body[2])
        .collect();
    assert_eq!(marks, [1, 2]);
}

#[test]
fn marks_of_the_peer_are_borne_with_and_without_the_capability() {
    for capabilities in [&[][..], &[Capability::EnhancedRouteRefresh]] {
        let (mut scripted, id) = Scripted::up(external(64_500), capabilities);
        for subtype in 0..=255_u8 {
            scripted.input(id, &framed(5, &[0, 1, subtype, 1]));
            scripted.input(id, &framed(5, &[0, 99, subtype, 7]));
        }
        assert_eq!(scripted.state(), State::Established);
    }
}

// ---- 12: floods

#[test]
fn a_million_keepalives_are_counted_and_nothing_grows() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    let flood = message("0013 04").repeat(10_000);
    for _ in 0..100 {
        assert_eq!(scripted.input(id, &flood), flood.len());
    }
    assert_eq!(scripted.speaker.session(KEY).unwrap().counters.received.keepalives, 1_000_001);
    assert_eq!(scripted.drain(id), []);
}

#[test]
fn long_messages_back_to_back_are_borne() {
    let mut octets = framed(2, &unhex("0000 0000"));
    octets.resize(65_535, 0);
    octets[16..18].copy_from_slice(&[0xFF, 0xFF]);
    let (mut scripted, id) = Scripted::up(
        PeerConfig { receive: Receive::Inspect, ..external(64_500) },
        &[Capability::ExtendedMessage],
    );
    for _ in 0..100 {
        assert_eq!(scripted.input(id, &octets), octets.len());
    }
    // Without any attribute the 65,512 default routes count as withdrawn.
    assert_eq!(scripted.speaker.session(KEY).unwrap().verdicts.withdrawn, 100);
}

#[test]
fn one_route_announced_and_withdrawn_for_ever_leaves_nothing_behind() {
    let (mut scripted, id) = Scripted::up(PeerConfig { receive: Receive::Inspect, ..external(64_500) }, &[]);
    let churn = [update(&[], &unhex(MANDATORY), &unhex(ROUTE)), update(&unhex(ROUTE), &[], &[])].concat();
    for _ in 0..10_000 {
        scripted.input(id, &churn);
    }
    let status = scripted.speaker.session(KEY).unwrap();
    assert_eq!((status.verdicts.accepted, status.state), (20_000, State::Established));
    assert_eq!(scripted.speaker.faults(KEY).count(), 0);
}

#[test]
fn our_own_churn_leaves_one_change_at_most() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    let (with, without) = (routes(0..1_000), routes(1..1_000));
    scripted.speaker.set_routes(KEY, Arc::clone(&with));
    scripted.drain(id);
    for _ in 0..10_000 {
        scripted.speaker.set_routes(KEY, Arc::clone(&without));
        scripted.speaker.set_routes(KEY, Arc::clone(&with));
    }
    assert_eq!(scripted.drain(id), [], "nothing has changed in the end");
}

#[test]
fn ten_routers_with_full_tables_at_once_delay_no_announcement() {
    let now = epoch();
    let mut speaker = Speaker::new(1, false);
    let peers: Vec<PeerConfig> = (0..10)
        .map(|number| PeerConfig { key: PeerKey(number), receive: Receive::Inspect, ..external(64_500) })
        .collect();
    speaker.set_peers(now, &peers);
    let hello = [open(&[]), message("0013 04")].concat();
    for number in 0..10 {
        let (peer, connection) = (PeerKey(number), ConnectionId(number.into()));
        speaker.handle_event(now, Event::Connected { peer, connection, local: V4, remote: V4 });
        speaker.handle_input(now, connection, &hello);
    }
    let mut table: Vec<u8> = (0..2_000_u16)
        .flat_map(|n| update(&[], &unhex(MANDATORY), &[[24, 10].as_slice(), &n.to_be_bytes()].concat()))
        .collect();
    // And messages whose one route is one octet.
    table.extend(update(&[], &unhex(MANDATORY), &[0]).repeat(500));
    let mut out = BytesMut::new();
    for round in 0..10_u32 {
        for number in 0..10 {
            let connection = ConnectionId(number.into());
            assert_eq!(speaker.handle_input(now, connection, &table), table.len());
            speaker.set_routes(PeerKey(number), routes(0..round + 1));
            out.clear();
            assert!(speaker.poll_transmit(now, connection, &mut out), "its own news goes out at once");
            assert_eq!(speaker.session(PeerKey(number)).unwrap().prefixes_sent, round + 1);
        }
    }
    for status in speaker.sessions() {
        assert_eq!((status.state, status.verdicts.accepted), (State::Established, 25_000));
    }
}

// ---- 13: what we send (see also `pack`, `feature`, `vectors`)

#[test]
fn attributes_that_leave_no_room_are_refused_beforehand_and_counted() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    let attrs = PathAttrs { communities: (0..1_001).map(Community).collect(), ..PathAttrs::default() };
    assert!(attrs.fits().is_err());
    let set = RouteSet::new().with(prefix(1), Arc::new(attrs)).with(prefix(2), Arc::default());
    scripted.speaker.set_routes(KEY, Arc::new(set));
    let updates = scripted.drain(id).len();
    let status = scripted.speaker.session(KEY).unwrap();
    assert_eq!((updates, status.prefixes_sent, status.prefixes_too_large), (3, 1, 1));
}

#[test]
fn no_routes_are_two_end_of_ribs_and_one_route_is_one_update_more() {
    for count in 0..2 {
        let (mut scripted, id) = Scripted::up(external(64_500), &[]);
        scripted.speaker.set_routes(KEY, routes(0..count));
        assert_eq!(scripted.drain(id).len(), usize::try_from(count).unwrap() + 2);
    }
}

// ---- 14: time

#[test]
fn a_node_that_slept_longer_than_the_hold_time_ends_the_session_once() {
    let mut pair = Pair::up();
    pair.ends[0].handle_timeout(pair.now + 3_600 * SECOND);
    assert_eq!(pair.status(0).state, State::Idle);
    assert!(matches!(pair.status(0).last_down, Some((_, DownReason::HoldTimerExpired { .. }))));
}

#[test]
fn what_was_read_in_time_counts_however_late_it_is_handled() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    let read_at = scripted.now + 14 * SECOND;
    scripted.speaker.handle_input(read_at, id, &message("0013 04"));
    scripted.speaker.handle_timeout(read_at + 14 * SECOND);
    assert_eq!(scripted.state(), State::Established);
}

#[test]
fn the_hold_timer_runs_out_on_the_second_and_not_before() {
    for hold in [3_u16, 15, 90, 65_535] {
        let hold_time = Some(HoldTime::try_new(hold).unwrap());
        let mut scripted = Scripted::new(PeerConfig { hold_time, ..external(64_500) });
        let id = scripted.connect();
        scripted.input(id, &framed(1, &unhex("04 fffa ffff 0a000001 00")));
        scripted.input(id, &message("0013 04"));
        let due = scripted.now + Duration::from_secs(hold.into());
        scripted.speaker.handle_timeout(due - Duration::from_millis(1));
        assert_eq!(scripted.state(), State::Established, "{hold}");
        scripted.speaker.handle_timeout(due);
        assert_eq!(scripted.state(), State::Idle, "{hold}");
        assert_eq!(scripted.answer(id), Some(vec![4, 0]));
    }
}

#[test]
fn a_full_table_within_three_seconds_of_hold_time_is_no_silence() {
    let hold_time = Some(HoldTime::try_new(3).unwrap());
    let config = PeerConfig { hold_time, receive: Receive::Inspect, ..external(64_500) };
    let (mut scripted, id) = Scripted::up(config, &[]);
    let octets = update(&[], &unhex(MANDATORY), &unhex(ROUTE));
    for _ in 0..600 {
        scripted.now += SECOND / 10;
        scripted.input(id, &octets.repeat(100));
        scripted.speaker.handle_timeout(scripted.now);
        scripted.drain(id);
    }
    assert_eq!(scripted.state(), State::Established);
}

#[test]
fn hold_time_zero_from_the_peer_keeps_the_session_up() {
    let mut scripted = Scripted::new(external(64_500));
    let id = scripted.connect();
    scripted.input(id, &framed(1, &unhex("04 fffa 0000 0a000001 00")));
    scripted.input(id, &message("0013 04"));
    scripted.speaker.handle_timeout(scripted.now + 1_000_000 * SECOND);
    assert_eq!(scripted.state(), State::Established);
    assert_eq!(scripted.speaker.poll_timeout(), None, "nothing is due");
}

#[test]
fn timers_that_run_out_together_are_one_end() {
    let mut scripted = Scripted::new(PeerConfig { send_hold: Some(15 * SECOND), ..external(64_500) });
    let id = scripted.connect();
    scripted.input(id, &open(&[]));
    scripted.input(id, &message("0013 04"));
    scripted.speaker.handle_event(scripted.now, Event::WriteBlocked { connection: id });
    while scripted.speaker.poll_event().is_some() {}
    scripted.speaker.handle_timeout(scripted.now + 15 * SECOND);
    let mut downs = 0;
    while let Some(event) = scripted.speaker.poll_event() {
        downs += usize::from(matches!(event, SpeakerEvent::Down { .. }));
    }
    assert_eq!(downs, 1);
    let before = scripted.speaker.session(KEY).unwrap();
    scripted.speaker.handle_timeout(scripted.now + 15 * SECOND);
    let after = scripted.speaker.session(KEY).unwrap();
    assert_eq!(before.counters, after.counters, "a tick at the same instant does nothing");
}

#[test]
fn a_restarting_peer_with_every_flag_is_borne() {
    let tuples = unhex("00010180 00020100 00198001");
    for restarting in [false, true] {
        let restart = GracefulRestart { restarting, notification: true, restart_time: 4095, tuples: &tuples };
        let (scripted, _) = Scripted::up(config(64_500, 65_530, 11), &[Capability::GracefulRestart(restart)]);
        assert_eq!(scripted.state(), State::Established);
    }
}

#[test]
fn an_address_of_the_wrong_family_changes_nothing() {
    let mapped: IpAddr = "::ffff:10.0.0.11".parse().unwrap();
    let mut scripted = Scripted::new(external(64_500));
    scripted.speaker.set_routes(KEY, routes(0..1));
    let connection = ConnectionId(1);
    let event = Event::Connected { peer: KEY, connection, local: mapped, remote: mapped };
    scripted.speaker.handle_event(scripted.now, event);
    scripted.input(connection, &open(&[]));
    scripted.input(connection, &message("0013 04"));
    let updates = scripted.drain(connection);
    let first = updates.iter().find(|(kind, _)| *kind == MessageType::Update).unwrap();
    assert!(first.1.windows(7).any(|window| window == unhex("400304 0a00000b")), "an IPv4 next hop");
}
