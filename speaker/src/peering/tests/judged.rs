//! FRR's cases of faulty attributes (RFC 7606) over TCP: each costs its routes and never the session, and the session's next
//! answer shows that it lives. They lie beside the repository; without them this is skipped, aloud.

use std::path::PathBuf;

use bgp_proto::VerdictCounts;
use serde_json::Value;

use super::router::RouterSession;
use super::*;

/// A faulty UPDATE and what is to come of it.
struct Case {
    name: String,
    body: Vec<u8>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accept,
    Discard,
    Withdraw,
    Reset,
}

fn cases(external: bool) -> Vec<Case> {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6 loopback");
        return Vec::new();
    }
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/bgp-vectors");
    let folder = std::env::var_os("HERALD_BGP_VECTORS").map_or(beside, PathBuf::from);
    let path = folder.join("hex/frr-rfc7606-cases.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!(
            "skipped: no data given ({} is not there; HERALD_BGP_VECTORS names its folder)",
            path.display()
        );
        return Vec::new();
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let rows = file.as_array().or_else(|| file["cases"].as_array()).expect("a list of cases");
    rows.iter().filter_map(|row| case(row, external)).collect()
}

fn case(row: &Value, external: bool) -> Option<Case> {
    let name = row["name"].as_str().unwrap().to_owned();
    let (sort, key) = if external { ("EBGP", "outcome_ebgp") } else { ("IBGP", "outcome_ibgp") };
    if row["skip_sorts"].to_string().contains(sort) {
        return None;
    }
    let number = |key: &str| u8::try_from(row[key].as_u64().unwrap()).unwrap();
    let (code, flags, value) = match row["nexthop"].as_str() {
        Some(address) => (3, 0x40, address.parse::<Ipv4Addr>().unwrap().octets().to_vec()),
        None => (number("type"), number("flags"), unhex(row["value"].as_str().unwrap())),
    };
    let said = row[key].as_str().or_else(|| row["outcome"].as_str()).unwrap();
    let outcome = match (said, name.as_str(), code) {
        // RFC 6793 §6: discarded, and from a four-octet speaker in any case.
        (_, "as4path-seg-type-0", _) => Outcome::Discard,
        // Values of attributes that we have no use for are not read; flags are.
        (_, name, 22 | 23 | 26 | 29 | 40) if !name.contains("-flag-") => Outcome::Accept,
        ("WITHDRAW", ..) => Outcome::Withdraw,
        ("DISCARD", ..) => Outcome::Discard,
        ("SESSION_RESET", ..) => Outcome::Reset,
        (other, ..) => panic!("{name}: {other}"),
    };
    let mut attributes: Vec<(u8, u8, Vec<u8>)> =
        vec![(1, 0x40, vec![0]), (2, 0x40, unhex("0201 0000fffa")), (3, 0x40, vec![10, 0, 0, 1])];
    if !external {
        attributes[1].2.clear();
        attributes.push((5, 0x40, vec![0, 0, 0, 100]));
    }
    attributes.retain(|(other, ..)| *other != code);
    attributes.push((code, flags, value));
    Some(Case { name, body: update(&attributes), outcome })
}

fn update(attributes: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
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
    let length = u16::try_from(encoded.len()).unwrap().to_be_bytes();
    [&[0, 0][..], &length, &encoded, &[32, 192, 0, 2, 10]].concat()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// The session answers a request for its routes, so it has read everything before it and lives.
async fn answers(session: &mut RouterSession, after: &str) {
    session.say(5, &[0, 2, 0, 1]).await;
    loop {
        match session.hear().await {
            Heard::Update { announced, .. } => return assert_eq!(announced, ["2001:db8::1/128"]),
            Heard::Keepalive | Heard::EndOfRib => {}
            other @ (Heard::Open | Heard::Notification { .. } | Heard::Closed) => {
                panic!("{after}: {other:?}")
            }
        }
    }
}

/// A session with both families: over IPv6 the node needs no second address for that.
async fn start(external: bool, inspect: bool) -> (Bench, RouterSession) {
    let router = Router::bind("[::1]:0").await;
    let ours = routes(["2001:db8::1".parse().unwrap()]);
    let bench = Bench::start();
    let local_asn = if external { NODE_ASN } else { ROUTER_ASN };
    bench.want([("tor", Peer { local_asn, inspect, ..peer(router.address) }, &ours)]);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    (bench, session)
}

#[tokio::test]
async fn no_faulty_update_ends_a_session_that_does_not_read_it() {
    for external in [true, false] {
        let cases = cases(external);
        if cases.is_empty() {
            return;
        }
        let (_bench, mut session) = start(external, false).await;
        for case in &cases {
            session.say(2, &case.body).await;
            answers(&mut session, &case.name).await;
        }
        println!("external {external}: {} cases", cases.len());
    }
}

#[tokio::test]
async fn an_inspected_update_is_worth_what_rfc_7606_says_and_the_session_goes_on() {
    for external in [true, false] {
        let cases = cases(external);
        if cases.is_empty() {
            return;
        }
        let (mut bench, mut session) = start(external, true).await;
        let mut expected = VerdictCounts::default();
        for case in cases.iter().filter(|case| case.outcome != Outcome::Reset) {
            session.say(2, &case.body).await;
            answers(&mut session, &case.name).await;
            *match case.outcome {
                Outcome::Accept => &mut expected.accepted,
                Outcome::Discard => &mut expected.discarded,
                Outcome::Withdraw => &mut expected.withdrawn,
                Outcome::Reset => &mut expected.reset,
            } += 1;
        }
        let row = bench.row("tor", "the counts", |row| row.verdicts == Some(expected)).await;
        assert_eq!((row.phase, row.established_count), (SessionPhase::Established, 1));
        for case in cases.iter().filter(|case| case.outcome == Outcome::Reset) {
            let (_bench, mut session) = start(external, true).await;
            session.say(2, &case.body).await;
            let (code, ..) = session.hear_end().await.unwrap_or_else(|| panic!("{}: no words", case.name));
            assert_eq!(code, 3, "{}: UPDATE Message Error", case.name);
        }
    }
}
