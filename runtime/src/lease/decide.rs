//! Who leads, decided from what was seen and when, on the monotonic clock alone. Pure.
//!
//! client-go's rules (its times are longer): a record counts as alive for its duration after *we* saw it change; nobody
//! compares wall clocks, because a Raspberry Pi boots without one. A leader stops believing in itself before anybody else
//! may take over. Leaves out how a record is read and written.

use std::time::{Duration, Instant};

use super::{Leadership, LeaseSettings};
use crate::version::is_older;

/// A lease as the API server holds it, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty: nobody leads.
    pub(super) holder: String,
    /// How long others have to wait after the last change that they saw.
    pub(super) duration: Duration,
    /// How often the holder has changed.
    pub(super) transitions: i32,
    /// Changes with every write; a write that names an old one is refused.
    pub(super) version: String,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// There is no lease: create it, held by us.
    Create,
    /// Write ourselves (again) into the lease, over exactly `version`.
    Hold { version: String, transitions: i32, taking_over: bool },
    /// Somebody else leads: look again after this time.
    Wait { time: Duration },
}

/// One candidate's view.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    settings: Times,
    seen: Option<Seen>,
    leading: Option<Leading>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
    look: Duration,
}

#[derive(Clone, Debug)]
struct Seen {
    record: Record,
    changed_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Leading {
    until: Instant,
    /// The record is as we wrote it, as far as we know.
    sure: bool,
}

impl Candidate {
    pub(super) fn new(settings: &LeaseSettings) -> Self {
        let times = Times {
            duration: settings.duration,
            renew_deadline: settings.renew_deadline,
            retry: settings.retry,
            look: settings.look,
        };
        Self { identity: settings.identity.clone(), settings: times, seen: None, leading: None }
    }

    /// Whether we lead at `now`. A leader whose deadline has passed is none, whatever the lease says.
    pub(super) fn leadership(&self, now: Instant) -> Leadership {
        match self.leading {
            Some(Leading { until, .. }) if now < until => Leadership::Leader { until },
            Some(_) | None => Leadership::Standby,
        }
    }

    /// The lease looks like this at `now` (`None`: it does not exist). Says what to do. A leader that finds a lease of somebody
    /// else, an older one or none leads no more, and looks again before it stands for election: its term is over, and with it
    /// whatever it knows, because a store that has an older lease has older data of everything.
    pub(super) fn observe(&mut self, now: Instant, record: Option<Record>) -> Action {
        let led = self.leadership(now).is_leader();
        let action = self.judge(now, record);
        if led && self.leading.is_none() { Action::Wait { time: self.settings.retry / 4 } } else { action }
    }

    fn judge(&mut self, now: Instant, record: Option<Record>) -> Action {
        let Some(record) = record else {
            self.seen = None;
            self.leading = None;
            return Action::Create;
        };
        let went_back = |seen: &Seen| is_older(&record.version, &seen.record.version);
        if record.holder != self.identity || self.seen.as_ref().is_some_and(went_back) {
            self.leading = None;
        }
        let changed_at = match &self.seen {
            Some(seen) if seen.record == record => seen.changed_at,
            Some(_) | None => now,
        };
        self.seen = Some(Seen { record: record.clone(), changed_at });
        if record.holder == self.identity {
            return Action::Hold {
                version: record.version,
                transitions: record.transitions,
                taking_over: false,
            };
        }
        let expires = changed_at + record.duration;
        if record.holder.is_empty() || now >= expires {
            let transitions = record.transitions.saturating_add(1);
            return Action::Hold { version: record.version, transitions, taking_over: true };
        }
        // Look again at the usual pace, or at the moment when the holder's time is over, if that is sooner.
        Action::Wait { time: self.settings.look.min(expires - now) }
    }

    /// The write that was started at `started` has succeeded: we lead until the renew deadline after its start.
    pub(super) fn held(&mut self, started: Instant, record: Record) {
        self.leading = Some(Leading { until: started + self.settings.renew_deadline, sure: true });
        self.seen = Some(Seen { record, changed_at: started });
    }

    /// The record that a leader can renew without reading it first.
    pub(super) fn known(&self) -> Option<Action> {
        let seen = self.seen.as_ref().filter(|seen| seen.record.holder == self.identity)?;
        self.leading.filter(|leading| leading.sure)?;
        Some(Action::Hold {
            version: seen.record.version.clone(),
            transitions: seen.record.transitions,
            taking_over: false,
        })
    }

    /// What we know may be outdated (a refused or unanswered write): read before the next write.
    pub(super) fn doubt(&mut self) {
        if let Some(leading) = &mut self.leading {
            leading.sure = false;
        }
    }

    /// The time that a call may take which starts at `now`: at most `limit`, and for a leader no longer than it leads.
    pub(super) fn patience(&self, now: Instant, limit: Duration) -> Duration {
        match self.leadership(now) {
            Leadership::Leader { until } => limit.min(until - now),
            Leadership::Standby => limit,
        }
    }

    /// When a standing leader renews.
    pub(super) fn retry(&self) -> Duration {
        self.settings.retry
    }

    /// The least and the most time from a call that failed at `now` to the next try. A leader's time runs out meanwhile;
    /// and if somebody else wrote in between (`outrun`), there is soon something to see.
    pub(super) fn retry_after_failure(&self, now: Instant, outrun: bool) -> (Duration, Duration) {
        let retry = self.settings.retry;
        if outrun {
            return (retry / 4, retry / 4);
        }
        let least = if self.leadership(now).is_leader() { retry / 2 } else { retry };
        (least, least + least / 5)
    }

    /// What is added to a pause by chance, at most: of several standbys one is the first.
    pub(super) fn spread(&self) -> Duration {
        self.settings.look / 5
    }

    /// The duration that our own record carries.
    pub(super) fn duration(&self) -> Duration {
        self.settings.duration
    }
}
