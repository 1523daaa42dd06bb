//! Who else writes the status of a Service: how long it is left to them, and how often a wiped one is repaired. Time is
//! an argument.
//!
//! Nobody is fought. A rival that wrote after us is left alone for a pause that grows; then our address is shown once
//! more, and stays if the rival has stopped. Leaves out how a rival is recognised and what is written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::service::{ServiceKey, ServiceView};

/// The first pause after a rival wrote over our address; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After this long without a flip the past is forgotten.
const CALM: Duration = Duration::from_secs(600);
/// The pause before the second repair of a wiped status; it doubles up to [`LONGEST_REPAIR`].
const FIRST_REPAIR: Duration = Duration::from_secs(1);
/// The longest pause between two repairs.
const LONGEST_REPAIR: Duration = Duration::from_secs(60);
/// From this repair on, people are told.
const TELLING_REPAIR: u32 = 3;

/// The Services that others write to as well.
#[derive(Debug, Default)]
pub(crate) struct Contests {
    by_service: BTreeMap<ServiceKey, Contest>,
}

#[derive(Debug)]
struct Contest {
    managers: Vec<String>,
    losses: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The status is left to the rival.
    Yielding { until: Instant },
    /// Our address is shown again with the next write.
    Trying,
    /// It was shown, and nobody has written over it since.
    Holding { since: Instant },
}

impl Contests {
    /// Fields of a predecessor are taken over with the next write. Returns whether that is granted: it is, once.
    pub(crate) fn inherit(&mut self, service: &ServiceKey, managers: &[String]) -> bool {
        if self.by_service.contains_key(service) {
            return false;
        }
        let contest = Contest { managers: managers.to_vec(), losses: 0, phase: Phase::Trying };
        self.by_service.insert(service.clone(), contest);
        true
    }

    /// A rival wrote over our address. Returns whether that is news: the first time, or another rival.
    pub(crate) fn lose(
        &mut self,
        service: &ServiceKey,
        managers: Vec<String>,
        now: Instant,
        spread: Duration,
    ) -> bool {
        let before = self.by_service.remove(service);
        let (losses, news) = match &before {
            Some(contest) => (contest.losses, contest.losses == 0 || contest.managers != managers),
            None => (0, true),
        };
        let pause = doubled(FIRST_PAUSE, losses, LONGEST_PAUSE) + spread;
        let phase = Phase::Yielding { until: now + pause };
        self.by_service
            .insert(service.clone(), Contest { managers, losses: losses.saturating_add(1), phase });
        news
    }

    /// Our address is shown.
    pub(crate) fn show(&mut self, service: &ServiceKey, now: Instant) {
        if let Some(contest) = self.by_service.get_mut(service)
            && contest.phase == Phase::Trying
        {
            contest.phase = Phase::Holding { since: now };
        }
    }

    /// The Services whose pause is over at `now`.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<ServiceKey> {
        self.by_service.retain(
            |_, contest| !matches!(contest.phase, Phase::Holding { since } if now.saturating_duration_since(since) >= CALM),
        );
        let mut due = Vec::new();
        for (service, contest) in &mut self.by_service {
            if matches!(contest.phase, Phase::Yielding { until } if until <= now) {
                contest.phase = Phase::Trying;
                due.push(service.clone());
            }
        }
        due
    }

    /// When [`Self::due`] should be asked again.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        let pauses = self.by_service.values().filter_map(|contest| match contest.phase {
            Phase::Yielding { until } => Some(until),
            Phase::Trying | Phase::Holding { .. } => None,
        });
        pauses.min()
    }

    /// The field managers to whom the status is left now.
    pub(crate) fn rivals(&self, service: &ServiceKey) -> &[String] {
        match self.by_service.get(service) {
            Some(Contest { managers, phase: Phase::Yielding { .. }, .. }) => managers,
            Some(_) | None => &[],
        }
    }

    /// Whether the next write takes the fields of others.
    pub(crate) fn tries(&self, service: &ServiceKey) -> bool {
        self.by_service.get(service).is_some_and(|contest| contest.phase == Phase::Trying)
    }

    /// A rival that no longer owns the addresses has given up: the pause is over.
    pub(crate) fn look(&mut self, view: &ServiceView) {
        let Some(contest) = self.by_service.get_mut(&view.key) else {
            return;
        };
        let owned = view.managed.iter().any(|entry| contest.managers.contains(&entry.manager));
        if !owned && matches!(contest.phase, Phase::Yielding { .. }) {
            contest.phase = Phase::Trying;
        }
    }

    /// The Service is gone.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.by_service.remove(service);
    }
}

