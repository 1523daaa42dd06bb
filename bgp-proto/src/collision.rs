//! Which of two connections to one peer stays (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §4.2).
//!
//! Closing the other one is the session's work.

use crate::number::{Asn, RouterId};

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// We dialled.
    Outgoing,
    /// The peer dialled.
    Incoming,
}

/// One end of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    /// Compared first; the AS decides only between equal identifiers.
    pub(crate) router_id: RouterId,
    pub(crate) asn: Asn,
}

/// How far the older connection is when the peer's OPEN arrives on the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Older {
    /// Its OPEN has not come yet: the peer may not even know of it.
    OpenSent,
    OpenConfirm,
    Established {
        /// Both sides exchanged the graceful restart capability, and the peer's names a family (RFC 4724 §5).
        graceful_restart: bool,
    },
}

/// What happens to the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is no collision yet.
    BothStay,
    /// The newer one is closed.
    OlderStays,
    /// The older one is closed with a Cease.
    NewerStays,
    /// The older one is a leftover of before the peer restarted and is dropped without a word.
    NewerSupersedes,
}

/// `older` is how far the other connection is now that the peer's OPEN has come on the newer one, `met` how far the earlier
/// of both was when the later one came up.
pub(crate) fn resolve(older: Older, met: Older, newer: Direction, local: End, remote: End) -> Outcome {
    let by_identifier = || {
        let dialled_by_higher = if local > remote { Direction::Outgoing } else { Direction::Incoming };
        if newer == dialled_by_higher { Outcome::NewerStays } else { Outcome::OlderStays }
    };
    match (older, met) {
        (Older::OpenSent, _) => Outcome::BothStay,
        (Older::OpenConfirm, _) => by_identifier(),
        // The peer has had both of our OPENs before it could hear that one of the two is Established, and so it has
        // chosen by identifier. It is no restart: both calls are older than the session.
        (Older::Established { .. }, Older::OpenSent) => by_identifier(),
        (Older::Established { .. }, Older::OpenConfirm) => Outcome::OlderStays,
        // A call from behind the session: the peer has lost its side of it (RFC 4724 §4.2).
        (Older::Established { graceful_restart: true }, Older::Established { .. }) => {
            Outcome::NewerSupersedes
        }
        (Older::Established { graceful_restart: false }, Older::Established { .. }) => Outcome::OlderStays,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const UP: Older = Older::Established { graceful_restart: true };

    fn end(id: u8, asn: u32) -> End {
        End { router_id: RouterId::try_new(Ipv4Addr::new(10, 0, 0, id)).unwrap(), asn: Asn(asn) }
    }

    #[test]
    fn the_connection_of_the_higher_router_id_stays() {
        let check = |local, remote, newer, expected| {
            for older in [Older::OpenConfirm, UP] {
                assert_eq!(resolve(older, Older::OpenSent, newer, local, remote), expected, "{older:?}");
            }
        };
        check(end(1, 9), end(2, 5), Direction::Incoming, Outcome::NewerStays);
        check(end(1, 9), end(2, 5), Direction::Outgoing, Outcome::OlderStays);
        check(end(2, 5), end(1, 9), Direction::Incoming, Outcome::OlderStays);
        check(end(2, 5), end(1, 9), Direction::Outgoing, Outcome::NewerStays);
    }

    #[test]
    fn the_higher_as_decides_between_equal_router_ids() {
        let check = |local, remote, newer, expected| {
            assert_eq!(resolve(Older::OpenConfirm, Older::OpenSent, newer, local, remote), expected);
        };
        check(end(1, 5), end(1, 9), Direction::Incoming, Outcome::NewerStays);
        check(end(1, 9), end(1, 5), Direction::Incoming, Outcome::OlderStays);
    }

    #[test]
    fn both_ends_keep_the_same_connection() {
        for (one, other) in [(end(1, 9), end(2, 5)), (end(2, 5), end(1, 9)), (end(1, 5), end(1, 9))] {
            // The connection that `one` dialled is the newer one on both sides.
            let here = resolve(Older::OpenConfirm, Older::OpenSent, Direction::Outgoing, one, other);
            let there = resolve(Older::OpenConfirm, Older::OpenSent, Direction::Incoming, other, one);
            assert_eq!(here, there);
        }
    }

    #[test]
    fn an_established_session_stays_unless_the_peer_can_restart_gracefully() {
        for direction in [Direction::Incoming, Direction::Outgoing] {
            let check = |graceful_restart, expected| {
                let older = Older::Established { graceful_restart };
                assert_eq!(resolve(older, older, direction, end(1, 1), end(2, 2)), expected);
                // A call that was there before the session is no sign of a restart.
                let stays = resolve(older, Older::OpenConfirm, direction, end(1, 1), end(2, 2));
                assert_eq!(stays, Outcome::OlderStays);
            };
            check(false, Outcome::OlderStays);
            check(true, Outcome::NewerSupersedes);
        }
    }

    #[test]
    fn a_connection_without_open_is_no_collision() {
        let outcome = resolve(Older::OpenSent, Older::OpenSent, Direction::Incoming, end(1, 1), end(2, 2));
        assert_eq!(outcome, Outcome::BothStay);
    }
}
