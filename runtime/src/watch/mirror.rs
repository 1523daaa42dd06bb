//! `Mirror`: the state that a watch keeps, by epoch: begin marks a new epoch, sweep drops what was not seen in it.
//!
//! Leaves out the watch itself. Between `begin` and `sweep` readers go on seeing every old entry, so a watch that
//! starts over never looks like a deletion of everything.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// A sorted map that follows a watch.
#[derive(Clone, Debug)]
pub struct Mirror<K: Ord, V> {
    entries: BTreeMap<K, Entry<V>>,
    epoch: u64,
    synced: bool,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    epoch: u64,
}

impl<K: Ord, V> Default for Mirror<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V> Mirror<K, V> {
    /// An empty mirror that is not synced yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), epoch: 0, synced: false }
    }

    /// The watch starts over ([`Change::Restarted`](super::Change::Restarted)): what follows is the complete state.
    pub fn begin(&mut self) {
        self.epoch += 1;
    }

    /// Takes what the watch says about one key: a value, or `None` when it is gone or of no interest. Returns what
    /// was there before.
    pub fn apply(&mut self, key: K, value: Option<V>) -> Option<V> {
        let before = match value {
            Some(value) => self.entries.insert(key, Entry { value, epoch: self.epoch }),
            None => self.entries.remove(&key),
        };
        before.map(|entry| entry.value)
    }

    /// Marks a key as still there without a new value: its last good value stays. `false` when there is none.
    pub fn keep<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.epoch = self.epoch;
                true
            }
            None => false,
        }
    }

    /// The state is complete ([`Change::Synced`](super::Change::Synced)): drops all keys that were not named since
    /// [`begin`](Self::begin) and returns them, sorted.
    pub fn sweep(&mut self) -> Vec<K> {
        let epoch = self.epoch;
        self.synced = true;
        let gone = self.entries.extract_if(.., |_, entry| entry.epoch != epoch).map(|(key, _)| key).collect();
        // A list comes sorted, and a B-tree that grows at its end alone leaves nearly half of each node empty.
        self.entries = std::mem::take(&mut self.entries).into_iter().collect();
        gone
    }

    /// Whether the state has been complete once. Stays true while a later restart is under way.
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        self.synced
    }

    /// The value of one key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// All entries, sorted by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// All values, sorted by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
