//! Which sessions came up or went down between two tables, as events. Pure.

use api::names::event::EventReason;

use crate::plan::{SessionPhase, SessionRow, SessionTable};

/// One thing worth an event on the node's SpeakerState.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionNews {
    /// Up or down.
    pub reason: EventReason,
    /// The sentence.
    pub note: String,
}

/// What happened from one table to the next, by peer. A session that went down and came up again in between is told
/// as both.
#[must_use]
pub fn news(before: &SessionTable, after: &SessionTable) -> Vec<SessionNews> {
    let mut news = Vec::new();
    for (peer, row) in &after.sessions {
        let old = before.sessions.get(peer);
        let moved = old.filter(|old| is_up(old) && is_elsewhere(old, row));
        if let Some(old) = moved {
            let (from, to) = (old.address, row.address);
            let note = format!("session with peer {peer} ({from}) ended: the peer is the router at {to} now");
            news.push(SessionNews { reason: EventReason::SessionDown, note });
        }
        let old = old.filter(|_| moved.is_none());
        let was_up = old.is_some_and(is_up);
        let times = |row: &SessionRow| row.established_count;
        let came_up = is_up(row) && (!was_up || old.map(times) != Some(times(row)));
        if was_up && (!is_up(row) || came_up) {
            news.push(down(peer, row));
        }
        if came_up {
            news.push(up(peer, row));
        }
        let refused = |row: &SessionRow| row.phase == SessionPhase::Refused;
        if refused(row) && !was_up && !old.is_some_and(refused) {
            news.push(down(peer, row));
        }
    }
    for (peer, row) in
        before.sessions.iter().filter(|(peer, row)| is_up(row) && !after.sessions.contains_key(*peer))
    {
        let note = format!(
            "session with peer {peer} ({}) ended: the node does not have this peer any more",
            row.address
        );
        news.push(SessionNews { reason: EventReason::SessionDown, note });
    }
    news
}

/// Whether the row is about another router now. One that is looked for has no address.
fn is_elsewhere(old: &SessionRow, row: &SessionRow) -> bool {
    !row.address.is_unspecified() && (old.address, old.port) != (row.address, row.port)
}

fn is_up(row: &SessionRow) -> bool {
    row.phase == SessionPhase::Established
}

fn up(peer: &str, row: &SessionRow) -> SessionNews {
    let asn = row.remote_asn.map(|asn| format!(", AS {asn}")).unwrap_or_default();
    SessionNews {
        reason: EventReason::SessionUp,
        note: format!("session with peer {peer} ({}{asn}) is established", row.address),
    }
}

fn down(peer: &str, row: &SessionRow) -> SessionNews {
    let why = row.last_error.as_ref().map_or("no reason is known", |fault| fault.text.as_str());
    SessionNews {
        reason: EventReason::SessionDown,
        note: format!("session with peer {peer} ({}) is down: {why}", row.address),
    }
}
