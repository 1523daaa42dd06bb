//! Tells on the Pod itself why it is not ready: `kubectl describe pod` shows the kubelet's "probe failed with statuscode: 503", which
//! helps nobody, and beside it an event with the sentence of the check.
//!
//! Leaves out the checks. Where the API server cannot be reached there is no event; then the log and `/readyz` have the same words.

use std::time::Duration;

use api::names::event::EventReason;

use crate::admin::SharedAdmin;
use crate::event::{EventRecorder, EventType, Regarding};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(10);
/// A start takes a few seconds; what lasts for this many looks is told.
const FIRST: u32 = 2;
/// Other words are told at most once in this many looks: the phases of a session change all the time.
const OTHER: u32 = 12;
/// The same words again after this many looks: the API server forgets events after an hour.
const AGAIN: u32 = 180;

/// Looks at the readiness of `admin` for ever, and tells about `pod` what fails. Bounded to an event every two minutes.
pub async fn tell(admin: SharedAdmin, pod: Regarding, events: EventRecorder) {
    let mut patience = Patience::default();
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(note) = patience.news(admin.unready()) {
            events.publish(pod.clone(), EventType::Warning, EventReason::NotReady, note);
        }
    }
}

/// When what is told.
#[derive(Debug, Default)]
struct Patience {
    /// Looks since the process was last ready, or since something was told.
    looks: u32,
    told: Option<String>,
}

impl Patience {
    fn news(&mut self, unready: Option<String>) -> Option<String> {
        let Some(text) = unready else {
            *self = Self::default();
            return None;
        };
        self.looks = self.looks.saturating_add(1);
        let due = match &self.told {
            None => FIRST,
            Some(told) if *told == text => AGAIN,
            Some(_) => OTHER,
        };
        if self.looks < due {
            return None;
        }
        *self = Self { looks: 0, told: Some(text.clone()) };
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at one text again and again; something is told at these looks, counted from 1.
    fn check(patience: &mut Patience, text: Option<&str>, looks: u32, expected: &[u32]) {
        let told: Vec<u32> =
            (1..=looks).filter(|_| patience.news(text.map(str::to_owned)).is_some()).collect();
        assert_eq!(told, expected, "{text:?} at {looks} looks");
    }

    #[test]
    fn what_lasts_is_told_soon_and_then_seldom() {
        let mut patience = Patience::default();
        check(&mut patience, None, 100, &[]);
        // A start is no trouble.
        check(&mut patience, Some("reading"), 1, &[]);
        check(&mut patience, None, 1, &[]);
        check(&mut patience, Some("no CRD"), 400, &[2, 182, 362]);
    }

    #[test]
    fn other_words_are_told_after_two_minutes_and_a_new_trouble_begins_anew() {
        let mut patience = Patience::default();
        check(&mut patience, Some("no CRD"), 4, &[2]);
        // Twelve looks after the last event.
        check(&mut patience, Some("no right"), 20, &[10]);
        check(&mut patience, None, 1, &[]);
        check(&mut patience, Some("no right"), 2, &[2]);
    }
}
