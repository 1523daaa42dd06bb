//! Octets of any kind: nothing panics, nothing loops, nothing that should live dies.

use std::net::IpAddr;

use bgp_proto::wire::header::{Framer, MessageType};
use bgp_proto::*;
use bytes::BytesMut;
use proptest::prelude::*;

use crate::pair::{KEY, config, epoch, routes};
use crate::trial;
use crate::vectors::message;

proptest! {
    #[test]
    fn readers_bear_random_octets(body in proptest::collection::vec(any::<u8>(), 0..600)) {
        trial::body(&body);
    }

    #[test]
    fn a_session_bears_random_bodies_of_every_type(frames in proptest::collection::vec((1..=5_u8, proptest::collection::vec(any::<u8>(), 0..80)), 0..20)) {
        let (mut speaker, id, now) = established();
        for (kind, body) in frames {
            let mut octets = vec![0xFF; 16];
            octets.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
            octets.push(kind);
            octets.extend(&body);
            prop_assert!(speaker.handle_input(now, id, &octets) <= octets.len());
            drain(&mut speaker, id);
        }
    }

    #[test]
    fn a_session_bears_random_updates(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 4..200), 1..20)) {
        let (mut speaker, id, now) = established();
        for body in &bodies {
            let mut octets = vec![0xFF; 16];
            octets.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
            octets.push(2);
            octets.extend(body);
            prop_assert_eq!(speaker.handle_input(now, id, &octets), octets.len());
        }
        let status = speaker.session(KEY).unwrap();
        prop_assert_eq!((status.state, status.counters.received.updates), (State::Established, bodies.len() as u64));
    }
}

const PEER_OPEN: &str =
    "0037 01 04 fffa 000f 0a000001 1a 02 18 0104 00010001 0104 00020001 0200 4104 0000fffa 4002 0078";

fn established() -> (Speaker, ConnectionId, std::time::Instant) {
    let (mut speaker, id, now) = (Speaker::new(1, false), ConnectionId(1), epoch());
    speaker.set_peers(now, &[config(64_500, 65_530, 11)]);
    let address = IpAddr::from([10, 0, 0, 11]);
    speaker
        .handle_event(now, Event::Connected { peer: KEY, connection: id, local: address, remote: address });
    speaker.handle_input(now, id, &message(PEER_OPEN));
    speaker.handle_input(now, id, &message("0013 04"));
    assert_eq!(speaker.session(KEY).unwrap().state, State::Established);
    drain(&mut speaker, id);
    (speaker, id, now)
}

fn drain(speaker: &mut Speaker, id: ConnectionId) -> BytesMut {
    let mut out = BytesMut::new();
    while speaker.poll_transmit(epoch(), id, &mut out) {}
    while speaker.poll_event().is_some() {}
    out
}

/// The NOTIFICATION that ends a session after these octets; `None` while it lives.
fn answer(octets: &[u8]) -> Option<Vec<u8>> {
    let (mut speaker, id, now) = established();
    speaker.handle_input(now, id, octets);
    let out = drain(&mut speaker, id);
    match speaker.session(KEY).unwrap().state {
        State::Established => None,
        State::Idle | State::Connect | State::Active | State::OpenSent | State::OpenConfirm => {
            Some(out[19..].to_vec())
        }
    }
}

#[test]
fn broken_headers_end_the_session_with_the_right_code() {
    let check =
        |hex: &str, expected: &[u8]| assert_eq!(answer(&message(hex)).as_deref(), Some(expected), "{hex}");
    check("0000 04", &[1, 2, 0, 0]);
    check("0012 04", &[1, 2, 0, 18]);
    check("1001 02", &[1, 2, 0x10, 0x01]);
    check("ffff 02", &[1, 2, 0xFF, 0xFF]);
    check("0013 00", &[1, 3, 0]);
    check("0013 06", &[1, 3, 6]);
    check("0013 ff", &[1, 3, 0xFF]);
    check("0014 04 00", &[1, 2, 0, 20]);
    check("0016 02 000000", &[1, 2, 0, 22]);
    let mut marker = message("0013 04");
    marker[7] = 0xFE;
    assert_eq!(answer(&marker).as_deref(), Some(&[1, 1][..]));
}

#[test]
fn a_message_out_of_place_is_named_in_the_answer() {
    assert_eq!(answer(&message(PEER_OPEN)).as_deref(), Some(&[5, 3, 1][..]));
    let (mut speaker, id, now) = (Speaker::new(1, false), ConnectionId(1), epoch());
    speaker.set_peers(now, &[config(64_500, 65_530, 11)]);
    let address = IpAddr::from([10, 0, 0, 11]);
    speaker
        .handle_event(now, Event::Connected { peer: KEY, connection: id, local: address, remote: address });
    drain(&mut speaker, id);
    speaker.handle_input(now, id, &message("0017 05 0001 00 01"));
    assert_eq!(drain(&mut speaker, id)[19..], [5, 1, 5]);
}

