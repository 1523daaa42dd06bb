//! When a new plan's routes go to the sessions: withdrawals and the first news after quiet at once, announcements
//! that follow closely after up to [`WINDOW`] later, together.
//!
//! The only coalescing window between the API and the wire; one change of the cluster often arrives as several
//! plans (a Service and its EndpointSlices), and one UPDATE is cheaper than three. Pure: time is an argument.

use std::time::{Duration, Instant};

/// The longest that an announcement waits, from the first change that was not passed on.
pub const WINDOW: Duration = Duration::from_millis(8);

/// After this long without news, the next news does not wait.
const QUIET: Duration = Duration::from_secs(1);

/// What a new plan does to the routes that the sessions have now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// No route differs.
    Nothing,
    /// Routes appear or change their attributes; none disappears.
    Announces,
    /// At least one route disappears.
    Withdraws,
}

/// The window: closed, or open until a deadline.
#[derive(Debug, Default)]
pub struct Gathering {
    last_release: Option<Instant>,
    due: Option<Instant>,
}

impl Gathering {
    /// Takes note of a new plan. After this, [`Self::is_due`] says whether to pass the newest plan on now.
    pub fn note(&mut self, now: Instant, news: News) {
        let due = match news {
            News::Nothing => return,
            News::Withdraws => now,
            News::Announces if self.is_quiet(now) => now,
            News::Announces => now + WINDOW,
        };
        self.due = Some(self.due.map_or(due, |waiting| waiting.min(due)));
    }

    /// When the newest plan is to be passed on, if one waits.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the newest plan is to be passed on now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// The newest plan was passed on.
    pub fn released(&mut self, now: Instant) {
        self.last_release = Some(now);
        self.due = None;
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.due.is_none() && self.last_release.is_none_or(|last| now.duration_since(last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `(milliseconds, news)` and returns the milliseconds at which plans were passed on.
    fn releases(news: &[(u64, News)]) -> Vec<u64> {
        let start = Instant::now();
        let mut gathering = Gathering::default();
        let mut news = news.iter().peekable();
        let mut released = Vec::new();
        for millisecond in 0..5_000 {
            let now = start + Duration::from_millis(millisecond);
            while let Some((_, change)) = news.next_if(|(at, _)| *at == millisecond) {
                gathering.note(now, *change);
            }
            if gathering.is_due(now) {
                gathering.released(now);
                released.push(millisecond);
            }
        }
        released
    }

    #[test]
    fn the_first_announcement_after_quiet_does_not_wait() {
        assert_eq!(releases(&[(5, News::Announces), (2_000, News::Announces)]), [5, 2_000]);
    }

    #[test]
    fn announcements_close_to_each_other_go_together_and_wait_no_longer_than_the_window() {
        let burst: Vec<_> = (0..20).map(|at| (at, News::Announces)).collect();
        assert_eq!(releases(&burst), [0, 9, 18, 27], "8 ms after the first one that waits");
    }

    #[test]
    fn a_withdrawal_never_waits_and_takes_waiting_announcements_along() {
        let news = [(0, News::Announces), (2, News::Announces), (4, News::Withdraws), (5, News::Withdraws)];
        assert_eq!(releases(&news), [0, 4, 5]);
    }

    #[test]
    fn a_plan_without_news_opens_no_window() {
        assert_eq!(releases(&[(0, News::Nothing), (7, News::Nothing)]), [0_u64; 0]);
    }
}
