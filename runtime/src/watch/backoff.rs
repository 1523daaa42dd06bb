//! How long to wait before the next try: twice as long each time, spread by chance, within bounds.
//!
//! Leaves out the clock: the caller waits and says when things went well.

use std::time::Duration;

use crate::chance::Jitter;

/// Waiting times between `least` and `most`.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
    jitter: Jitter,
}

impl Backoff {
    /// The times of a watch: 0.8 s up to 30 s, as client-go has them.
    #[must_use]
    pub fn of_watch(seed: u64) -> Self {
        Self::new(Duration::from_millis(800), Duration::from_secs(30), seed)
    }

    /// Times from `least` up to `most`.
    #[must_use]
    pub fn new(least: Duration, most: Duration, seed: u64) -> Self {
        Self { least, most, next: least, jitter: Jitter::new(seed) }
    }

    /// The next waiting time: the current step and up to as much again, never more than `most`. Many processes that
    /// lost the same server thus come back one after the other.
    pub fn after_failure(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.most);
        self.jitter.between(step, step.saturating_mul(2)).min(self.most)
    }

    /// Things went well: the next failure waits for the least time again.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_grow_to_the_most_and_start_again_after_a_success() {
        let mut backoff = Backoff::of_watch(3);
        let bounds =
            [(800, 1600), (1600, 3200), (3200, 6400), (6400, 12_800), (12_800, 25_600), (25_600, 30_000)];
        for (least, most) in bounds.into_iter().chain([(30_000, 30_000); 50]) {
            let wait = backoff.after_failure().as_millis();
            assert!((least..=most).contains(&wait), "{wait} ms is not within {least}..={most}");
        }
        backoff.reset();
        assert!(backoff.after_failure() <= Duration::from_millis(1600));
    }

    #[test]
    fn processes_with_different_seeds_wait_differently() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..20).map(|seed| Backoff::of_watch(seed).after_failure()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