#[test]
fn a_refresh_before_the_first_table_is_answered_by_the_table() {
    let (mut speaker, id, now) = established();
    speaker.handle_input(now, id, &message("0017 05 0001 00 01"));
    assert!(drain(&mut speaker, id).is_empty(), "marks around nothing would cost the routes that are kept");
    speaker.set_routes(KEY, routes(0..1));
    assert!(!drain(&mut speaker, id).is_empty());
}

#[test]
fn odd_messages_are_borne_in_established() {
    let check = |hex: &str| assert_eq!(answer(&message(hex)), None, "{hex}");
    check("0017 02 ffff ffff");
    check("0017 02 0000 ffff");
    check("0017 05 0007 00 01");
    check("0017 05 0001 01 01");
    check("0017 05 0001 02 01");
    check("0017 05 0001 09 01");
    check("0018 05 0001 00 01 40");
    check("0018 05 0001 01 01 40");
}

#[test]
fn a_begin_of_refresh_of_wrong_length_is_an_error_between_speakers_that_both_mark() {
    let open = "0039 01 04 fffa 000f 0a000001 1c 02 1a 0104 00010001 0104 00020001 0200 4104 0000fffa 4002 0078 4600";
    let (mut speaker, id, now) = (Speaker::new(1, false), ConnectionId(1), epoch());
    speaker.set_peers(now, &[config(64_500, 65_530, 11)]);
    let address = IpAddr::from([10, 0, 0, 11]);
    speaker
        .handle_event(now, Event::Connected { peer: KEY, connection: id, local: address, remote: address });
    speaker.handle_input(now, id, &message(open));
    speaker.handle_input(now, id, &message("0013 04"));
    drain(&mut speaker, id);
    let refresh = message("0018 05 0001 01 01 40");
    speaker.handle_input(now, id, &refresh);
    let out = drain(&mut speaker, id);
    assert_eq!((&out[19..21], &out[21..]), (&[7, 1][..], &refresh[..]));
}

#[test]
fn framing_does_not_depend_on_how_the_stream_is_cut() {
    let stream = [
        message("0013 04"),
        message("0017 02 0000 0000"),
        message("001d 02 0000 0006 800f03 0002 01"),
        message("0013 04"),
    ]
    .concat();
    let count = |pieces: &[&[u8]]| {
        let (mut speaker, id, now) = established();
        let mut kept = Vec::new();
        for piece in pieces {
            kept.extend_from_slice(piece);
            let used = speaker.handle_input(now, id, &kept);
            kept.drain(..used);
        }
        let status = speaker.session(KEY).unwrap();
        (
            kept.len(),
            status.counters.received.keepalives,
            status.counters.received.updates,
            status.end_of_rib_received,
        )
    };
    let whole = count(&[&stream]);
    assert_eq!(whole, (0, 3, 2, Families::BOTH));
    assert_eq!(count(&stream.chunks(1).collect::<Vec<_>>()), whole);
    for at in 0..stream.len() {
        assert_eq!(count(&[&stream[..at], &stream[at..]]), whole, "{at}");
    }
    let flood = message("0013 04").repeat(64 * 1024 / 19);
    let (mut speaker, id, now) = established();
    assert_eq!(speaker.handle_input(now, id, &flood), flood.len());
}

#[test]
fn what_follows_a_notification_is_not_read() {
    let (mut speaker, id, now) = established();
    let stream = [message("0015 03 06 04"), message("0013 04"), vec![0; 100]].concat();
    assert_eq!(speaker.handle_input(now, id, &stream), stream.len());
    let status = speaker.session(KEY).unwrap();
    assert_eq!(status.counters.received.keepalives, 1, "the one of the handshake");
    assert_eq!(drain(&mut speaker, id).len(), 0, "and no answer is given");
    assert!(matches!(status.last_down, Some((_, DownReason::NotificationReceived { text: None, .. }))));
}

#[test]
fn every_message_may_be_cut_at_every_octet() {
    let messages = [
        message(PEER_OPEN),
        message("0035 02 0000 0014 400101 00 400206 0201 fa56ea01 400304 0a00000b 20c000020a 20c000020b"),
        message(
            "004d 02 0000 0036 800e26 0002 01 10 20010db800010000000000000000000b 00 80 20010db8000000000000000000000010 400101 00 400206 0201 fa56ea01",
        ),
        message("0020 03 06 02 0a 6e6f646520647261696e"),
        message("0017 05 0001 00 01"),
    ];
    for whole in &messages {
        assert!(MessageType::ALL.iter().any(|kind| kind.code() == whole[18]));
        for end in 0..=whole.len() {
            assert_eq!(Framer::default().next(&whole[..end]).unwrap().is_some(), end == whole.len());
            trial::body(&whole[..end]);
            trial::body(whole.get(19..end).unwrap_or_default());
        }
    }
}
