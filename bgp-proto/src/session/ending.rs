//! How connections and sessions end: with which last words, and what is to follow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{Dial, Session, Shared};
use crate::backoff::Answer;
use crate::connection::Connection;
use crate::event::{HangUp, PathFault, SpeakerEvent, Stop};
use crate::family::Families;
use crate::fsm::Farewell;
use crate::inspection::VerdictCounts;
use crate::peer::ConnectionId;
use crate::status::{Counters, DownReason, State};
use crate::wire::header::MessageType;
use crate::wire::notification::{ErrorCode, Notification, shutdown_data};

/// A session that was up for this long is healthy: the next failure starts counting anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// How long a removal waits for a peer to take its withdrawals.
const REMOVAL_LIMIT: Duration = Duration::from_secs(3);

/// Withdrawals go out first, the Hard Reset when they are gone or at the deadline.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) text: String,
    pub(super) deadline: Instant,
}

/// What is told of a session beyond its end.
#[derive(Debug)]
pub(crate) struct History {
    established_count: u32,
    counters: Counters,
    verdicts: VerdictCounts,
    last_down: Option<(Instant, DownReason)>,
}

impl Session {
    /// The peer is no longer configured.
    pub(crate) fn remove(mut self, now: Instant, shared: &mut Shared) {
        self.dial = Dial::Forbidden;
        self.end_all(now, DownReason::PeerRemoved, ErrorCode::PEER_DECONFIGURED, shared);
    }

    /// Another session with this router takes its place.
    pub(crate) fn give_way(mut self, now: Instant, shared: &mut Shared) -> History {
        self.dial = Dial::Forbidden;
        self.end_all(now, DownReason::ConfigurationChanged, ErrorCode::CONFIGURATION_CHANGE, shared);
        History {
            established_count: self.established_count,
            counters: self.counters,
            verdicts: self.inspection.counts,
            last_down: self.last_down,
        }
    }

    /// Goes on counting where the session before it ended.
    pub(crate) fn inherit(&mut self, history: History) {
        self.established_count = history.established_count;
        self.counters = history.counters;
        self.inspection.counts = history.verdicts;
        self.last_down = history.last_down;
    }

    /// The whole speaker ends.
    pub(crate) fn stop(&mut self, now: Instant, how: &Stop, shared: &mut Shared) {
        self.dial = Dial::Forbidden;
        match how {
            Stop::Restart => {
                for id in self.connection_ids() {
                    self.end(now, id, Farewell::silent(DownReason::Stopped), shared);
                }
            }
            Stop::AdminShutdown(text) => self.shut_down(now, |_| true, text, shared),
            Stop::Remove(text) => {
                self.shut_down(now, |connection| connection.told.is_none(), text, shared);
                self.wanted = Arc::default();
                for told in self.connections.iter_mut().filter_map(|connection| connection.told.as_mut()) {
                    told.cursor.owe_end_of_rib(Families::NONE);
                    told.cursor.retarget(Arc::default());
                }
                let deadline = now.checked_add(REMOVAL_LIMIT).unwrap_or(now);
                self.leaving = Some(Leaving { text: text.clone(), deadline });
            }
        }
        self.note_state(now);
    }

