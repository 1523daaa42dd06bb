//! The last bursts of a class, for equal peers that are on the same way.
//!
//! Left out: the bursts of refreshes, which peers ask for one by one.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::cursor::{Cursor, Stage};
use crate::route_set::RouteSet;

/// What all bursts of a class may take, in octets: a table of 200,000 IPv4 routes.
const ROOM: usize = 1024 * 1024;

/// One step of a walk: where it began, where it ended, and what was said.
#[derive(Debug)]
pub(super) struct Echo {
    /// Both versions by identity. A `Weak` keeps an address from being given to another version. `None`:
    /// the peer knew nothing, which is the same whatever the identity.
    base: Option<Weak<RouteSet>>,
    target: Weak<RouteSet>,
    from: Stage,
    told_before: u32,
    pub(super) to: Stage,
    pub(super) told_after: u32,
    pub(super) octets: Arc<[u8]>,
    pub(super) updates: u64,
    /// How many peers of the class have not had it.
    others: usize,
}

impl Echo {
    /// What `cursor` has just been sent for its step from `from`.
    pub(super) fn new(
        cursor: &Cursor,
        from: Stage,
        told_before: u32,
        octets: &[u8],
        updates: u64,
        others: usize,
    ) -> Self {
        Self {
            base: (!cursor.base.is_empty()).then(|| Arc::downgrade(&cursor.base)),
            target: Arc::downgrade(&cursor.target),
            from,
            told_before,
            to: cursor.stage,
            told_after: cursor.told,
            octets: Arc::from(octets),
            updates,
            others,
        }
    }

    fn answers(&self, cursor: &Cursor) -> bool {
        let has_base = |base: &Option<Weak<RouteSet>>| match base {
            Some(base) => std::ptr::eq(base.as_ptr(), Arc::as_ptr(&cursor.base)),
            None => cursor.base.is_empty(),
        };
        self.from == cursor.stage
            && self.told_before == cursor.told
            && std::ptr::eq(self.target.as_ptr(), Arc::as_ptr(&cursor.target))
            && has_base(&self.base)
    }
}

/// What [`Echoes::take`] found.
pub(super) struct Heard {
    pub(super) to: Stage,
    pub(super) told_after: u32,
    pub(super) octets: Arc<[u8]>,
    pub(super) updates: u64,
}

/// Oldest first.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    kept: VecDeque<Echo>,
    octets: usize,
}

impl Echoes {
    /// The burst for the step before which a cursor stands. It is forgotten once every peer has had it.
    pub(super) fn take(&mut self, cursor: &Cursor) -> Option<Heard> {
        let at = self.kept.iter().position(|echo| echo.answers(cursor))?;
        let echo = self.kept.get_mut(at)?;
        echo.others = echo.others.saturating_sub(1);
        let heard = Heard {
            to: echo.to,
            told_after: echo.told_after,
            octets: Arc::clone(&echo.octets),
            updates: echo.updates,
        };
        if echo.others == 0 {
            self.kept.remove(at);
            self.octets = self.octets.saturating_sub(heard.octets.len());
        }
        Some(heard)
    }

    /// Keeps a burst, and forgets the oldest ones when there are too many octets of them.
    pub(super) fn keep(&mut self, echo: Echo) {
        self.octets = self.octets.saturating_add(echo.octets.len());
        self.kept.push_back(echo);
        let is_dead = |echo: &Echo| echo.target.strong_count() == 0;
        while self.octets > ROOM || self.kept.len() > BURSTS || self.kept.front().is_some_and(is_dead) {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.octets = self.octets.saturating_sub(oldest.octets.len());
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.octets
    }
}

/// How many bursts are kept at most: they are looked for one by one.
const BURSTS: usize = 64;