/// How often the status of each Service was put back after somebody wiped it.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    by_service: BTreeMap<ServiceKey, Repair>,
}

#[derive(Debug)]
struct Repair {
    count: u32,
    last: Instant,
}

/// The answer to a wish for a repair.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Now; `tell` = it has happened so often that people should know.
    Now {
        /// Whether to tell them.
        tell: bool,
    },
    /// Not before.
    NotBefore(Instant),
}

impl Repairs {
    /// Asks for a repair at `now`.
    pub(crate) fn permit(&mut self, service: &ServiceKey, now: Instant) -> Permit {
        let count = match self.by_service.get(service) {
            Some(repair) if now.saturating_duration_since(repair.last) < CALM => {
                let pause = doubled(FIRST_REPAIR, repair.count.saturating_sub(1), LONGEST_REPAIR);
                let next = repair.last + pause;
                if now < next {
                    return Permit::NotBefore(next);
                }
                repair.count
            }
            Some(_) | None => 0,
        };
        let count = count.saturating_add(1);
        self.by_service.insert(service.clone(), Repair { count, last: now });
        Permit::Now { tell: count == TELLING_REPAIR }
    }

    /// The Service is gone.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.by_service.remove(service);
    }
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use api::service::StatusManager;

    use super::*;

    fn key() -> ServiceKey {
        ServiceKey::new("default", "web")
    }

    fn k3s() -> Vec<String> {
        vec!["k3s".to_owned()]
    }

    #[test]
    fn a_rival_is_tried_again_after_pauses_that_grow() {
        let mut now = Instant::now();
        let mut contests = Contests::default();
        let mut pauses = Vec::new();
        for loss in 0..7 {
            assert_eq!(contests.lose(&key(), k3s(), now, Duration::ZERO), loss == 0, "told once");
            assert_eq!(contests.rivals(&key()), k3s());
            assert!(contests.due(now).is_empty());
            let wakes = contests.wakes().unwrap();
            pauses.push((wakes - now).as_secs());
            now = wakes;
            assert_eq!(contests.due(now), [key()]);
            assert!(contests.tries(&key()));
            assert!(contests.rivals(&key()).is_empty());
            contests.show(&key(), now);
            assert!(!contests.tries(&key()), "one write, not two");
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 300, 300]);
        assert!(contests.due(now + CALM).is_empty());
        assert!(contests.lose(&key(), k3s(), now + CALM, Duration::ZERO), "the past is forgotten");
    }

    #[test]
    fn a_predecessor_is_taken_over_once() {
        let now = Instant::now();
        let mut contests = Contests::default();
        assert!(contests.inherit(&key(), &k3s()));
        assert!(contests.tries(&key()));
        contests.show(&key(), now);
        assert!(!contests.inherit(&key(), &k3s()), "it was no predecessor");
        assert!(contests.lose(&key(), k3s(), now, Duration::ZERO));
    }

    #[test]
    fn a_rival_that_lets_go_ends_the_pause() {
        let now = Instant::now();
        let mut contests = Contests::default();
        contests.lose(&key(), k3s(), now, Duration::ZERO);
        let owner = StatusManager { manager: "k3s".to_owned(), ..StatusManager::default() };
        let mut view = ServiceView { key: key(), managed: vec![owner], ..ServiceView::default() };
        contests.look(&view);
        assert!(!contests.tries(&key()));
        view.managed.clear();
        contests.look(&view);
        assert!(contests.tries(&key()));
    }

    #[test]
    fn a_wiped_status_is_repaired_at_once_and_then_less_and_less_often() {
        let start = Instant::now();
        let mut now = start;
        let mut repairs = Repairs::default();
        let mut at = Vec::new();
        for number in 1..=8 {
            if let Permit::NotBefore(next) = repairs.permit(&key(), now) {
                now = next;
                assert_eq!(repairs.permit(&key(), now), Permit::Now { tell: number == 3 });
            }
            at.push((now - start).as_secs());
        }
        assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 123]);
        assert_eq!(repairs.permit(&key(), now + CALM), Permit::Now { tell: false }, "forgotten");
    }
}