    /// Takes a connection down and sees to what comes after it.
    pub(super) fn end(&mut self, now: Instant, id: ConnectionId, farewell: Farewell, shared: &mut Shared) {
        let Some(at) = self.connections.iter().position(|connection| connection.id == id) else { return };
        let mut connection = self.connections.remove(at);
        shared.owners.remove(&id);
        if let Some(told) = &connection.told {
            shared.leave_class(told.class);
        }
        let was_up = connection.state() == State::Established;
        if was_up || self.connections.is_empty() {
            self.went_down(now, farewell.reason, shared);
        }
        if let Some(how) = farewell.how {
            let mut last = BytesMut::new();
            if how == HangUp::AfterFlush {
                connection.take_control(&mut last);
            }
            if let Some((code, data)) = farewell.notification {
                let keeps = connection.machine.negotiated().is_some_and(|n| n.keeps_after_notification);
                let (code, data) = if keeps { hardened(code, data) } else { (code, data) };
                Notification { code, data: &data }.encode(&mut last);
                self.counters.sent.count(MessageType::Notification);
            }
            if !last.is_empty() {
                shared.last_words.insert(id, last);
            }
            shared.events.push_back(SpeakerEvent::HangUp { connection: id, how });
        }
        if was_up && now.saturating_duration_since(self.since) >= HEALTHY_AFTER {
            self.backoff.reset();
        }
        if self.connections.is_empty() && self.dial == Dial::Off {
            self.wait(now, Answer::Connection, State::Idle, shared);
        }
    }

    pub(super) fn end_all(&mut self, now: Instant, reason: DownReason, code: ErrorCode, shared: &mut Shared) {
        for id in self.connection_ids() {
            self.end(now, id, Farewell::say(reason.clone(), code, Vec::new()), shared);
        }
    }

    /// BFD found the path dead. A connection on which nothing was said yet has its own timers: BFD never keeps a
    /// session from coming up.
    pub(crate) fn path_down(&mut self, now: Instant, fault: PathFault, shared: &mut Shared) {
        let up: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|connection| connection.state() == State::Established)
            .map(|connection| connection.id)
            .collect();
        for id in up {
            let farewell = Farewell::say(DownReason::PathDown(fault), ErrorCode::BFD_DOWN, Vec::new());
            self.end(now, id, farewell, shared);
        }
        self.note_state(now);
    }

    fn shut_down(
        &mut self,
        now: Instant,
        which: impl Fn(&Connection) -> bool,
        text: &str,
        shared: &mut Shared,
    ) {
        let ids: Vec<ConnectionId> = self.connections.iter().filter(|c| which(c)).map(|c| c.id).collect();
        for id in ids {
            let farewell = Farewell::say(DownReason::Stopped, ErrorCode::ADMIN_SHUTDOWN, shutdown_data(text));
            self.end(now, id, farewell, shared);
        }
    }

    /// The withdrawals are out, or have had their time: Hard Reset around an Administrative Shutdown, so
    /// that no router keeps our routes as stale ones (RFC 8538 §3).
    pub(super) fn leave(&mut self, now: Instant, shared: &mut Shared) {
        let Some(Leaving { text, .. }) = self.leaving.take() else { return };
        for id in self.connection_ids() {
            let (code, data) = wrapped(ErrorCode::ADMIN_SHUTDOWN, &shutdown_data(&text));
            let farewell = Farewell::say(DownReason::Stopped, code, data);
            self.end(now, id, farewell, shared);
        }
    }

    pub(super) fn went_down(&mut self, now: Instant, reason: DownReason, shared: &mut Shared) {
        self.last_down = Some((now, reason.clone()));
        shared.events.push_back(SpeakerEvent::Down { peer: self.config.key, reason });
    }
}

/// A NOTIFICATION inside a Hard Reset (RFC 8538 §3.1).
fn wrapped(inner: ErrorCode, inner_data: &[u8]) -> (ErrorCode, Vec<u8>) {
    let mut data = vec![inner.code, inner.subcode];
    data.extend_from_slice(inner_data);
    (ErrorCode::HARD_RESET, data)
}

/// Between speakers that keep routes after a NOTIFICATION, one that is meant to end the relation has to
/// say so (RFC 8538 §3.1: it is the operator who wants the routes gone).
fn hardened(code: ErrorCode, data: Vec<u8>) -> (ErrorCode, Vec<u8>) {
    match code {
        ErrorCode::ADMIN_SHUTDOWN | ErrorCode::PEER_DECONFIGURED => wrapped(code, &data),
        _ => (code, data),
    }
}
