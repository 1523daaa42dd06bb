//! The session table: what the core and the roster know, as rows for people.
//!
//! Instants become wall-clock times here and nowhere else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use api::config::{Peer, RemoteAsn, RouterAt};
use bgp_proto::wire::notification::ErrorCode;
use bgp_proto::{Counters, DownReason, Families, Family, PeerKey, SessionStatus, State};

use super::advert::Adverts;
use super::listen::Doors;
use super::member::{Member, nowhere};
use super::paths::Paths;
use super::roster::{Roster, StandBy, Why};
use crate::plan::{SessionFault, SessionPhase, SessionRow, SessionTable};

/// Turns instants into wall-clock times, the same instant into the same time each time.
#[derive(Debug)]
pub(super) struct WallClock {
    instant: Instant,
    time: SystemTime,
}

/// A wall clock that went more than this far from the monotonic one has been set (a Raspberry Pi has no clock of
/// its own and learns the year after the speaker has started).
const CLOCK_STEP: Duration = Duration::from_secs(1);

impl WallClock {
    /// Both clocks at this moment.
    pub(super) fn starting_at(instant: Instant, time: SystemTime) -> Self {
        Self { instant, time }
    }

    /// Compares the clocks again.
    pub(super) fn refresh(&mut self, instant: Instant, time: SystemTime) {
        let expected = self.at(instant);
        let apart = time.duration_since(expected).unwrap_or_else(|fault| fault.duration());
        if apart > CLOCK_STEP {
            *self = Self { instant, time };
        }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.time + later,
            None => self.time.checked_sub(self.instant - instant).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// What else is known of the way to the routers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// BFD.
    pub(super) paths: &'a Paths,
    /// Where routers may call.
    pub(super) doors: &'a Doors,
    /// How routers find this node on unnumbered links.
    pub(super) adverts: &'a Adverts,
}

/// One row for each peer of the plan, or for each router of a network.
pub(super) fn table(
    roster: &Roster,
    statuses: impl Iterator<Item = SessionStatus>,
    around: &Around<'_>,
    clock: &WallClock,
    now: Instant,
) -> SessionTable {
    let statuses: BTreeMap<PeerKey, SessionStatus> = statuses.map(|status| (status.key, status)).collect();
    let running = roster.members().map(|(name, member)| {
        let row = match statuses.get(&member.key) {
            Some(status) => running_row(roster, member, status, around, clock),
            None => SessionRow { since: clock.at(now), ..blank_row(&member.peer, member.target.remote.ip()) },
        };
        (name.to_owned(), SessionRow { bfd: around.paths.row(member.key), ..row })
    });
    let standing_by =
        roster.standing_by().map(|(name, by)| (name.to_owned(), standing_by_row(by, around, clock)));
    SessionTable { sessions: running.chain(standing_by).collect() }
}

/// Puts down how much each router has not acknowledged, as its connections tell, by the name of the row.
pub(super) fn note_acknowledged<'a>(
    table: &mut SessionTable,
    connections: impl Iterator<Item = (&'a str, u32)>,
) {
    for (name, octets) in connections {
        let row = table.sessions.get_mut(name).filter(|row| row.phase == SessionPhase::Established);
        if let Some(row) = row {
            row.unacknowledged = row.unacknowledged.max(Some(octets));
        }
    }
}

fn running_row(
    roster: &Roster,
    member: &Member,
    status: &SessionStatus,
    around: &Around<'_>,
    clock: &WallClock,
) -> SessionRow {
    let blank = blank_row(&member.peer, member.target.remote.ip());
    let carries = if status.state == State::Established { status.announces } else { member.families() };
    let wanted = || member.routes.iter().filter(|(prefix, _)| carries.contains(prefix.family())).count();
    let pending = match status.converged {
        true => status.prefixes_too_large,
        false => u32::try_from(wanted()).unwrap_or(u32::MAX).saturating_sub(status.prefixes_sent),
    };
    let is_written = status.converged && status.prefixes_too_large == 0;
    let missing = missing_next_hop(member, status, clock).or_else(|| too_large(status, clock));
    let fault = || last_fault(roster, member, status, clock);
    SessionRow {
        remote_asn: status.remote_asn.map(|asn| asn.0).or(blank.remote_asn),
        phase: phase(status.state),
        since: clock.at(status.since),
        carries,
        written: is_written.then(|| Arc::clone(&member.routes)),
        prefixes_sent: status.prefixes_sent,
        prefixes_pending: pending,
        hold_time_seconds: status.hold.map(|hold| hold.seconds()).filter(|seconds| *seconds > 0),
        keepalive_seconds: status.keepalive.and_then(|interval| u16::try_from(interval.as_secs()).ok()),
        router_id: status.remote_router_id.map(|id| id.to_address()),
        local_router_id: Some(roster.router_id(member).to_address()),
        local_address: member.local,
        last_error: missing.or_else(|| obstacle(member, status, around, clock)).or_else(fault),
        established_count: status.established_count,
        messages_sent: status.counters.sent.total(),
        messages_received: status.counters.received.total(),
        updates_sent: status.counters.sent.updates,
        verdicts: member.peer.inspect.then_some(status.verdicts),
        messages: status.counters,
        ..blank
    }
}

/// A session that is up and cannot carry all its routes says so, before any history.
fn missing_next_hop(member: &Member, status: &SessionStatus, clock: &WallClock) -> Option<SessionFault> {
    if status.state != State::Established {
        return None;
    }
    let family = match member.family_without_next_hop(status.extended_next_hop)? {
        Family::Ipv4Unicast => "IPv4",
        Family::Ipv6Unicast => "IPv6",
    };
    let local = member.local.map_or_else(|| "the session".to_owned(), |local| local.to_string());
    let text = format!(
        "{family} routes are not announced on this session: the interface of {local} has no global {family} address to be their next hop"
    );
    Some(SessionFault { text, at: clock.at(status.since) })
}

/// So does one whose router cannot be told something in any message.
fn too_large(status: &SessionStatus, clock: &WallClock) -> Option<SessionFault> {
    let count = status.prefixes_too_large;
    let text =
        format!("{count} routes are not announced on this session: their attributes fit into no BGP message");
    (count > 0).then(|| SessionFault { text, at: clock.at(status.since) })
}

/// What keeps a session down whatever it tries: a door that does not open, or a router that cannot find this node.
fn obstacle(
    member: &Member,
    status: &SessionStatus,
    around: &Around<'_>,
    clock: &WallClock,
) -> Option<SessionFault> {
    if status.state >= State::OpenSent {
        return None;
    }
    let door = member.entrance().and_then(|entrance| around.doors.fault(&entrance));
    if let Some((at, text)) = door {
        return Some(SessionFault { text: text.to_owned(), at: clock.at(at) });
    }
    let is_unnumbered = matches!(member.peer.router, RouterAt::Interface(_));
    let text = around.adverts.fault().filter(|_| is_unnumbered && status.state != State::Connect)?;
    Some(SessionFault { text: text.to_owned(), at: clock.at(status.since) })
}

/// The core's last reason; a failed dial has better words here than there, and about our router ID the core cannot know
/// what to do.
fn last_fault(
    roster: &Roster,
    member: &Member,
    status: &SessionStatus,
    clock: &WallClock,
) -> Option<SessionFault> {
    let (at, reason) = status.last_down.as_ref()?;
    let text = match (reason, &member.dial_fault) {
        (DownReason::ConnectFailed(_), Some((_, words))) => words.clone(),
        (reason, _) if is_about_router_id(reason) => {
            let ours = roster.router_id(member).to_address();
            format!(
                "{reason}. This node's router ID is {ours}: the router itself or another node has it too. speakerctl peers, asked of the API, names the node; routerID gives this one another"
            )
        }
        (reason, _) => reason.to_string(),
    };
    Some(SessionFault { text, at: clock.at(*at) })
}

fn is_about_router_id(reason: &DownReason) -> bool {
    matches!(
        reason,
        DownReason::SameRouterId(_) | DownReason::NotificationReceived { code: ErrorCode::BAD_ROUTER_ID, .. }
    )
}

fn standing_by_row(by: &StandBy, around: &Around<'_>, clock: &WallClock) -> SessionRow {
    let peer = by.peer.as_ref();
    let since = clock.at(by.since);
    let (phase, text) = match &by.why {
        Why::Refused => (SessionPhase::Refused, peer.refused.as_ref().map(ToString::to_string)),
        Why::NotFound(fault) => (SessionPhase::Idle, Some(fault.to_string())),
        Why::SameRouter { other, remote } => {
            let text = format!(
                "{} is {remote}, with which peer {other} has a session already; remove one of both",
                peer.router
            );
            (SessionPhase::Idle, Some(text))
        }
        Why::Range => {
            let entrance = by.entrance();
            let fault = entrance.and_then(|entrance| Some(around.doors.fault(&entrance)?.1.to_owned()));
            (SessionPhase::Active, fault)
        }
    };
    let last_error = text.map(|text| SessionFault { text, at: since });
    SessionRow { phase, since, last_error, ..blank_row(peer, nowhere(peer)) }
}

fn blank_row(peer: &Peer, address: IpAddr) -> SessionRow {
    SessionRow {
        address,
        port: peer.port,
        remote_asn: match peer.remote_asn {
            RemoteAsn::Exactly(asn) => Some(asn),
            RemoteAsn::Internal => Some(peer.local_asn),
            RemoteAsn::External => None,
        },
        local_asn: peer.local_asn,
        phase: SessionPhase::Idle,
        since: SystemTime::UNIX_EPOCH,
        carries: if peer.dual_stack || matches!(peer.router, RouterAt::Interface(_)) {
            Families::BOTH
        } else {
            Families::NONE.with(Family::of(address))
        },
        written: None,
        prefixes_sent: 0,
        prefixes_pending: 0,
        hold_time_seconds: None,
        keepalive_seconds: None,
        router_id: None,
        local_router_id: None,
        local_address: None,
        last_error: None,
        established_count: 0,
        messages_sent: 0,
        messages_received: 0,
        updates_sent: 0,
        verdicts: None,
        messages: Counters::default(),
        unacknowledged: None,
        bfd: None,
    }
}

fn phase(state: State) -> SessionPhase {
    match state {
        State::Idle => SessionPhase::Idle,
        State::Connect => SessionPhase::Connect,
        State::Active => SessionPhase::Active,
        State::OpenSent => SessionPhase::OpenSent,
        State::OpenConfirm => SessionPhase::OpenConfirm,
        State::Established => SessionPhase::Established,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_instants_are_equal_times_until_the_clock_is_set() {
        let start = Instant::now();
        let mut clock = WallClock::starting_at(start, SystemTime::UNIX_EPOCH);
        let later = start + Duration::from_secs(60);
        clock.refresh(later, SystemTime::UNIX_EPOCH + Duration::from_millis(60_900));
        assert_eq!(clock.at(later), SystemTime::UNIX_EPOCH + Duration::from_secs(60), "drift is not a step");
        let year_2026 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        clock.refresh(later, year_2026);
        assert_eq!(clock.at(start), year_2026 - Duration::from_secs(60));
    }
}
