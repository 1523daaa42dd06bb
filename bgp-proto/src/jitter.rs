//! Chance out of a seed (SplitMix64): enough to keep nodes from moving in step, the same in each replay.

use std::time::Duration;

/// A sequence of numbers that looks random.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A part of `whole` between `least` and `most` per cent.
    pub(crate) fn percent(&mut self, whole: Duration, least: u32, most: u32) -> Duration {
        let span = u64::from(most.saturating_sub(least)).saturating_mul(1000).saturating_add(1);
        let drawn = u32::try_from(self.next() % span).unwrap_or(0);
        let per_mille_of_percent = least.saturating_mul(1000).saturating_add(drawn);
        whole.saturating_mul(per_mille_of_percent) / 100_000
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds_and_repeats_with_its_seed() {
        let (mut one, mut other) = (Jitter::new(7), Jitter::new(7));
        for _ in 0..1000 {
            let drawn = one.percent(Duration::from_secs(10), 80, 120);
            assert!((Duration::from_secs(8)..=Duration::from_secs(12)).contains(&drawn), "{drawn:?}");
            assert_eq!(drawn, other.percent(Duration::from_secs(10), 80, 120));
        }
    }
}
