//! The table of verdicts: sorted by Service, cheap to hand out while it keeps changing.
//!
//! A copy shares all chunks with the original; changing one entry afterwards copies the one chunk it is in. So a
//! plan that differs from the last one in a single Service costs that Service and not the whole cluster.

use std::sync::Arc;

use api::service::ServiceKey;

use super::verdict::Verdict;

/// Entries in a chunk before it is split.
const CHUNK: usize = 64;

type Entry = (ServiceKey, Arc<Verdict>);

/// Verdicts by Service; cloning shares the content.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// Each chunk is sorted and not empty, and so is the list by its chunks' first keys.
    chunks: Vec<Arc<Vec<Entry>>>,
    len: usize,
}

impl Verdicts {
    /// The verdict for one Service.
    #[must_use]
    pub fn get(&self, key: &ServiceKey) -> Option<&Verdict> {
        self.shared(key).map(AsRef::as_ref)
    }

    /// The same, to be kept beside.
    #[must_use]
    pub fn shared(&self, key: &ServiceKey) -> Option<&Arc<Verdict>> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(of, _)| of.cmp(key)).ok()?;
        chunk.get(at).map(|(_, verdict)| verdict)
    }

    /// Puts a verdict in; the former one of that Service is dropped.
    pub fn set(&mut self, key: ServiceKey, verdict: impl Into<Arc<Verdict>>) {
        let verdict = verdict.into();
        let index = self.chunk_of(&key);
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(Arc::new(vec![(key, verdict)]));
            self.len = 1;
            return;
        };
        match chunk.binary_search_by(|(of, _)| of.cmp(&key)) {
            Ok(at) => {
                if let Some(entry) = Arc::make_mut(chunk).get_mut(at) {
                    entry.1 = verdict;
                }
            }
            // A sorted list that is read for the first time fills one chunk after the other.
            Err(CHUNK) => {
                self.chunks.insert(index + 1, Arc::new(vec![(key, verdict)]));
                self.len += 1;
            }
            Err(at) => {
                let chunk = Arc::make_mut(chunk);
                chunk.insert(at, (key, verdict));
                self.len += 1;
                if chunk.len() > CHUNK {
                    let upper = chunk.split_off(CHUNK / 2);
                    chunk.shrink_to_fit();
                    self.chunks.insert(index + 1, Arc::new(upper));
                }
            }
        }
    }

    /// Takes the verdict of one Service out.
    pub fn remove(&mut self, key: &ServiceKey) {
        let index = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        let Ok(at) = chunk.binary_search_by(|(of, _)| of.cmp(key)) else { return };
        let chunk = Arc::make_mut(chunk);
        chunk.remove(at);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(index);
        }
    }

    /// All verdicts in the order of their Services.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Verdict)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, verdict)| (key, &**verdict)))
    }

    /// How many Services have a verdict.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no verdict at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk that holds the key or would have to; 0 when there is none.
    fn chunk_of(&self, key: &ServiceKey) -> usize {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|(first, _)| first <= key));
        after.saturating_sub(1)
    }
}

/// Equal content; where the chunks are cut depends on the history and does not count.
impl PartialEq for Verdicts {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Verdicts {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::decide::verdict::Reason;

    fn key(n: u16) -> ServiceKey {
        ServiceKey::new(format!("ns{}", n % 7), format!("svc{n}"))
    }

    proptest! {
        #[test]
        fn a_table_behaves_as_a_sorted_map_and_copies_stay_as_they_were(
            steps in prop::collection::vec((0u16..300, prop::option::of(0u8..3)), 0..600)
        ) {
            let mut table = Verdicts::default();
            let mut model = BTreeMap::new();
            let mut copies = Vec::new();
            for (index, (service, verdict)) in steps.into_iter().enumerate() {
                match verdict {
                    Some(n) => {
                        let verdict = Verdict::withhold(Reason::InvalidIp(n.to_string()));
                        table.set(key(service), verdict.clone());
                        model.insert(key(service), verdict);
                    }
                    None => {
                        table.remove(&key(service));
                        model.remove(&key(service));
                    }
                }
                if index % 97 == 0 {
                    copies.push((table.clone(), model.clone()));
                }
            }
            copies.push((table, model));
            for (table, model) in copies {
                prop_assert_eq!(table.len(), model.len());
                prop_assert!(table.iter().eq(model.iter()));
                for (service, verdict) in &model {
                    prop_assert_eq!(table.get(service), Some(verdict));
                }
                prop_assert_eq!(table.get(&key(999)), None);
            }
        }
    }
}
