//! Jitter and discriminators from a seed: the same seed gives the same packets.

use std::time::Duration;

use crate::packet::Discriminator;

/// A small generator (SplitMix64); good enough to spread packets and to make a discriminator hard to guess from afar.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// RFC 5880 §6.8.7: an interval is shortened by up to a quarter; with a multiplier of one by at least a tenth,
    /// because one late packet would be one too many.
    pub(crate) fn shorten(&mut self, interval: Duration, multiplier: u8) -> Duration {
        let (least, most) = if multiplier == 1 { (750, 900) } else { (750, 1000) };
        let span: u32 = most - least;
        let offset = u32::try_from(self.next() % u64::from(span.saturating_add(1))).unwrap_or(0);
        interval.saturating_mul(least.saturating_add(offset)) / 1000
    }

    pub(crate) fn discriminator(&mut self) -> Discriminator {
        loop {
            let number = u32::try_from(self.next() >> 32).unwrap_or(0);
            if let Some(found) = Discriminator::new(number) {
                return found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_shortened_within_the_bounds_of_the_multiplier() {
        let mut chance = Chance::new(1);
        let check = |chance: &mut Chance, multiplier: u8, most: u64| {
            let drawn: Vec<_> =
                (0..10_000).map(|_| chance.shorten(Duration::from_millis(1000), multiplier)).collect();
            let bounds = (drawn.iter().min().copied(), drawn.iter().max().copied());
            assert_eq!(bounds, (Some(Duration::from_millis(750)), Some(Duration::from_millis(most))));
        };
        check(&mut chance, 3, 1000);
        check(&mut chance, 1, 900);
    }
}
