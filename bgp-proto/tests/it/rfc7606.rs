//! Verdicts on damaged UPDATEs: the rows of RFC 7606, and FRR's cases and real streams where they are at hand.

use std::path::PathBuf;
use std::process::Command;

use bgp_proto::wire::as_path::{AsPath, AsWidth};
use bgp_proto::wire::check::{Class, Context, Reason, Verdict, check};
use bgp_proto::wire::community::communities;
use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI, MpReach, MpUnreach, Update};
use bgp_proto::*;
use bytes::Buf;

use crate::vectors::unhex;

pub(crate) const EBGP: Context =
    Context { external: true, width: AsWidth::Four, families: Families::BOTH, extended_next_hop: false };
pub(crate) const IBGP: Context = Context { external: false, ..EBGP };

/// Code, flags, value.
type Raw = (u8, u8, Vec<u8>);

fn mandatory(context: &Context) -> Vec<Raw> {
    let mut attributes =
        vec![(1, 0x40, unhex("00")), (2, 0x40, unhex("0201 0000fde9")), (3, 0x40, unhex("0a000001"))];
    if !context.external {
        attributes.push((5, 0x40, unhex("00000064")));
    }
    attributes
}

fn body(attributes: &[Raw], nlri: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (code, flags, value) in attributes {
        match u8::try_from(value.len()) {
            Ok(length) if flags & 0x10 == 0 => encoded.extend([*flags, *code, length]),
            Ok(_) | Err(_) => {
                encoded.extend([flags | 0x10, *code]);
                encoded.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            }
        }
        encoded.extend(value);
    }
    let mut body = vec![0, 0];
    body.extend(u16::try_from(encoded.len()).unwrap().to_be_bytes());
    body.extend(encoded);
    body.extend(nlri);
    body
}

const ROUTE: [u8; 5] = [32, 192, 0, 2, 10];

/// A good UPDATE in which one attribute is replaced, or added.
fn with(attribute: Raw, context: &Context) -> Verdict {
    let mut attributes = mandatory(context);
    attributes.retain(|(code, ..)| *code != attribute.0);
    attributes.push(attribute);
    judge(&body(&attributes, &ROUTE), context)
}

fn judge(body: &[u8], context: &Context) -> Verdict {
    check(&Update::parse(body).unwrap(), context)
}

#[test]
fn a_good_update_is_accepted() {
    for context in [EBGP, IBGP] {
        assert_eq!(judge(&body(&mandatory(&context), &ROUTE), &context).class, Class::Accept);
    }
    assert_eq!(judge(&unhex("0000 0000"), &EBGP).class, Class::Accept, "End-of-RIB");
    assert_eq!(judge(&unhex("0005 20c000020a 0000"), &IBGP).class, Class::Accept, "a withdrawal");
    assert_eq!(judge(&body(&mandatory(&EBGP), &[]), &EBGP).class, Class::Accept, "attributes without routes");
}

#[test]
fn a_verdict_names_attribute_place_and_reason() {
    let verdict = with((1, 0x40, unhex("03")), &EBGP);
    // Behind header, two lengths, AS_PATH of 9 octets and NEXT_HOP of 7.
    assert_eq!(
        verdict,
        Verdict { class: Class::Withdraw, attribute: 1, at: 19 + 4 + 9 + 7, reason: Reason::Value }
    );
}

#[test]
fn each_missing_mandatory_attribute_withdraws() {
    for code in [1, 2, 3, 5] {
        let mut attributes = mandatory(&IBGP);
        attributes.retain(|(other, ..)| *other != code);
        let verdict = judge(&body(&attributes, &ROUTE), &IBGP);
        assert_eq!(
            (verdict.class, verdict.attribute, verdict.reason),
            (Class::Withdraw, code, Reason::Missing)
        );
    }
    let alone = judge(&body(&[], &ROUTE), &EBGP);
    assert_eq!((alone.class, alone.reason), (Class::Withdraw, Reason::Missing), "no attribute at all");
}

#[test]
fn the_first_of_repeated_attributes_counts_and_repeated_routes_reset() {
    let repeated = |attribute: Raw| {
        let mut attributes = mandatory(&EBGP);
        attributes.extend([attribute.clone(), attribute]);
        judge(&body(&attributes, &ROUTE), &EBGP).class
    };
    assert_eq!(repeated((4, 0x80, unhex("00000001"))), Class::Discard);
    assert_eq!(repeated((MP_UNREACH_NLRI, 0x80, unhex("000201"))), Class::Reset);
    let reach = unhex("000201 10 20010db8000000000000000000000001 00 80 20010db8000000000000000000000010");
    assert_eq!(repeated((MP_REACH_NLRI, 0x80, reach)), Class::Reset);
}

