//! Two clocks side by side: decisions are made by the monotonic one, people and the next leader read the other.
//!
//! Leaves out every decision. CPU time is read here as well, for one line of the log.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The same moment on both clocks. Conversions with one `Clock` agree with each other, whatever the wall clock does
/// meanwhile, so that nothing that is shown changes by being computed again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    monotonic: Instant,
    wall: Timestamp,
}

impl Clock {
    /// Both clocks now.
    pub(crate) fn read() -> Self {
        Self { monotonic: Instant::now(), wall: Timestamp::now() }
    }

    /// What people read for a moment, in whole seconds; `None` beyond the end of the calendar.
    pub(crate) fn text_of(&self, moment: Instant) -> Option<String> {
        let after = moment.saturating_duration_since(self.monotonic);
        let wall = self.wall.checked_add(SignedDuration::try_from(after).ok()?).ok()?;
        // Half a second more: what is read back is shown as the same second.
        let second = wall.checked_add(SignedDuration::from_millis(500)).ok()?.as_second();
        Timestamp::from_second(second).ok().map(|shown| shown.to_string())
    }

    /// How long it is from `now` to what somebody wrote; zero for the past, `None` for what is no time.
    pub(crate) fn left_until(&self, text: &str, now: Instant) -> Option<Duration> {
        let until: Timestamp = text.parse().ok()?;
        let from_start = Duration::try_from(until.duration_since(self.wall)).unwrap_or_default();
        Some(from_start.saturating_sub(now.saturating_duration_since(self.monotonic)))
    }
}

/// CPU time of this thread so far; `None` where the kernel does not tell.
pub(crate) fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_being_written_and_read_back() {
        let clock = Clock { monotonic: Instant::now(), wall: "2026-01-01T00:00:00.4Z".parse().unwrap() };
        let moment = clock.monotonic + Duration::from_millis(60_300);
        let text = clock.text_of(moment).unwrap();
        assert_eq!(text, "2026-01-01T00:01:01Z");
        let next = Clock { monotonic: clock.monotonic, wall: "2026-01-01T00:00:21.0Z".parse().unwrap() };
        let left = next.left_until(&text, next.monotonic + Duration::from_secs(10)).unwrap();
        assert_eq!(left, Duration::from_secs(30));
        assert_eq!(next.text_of(next.monotonic + Duration::from_secs(10) + left).unwrap(), text);
        assert_eq!(next.left_until("2020-01-01T00:00:00Z", next.monotonic), Some(Duration::ZERO));
        assert_eq!(next.left_until("soon", next.monotonic), None);
    }
}
