//! What the process misses at this moment, in sentences: the one list that readiness shows beside what is waited for.
//!
//! Process-wide on purpose, as the counters of the watches: one API server, one process, one answer to the kubelet. Leaves out the
//! log and any history; whoever complains does that.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many subjects as watches and leases: a dozen.
static OPEN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The complaint of one subject, such as a kind that is watched. It is withdrawn at the latest when this is dropped.
#[derive(Debug)]
pub struct Complaint {
    subject: String,
}

impl Complaint {
    /// Nothing to complain of yet. A subject has one owner at a time.
    #[must_use]
    pub fn about(subject: impl Into<String>) -> Self {
        Self { subject: subject.into() }
    }

    /// This is wrong now; what was said before is forgotten.
    pub fn raise(&self, sentence: &str) {
        open().insert(self.subject.clone(), sentence.to_owned());
    }

    /// All is well again.
    pub fn settle(&self) {
        open().remove(&self.subject);
    }
}

impl Drop for Complaint {
    fn drop(&mut self) {
        self.settle();
    }
}

/// `waiting`, and after it what is wrong. Subjects that say the same (no server answers any of them) share one sentence.
#[must_use]
pub fn explain(waiting: &str) -> String {
    let mut by_sentence: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (subject, sentence) in open().iter() {
        by_sentence.entry(sentence.clone()).or_default().push(subject.clone());
    }
    let mut text = waiting.to_owned();
    for (sentence, subjects) in by_sentence {
        text.push_str(&format!("; {}: {sentence}", subjects.join(", ")));
    }
    text
}

fn open() -> MutexGuard<'static, BTreeMap<String, String>> {
    // A map of texts has no state between two that a panic could leave.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_until_it_is_settled_or_its_owner_goes() {
        // Other tests of this process may complain meanwhile, so these look for their own words.
        let (one, two) = (Complaint::about("complaint-test-1"), Complaint::about("complaint-test-2"));
        one.raise("the moon is away");
        two.raise("the moon is away");
        let text = explain("waiting");
        assert!(text.starts_with("waiting; "), "{text}");
        assert!(text.contains("complaint-test-1, complaint-test-2: the moon is away"), "{text}");
        one.raise("the sun is away");
        let text = explain("waiting");
        assert!(text.contains("complaint-test-1: the sun is away"), "{text}");
        one.settle();
        drop(two);
        assert!(!explain("waiting").contains("complaint-test"), "{}", explain("waiting"));
    }
}
