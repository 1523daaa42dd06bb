//! Where chance enters the process: one seed at start, and a small generator for jitter.
//!
//! Leaves out anything that needs secrecy; these numbers spread load, nothing else.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// A number that differs from process to process, taken from the operating system's randomness.
#[must_use]
pub fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A repeatable sequence of numbers for jitter: the same seed gives the same sequence.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts the sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the sequence (the SplitMix64 generator).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number of the sequence, at most `most`.
    pub fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(span) => self.draw() % span,
            None => self.draw(),
        }
    }

    /// A duration between `least` and `most`, in whole milliseconds.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis();
        least + Duration::from_millis(self.up_to(u64::try_from(span).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut left, mut right) = (Jitter::new(7), Jitter::new(7));
        for _ in 0..100 {
            assert_eq!(left.draw(), right.draw());
        }
    }

    #[test]
    fn durations_stay_inside_their_bounds_and_differ() {
        let (least, most) = (Duration::from_millis(800), Duration::from_millis(1200));
        let mut jitter = Jitter::new(1);
        let drawn: Vec<Duration> = (0..1000).map(|_| jitter.between(least, most)).collect();
        assert!(drawn.iter().all(|one| (least..=most).contains(one)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(jitter.between(most, least), most, "an empty span gives its start");
        assert_eq!(jitter.up_to(0), 0);
    }

    #[test]
    fn two_processes_do_not_share_a_seed() {
        assert_ne!(fresh_seed(), fresh_seed());
    }
}
