//! What is remembered of each Service between two looks. Nearly all have what they asked for: of those the name is kept
//! and nothing else.
//!
//! Leaves out what a memory is good for.

use std::collections::{BTreeMap, BTreeSet};

use api::service::ServiceKey;

use crate::plan::{Memory, Outcome};

/// The memories of all Services that were looked at.
#[derive(Debug, Default)]
pub(super) struct Recollection {
    given: BTreeSet<ServiceKey>,
    others: BTreeMap<ServiceKey, Memory>,
}

impl Recollection {
    /// What is remembered of the Service; nothing special of one that nobody has looked at.
    pub(super) fn of(&self, key: &ServiceKey) -> Memory {
        if self.given.contains(key) {
            return plain();
        }
        self.others.get(key).cloned().unwrap_or_default()
    }

    /// How the Service stood, unless it has what it asked for.
    pub(super) fn trouble(&self, key: &ServiceKey) -> Option<&Outcome> {
        self.others.get(key).map(|memory| &memory.outcome)
    }

    pub(super) fn keep(&mut self, key: ServiceKey, memory: Memory) {
        if memory == plain() {
            self.others.remove(&key);
            self.given.insert(key);
        } else {
            self.given.remove(&key);
            self.others.insert(key, memory);
        }
    }

    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.given.remove(key);
        self.others.remove(key);
    }
}

fn plain() -> Memory {
    Memory { outcome: Outcome::Given, deprecated: false, cleared: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_is_the_one_that_was_kept_last() {
        let mut all = Recollection::default();
        let key = ServiceKey::new("shop", "web");
        assert_eq!(all.of(&key), Memory::default());
        let special = Memory { deprecated: true, ..plain() };
        for memory in [plain(), special.clone(), Memory::default(), plain(), special] {
            all.keep(key.clone(), memory.clone());
            assert_eq!(all.of(&key), memory);
            assert_eq!(all.trouble(&key).is_none(), memory == plain());
        }
        all.forget(&key);
        assert_eq!(all.of(&key), Memory::default());
    }
}