#[test]
fn attributes_that_run_out_withdraw() {
    for stray in ["40", "4001", "4001 05 00", "50 01 00", "c0 08 ff 00"] {
        let mut body = body(&mandatory(&EBGP), &[]);
        body.extend(unhex(stray));
        let length = u16::try_from(body.len() - 4).unwrap();
        body[2..4].copy_from_slice(&length.to_be_bytes());
        body.extend(ROUTE);
        let verdict = judge(&body, &EBGP);
        assert_eq!((verdict.class, verdict.reason), (Class::Withdraw, Reason::Overrun), "{stray}");
    }
}

#[test]
fn unknown_attributes_never_reset() {
    for code in [0, 11, 28, 99, 128, 255] {
        for length in [0, 1, 255, 3_900] {
            for flags in (0..=255).step_by(16) {
                let verdict = with((code, flags, vec![0; length]), &EBGP);
                let expected = if flags & 0x80 == 0 { Class::Withdraw } else { Class::Discard };
                assert_eq!(verdict.class, expected, "{code} {length} {flags:02x}");
            }
        }
    }
}

#[test]
fn next_hops_of_legal_length_only() {
    for length in 0..=255_u8 {
        let mut value = vec![0, 2, 1, length];
        value.extend(vec![0x20; usize::from(length)]);
        value.extend(unhex("ff 80 20010db8000000000000000000000010"));
        let expected = if matches!(length, 16 | 32) { Class::Accept } else { Class::Reset };
        assert_eq!(with((MP_REACH_NLRI, 0x80, value), &EBGP).class, expected, "{length}");
    }
}

#[test]
fn broken_prefixes_reset_and_families_that_were_not_negotiated_do_not() {
    let check_nlri = |nlri: &str, expected| {
        assert_eq!(judge(&body(&mandatory(&EBGP), &unhex(nlri)), &EBGP).class, expected, "{nlri}")
    };
    check_nlri("00", Class::Accept);
    check_nlri("21 0a00000001", Class::Reset);
    check_nlri("20 0a0000", Class::Reset);
    check_nlri("09 0aff", Class::Accept);
    let unreach = |value: &str, context: &Context| with((MP_UNREACH_NLRI, 0x80, unhex(value)), context).class;
    assert_eq!(unreach("000201 81 00", &EBGP), Class::Reset);
    assert_eq!(unreach("000201 81 00", &Context { families: Families::IPV4, ..EBGP }), Class::Discard);
    assert_eq!(unreach("001946 ff", &EBGP), Class::Discard);
}

#[test]
fn paths_are_checked_to_their_last_number() {
    let path = |value: Vec<u8>, context: &Context| with((2, 0x40, value), context).class;
    let check_path = |hex: &str, expected| assert_eq!(path(unhex(hex), &EBGP), expected, "{hex}");
    check_path("", Class::Accept);
    check_path("0200", Class::Withdraw);
    check_path("0001 00000001", Class::Withdraw);
    check_path("0501 00000001", Class::Withdraw);
    check_path("0301 00000001", Class::Withdraw);
    check_path("0401 00000001", Class::Withdraw);
    check_path("0202 00000001 00000000", Class::Withdraw);
    check_path("0201 00005ba0", Class::Accept);
    check_path("0202 00000001", Class::Withdraw);
    check_path("0201 0001", Class::Withdraw);
    assert_eq!(path(unhex("0201 0001"), &Context { width: AsWidth::Two, ..EBGP }), Class::Accept);
    let longest: Vec<u8> = [vec![2, 255], [0, 0, 0xFD, 0xE8].repeat(255)].concat();
    assert_eq!(path(longest.repeat(3), &EBGP), Class::Accept);
}

/// Data of others that is not part of this crate; `None`, said aloud, where it is not at hand.
pub(crate) fn outside_data(file: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/bgp-vectors");
    let folder = std::env::var_os("HERALD_BGP_VECTORS").map_or(beside, PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no data given ({} is not there; HERALD_BGP_VECTORS names its folder)", path.display());
    None
}

/// The text of `"key": "value"` or `"key": number` in one flat JSON object.
fn field<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = object.split_once(&format!("\"{key}\":"))?;
    let rest = rest.trim_start();
    Some(match rest.strip_prefix('"') {
        Some(text) => text.split('"').next()?,
        None => rest.split([',', '}']).next()?.trim(),
    })
}

/// Where our verdict is another one than FRR's, and why.
fn differs(name: &str, code: u8) -> Option<Class> {
    match (name, code) {
        // RFC 6793 §6: discarded, and from a four-octet speaker in any case.
        ("as4path-seg-type-0", _) => Some(Class::Discard),
        // Values of attributes that we have no use for are not read; flags are.
        (_, 22 | 23 | 26 | 29 | 40) if !name.contains("-flag-") => Some(Class::Accept),
        _ => None,
    }
}

