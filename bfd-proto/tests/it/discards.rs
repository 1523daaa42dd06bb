//! What is discarded, and with which reason.

use std::time::Instant;

use bfd_proto::*;

use crate::world::{A, B, config};

/// A good first packet.
fn first() -> [u8; 24] {
    let mut octets = [0; 24];
    octets[..8].copy_from_slice(&[0x20, 0x40, 3, 24, 0, 0, 0, 9]);
    octets[12..20].copy_from_slice(&[0, 15, 66, 64, 0, 15, 66, 64]);
    octets
}

fn arrival() -> Arrival {
    Arrival { local: A, remote: B, link: 0, ttl: 255, hops: Hops::Single }
}

#[test]
fn every_rule_of_reception_has_its_reason() {
    let check = |expected: Discard, change: fn(&mut Vec<u8>)| {
        let mut endpoint = Endpoint::new(1);
        let now = Instant::now();
        endpoint.set_sessions(now, &[config(A, B)]);
        let mut octets = first().to_vec();
        change(&mut octets);
        assert_eq!(endpoint.handle_packet(now, arrival(), &octets), Err(expected), "{octets:?}");
        assert_eq!(endpoint.session(config(A, B).path).unwrap().received, 0);
        assert!(!expected.to_string().is_empty() && !expected.word().is_empty());
    };
    check(Discard::TooShort { octets: 23 }, |octets| octets.truncate(23));
    check(Discard::TooShort { octets: 0 }, Vec::clear);
    check(Discard::Version { version: 0 }, |octets| octets[0] = 0);
    check(Discard::Version { version: 2 }, |octets| octets[0] = 0x40);
    check(Discard::Length { said: 23, octets: 24 }, |octets| octets[3] = 23);
    check(Discard::Length { said: 25, octets: 24 }, |octets| octets[3] = 25);
    check(Discard::Length { said: 24, octets: 24 }, |octets| octets[1] |= 0x04);
    check(Discard::ZeroMultiplier, |octets| octets[2] = 0);
    check(Discard::Multipoint, |octets| octets[1] |= 0x01);
    check(Discard::ZeroDiscriminator, |octets| octets[7] = 0);
    check(Discard::NotAddressed { state: State::Init }, |octets| octets[1] = 0x80);
    check(Discard::NotAddressed { state: State::Up }, |octets| octets[1] = 0xC0);
    check(Discard::Authenticated, |octets| {
        octets[1] |= 0x04;
        octets[3] = 26;
        octets.extend([1, 2]);
    });
    let unknown = Discriminator::new(5).unwrap();
    check(Discard::UnknownDiscriminator { discriminator: unknown }, |octets| octets[11] = 5);
}

#[test]
fn a_first_packet_is_matched_by_both_addresses_and_its_port() {
    let now = Instant::now();
    let mut endpoint = Endpoint::new(1);
    endpoint.set_sessions(now, &[config(A, B)]);
    let mut check = |arrival: Arrival, expected: Result<Path, Discard>| {
        assert_eq!(endpoint.handle_packet(now, arrival, &first()), expected, "{arrival:?}");
    };
    check(Arrival { remote: A, ..arrival() }, Err(Discard::NoSession));
    check(Arrival { local: B, ..arrival() }, Err(Discard::NoSession));
    check(Arrival { link: 3, ..arrival() }, Err(Discard::NoSession));
    check(Arrival { hops: Hops::Multi, ..arrival() }, Err(Discard::NoSession));
    check(arrival(), Ok(config(A, B).path));
}

#[test]
fn an_addressed_packet_is_matched_by_its_discriminator_alone_but_never_by_the_other_port() {
    let now = Instant::now();
    let mut endpoint = Endpoint::new(1);
    endpoint.set_sessions(now, &[config(A, B)]);
    let (path, sent) = endpoint.poll_transmit(now).unwrap();
    let mut octets = first();
    octets[8..12].copy_from_slice(&sent[4..8]);
    let moved = Arrival { remote: [198, 51, 100, 1].into(), ..arrival() };
    let other_port = Arrival { hops: Hops::Multi, ..arrival() };
    assert_eq!(endpoint.handle_packet(now, other_port, &octets), Err(Discard::WrongPort));
    assert_eq!(endpoint.handle_packet(now, moved, &octets), Ok(path));
}

#[test]
fn a_single_hop_asks_for_ttl_255_and_several_hops_for_what_is_configured() {
    let now = Instant::now();
    let check = |hops: Hops, ttl: u8, least: Option<u8>| {
        let mut endpoint = Endpoint::new(1);
        let mut config = config(A, B);
        (config.path.hops, config.minimum_ttl) = (hops, 250);
        endpoint.set_sessions(now, &[config]);
        let expected = least.map_or(Ok(config.path), |least| Err(Discard::Ttl { found: ttl, least }));
        let arrival = Arrival { ttl, hops, ..arrival() };
        assert_eq!(endpoint.handle_packet(now, arrival, &first()), expected, "{hops:?} {ttl}");
    };
    check(Hops::Single, 255, None);
    check(Hops::Single, 254, Some(255));
    check(Hops::Multi, 250, None);
    check(Hops::Multi, 249, Some(250));
}

#[test]
fn a_session_that_is_switched_off_hears_nothing() {
    let now = Instant::now();
    let mut endpoint = Endpoint::new(1);
    endpoint.set_sessions(now, &[config(A, B)]);
    endpoint.handle_packet(now, arrival(), &first()).unwrap();
    endpoint.set_sessions(now, &[]);
    assert_eq!(endpoint.handle_packet(now, arrival(), &first()), Err(Discard::SwitchedOff));
}
