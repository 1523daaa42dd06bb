//! Whose turn it is: Services to look at, oldest first, without those that are being written or that rest after a
//! failure. Time is an argument.
//!
//! Leaves out what is done with a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::service::ServiceKey;

/// The first pause after a failed write; it doubles up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest pause after a failed write.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The place of a Service in the queue: among Services that contest an address the oldest wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) created: Option<i64>,
    pub(crate) uid: Arc<str>,
    pub(crate) key: ServiceKey,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    turns: BTreeSet<Turn>,
    by_key: BTreeMap<ServiceKey, Turn>,
    /// Being written; with a turn: to be looked at again afterwards.
    busy: BTreeMap<ServiceKey, Option<Turn>>,
    resting: BTreeMap<ServiceKey, Instant>,
    failures: BTreeMap<ServiceKey, u32>,
}

impl Queue {
    /// The Service has to be looked at.
    pub(crate) fn mark(&mut self, turn: Turn) {
        if let Some(again) = self.busy.get_mut(&turn.key) {
            *again = Some(turn);
        } else {
            self.enqueue(turn);
        }
    }

    /// The next Service in order that is not resting at `now`. It is busy until [`Self::done`] or [`Self::rest`].
    pub(crate) fn next(&mut self, now: Instant) -> Option<ServiceKey> {
        self.resting.retain(|_, until| *until > now);
        let turn = if self.resting.is_empty() {
            self.turns.pop_first()?
        } else {
            let turn = self.turns.iter().find(|turn| !self.resting.contains_key(&turn.key))?.clone();
            self.turns.remove(&turn);
            turn
        };
        self.by_key.remove(&turn.key);
        self.busy.insert(turn.key.clone(), None);
        Some(turn.key)
    }

    /// The Service is as it should be.
    pub(crate) fn done(&mut self, key: &ServiceKey) {
        self.failures.remove(key);
        self.leave(key);
    }

    /// The write failed: the Service is looked at again after a pause that grows. `spread` is a number by chance.
    pub(crate) fn failed(&mut self, turn: Turn, now: Instant, spread: u64) {
        let failures = self.failures.entry(turn.key.clone()).or_default();
        let pause =
            FIRST_REST.saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(LONGEST_REST);
        *failures = failures.saturating_add(1).min(16);
        let part = pause / 4;
        let share = Duration::from_millis(spread % (u64::try_from(part.as_millis()).unwrap_or(0) + 1));
        self.rest(turn, now + pause + share);
    }

    /// The Service is looked at again, but not before `until`.
    pub(crate) fn rest(&mut self, turn: Turn, until: Instant) {
        self.leave(&turn.key);
        self.resting.insert(turn.key.clone(), until);
        self.mark(turn);
    }

    /// The Service is gone.
    pub(crate) fn forget(&mut self, key: &ServiceKey) {
        if let Some(turn) = self.by_key.remove(key) {
            self.turns.remove(&turn);
        }
        if let Some(again) = self.busy.get_mut(key) {
            *again = None;
        }
        self.resting.remove(key);
        self.failures.remove(key);
    }

    /// When the next one that rests may be looked at again.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        let due = self.resting.iter().filter(|(key, _)| self.by_key.contains_key(*key));
        due.map(|(_, until)| *until).min()
    }

    fn leave(&mut self, key: &ServiceKey) {
        if let Some(Some(turn)) = self.busy.remove(key) {
            self.enqueue(turn);
        }
    }

    fn enqueue(&mut self, turn: Turn) {
        if let Some(old) = self.by_key.insert(turn.key.clone(), turn.clone()) {
            self.turns.remove(&old);
        }
        self.turns.insert(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(name: &str, created: i64) -> Turn {
        Turn { created: Some(created), uid: name.into(), key: ServiceKey::new("default", name) }
    }

    fn next(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.next(now).map(|key| key.name().to_owned())
    }

    #[test]
    fn the_oldest_service_comes_first_and_only_once() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for one in [turn("c", 3), turn("a", 2), turn("b", 1), turn("c", 3)] {
            queue.mark(one);
        }
        let order: Vec<Option<String>> = (0..4).map(|_| next(&mut queue, now)).collect();
        assert_eq!(order, [Some("b".to_owned()), Some("a".to_owned()), Some("c".to_owned()), None]);
    }

    #[test]
    fn a_busy_service_is_looked_at_again_only_afterwards() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let one = turn("a", 1);
        queue.mark(one.clone());
        queue.next(now);
        queue.mark(one.clone());
        assert_eq!(next(&mut queue, now), None);
        queue.done(&one.key);
        assert_eq!(next(&mut queue, now).as_deref(), Some("a"));
        queue.done(&one.key);
        assert_eq!(next(&mut queue, now), None);
    }

    #[test]
    fn failures_rest_longer_and_longer_and_success_forgets_them() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let one = turn("a", 1);
        queue.mark(one.clone());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(queue.next(now).is_some());
            queue.failed(one.clone(), now, 0);
            queue.mark(one.clone());
            assert_eq!(queue.next(now), None, "news do not cut the pause short");
            let wakes = queue.wakes().unwrap();
            pauses.push((wakes - now).as_secs());
            now = wakes;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(queue.next(now).is_some());
        queue.done(&one.key);
        queue.mark(one.clone());
        queue.next(now);
        queue.failed(one.clone(), now, 0);
        assert_eq!(queue.wakes(), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_forgotten_service_does_not_come_back() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let one = turn("a", 1);
        queue.mark(one.clone());
        queue.next(now);
        queue.mark(one.clone());
        queue.forget(&one.key);
        queue.done(&one.key);
        assert_eq!(queue.next(now), None);
        assert_eq!(queue.wakes(), None);
    }
}
