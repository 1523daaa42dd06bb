//! Whatever comes: no panic, no endless talking, and every packet that goes out can be read.

use std::time::{Duration, Instant};

use bfd_proto::*;
use proptest::prelude::*;

use crate::world::{A, B, config};

/// Packets that get past the first checks more often than pure noise.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 24]>(), any::<bool>(), 0..40_usize).prop_map(|(mut octets, fix, length)| {
        if fix {
            octets[0] = 0x20 | octets[0] & 0x1F;
            octets[1] &= 0xFA;
            octets[3] = 24;
        }
        octets.into_iter().cycle().take(length.max(usize::from(fix) * 24)).collect()
    })
}

#[derive(Clone, Debug)]
enum Move {
    Packet { octets: Vec<u8>, addressed: bool, ttl: u8 },
    Wait(u32),
    Edit { tx: u32, rx: u32, multiplier: u8, passive: bool },
    Remove,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (nearly_a_packet(), any::<bool>(), prop_oneof![Just(255), any::<u8>()])
            .prop_map(|(octets, addressed, ttl)| Move::Packet { octets, addressed, ttl }),
        3 => (0..5_000_000_u32).prop_map(Move::Wait),
        1 => (any::<u32>(), any::<u32>(), 1..=255_u8, any::<bool>())
            .prop_map(|(tx, rx, multiplier, passive)| Move::Edit { tx, rx, multiplier, passive }),
        1 => Just(Move::Remove),
    ]
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(packet) = Packet::parse(&octets) {
            prop_assert_eq!(Packet::parse(&packet.to_octets()), Ok(packet));
        }
    }

    #[test]
    fn an_endpoint_bears_anything_in_any_order(moves in proptest::collection::vec(any_move(), 1..60)) {
        let mut now = Instant::now();
        let mut endpoint = Endpoint::new(11);
        endpoint.set_sessions(now, &[config(A, B)]);
        let mut mine = [0; 4];
        for step in moves {
            match step {
                Move::Packet { mut octets, addressed, ttl } => {
                    if addressed && octets.len() >= 12 {
                        octets[8..12].copy_from_slice(&mine);
                    }
                    let arrival = Arrival { local: A, remote: B, link: 0, ttl, hops: Hops::Single };
                    let _ = endpoint.handle_packet(now, arrival, &octets);
                }
                Move::Wait(micros) => now += Duration::from_micros(micros.into()),
                Move::Edit { tx, rx, multiplier, passive } => {
                    let edited = SessionConfig {
                        desired_min_tx: Interval::from_micros(tx),
                        required_min_rx: Interval::from_micros(rx.max(1)),
                        detect_multiplier: multiplier.try_into().unwrap(),
                        passive,
                        ..config(A, B)
                    };
                    endpoint.set_sessions(now, &[edited]);
                }
                Move::Remove => endpoint.set_sessions(now, &[]),
            }
            endpoint.handle_timeout(now);
            let mut burst = 0;
            while let Some((_, octets)) = endpoint.poll_transmit(now) {
                burst += 1;
                prop_assert!(burst < 4, "an endpoint must come to rest");
                let packet = Packet::parse(&octets).unwrap();
                prop_assert!(!(packet.poll && packet.answers_poll));
                mine = octets[4..8].try_into().unwrap();
            }
            while endpoint.poll_event().is_some() {}
            prop_assert!(endpoint.poll_timeout().is_none_or(|next| next > now), "a deadline that passed is dealt with");
        }
    }
}
