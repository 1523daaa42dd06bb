//! When a status is written: soon after a transition, seldom for numbers, never in a flood. Pure; time is an argument.

use std::time::{Duration, Instant};

use super::report::Difference;

/// Changes are gathered this long, since one rarely comes alone.
const GATHER: Duration = Duration::from_millis(1500);
/// Transitions may be written so often in a row ...
const BURST: u32 = 5;
/// ... and a write is earned back in this time.
const REFILL: Duration = Duration::from_secs(10);
/// What others wait for needs no credit, only this distance from the write before. The notice of a drain lasts longer, so that
/// they have taken over when it ends.
const AWAITED: Duration = Duration::from_secs(3);
/// Time between two writes that only change numbers.
const NUMBERS: Duration = Duration::from_secs(60);

/// The budget of writes.
#[derive(Debug)]
pub struct Pace {
    credit: u32,
    refilled: Instant,
    written: Option<Instant>,
    /// Since when the present difference has been there.
    pending: Option<(Difference, Instant)>,
}

impl Pace {
    /// Nothing has been written.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { credit: BURST, refilled: now, written: None, pending: None }
    }

    /// The wanted status differs so much from the written one.
    pub fn note(&mut self, now: Instant, difference: Difference) {
        self.pending = match (difference, self.pending) {
            (Difference::None, _) => None,
            (worse, Some((had, _))) if worse > had => Some((worse, now)),
            (_, Some(pending)) => Some(pending),
            (first, None) => Some((first, now)),
        };
    }

    /// When to write; `None` while there is nothing to write.
    #[must_use]
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        self.refill(now);
        let (difference, since) = self.pending?;
        let gathered = since + GATHER;
        Some(match (difference, self.written) {
            (Difference::None, _) => return None,
            (_, None) => gathered,
            (Difference::Numbers, Some(written)) => gathered.max(written + NUMBERS),
            (Difference::Awaited, Some(written)) => gathered.max(written + AWAITED),
            (Difference::Transition, Some(_)) if self.credit > 0 => gathered,
            (Difference::Transition, Some(_)) => gathered.max(self.refilled + REFILL),
        })
    }

    /// It has been written.
    pub fn wrote(&mut self, now: Instant) {
        self.refill(now);
        self.credit = self.credit.saturating_sub(1);
        self.written = Some(now);
        self.pending = None;
    }

    fn refill(&mut self, now: Instant) {
        while self.credit < BURST && now.saturating_duration_since(self.refilled) >= REFILL {
            self.credit += 1;
            self.refilled += REFILL;
        }
        if self.credit == BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_transition_is_written_after_a_moment_of_gathering() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.due(start), None);
        pace.note(start, Difference::Transition);
        pace.note(start + secs(1), Difference::Transition);
        assert_eq!(pace.due(start), Some(start + GATHER), "later changes do not put the first one off");
    }

    #[test]
    fn a_change_that_is_undone_is_not_written() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.note(start, Difference::Transition);
        pace.note(start, Difference::None);
        assert_eq!(pace.due(start), None);
    }

    #[test]
    fn numbers_wait_a_minute_and_do_not_hold_up_a_transition() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.wrote(start);
        pace.note(start + secs(1), Difference::Numbers);
        assert_eq!(pace.due(start + secs(1)), Some(start + NUMBERS));
        pace.note(start + secs(2), Difference::Transition);
        assert_eq!(pace.due(start + secs(2)), Some(start + secs(2) + GATHER));
    }

    #[test]
    fn a_flapping_session_cannot_cause_a_flood() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        let mut writes = 0;
        while now < start + secs(600) {
            pace.note(now, Difference::Transition);
            if pace.due(now).is_some_and(|due| due <= now) {
                pace.wrote(now);
                writes += 1;
            }
            now += Duration::from_millis(500);
        }
        assert!((60..=66).contains(&writes), "{writes} writes in ten minutes");
    }

    #[test]
    fn what_others_wait_for_is_written_without_credit() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..BURST {
            pace.note(start, Difference::Transition);
            pace.wrote(start);
        }
        let now = start + secs(1);
        pace.note(now, Difference::Transition);
        assert_eq!(pace.due(now), Some(start + REFILL), "the credit is used up");
        pace.note(now, Difference::Awaited);
        assert_eq!(pace.due(now), Some(start + AWAITED));
        let later = start + secs(8);
        pace.note(later, Difference::None);
        pace.note(later, Difference::Awaited);
        assert_eq!(pace.due(later), Some(later + GATHER));
    }
}