/// The cases of FRR that are meant for this kind of peer: name, body, verdict. Empty without the data.
pub(crate) fn frr_cases(context: &Context) -> Vec<(String, Vec<u8>, Class)> {
    let Some(path) = outside_data("hex/frr-rfc7606-cases.json") else { return Vec::new() };
    let text = std::fs::read_to_string(path).unwrap();
    let (sort, key) = if context.external { ("EBGP", "outcome_ebgp") } else { ("IBGP", "outcome_ibgp") };
    let mut cases = Vec::new();
    for (row, object) in text.split('{').skip(1).enumerate() {
        let name = field(object, "name").unwrap();
        if field(object, "skip_sorts").is_some_and(|sorts| sorts.contains(&format!("'{sort}'"))) {
            continue;
        }
        let code = field(object, "type").unwrap().parse::<u8>();
        let attribute = match field(object, "nexthop") {
            Some(address) => (3, 0x40, address.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec()),
            None => {
                let flags = field(object, "flags").unwrap().parse().unwrap();
                (code.clone().unwrap(), flags, unhex(field(object, "value").unwrap()))
            }
        };
        let expected = match field(object, key).or_else(|| field(object, "outcome")).unwrap() {
            "WITHDRAW" => Class::Withdraw,
            "DISCARD" => Class::Discard,
            "SESSION_RESET" => Class::Reset,
            other => panic!("{name}: {other}"),
        };
        let expected = differs(name, code.unwrap_or(0)).unwrap_or(expected);
        let mut attributes = mandatory(context);
        attributes.retain(|(code, ..)| *code != attribute.0);
        attributes.push(attribute);
        cases.push((format!("{row} {name}"), body(&attributes, &ROUTE), expected));
    }
    cases
}

#[test]
fn the_cases_of_frr_get_the_verdicts_of_frr() {
    let mut names = std::collections::BTreeSet::new();
    for context in [EBGP, IBGP] {
        for (name, body, expected) in frr_cases(&context) {
            assert_eq!(judge(&body, &context).class, expected, "{name} external: {}", context.external);
            names.insert(name);
        }
    }
    assert!(matches!(names.len(), 0 | 88), "{}", names.len());
}

/// UPDATEs, announced, withdrawn, prefix lengths, AS numbers, communities, and verdicts of Withdraw or worse.
type Sums = [u64; 7];

fn sums(stream: &[u8]) -> Sums {
    let mut sums = [0; 7];
    let mut rest = stream;
    while let Some(frame) = Framer::new(EXTENDED_MAX_LEN).next(rest).unwrap() {
        if frame.kind == MessageType::Update {
            add(&mut sums, &Update::parse(frame.body).unwrap());
        }
        rest.advance(frame.octets.len());
    }
    assert!(rest.is_empty());
    sums
}

fn add(sums: &mut Sums, update: &Update<'_>) {
    let [updates, announced, withdrawn, lengths, numbers, values, faults] = sums;
    *updates += 1;
    *faults += u64::from(check(update, &EBGP).class >= Class::Withdraw);
    let mut count = |counter: &mut u64, octets, family| {
        for prefix in Nlri::try_new(octets, family).unwrap() {
            *counter += 1;
            *lengths += u64::from(prefix.len());
        }
    };
    count(withdrawn, update.withdrawn, Family::Ipv4Unicast);
    count(announced, update.nlri, Family::Ipv4Unicast);
    for attribute in update.attrs().map(Result::unwrap) {
        match attribute.code {
            2 => {
                let path = AsPath::try_new(attribute.value, AsWidth::Four);
                *numbers += path.map_or(0, |path| path.asns().map(|asn| u64::from(asn.0)).sum());
            }
            8 => *values += communities(attribute.value).map(|community| u64::from(community.0)).sum::<u64>(),
            MP_REACH_NLRI => {
                let reach = MpReach::parse(attribute.value).unwrap();
                if let Some(family) = Family::from_afi_safi(reach.afi, reach.safi) {
                    count(announced, reach.nlri, family);
                }
            }
            MP_UNREACH_NLRI => {
                let unreach = MpUnreach::parse(attribute.value).unwrap();
                if let Some(family) = Family::from_afi_safi(unreach.afi, unreach.safi) {
                    count(withdrawn, unreach.nlri, family);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn real_streams_read_as_four_other_parsers_read_them() {
    let expected: [(&str, Sums); 4] = [
        ("full-2010", [63_361, 323_485, 0, 7_220_592, 3_539_028_223, 0, 0]),
        ("ris-20190101", [54_107, 159_948, 2_626, 3_905_440, 29_007_769_252, 174_742_420_174_927, 0]),
        // One path holds AS 0: malformed by RFC 7607, so its numbers are not summed.
        ("updates-et-2015", [89_679, 577_737, 3, 13_071_617, 68_259_621_080, 22_666_079_234_386, 1]),
        ("long-withdrawal", [1, 0, 4_096, 262_144, 0, 0, 0]),
    ];
    for (name, expected) in expected {
        let Some(path) = outside_data(&format!("streams/{name}.bgp.xz")) else { continue };
        match Command::new("xz").arg("-dc").arg(path).output() {
            Ok(unpacked) => assert_eq!(sums(&unpacked.stdout), expected, "{name}"),
            Err(error) => println!("skipped: {name} cannot be unpacked without the program xz: {error}"),
        }
    }
}
