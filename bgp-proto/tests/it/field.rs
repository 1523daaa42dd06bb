//! What other speakers have died of or been seen to do wrong, as tests: first incidents, then a bar that
//! black-box runs against routers have set. `docs/field-bugs.md` tells the stories.

use std::time::Duration;

use bgp_proto::wire::capability::Capability;
use bgp_proto::wire::check::Class;
use bgp_proto::wire::notification::ErrorCode;
use bgp_proto::wire::open::Open;
use bgp_proto::*;

use crate::pair::{KEY, routes};
use crate::rfc7606::{EBGP, IBGP, frr_cases};
use crate::script::{MANDATORY, ROUTE, Scripted, borne, class_of, framed, open, update};
use crate::vectors::{V4, V6, external, message, peer_open, plain, told, unhex};

// ---- incidents

#[test]
fn a_lone_capability_of_length_zero_does_not_read_the_next_one() {
    // Four-octet AS with nothing in it, then another capability whose octets could be taken for the number.
    let octets = framed(1, &unhex("04 fffa 005a 0a000001 0a 02 08 4100 0104 00010001"));
    assert_eq!(Open::parse(&octets[19..]).err(), Some(DecodeError::MalformedOpen));
    for hex in [
        "4b00",
        "4b0100",
        "4b01ff",
        "4900",
        "4901ff",
        "4902 0541",
        "490300ff41",
        "4000",
        "0500",
        "4500",
        "4700",
    ] {
        let value = unhex(hex);
        let length = u8::try_from(value.len()).unwrap();
        let parameters =
            [&[length + 2 + 8, 2, length + 8][..], &value, &unhex("0104 00010001 0200")].concat();
        let open = [unhex("04 fffa 005a 0a000001"), parameters].concat();
        assert!(Open::parse(&open).is_ok(), "{hex}: not understood, not fatal");
    }
}

#[test]
fn the_capability_message_is_an_unknown_type() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[Capability::Other { code: 67, value: &[] }]);
    scripted.input(id, &framed(6, &unhex("01 01 04 00010001")));
    assert_eq!(scripted.answer(id), Some(vec![1, 3, 6]));
}

#[test]
fn prefix_sid_aigp_and_entropy_labels_of_any_shape_reset_nothing() {
    for code in [22_u8, 23, 25, 26, 28, 29, 33, 35, 40, 128] {
        for value in
            ["", "00", "ffff", "01 0000", "01 ffff", "01 0007 00000000000000", "00 03 00", "05 0022 00010000"]
        {
            for flags in [0xC0_u8, 0x80, 0xE0] {
                let value = unhex(value);
                let attribute = [&[flags, code, u8::try_from(value.len()).unwrap()][..], &value].concat();
                borne(&update(&[], &[unhex(MANDATORY), attribute].concat(), &unhex(ROUTE)));
            }
        }
    }
}

#[test]
fn routes_with_an_attribute_length_of_zero_are_withdrawn() {
    assert_eq!(class_of(&update(&[], &[], &unhex(ROUTE)), &EBGP), Class::Withdraw);
}

#[test]
fn an_unknown_attribute_alone_with_routes_is_no_end_of_rib_and_no_route() {
    let octets = update(&[], &unhex("c06300"), &unhex(ROUTE));
    assert_eq!(class_of(&octets, &EBGP), Class::Withdraw, "mandatory attributes are missing all the same");
    borne(&octets);
}

#[test]
fn an_end_of_rib_is_exact_in_shape() {
    let is_mark = |attributes: &str, nlri: &str| {
        let octets = update(&[], &unhex(attributes), &unhex(nlri));
        wire::update::Update::parse(&octets[19..]).unwrap().end_of_rib().is_some()
    };
    assert!(is_mark("", ""));
    assert!(is_mark("800f03 0002 01", ""));
    assert!(is_mark("900f0003 0002 01", ""));
    assert!(!is_mark("800f03 0002 01 400101 00", ""), "another attribute");
    assert!(!is_mark("800f03 0002 01 40", ""), "a stray octet");
    assert!(!is_mark("800f04 0002 01 00", ""), "the default route");
    assert!(!is_mark("", ROUTE));
    assert!(!is_mark("800e05 0002 01 00 00", ""), "MP_REACH_NLRI");
    borne(&update(&[], &unhex("800f03 0002 01 400101 ff"), &[]));
}

#[test]
fn zero_length_prefixes_end_and_are_the_default_route() {
    let octets = update(&[], &unhex(MANDATORY), &[0; 3_000]);
    assert_eq!(class_of(&octets, &EBGP), Class::Accept);
    borne(&octets);
}

#[test]
fn an_empty_path_is_read_without_a_first_number() {
    let path = wire::as_path::AsPath::try_new(&[], wire::as_path::AsWidth::Four).unwrap();
    assert_eq!((path.first(), path.hops(), path.segments().count()), (None, 0, 0));
    borne(&update(&[], &unhex("400101 00 400200 400304 0a000001"), &unhex(ROUTE)));
}

#[test]
fn lengths_that_add_up_past_16_bits_are_refused() {
    for body in ["ffff ffff", "fff0 fff0", "0000 fffc", "ffe8 0000"] {
        assert!(wire::update::Update::parse(&unhex(body)).is_err(), "{body}");
    }
}

#[test]
fn a_confederation_segment_of_255_is_read_and_withdrawn() {
    let segment = [vec![3, 255], [0, 0, 0xFD, 0xE8].repeat(255)].concat();
    let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
    let attributes = [&unhex("400101 00 400304 0a000001 5002")[..], &length, &segment].concat();
    assert_eq!(class_of(&update(&[], &attributes, &unhex(ROUTE)), &EBGP), Class::Withdraw);
}

