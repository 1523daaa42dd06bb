//! Services that lost their place on this node to other nodes, and until when they stay here, so that the others announce
//! before this node withdraws.
//!
//! Asked after each event, so nothing here walks through all of them: what ends is found by its time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api::service::ServiceKey;

/// How long a node goes on announcing what other nodes were chosen for: they see the same change later.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// The Services, and their time. One whose time is over is remembered until it is this node's again, or gone: it lost its
/// place once and does not linger anew.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    now: Option<Instant>,
    until: BTreeMap<ServiceKey, Instant>,
    /// Those whose time is not over, by it.
    ends: BTreeSet<(Instant, ServiceKey)>,
}

impl Lingering {
    /// It is so late: the Services whose time is over since the last call. Without a time nothing lingers.
    pub(super) fn set_time(&mut self, now: Instant) -> Vec<ServiceKey> {
        self.now = Some(now);
        let mut over = Vec::new();
        while let Some((until, service)) = self.ends.pop_first() {
            if until > now {
                self.ends.insert((until, service));
                break;
            }
            over.push(service);
        }
        over
    }

    /// When time alone will end the stay of one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Whether it stays, at this moment.
    pub(super) fn stays(&self, service: &ServiceKey) -> bool {
        self.until.get(service).is_some_and(|until| Some(*until) > self.now)
    }

    /// Others were chosen for it. `loses`: for something that it has here. Whether it stays for the moment.
    pub(super) fn leave(&mut self, service: &ServiceKey, loses: bool) -> bool {
        if let Some(now) = self.now.filter(|_| loses && !self.until.contains_key(service)) {
            self.until.insert(service.clone(), now + LINGER);
            self.ends.insert((now + LINGER, service.clone()));
        }
        self.stays(service)
    }

    /// It is this node's again, or gone.
    pub(super) fn forget(&mut self, service: &ServiceKey) {
        if let Some((service, until)) = self.until.remove_entry(service) {
            self.ends.remove(&(until, service));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_stays_once_for_its_time_and_what_is_over_is_told_once() {
        let (mut lingering, start) = (Lingering::default(), Instant::now());
        let key = |name: &str| ServiceKey::new("shop", name);
        assert!(!lingering.leave(&key("early"), true), "without a time nothing lingers");
        assert!(lingering.set_time(start).is_empty());
        assert!(lingering.leave(&key("web"), true) && lingering.stays(&key("web")));
        assert!(!lingering.leave(&key("never-here"), false));
        assert_eq!(lingering.due(), Some(start + LINGER));
        let second = start + Duration::from_secs(1);
        assert!(lingering.set_time(second).is_empty());
        assert!(lingering.leave(&key("web"), true), "asked again it does not begin anew");
        assert!(lingering.leave(&key("db"), true) && lingering.leave(&key("mail"), true));
        lingering.forget(&key("mail"));
        assert_eq!(lingering.due(), Some(start + LINGER));
        assert_eq!(lingering.set_time(start + LINGER), [key("web")]);
        assert!(!lingering.leave(&key("web"), true), "its time is over");
        assert_eq!(lingering.due(), Some(second + LINGER));
        assert_eq!(lingering.set_time(second + LINGER), [key("db")]);
        assert_eq!((lingering.due(), lingering.set_time(second + 2 * LINGER)), (None, Vec::new()));
        lingering.forget(&key("web"));
        assert!(lingering.leave(&key("web"), true), "it was here again");
    }
}
