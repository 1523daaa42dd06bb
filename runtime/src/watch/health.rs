//! `Health`: is the watch broken, what is logged about it, and how long the next try waits.
//!
//! Leaves out the clock and the watch itself; a state machine of two states, so that each trouble is logged once: a server that
//! is away and comes back without the CRDs is two troubles. What is wrong now is a complaint, which readiness shows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::backoff::Backoff;
use super::tally::Tally;
use super::trouble::{Asked, Trouble};
use crate::client::CallError;
use crate::complaint::Complaint;

/// After this many refusals in a row of a resumed watch, everything is read anew: whatever the server dislikes about
/// the old point, a fresh start does not have it.
const REFUSALS_BEFORE_ANEW: u32 = 5;

/// The longest pause before a server is tried again that cannot be reached.
const LONGEST_ABSENCE: Duration = Duration::from_secs(2);

/// The health of one watch.
#[derive(Debug)]
pub(super) struct Health {
    asked: Asked,
    complaint: Complaint,
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
    /// `last` is what the last failure was, `told` what was logged since the watch last worked.
    Broken {
        failures: u32,
        last: Trouble,
        told: BTreeSet<Trouble>,
    },
}

impl Health {
    pub(super) fn new(asked: Asked, seed: u64) -> Self {
        let tally = Tally::of(&asked.kind);
        let complaint = Complaint::about(asked.kind.clone());
        let anew = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), seed);
        let absence = Backoff::new(Duration::from_millis(500), LONGEST_ABSENCE, seed ^ 2);
        let backoff = Backoff::of_watch(seed);
        Self { asked, complaint, state: State::Well, backoff, absence, anew, tally, unreadable: None }
    }

    /// The watch broke or could not be started. Returns how long to wait.
    pub(super) fn failed(&mut self, error: &CallError) -> Duration {
        self.tally.restarted();
        let (trouble, sentence) = (Trouble::of(error), self.asked.sentence(error));
        self.complaint.raise(&sentence);
        if self.tells(trouble) {
            tracing::warn!(
                kind = self.asked.kind,
                error = sentence,
                "watch is broken: trying again until it works"
            );
        } else {
            tracing::debug!(kind = self.asked.kind, error = sentence, "watch is still broken");
        }
        match error {
            CallError::Unreachable(_) | CallError::TimedOut { .. } => self.absence.after_failure(),
            CallError::Refused(_) | CallError::Unreadable(_) | CallError::NotSent(_) => {
                self.backoff.after_failure().max(error.retry_after().unwrap_or_default())
            }
        }
    }

    /// Notes a failure; whether it is news. The first one is. Another trouble while the watch is broken is news when it comes
    /// twice in a row, because a server that is just starting refuses this and that for a moment.
    fn tells(&mut self, trouble: Trouble) -> bool {
        match &mut self.state {
            State::Well => {
                self.tally.broke();
                self.state = State::Broken { failures: 1, last: trouble, told: BTreeSet::from([trouble]) };
                true
            }
            State::Broken { failures, last, told } => {
                *failures = failures.saturating_add(1);
                std::mem::replace(last, trouble) == trouble && told.insert(trouble)
            }
        }
    }

    /// The server has forgotten the point where the watch stood: not trouble, but everything is read anew.
    pub(super) fn outdated(&mut self) -> Duration {
        self.tally.restarted();
        tracing::info!(
            kind = self.asked.kind,
            "the server has forgotten where the watch stood: reading everything anew"
        );
        self.anew.after_failure()
    }

    /// The server was away, or is behind what it said before: it may have other data.
    pub(super) fn doubts(&self) {
        tracing::info!(
            kind = self.asked.kind,
            "the server was away and may have other data now: reading everything anew"
        );
    }

    /// The watch works: it was complete once, or said something, or stood for a while.
    pub(super) fn works(&mut self) {
        self.backoff.reset();
        self.absence.reset();
        self.anew.reset();
        if let State::Broken { failures, .. } = self.state {
            self.tally.healed();
            self.complaint.settle();
            tracing::info!(kind = self.asked.kind, failures, "watch works again");
            self.state = State::Well;
        }
    }

    /// An object could not be read. The same complaint is logged once until another one comes.
    pub(super) fn skipped(&mut self, error: String) {
        self.tally.skipped_unreadable();
        if self.unreadable.as_ref() != Some(&error) {
            tracing::warn!(kind = self.asked.kind, error, "an object cannot be read: it is skipped");
            self.unreadable = Some(error);
        }
    }

    /// The server serves no streaming lists; the process reads in pages from now on.
    pub(super) fn fell_back(&self) {
        tracing::info!(
            kind = self.asked.kind,
            "the server serves no streaming lists: reading lists in pages"
        );
    }

    /// Whether resuming has failed so often that only a fresh start is left.
    pub(super) fn wants_fresh_start(&self) -> bool {
        match self.state {
            State::Well => false,
            State::Broken { failures, .. } => failures % REFUSALS_BEFORE_ANEW == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use api::v1beta2::BGPPeer;

    use super::*;

    /// A speaker that boots before the API server, which then starts without the CRDs.
    #[test]
    fn each_trouble_is_told_once_and_again_only_after_the_watch_has_worked() {
        use Trouble::{Away, NotAllowed, NotServed};
        let mut health = Health::new(Asked::of::<BGPPeer>(), 1);
        for (trouble, told) in [
            (Away, true),
            (Away, false),
            // A server that starts refuses for a moment what it will give.
            (NotAllowed, false),
            (NotServed, false),
            (NotServed, true),
            (NotServed, false),
            (Away, false),
            (Away, false),
            (NotServed, false),
            (NotServed, false),
            (NotAllowed, false),
            (NotAllowed, true),
        ] {
            assert_eq!(health.tells(trouble), told, "{trouble:?} in {:?}", health.state);
        }
        health.works();
        assert!(health.tells(NotServed), "after the watch has worked the first failure is news");
    }
}
