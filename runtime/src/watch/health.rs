//! `Health`: is the watch broken, what is logged about it, and how long the next try waits.
//!
//! Leaves out the clock and the watch itself; a state machine of two states, so that trouble is logged once.

use std::time::Duration;

use super::backoff::Backoff;
use super::tally::Tally;
use crate::client::CallError;

/// After this many refusals in a row of a resumed watch, everything is read anew: whatever the server dislikes about
/// the old point, a fresh start does not have it.
const REFUSALS_BEFORE_ANEW: u32 = 5;

/// The longest pause before a server is tried again that cannot be reached.
const LONGEST_ABSENCE: Duration = Duration::from_secs(2);

/// The health of one watch.
#[derive(Debug)]
pub(super) struct Health {
    kind: String,
    state: State,
    backoff: Backoff,
    /// For the server that is not there: trying costs it nothing, and whoever waits for it wants to know soon.
    absence: Backoff,
    /// For the server that answers, but has forgotten where we stood: soon, and calmer only if that goes on.
    anew: Backoff,
    tally: Tally,
    unreadable: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Well,
    Broken { failures: u32 },
}

impl Health {
    pub(super) fn new(kind: String, seed: u64) -> Self {
        let tally = Tally::of(&kind);
        let anew = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), seed);
        let absence = Backoff::new(Duration::from_millis(500), LONGEST_ABSENCE, seed ^ 2);
        let backoff = Backoff::of_watch(seed);
        Self { kind, state: State::Well, backoff, absence, anew, tally, unreadable: None }
    }

    /// The watch broke or could not be started. Returns how long to wait.
    pub(super) fn failed(&mut self, error: &CallError) -> Duration {
        self.tally.restarted();
        let failures = match self.state {
            State::Well => {
                self.tally.broke();
                tracing::warn!(kind = self.kind, %error, "watch is broken: trying again until it works");
                1
            }
            State::Broken { failures } => {
                tracing::debug!(kind = self.kind, %error, failures, "watch is still broken");
                failures.saturating_add(1)
            }
        };
        self.state = State::Broken { failures };
        match error {
            CallError::Unreachable(_) | CallError::TimedOut { .. } => self.absence.after_failure(),
            CallError::Refused(_) | CallError::Unreadable(_) | CallError::NotSent(_) => {
                self.backoff.after_failure().max(error.retry_after().unwrap_or_default())
            }
        }
    }

    /// The server has forgotten the point where the watch stood: not trouble, but everything is read anew.
    pub(super) fn outdated(&mut self) -> Duration {
        self.tally.restarted();
        tracing::info!(
            kind = self.kind,
            "the server has forgotten where the watch stood: reading everything anew"
        );
        self.anew.after_failure()
    }

    /// The watch works: it was complete once, or said something, or stood for a while.
    pub(super) fn works(&mut self) {
        self.backoff.reset();
        self.absence.reset();
        self.anew.reset();
        if let State::Broken { failures } = self.state {
            self.tally.healed();
            tracing::info!(kind = self.kind, failures, "watch works again");
            self.state = State::Well;
        }
    }

    /// An object could not be read. The same complaint is logged once until another one comes.
    pub(super) fn skipped(&mut self, error: String) {
        self.tally.skipped_unreadable();
        if self.unreadable.as_ref() != Some(&error) {
            tracing::warn!(kind = self.kind, error, "an object cannot be read: it is skipped");
            self.unreadable = Some(error);
        }
    }

    /// The server serves no streaming lists; the process reads in pages from now on.
    pub(super) fn fell_back(&self) {
        tracing::info!(kind = self.kind, "the server serves no streaming lists: reading lists in pages");
    }

    /// Whether resuming has failed so often that only a fresh start is left.
    pub(super) fn wants_fresh_start(&self) -> bool {
        match self.state {
            State::Well => false,
            State::Broken { failures } => failures % REFUSALS_BEFORE_ANEW == 0,
        }
    }
}
