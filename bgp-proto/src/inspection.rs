//! What is remembered of received UPDATEs where they are inspected: how many of each class, and the last
//! faults with the octets that a report to the router's vendor needs.
//!
//! The verdicts themselves are `wire::check`'s. No route is kept.

use std::collections::VecDeque;
use std::time::Instant;

use crate::wire::check::{Class, Reason, Verdict};

/// How many faults are kept for each peer.
const FAULTS: usize = 8;

/// How many UPDATEs were worth what, over the life of the session's configuration (RFC 7606 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictCounts {
    /// Nothing was wrong.
    pub accepted: u64,
    /// An attribute was dropped: faulty and harmless, or not known.
    pub discarded: u64,
    /// All routes were treated as withdrawn.
    pub withdrawn: u64,
    /// The routes could not be told, and the session was reset.
    pub reset: u64,
}

impl VerdictCounts {
    fn count(&mut self, class: Class) {
        let counter = match class {
            Class::Accept => &mut self.accepted,
            Class::Discard => &mut self.discarded,
            Class::Withdraw => &mut self.withdrawn,
            Class::Reset => &mut self.reset,
        };
        *counter = counter.saturating_add(1);
    }
}

/// One faulty UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it came, on the caller's clock.
    pub at: Instant,
    /// What is wrong with it.
    pub verdict: Verdict,
    octets: [u8; Self::OCTETS],
    kept: usize,
}

impl Fault {
    /// How many octets of a message are kept, from its marker on.
    pub const OCTETS: usize = 64;

    /// The first octets of the message.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.kept).unwrap_or(&self.octets)
    }
}

/// Bounded, and without a heap until the first fault.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) counts: VerdictCounts,
    /// Oldest first.
    faults: VecDeque<Fault>,
}

impl Inspection {
    /// Counts a verdict. What routers may send and we merely have no use for is not kept as a fault.
    pub(crate) fn note(&mut self, now: Instant, verdict: Verdict, message: &[u8]) {
        self.counts.count(verdict.class);
        match verdict.reason {
            Reason::None | Reason::Unknown | Reason::NotFromHere | Reason::NotNegotiated => return,
            Reason::Overrun
            | Reason::Flags
            | Reason::Length
            | Reason::Value
            | Reason::Repeated
            | Reason::Missing
            | Reason::UnknownWellKnown
            | Reason::Nlri
            | Reason::Lengths => {}
        }
        if self.faults.len() == FAULTS {
            self.faults.pop_front();
        }
        let mut octets = [0; Fault::OCTETS];
        let kept = message.len().min(Fault::OCTETS);
        for (to, from) in octets.iter_mut().zip(message) {
            *to = *from;
        }
        self.faults.push_back(Fault { at: now, verdict, octets, kept });
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }
}
