//! UPDATEs that are damaged inside: lengths, attributes, paths, next hops, prefixes (groups 5 to 10 of the
//! list in `hostile`; group 6, attribute by attribute, is in `rfc7606`).

use bgp_proto::wire::check::{Class, Context};
use bgp_proto::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI};
use bgp_proto::*;

use crate::script::{EBGP, MANDATORY, ROUTE, Scripted, borne, class_of, framed, update};
use crate::vectors::{external, unhex};

// ---- 5: lengths in UPDATE

#[test]
fn lengths_that_leave_an_update_reset_only_where_updates_are_read() {
    for body in ["0001 0000", "ffff 0000", "0000 ffff", "0000 0001", "0005 20c000020a"] {
        let octets = framed(2, &unhex(body));
        for (receive, expected) in [(Receive::Discard, None), (Receive::Inspect, Some(vec![3, 1]))] {
            let (mut scripted, id) = Scripted::up(PeerConfig { receive, ..external(64_500) }, &[]);
            scripted.input(id, &octets);
            assert_eq!(scripted.answer(id), expected, "{body} {receive:?}");
        }
    }
}

#[test]
fn attributes_past_their_block_and_stray_octets_cost_routes_only() {
    for stray in ["40", "4001", "400101", "4001 ff", "d020 ffff", "50 02 00"] {
        let octets = update(&[], &unhex(&format!("{MANDATORY}{stray}")), &unhex(ROUTE));
        assert_eq!(class_of(&octets, &EBGP), Class::Withdraw, "{stray}");
        borne(&octets);
    }
}

#[test]
fn extended_lengths_on_short_values_are_fine() {
    let octets = update(&[], &unhex("50010001 00 50020006 0201 0000fffa 50030004 0a000001"), &unhex(ROUTE));
    assert_eq!(class_of(&octets, &EBGP), Class::Accept);
}

#[test]
fn no_attributes_with_routes_withdraws_and_attributes_without_routes_are_legal() {
    assert_eq!(class_of(&update(&[], &[], &unhex(ROUTE)), &EBGP), Class::Withdraw);
    assert_eq!(class_of(&update(&[], &unhex(MANDATORY), &[]), &EBGP), Class::Accept);
    assert_eq!(class_of(&update(&unhex(ROUTE), &unhex(MANDATORY), &unhex(ROUTE)), &EBGP), Class::Accept);
    borne(&update(&[], &[], &unhex(ROUTE)));
    borne(&update(&unhex(ROUTE), &unhex(MANDATORY), &unhex(ROUTE)));
}

#[test]
fn four_thousand_withdrawals_in_one_long_message_are_read() {
    let nlri: Vec<u8> = (0..4096_u16)
        .flat_map(|n| {
            let [high, low] = n.to_be_bytes();
            [64, 0x20, 1, 0x0D, 0xB8, 0, 0, high, low]
        })
        .collect();
    let value = [unhex("0002 01"), nlri].concat();
    let attribute =
        [vec![0x90, 15], u16::try_from(value.len()).unwrap().to_be_bytes().to_vec(), value].concat();
    let octets = update(&[], &attribute, &[]);
    assert_eq!(class_of(&octets, &EBGP), Class::Accept);
    borne(&octets);
}

// ---- 7: unknown attributes (see also `rfc7606`)

#[test]
fn unknown_attributes_of_every_flag_and_length_are_borne() {
    for code in [0_u8, 28, 40, 99, 128, 255] {
        for length in [0_u16, 1, 255, 4_000] {
            for flags in (0..=15_u8).map(|high| high << 4) {
                let [high, low] = length.to_be_bytes();
                let header = match (flags & 0x10 != 0, u8::try_from(length)) {
                    (false, Ok(short)) => vec![flags, code, short],
                    (_, _) => vec![flags | 0x10, code, high, low],
                };
                let attributes = [unhex(MANDATORY), header, vec![0xA5; length.into()]].concat();
                borne(&update(&[], &attributes, &unhex(ROUTE)));
            }
        }
    }
}

