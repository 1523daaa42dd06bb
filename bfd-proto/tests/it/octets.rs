//! Packets octet by octet.

use std::num::NonZeroU8;

use bfd_proto::*;

/// State Up with Poll, multiplier 3, discriminators 1 and 2, one second and 300 ms, no echo.
const OCTETS: [u8; 24] = [
    0x20, 0xE0, 3, 24, //
    0, 0, 0, 1, //
    0, 0, 0, 2, //
    0x00, 0x0F, 0x42, 0x40, //
    0x00, 0x04, 0x93, 0xE0, //
    0, 0, 0, 0,
];

fn packet() -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Up,
        poll: true,
        answers_poll: false,
        independent: false,
        demand: false,
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: Discriminator::new(1).unwrap(),
        your_discriminator: Discriminator::new(2),
        desired_min_tx: Interval::from_millis(1000),
        required_min_rx: Some(Interval::from_millis(300)),
        required_min_echo_rx: None,
    }
}

#[test]
fn a_packet_is_written_and_read_octet_by_octet() {
    assert_eq!(packet().to_octets(), OCTETS);
    assert_eq!(Packet::parse(&OCTETS), Ok(packet()));
}

#[test]
fn every_flag_has_its_bit() {
    let check = |expected: u8, change: fn(&mut Packet)| {
        let mut packet = Packet { poll: false, state: State::AdminDown, ..packet() };
        change(&mut packet);
        let octets = packet.to_octets();
        assert_eq!(octets[1], expected, "{packet:?}");
        assert_eq!(Packet::parse(&octets), Ok(packet));
    };
    check(0x00, |_| {});
    check(0x40, |packet| packet.state = State::Down);
    check(0x80, |packet| packet.state = State::Init);
    check(0xC0, |packet| packet.state = State::Up);
    check(0x20, |packet| packet.poll = true);
    check(0x10, |packet| packet.answers_poll = true);
    check(0x08, |packet| packet.independent = true);
    check(0x02, |packet| packet.demand = true);
}

#[test]
fn the_diagnostic_shares_an_octet_with_the_version() {
    let octets = Packet { diagnostic: Diagnostic::ADMIN_DOWN, ..packet() }.to_octets();
    assert_eq!(octets[0], 0x27);
    assert_eq!(Packet::parse(&octets).unwrap().diagnostic, Diagnostic::ADMIN_DOWN);
}

#[test]
fn octets_behind_the_length_are_not_looked_at() {
    let mut longer = OCTETS.to_vec();
    longer.extend([0xFF; 40]);
    assert_eq!(Packet::parse(&longer), Ok(packet()));
}
