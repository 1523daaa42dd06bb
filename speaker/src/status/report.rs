//! What the speaker says of itself: the contents of its SpeakerState, and the same for the local socket. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use api::herald::speaker_state::{
    MAX_ROUTES_LISTED, MAX_WITHHELD_LISTED, SessionState, SpeakerStateStatus, WithheldService,
};
use api::herald::{RouteState, Told};
use bfd_proto::State;
use bgp_proto::{Families, RouteSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::routes;
use crate::plan::{Plan, SessionPhase, SessionRow, SessionTable};

/// The version that SpeakerState shows.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The status that follows from plan, sessions and the networks that the node is connected to. Before the first plan there
/// are no sessions and no verdicts.
#[must_use]
pub fn status(plan: &Plan, table: &SessionTable, networks: &[String]) -> SpeakerStateStatus {
    let sessions: Vec<SessionState> = table.sessions.iter().map(|(peer, row)| session(peer, row)).collect();
    let refusals = plan.verdicts.iter().flat_map(|(service, verdict)| {
        verdict.refusals().map(move |(address, reason)| (service, address, reason))
    });
    let listed = refusals.take(MAX_WITHHELD_LISTED).map(|(service, address, reason)| WithheldService {
        service: service.to_string(),
        address: address.map(|address| address.to_string()),
        reason: reason.word().to_owned(),
        message: reason.to_string(),
    });
    let withheld = plan.verdicts.iter().filter(|(_, verdict)| verdict.reason().is_some()).count();
    SpeakerStateStatus {
        version: VERSION.to_owned(),
        removed: false,
        summary: SpeakerStateStatus::session_summary(&sessions),
        announced_prefixes: announced_prefixes(plan, table),
        routes: listed_routes(plan, table),
        connected_networks: networks.to_vec(),
        withheld: listed.collect(),
        withheld_total: u32::try_from(withheld).unwrap_or(u32::MAX),
        sessions,
    }
}

/// Two peers may be told different things of one prefix, so the bound is taken again.
fn listed_routes(plan: &Plan, table: &SessionTable) -> Vec<RouteState> {
    let mut routes = routes::first(plan, table, MAX_ROUTES_LISTED);
    routes.truncate(MAX_ROUTES_LISTED);
    // What is acknowledged changes with each message; an object that is written seldom says what lasts.
    for peer in routes.iter_mut().flat_map(|route| &mut route.peers) {
        peer.told = peer.told.min(Told::Sent);
    }
    routes
}

/// Different prefixes that at least one session carries. Sessions that are told the same share their set, which is then
/// counted once.
fn announced_prefixes(plan: &Plan, table: &SessionTable) -> u32 {
    let mut sets: Vec<(&Arc<RouteSet>, Families)> = Vec::new();
    for (name, peer) in &plan.peers {
        for (_, row) in table.rows_of(name).filter(|(_, row)| row.phase == SessionPhase::Established) {
            let same = |(set, carries): &&(&Arc<RouteSet>, Families)| {
                Arc::ptr_eq(set, &peer.routes) && *carries == row.carries
            };
            if !sets.iter().any(|set| same(&set)) {
                sets.push((&peer.routes, row.carries));
            }
        }
    }
    let carried = |(set, carries): &(&Arc<RouteSet>, Families)| {
        let carries = *carries;
        let prefixes = set.iter().map(|(prefix, _)| prefix);
        prefixes.filter(move |prefix| carries.contains(prefix.family())).collect::<Vec<_>>()
    };
    let count = match sets.as_slice() {
        [one] => carried(one).len(),
        several => several.iter().flat_map(carried).collect::<BTreeSet<_>>().len(),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn session(peer: &str, row: &SessionRow) -> SessionState {
    SessionState {
        peer: peer.to_owned(),
        address: row.address.to_string(),
        port: row.port,
        asn: row.remote_asn.unwrap_or_default(),
        local_asn: row.local_asn,
        state: row.phase.word().to_owned(),
        since: time(row.since),
        prefixes_sent: row.prefixes_sent,
        hold_time_seconds: row.hold_time_seconds,
        keepalive_seconds: row.keepalive_seconds,
        router_id: row.router_id.map(|id| id.to_string()),
        local_router_id: row.local_router_id.map(|id| id.to_string()),
        local_address: row.local_address.map(|address| address.to_string()),
        last_error: row.last_error.as_ref().map(|fault| fault.text.clone()),
        last_error_at: row.last_error.as_ref().and_then(|fault| time(fault.at)),
        established_count: row.established_count,
        messages_sent: row.messages_sent,
        messages_received: row.messages_received,
        bfd: row.bfd.as_ref().map(|bfd| bfd.state.word().to_owned()),
        bfd_detection_milliseconds: row
            .bfd
            .as_ref()
            .and_then(|bfd| u32::try_from(bfd.detection_time?.as_millis()).ok()),
        bfd_message: row.bfd.as_ref().and_then(|bfd| bfd.message.clone()),
    }
}

/// In whole seconds, as the API shows times; `None` for a clock that stands outside the calendar.
fn time(at: SystemTime) -> Option<Time> {
    let at = Timestamp::try_from(at).ok()?;
    let whole = at.checked_sub(SignedDuration::from_nanos(i64::from(at.subsec_nanosecond()))).ok()?;
    Some(Time(whole))
}

/// How much a status differs from what was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// In nothing but message counters, which count all the time.
    None,
    /// In which prefixes or networks there are, or how often a session has tried.
    Numbers,
    /// In the state of a session, or which Services are withheld.
    Transition,
    /// In what other speakers wait for: this node can no longer do what they leave to it.
    Awaited,
}

/// Compares what is to be written with what was.
#[must_use]
pub fn difference(written: &SpeakerStateStatus, now: &SpeakerStateStatus) -> Difference {
    let mut calm = now.clone();
    let same_sessions = written.sessions.len() == now.sessions.len();
    if !same_sessions {
        return Difference::Transition;
    }
    for (new, old) in calm.sessions.iter_mut().zip(&written.sessions) {
        (new.messages_sent, new.messages_received) = (old.messages_sent, old.messages_received);
    }
    if calm == *written {
        return Difference::None;
    }
    for (new, old) in calm.sessions.iter_mut().zip(&written.sessions) {
        new.prefixes_sent = old.prefixes_sent;
        new.last_error_at.clone_from(&old.last_error_at);
        // A session that is being tried goes through these states again and again.
        if is_trying(&new.state) && is_trying(&old.state) {
            new.state.clone_from(&old.state);
            new.since.clone_from(&old.since);
        }
        // So does a BFD session on a path that carries packets one way only.
        if is_trying_bfd(new.bfd.as_ref()) && is_trying_bfd(old.bfd.as_ref()) {
            new.bfd.clone_from(&old.bfd);
            new.bfd_detection_milliseconds = old.bfd_detection_milliseconds;
            new.bfd_message.clone_from(&old.bfd_message);
        }
    }
    calm.announced_prefixes = written.announced_prefixes;
    calm.routes.clone_from(&written.routes);
    calm.connected_networks.clone_from(&written.connected_networks);
    if calm == *written { Difference::Numbers } else { Difference::Transition }
}

fn is_trying_bfd(state: Option<&String>) -> bool {
    state.is_some_and(|state| state != State::Up.word() && state != State::AdminDown.word())
}

fn is_trying(state: &str) -> bool {
    state != SessionPhase::Established.word() && state != SessionPhase::Refused.word()
}
