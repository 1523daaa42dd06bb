//! How long to wait before the next dial: one second, doubling up to the configured bound, ±20 %.
//!
//! It stands in for ConnectRetry and for IdleHold with DampPeerOscillations (RFC 4271 §8.1.1): one
//! counter, so that a session which comes up and is refused each time slows down as well.

use std::time::Duration;

use crate::jitter::Jitter;

const FIRST: Duration = Duration::from_secs(1);

/// What an attempt came to. Another answer than last time is news, and tried again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    None,
    Refusal,
    /// TCP came up, whatever happened then.
    Connection,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<Answer>,
}

impl Backoff {
    /// The wait after one more failure.
    pub(crate) fn after(&mut self, answer: Answer, bound: Duration, jitter: &mut Jitter) -> Duration {
        if self.last.replace(answer) != Some(answer) {
            self.failures = 0;
        }
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        jitter.percent(doubled.min(bound.max(FIRST)), 80, 120)
    }

    /// The session was up for long enough to be called healthy.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: &mut Backoff, answer: Answer) -> u64 {
        // Without jitter the waits would be whole seconds; half a second more undoes it when they are short.
        let wait = backoff.after(answer, Duration::from_secs(15), &mut Jitter::new(1));
        assert!(wait >= Duration::from_millis(800) && wait <= Duration::from_secs(18), "{wait:?}");
        [1, 2, 4, 8, 15].into_iter().min_by_key(|whole| Duration::from_secs(*whole).abs_diff(wait)).unwrap()
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| seconds(&mut backoff, Answer::None)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15]);
    }

    #[test]
    fn another_answer_is_tried_again_soon() {
        let mut backoff = Backoff::default();
        let answers =
            [Answer::None, Answer::None, Answer::None, Answer::Refusal, Answer::Refusal, Answer::Connection];
        let waits: Vec<u64> = answers.into_iter().map(|answer| seconds(&mut backoff, answer)).collect();
        assert_eq!(waits, [1, 2, 4, 1, 2, 1]);
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::default();
        for _ in 0..1000 {
            assert!(seconds(&mut backoff, Answer::Refusal) <= 15);
        }
    }
}
