//! Which session is due next, without asking all of them.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::peer::PeerKey;

/// The next deadline of each session that has one.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    ordered: BTreeSet<(Instant, PeerKey)>,
    /// A buffer for [`Deadlines::due`].
    due: Vec<PeerKey>,
}

impl Deadlines {
    /// The deadline of a session is another one now.
    pub(crate) fn moved(&mut self, peer: PeerKey, from: Option<Instant>, to: Option<Instant>) {
        if let Some(from) = from {
            self.ordered.remove(&(from, peer));
        }
        if let Some(to) = to {
            self.ordered.insert((to, peer));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.ordered.first().map(|(at, _)| *at)
    }

    /// The sessions whose deadline has come, each once. The caller hands the list back when it is through.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<PeerKey> {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        due.extend(self.ordered.iter().take_while(|(at, _)| *at <= now).map(|(_, peer)| *peer));
        due
    }

    pub(crate) fn hand_back(&mut self, due: Vec<PeerKey>) {
        self.due = due;
    }
}