#[test]
fn two_hundred_and_fifty_five_attributes_of_one_octet_are_borne() {
    let attributes: Vec<u8> = (1..=255_u8).flat_map(|code| [0xC0, code, 1, 0]).collect();
    let octets = update(&[], &attributes, &[]);
    // Among them is an MP_REACH_NLRI of one octet, behind which no router could tell the routes.
    assert_eq!(class_of(&octets, &EBGP), Class::Reset);
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.input(id, &octets);
    assert_eq!(scripted.state(), State::Established);
    let harmless: Vec<u8> =
        (1..=255_u8).filter(|code| !matches!(code, 14 | 15)).flat_map(|code| [0xC0, code, 1, 0]).collect();
    borne(&update(&[], &harmless, &unhex(ROUTE)));
}

#[test]
fn a_lone_unknown_transitive_attribute_is_borne() {
    borne(&update(&[], &unhex("c06301 00"), &[]));
    borne(&update(&[], &unhex("c01c00"), &unhex(ROUTE)));
}

// ---- 8: AS_PATH

#[test]
fn paths_of_every_shape_cost_routes_only() {
    let longest = [vec![2, 255], [0, 0, 0xFD, 0xE8].repeat(255)].concat();
    let paths = [
        (vec![], Class::Accept),
        (unhex("0200"), Class::Withdraw),
        (unhex("0001 0000fffa"), Class::Withdraw),
        (unhex("0501 0000fffa"), Class::Withdraw),
        (unhex("0301 0000fffa"), Class::Withdraw),
        (unhex("0401 0000fffa"), Class::Withdraw),
        (unhex("0202 0000fffa 00000000"), Class::Withdraw),
        (unhex("0201 00005ba0"), Class::Accept),
        (unhex("0201 0000fbf4"), Class::Accept),
        (unhex("0202 fffa fbf4"), Class::Withdraw),
        (unhex("03ff"), Class::Withdraw),
        (longest.repeat(3), Class::Accept),
        ([longest.clone(), unhex("03ff"), [0, 0, 0xFD, 0xE8].repeat(255)].concat(), Class::Withdraw),
    ];
    for (path, expected) in paths {
        let length = u16::try_from(path.len()).unwrap().to_be_bytes();
        let attributes = [&unhex("400101 00 400304 0a000001 5002")[..], &length, &path].concat();
        let octets = update(&[], &attributes, &unhex(ROUTE));
        assert_eq!(class_of(&octets, &EBGP), expected, "{path:02x?}");
        borne(&octets);
    }
}

// ---- 9: multiprotocol attributes

fn reach(afi: u16, safi: u8, next_hop: usize, rest: &str) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    let mut value = vec![high, low, safi, u8::try_from(next_hop).unwrap()];
    value.extend(vec![0x20; next_hop]);
    value.extend(unhex(rest));
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[0x90, MP_REACH_NLRI][..], &length, &value].concat()
}

#[test]
fn next_hops_of_every_length_for_both_families() {
    let class = |afi, length, rest, context: &Context| {
        let attributes = [reach(afi, 1, length, rest), unhex(MANDATORY)].concat();
        class_of(&update(&[], &attributes, &[]), context)
    };
    let extended = Context { extended_next_hop: true, ..EBGP };
    for length in 0..=64 {
        let v6 = if matches!(length, 16 | 32) { Class::Accept } else { Class::Reset };
        assert_eq!(class(2, length, "00 4020010db800000000", &EBGP), v6, "{length}");
        let v4 = if length == 4 { Class::Accept } else { Class::Reset };
        assert_eq!(class(1, length, "00 20c000020a", &EBGP), v4, "{length}");
        let v4 = if matches!(length, 4 | 16 | 32) { Class::Accept } else { Class::Reset };
        assert_eq!(class(1, length, "00 20c000020a", &extended), v4, "{length}");
    }
}

