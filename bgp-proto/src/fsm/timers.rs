//! The three timers of a connection. Off is `None`.

use std::time::Instant;

/// Deadlines of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    /// When silence has lasted too long.
    pub(crate) hold: Option<Instant>,
    /// When the next KEEPALIVE is due.
    pub(crate) keepalive: Option<Instant>,
    /// When the peer has taken nothing for too long (RFC 9687); runs only while octets wait.
    pub(crate) send_hold: Option<Instant>,
}

/// A timer that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    Hold,
    SendHold,
    Keepalive,
}

impl Timers {
    pub(crate) fn next(&self) -> Option<Instant> {
        [self.hold, self.keepalive, self.send_hold].into_iter().flatten().min()
    }

    /// The gravest one that has run out.
    pub(crate) fn expired(&self, now: Instant) -> Option<Expired> {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.hold) {
            Some(Expired::Hold)
        } else if is_over(self.send_hold) {
            Some(Expired::SendHold)
        } else if is_over(self.keepalive) {
            Some(Expired::Keepalive)
        } else {
            None
        }
    }
}
