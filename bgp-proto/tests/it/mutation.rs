//! Real and made-up messages with octets flipped, cut, doubled and swapped: a seed decides, so a failure
//! comes back. The trials are those of the fuzzers.

use std::process::Command;

use crate::pair::epoch;
use crate::rfc7606::outside_data;
use crate::trial;
use crate::vectors::{message, unhex};
use bgp_proto::wire::header::{EXTENDED_MAX_LEN, Framer};

/// How many cases a run takes; `HERALD_CASES` sets another number (the full count is a million).
fn cases() -> usize {
    let default = if cfg!(debug_assertions) { 40_000 } else { 1_000_000 };
    #[expect(clippy::disallowed_methods, reason = "a test may be told how long to run")]
    std::env::var("HERALD_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }
}

fn mutated(whole: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut octets = whole.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(octets.len());
        match (dice.below(7), octets.get_mut(at)) {
            (0, Some(octet)) => *octet ^= 1 << dice.below(8),
            (1, Some(octet)) => *octet = [0, 1, 0x7F, 0x80, 0xFF][dice.below(5)],
            (2, Some(octet)) => *octet = octet.wrapping_add(1),
            (3, _) => octets.truncate(at),
            (4, _) => octets.insert(at, dice.below(256).try_into().unwrap()),
            (5, Some(_)) => drop(octets.remove(at)),
            (_, _) => octets.extend_from_slice(&other[dice.below(other.len())..]),
        }
    }
    octets.truncate(65_535 - 19);
    octets
}

/// Bodies of UPDATEs: of the real streams where they are at hand, and some of each kind in any case.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "0000 0014 400101 00 400206 0201 fa56ea01 400304 0a00000b 20c000020a 20c000020b",
        "0000 0036 800e26 0002 01 10 20010db800010000000000000000000b 00 80 20010db8000000000000000000000010 400101 00 400206 0201 fa56ea01",
        "0000 0017 800f14 0002 01 80 20010db8000000000000000000000010",
        "0005 20c000020a 0000",
        "0000 0006 800f03 0002 01",
        "0000 003c 400101 00 400206 0201 0000fffa 400304 0a000001 800404 00000001 400504 00000064 c00808 fbf40002 ffff0000 c01008 00045ba04cee6b28 20c000020a",
        "0000 0025 400101 00 50020006 0201 0000fffa 400304 0a000001 c0200c 0000fbf4 00000001 00000002 18c00002",
    ]
    .iter()
    .map(|hex| unhex(hex))
    .collect();
    for name in ["full-2010", "ris-20190101", "updates-et-2015"] {
        let Some(path) = outside_data(&format!("streams/{name}.bgp.xz")) else { continue };
        let Ok(output) = Command::new("xz").arg("-dc").arg(path).output() else { continue };
        let mut rest = &output.stdout[..];
        let mut count = 0;
        while let Ok(Some(frame)) = Framer::new(EXTENDED_MAX_LEN).next(rest) {
            rest = &rest[frame.octets.len()..];
            count += 1;
            // A prime step takes messages from all over the stream.
            if count % 17 == 0 {
                seeds.push(frame.body.to_vec());
            }
        }
    }
    seeds
}

#[test]
fn mutated_updates_keep_every_promise_of_the_readers() {
    let (seeds, mut dice) = (seeds(), Dice(20_261_121));
    for seed in &seeds {
        trial::update(seed);
    }
    for _ in 0..cases() {
        let (one, other) = (dice.below(seeds.len()), dice.below(seeds.len()));
        trial::update(&mutated(&seeds[one], &seeds[other], &mut dice));
    }
}

#[test]
fn mutated_bodies_keep_every_promise_of_the_readers() {
    let mut seeds = seeds();
    seeds.truncate(200);
    for hex in [
        "04 5ba0 005a 0a00000b 2e 02 2c 0104 00010001 0104 00020001 0200 0506 000100010002 0600 400a c078 00010180 00020180 4104 fa56ea01 4600",
        "04 fffa 000f 0a000001 ff ff 001d 02 001a 0104 00010001 0104 00020001 0200 4104 0000fffa 4002 0078",
        "06 02 0a 6e6f646520647261696e",
        "06 09 06 02 0a 6e6f646520647261696e",
        "0001 00 01",
    ] {
        seeds.extend(vec![unhex(hex); 40]);
    }
    let mut dice = Dice(7);
    for _ in 0..cases() / 10 {
        let (one, other) = (dice.below(seeds.len()), dice.below(seeds.len()));
        let octets = mutated(&seeds[one], &seeds[other], &mut dice);
        trial::body(&octets);
        trial::open(&octets);
    }
}

#[test]
fn sessions_bear_streams_of_mutated_messages() {
    let (mut seeds, mut dice, now) = (seeds(), Dice(99), epoch());
    seeds.truncate(2_000);
    for _ in 0..cases() / 200 {
        let mut stream = Vec::new();
        for _ in 0..=dice.below(8) {
            let body = mutated(&seeds[dice.below(seeds.len())], &[0], &mut dice);
            let kind = [2, 2, 2, 2, 3, 4, 5, 1][dice.below(8)];
            stream.extend([0xFF; 16]);
            stream.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
            stream.push(kind);
            stream.extend(body);
            stream.extend(message("0013 04"));
        }
        if dice.below(3) == 0 {
            stream = mutated(&stream, &[0xFF], &mut dice);
        }
        trial::session(now, &stream);
    }
}

#[test]
fn scripts_of_tables_end_in_the_table() {
    let (mut dice, now) = (Dice(5), epoch());
    for _ in 0..cases() / 2_000 {
        let script: Vec<u8> =
            (0..4 * dice.below(60)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        trial::tables(now, &script);
    }
}