#[test]
fn a_mapped_address_as_ipv6_next_hop_is_borne() {
    let value = "9000 00".replace(
        "9000 00",
        "900e 0026 0002 01 10 00000000000000000000ffff0a000001 00 80 20010db8000000000000000000000010",
    );
    borne(&update(&[], &unhex(&format!("{value}400101 00 400206 0201 0000fffa")), &[]));
}

#[test]
fn a_reserved_octet_unknown_families_and_mixtures_are_borne() {
    let with = |attributes: Vec<u8>, nlri: &str| {
        borne(&update(&[], &[attributes, unhex(MANDATORY)].concat(), &unhex(nlri)));
    };
    with(reach(2, 1, 16, "ff 4020010db800000000"), "");
    with(reach(2, 1, 16, "05 4020010db800000000"), "");
    with(reach(25, 70, 0, "ffff"), "");
    with(reach(2, 128, 24, "00"), "");
    with(reach(1, 133, 0, "00 ff"), "");
    let both =
        [reach(2, 1, 16, "00 4020010db800000000"), unhex("800f0c 0002 01 4020010db800000001")].concat();
    with(both, ROUTE);
    borne(&update(&[], &unhex("800f03 0019 46"), &[]));
    borne(&update(&[], &unhex("900f0003 0002 01"), &[]));
}

#[test]
fn mp_reach_may_stand_anywhere() {
    let attributes = [unhex(MANDATORY), reach(2, 1, 16, "00 4020010db800000000")].concat();
    assert_eq!(class_of(&update(&[], &attributes, &[]), &EBGP), Class::Accept);
}

#[test]
fn a_repeated_multiprotocol_attribute_resets_only_where_updates_are_read() {
    for code in [MP_REACH_NLRI, MP_UNREACH_NLRI] {
        let once = if code == MP_REACH_NLRI { reach(2, 1, 16, "00") } else { unhex("800f03 0002 01") };
        let octets = update(&[], &[once.clone(), once, unhex(MANDATORY)].concat(), &[]);
        assert_eq!(class_of(&octets, &EBGP), Class::Reset);
        let (mut scripted, id) = Scripted::up(external(64_500), &[]);
        scripted.input(id, &octets);
        assert_eq!(scripted.state(), State::Established);
    }
}

// ---- 10: prefixes

#[test]
fn prefixes_of_every_kind_are_read_or_reset_where_updates_are_read() {
    let class = |nlri: &str| class_of(&update(&[], &unhex(MANDATORY), &unhex(nlri)), &EBGP);
    assert_eq!(class("00"), Class::Accept, "the default route");
    assert_eq!(class("09 0aff"), Class::Accept, "dirty bits behind the prefix");
    assert_eq!(class("20c000020a 20c000020a"), Class::Accept, "the same route twice");
    assert_eq!(class("04 e0 08 7f 10 a9fe 20 ffffffff"), Class::Accept, "multicast, loopback, link-local");
    for broken in ["21 0a00000000", "20 0a0000", "ff", "00000000 20c000020a 2200000000"] {
        assert_eq!(class(broken), Class::Reset, "{broken}");
    }
}

#[test]
fn path_identifiers_that_were_not_negotiated_read_as_garbage_in_bounded_time() {
    let nlri: Vec<u8> =
        (1..=800_u32).flat_map(|id| [&id.to_be_bytes()[..], &unhex(ROUTE)].concat()).take(3_900).collect();
    let octets = update(&[], &unhex(MANDATORY), &nlri);
    let (mut scripted, id) = Scripted::up(PeerConfig { receive: Receive::Inspect, ..external(64_500) }, &[]);
    scripted.input(id, &octets);
    let (mut scripted, id) = Scripted::up(external(64_500), &[]);
    scripted.input(id, &octets);
    assert_eq!(scripted.state(), State::Established);
}