#[test]
fn a_shutdown_text_longer_than_its_message_overruns_nothing() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.input(id, &framed(3, &[&unhex("06 02 ff")[..], b"\x1b[2Jbye"].concat()));
    let (_, reason) = scripted.speaker.session(KEY).unwrap().last_down.unwrap();
    let words = "router sent NOTIFICATION: Cease / Administrative Shutdown (\"[2Jbye\")";
    assert_eq!(reason.to_string(), words);
}

// ---- the bar

#[test]
fn error_data_is_in_network_order() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.input(id, &message("1234 02"));
    assert_eq!(scripted.answer(id), Some(vec![1, 2, 0x12, 0x34]));
    let mut scripted = Scripted::new(external(64_500));
    let id = scripted.connect();
    scripted.input(id, &framed(1, &unhex("03 fffa 005a 0a000001 00")));
    assert_eq!(scripted.answer(id), Some(vec![2, 1, 0, 4]));
}

#[test]
fn an_overrunning_host_name_is_not_read() {
    for value in ["", "ff", "ff 61", "01 61 ff 62", "00 ff"] {
        let value = unhex(value);
        let (scripted, _) = Scripted::up(external(64_500), &[Capability::HostName(&value)]);
        assert_eq!(scripted.state(), State::Established);
    }
}

/// All cases of FRR, each with a route, on a session that inspects; a sentinel behind each.
#[test]
fn treat_as_withdraw_is_never_a_reset_on_ebgp_and_on_ibgp() {
    for (context, asn) in [(EBGP, 65_530), (IBGP, 64_500)] {
        let config =
            PeerConfig { receive: Receive::Inspect, remote: RemoteAs::Exactly(Asn(asn)), ..external(64_500) };
        let up = || {
            let mut scripted = Scripted::new(config.clone());
            let id = scripted.connect();
            let families = Family::ALL.map(Capability::family);
            let capabilities = [families[0], families[1], Capability::FourOctetAs(Asn(asn))];
            scripted.input(id, &peer_open(asn, &capabilities));
            scripted.input(id, &message("0013 04"));
            assert_eq!(scripted.state(), State::Established);
            (scripted, id)
        };
        let sentinel = update(&unhex("20c0000263"), &[], &[]);
        let (mut scripted, mut id) = up();
        for (name, body, expected) in frr_cases(&context) {
            let before = scripted.speaker.session(KEY).unwrap().verdicts;
            scripted.input(id, &framed(2, &body));
            scripted.input(id, &sentinel);
            let after = scripted.speaker.session(KEY).unwrap();
            let counted = VerdictCounts {
                accepted: before.accepted + 1 + u64::from(expected == Class::Accept),
                discarded: before.discarded + u64::from(expected == Class::Discard),
                withdrawn: before.withdrawn + u64::from(expected == Class::Withdraw),
                reset: before.reset,
            };
            if expected == Class::Reset {
                assert_eq!(after.state, State::Idle, "{name}");
                (scripted, id) = up();
            } else {
                assert_eq!((after.state, after.verdicts), (State::Established, counted), "{name}");
            }
        }
    }
}

#[test]
fn no_answer_of_ours_has_the_code_zero() {
    for code in 0..=255 {
        for subcode in 0..=255 {
            let error = ErrorCode { code, subcode };
            assert!(error.name().is_none() || code != 0, "0/0 is nobody's code");
        }
    }
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_no_next_hop() {
    let mapped = PeerConfig { next_hop_v6: Some("::ffff:10.0.0.11".parse().unwrap()), ..external(64_500) };
    let told = told(&mapped, V4, &open(&[]), plain(&["2001:db8::10", "192.0.2.10"]));
    assert_eq!(told.updates.len(), 3, "the IPv4 route and two times End-of-RIB");
}

#[test]
fn mp_reach_is_the_first_attribute_and_alone_with_its_routes() {
    let told = told(&external(64_500), V6, &open(&[]), plain(&["2001:db8::10", "2001:db8::11"]));
    let update = wire::update::Update::parse(&told.updates[0][19..]).unwrap();
    assert_eq!(update.attrs().next().unwrap().unwrap().code, 14);
    assert!(update.nlri.is_empty() && update.withdrawn.is_empty());
}

#[test]
fn keepalives_come_early_and_never_late() {
    // A router that counts three keepalives to the hold time must see each within a third of it.
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    let mut last = scripted.now;
    for _ in 0..500 {
        let due = scripted.speaker.poll_timeout().unwrap();
        assert!(
            due >= last + Duration::from_millis(3_750) && due <= last + Duration::from_secs(5),
            "{:?}",
            due - last
        );
        (scripted.now, last) = (due, due);
        scripted.speaker.handle_timeout(due);
        assert_eq!(scripted.drain(id).len(), 1);
        scripted.input(id, &message("0013 04"));
    }
}

#[test]
fn a_table_out_and_in_again_leaves_what_it_found() {
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    for _ in 0..50 {
        scripted.speaker.set_routes(KEY, routes(0..2_000));
        scripted.drain(id);
        scripted.speaker.set_routes(KEY, routes(0..0));
        scripted.drain(id);
    }
    let status = scripted.speaker.session(KEY).unwrap();
    assert_eq!((status.prefixes_sent, status.state, status.converged), (0, State::Established, true));
}
