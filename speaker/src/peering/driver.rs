//! The loop: one owner of all sessions, fed by sockets, deadlines, plans and the stop signal.
//!
//! Each round waits for something, hands it to the core with one `handle_*`, and drains what the core has to say.
//! Every step is bounded (one read, a few bursts of writing a connection), so that neither a flood nor a stuck
//! router delays another. It does not look into BGP messages: there is no `match` on one here.

mod calls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bgp_proto::{CloseCause, ConnectionId, DownReason, Event, HangUp, PeerKey, Speaker, SpeakerEvent, Stop};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{info, warn};

use super::PeeringSettings;
use super::advert::Adverts;
use super::connection::Received;
use super::dial::{DialFault, Dials};
use super::gather::Gathering;
use super::interface::{self, Home};
use super::latency::Latency;
use super::listen::Doors;
use super::paths::Paths;
use super::report::{self, Around, WallClock};
use super::roster::Roster;
use super::shutdown;
use super::turn::{Live, close_cause, transmit_turn};
use super::wake::{Wake, any_ready, next_plan, now, stop_asked, until};
use crate::plan::{Plan, SessionTable, StopHow};
use crate::takeover::Succession;

mod rekey;
mod turn_over;

/// How late the table may be with counters; phases are told at once.
const REPORT_DELAY: Duration = Duration::from_millis(200);

/// How often to look for a next hop of the other family while one is wanted.
const RELOCATE_EVERY: Duration = Duration::from_secs(30);

/// How long routers have to move traffic elsewhere between GRACEFUL_SHUTDOWN and the withdrawal.
const SHUTDOWN_NOTICE: Duration = Duration::from_secs(1);

/// How long the orderly end may take, that notice included.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// How long the end may take at most, a successor that is waited for included.
pub(super) const LONGEST_END: Duration = STOP_WAIT.saturating_add(turn_over::SUCCESSOR_WAIT);

/// All sessions of this node and what they need.
#[derive(Debug)]
pub(super) struct Driver {
    settings: PeeringSettings,
    /// Whose turn it is to hold the sessions, this process's or another's.
    succession: Succession,
    /// The newest synced plan, whoever holds the sessions.
    latest: Option<Arc<Plan>>,
    /// Until when the end waits for a successor.
    put_off_until: Option<Instant>,
    speaker: Speaker,
    roster: Roster,
    connections: BTreeMap<ConnectionId, Live>,
    next_connection: u64,
    dials: Dials,
    doors: Doors,
    adverts: Adverts,
    paths: Paths,
    gathering: Gathering,
    waiting_plan: Option<Arc<Plan>>,
    latency: Latency,
    relocate_at: Option<Instant>,
    /// When to look for routers that are not written down, and at callers that have gone.
    look_at: Option<Instant>,
    /// When a caller whom nobody waits for was last worth a line.
    stranger_at: Option<Instant>,
    /// The newest fault of received UPDATEs that was told, by peer.
    faults_told: BTreeMap<PeerKey, Instant>,
    report_at: Option<Instant>,
    clock: WallClock,
    sessions: watch::Sender<Arc<SessionTable>>,
    stopping_until: Option<Instant>,
    /// The routes are marked with GRACEFUL_SHUTDOWN; when to withdraw them, and with which words.
    removal: Option<(Instant, String)>,
}

impl Driver {
    /// No session yet.
    pub(super) fn new(
        settings: &PeeringSettings,
        sessions: watch::Sender<Arc<SessionTable>>,
        succession: Succession,
    ) -> Self {
        Self {
            settings: settings.clone(),
            succession,
            latest: None,
            put_off_until: None,
            // The process always starts as one that comes back (the R bit of RFC 4724): towards a router that holds
            // nothing from before this changes nothing, and towards one that does its absence flushes the routes.
            speaker: Speaker::new(settings.seed, true),
            roster: Roster::new(&settings.node_name),
            connections: BTreeMap::new(),
            next_connection: 0,
            dials: Dials::default(),
            doors: Doors::default(),
            adverts: Adverts::default(),
            paths: Paths::new(settings.seed.rotate_left(32)),
            gathering: Gathering::default(),
            waiting_plan: None,
            latency: Latency::new(settings.times.clone()),
            relocate_at: None,
            look_at: None,
            stranger_at: None,
            faults_told: BTreeMap::new(),
            report_at: None,
            clock: WallClock::starting_at(now(), SystemTime::now()),
            sessions,
            stopping_until: None,
            removal: None,
        }
    }

    /// Until stopped.
    pub(super) async fn run(
        mut self,
        plans: watch::Receiver<Arc<Plan>>,
        stop: watch::Receiver<Option<StopHow>>,
    ) {
        let mut plans = Some(plans);
        let mut stop = Some(stop);
        if let Some(first) = plans.as_mut().map(|plans| Arc::clone(&plans.borrow_and_update())) {
            self.receive_plan(first).await;
        }
        loop {
            self.drain();
            self.report_if_due();
            if self.is_stopped() {
                // The last to go: a router that saw BFD end before BGP would call it a failure.
                self.paths.end().await;
                return;
            }
            match self.wait(plans.as_mut(), stop.as_mut()).await {
                Wake::Plan(Some(plan)) => self.receive_plan(plan).await,
                Wake::Turn(turn) => self.handle_turn(turn).await,
                Wake::Plan(None) => plans = None,
                Wake::Stop(how) => {
                    stop = None;
                    if !self.puts_off(now(), &how) {
                        self.handle_stop(how);
                    }
                }
                Wake::Dialled(peer, Ok(stream)) => self.handle_connected(peer, stream),
                Wake::Dialled(peer, Err(fault)) => self.handle_dial_fault(peer, &fault),
                Wake::Called(stream, from) => self.handle_call(stream, from),
                Wake::Ready(connections) => {
                    for connection in connections {
                        self.handle_readable(connection);
                        self.drain();
                    }
                    self.report_if_due();
                    // Sockets may be ready all the time; the daemon's other tasks want their turn as well.
                    tokio::task::yield_now().await;
                }
                Wake::Path => self.handle_path_news(),
                Wake::Deadline => {}
            }
            self.handle_deadlines();
        }
    }

    async fn wait(
        &mut self,
        plans: Option<&mut watch::Receiver<Arc<Plan>>>,
        stop: Option<&mut watch::Receiver<Option<StopHow>>>,
    ) -> Wake {
        let deadline = self.next_deadline();
        // Until the end has begun, plans are followed: also while it waits for a successor.
        let plans = plans.filter(|_| self.stopping_until.is_none());
        tokio::select! {
            plan = next_plan(plans) => Wake::Plan(plan),
            how = stop_asked(stop) => Wake::Stop(how),
            (peer, outcome) = self.dials.next() => Wake::Dialled(peer, outcome),
            (stream, from) = self.doors.caller() => Wake::Called(stream, from),
            () = self.paths.changed() => Wake::Path,
            turn = self.succession.next() => Wake::Turn(turn),
            ready = any_ready(&self.connections) => Wake::Ready(ready),
            () = until(deadline) => Wake::Deadline,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let farewells = self.connections.values().filter_map(|live| live.connection.deadline());
        [
            self.speaker.poll_timeout(),
            self.gathering.due(),
            self.relocate_at,
            self.look_at,
            self.doors.next_retry(),
            self.report_at,
            self.latency.due(),
            self.stopping_until,
            self.put_off_until,
        ]
        .into_iter()
        .flatten()
        .chain(farewells)
        .min()
    }

    fn handle_deadlines(&mut self) {
        let now = now();
        if self.speaker.poll_timeout().is_some_and(|due| due <= now) {
            // Octets that lay unread while this process had no CPU are no silence of the router.
            for connection in self.connections.keys().copied().collect::<Vec<_>>() {
                self.handle_readable(connection);
                self.drain();
            }
            self.speaker.handle_timeout(now);
            self.report_soon(now);
        }
        if self.gathering.is_due(now) {
            self.pass_on_plan(now);
        }
        if self.relocate_at.is_some_and(|due| due <= now) {
            self.relocate(now);
        }
        if self.put_off_until.take_if(|until| *until <= now).is_some() {
            self.handle_stop(StopHow::Restart);
        }
        if self.look_at.is_some_and(|due| due <= now) {
            self.look_around(now);
        }
        if self.doors.next_retry().is_some_and(|due| due <= now) {
            self.doors.serve(now, &self.roster.entrances());
            self.report_at = Some(now);
        }
        self.latency.look(now, &self.connections);
        self.remove_if_due(now);
        self.connections.retain(|_, live| live.connection.deadline().is_none_or(|until| until > now));
    }

    fn handle_plan(&mut self, plan: Arc<Plan>) {
        // An unsynced plan means "not looked yet", not "nothing wanted".
        if !plan.synced {
            return;
        }
        let now = now();
        let same_peers = self.roster.same_peers(&plan);
        self.gathering.note(now, self.roster.news(&plan));
        self.waiting_plan = Some(plan);
        if !same_peers || self.gathering.is_due(now) {
            self.pass_on_plan(now);
        }
    }

    fn pass_on_plan(&mut self, now: Instant) {
        self.gathering.released(now);
        let Some(plan) = self.waiting_plan.take() else { return };
        let before: BTreeMap<_, _> =
            self.roster.members().map(|(_, member)| (member.key, Arc::clone(&member.routes))).collect();
        self.rekey(&plan);
        self.roster.apply(now, &plan);
        self.settle(now);
        let news = self.roster.members().filter(|(_, member)| {
            before.get(&member.key).is_some_and(|before| !Arc::ptr_eq(before, &member.routes))
        });
        let news = news.map(|(_, member)| member.key).collect();
        self.latency.begin(&plan, &news, &self.connections, &self.speaker);
    }

    /// Brings everything into line with the roster.
    fn settle(&mut self, now: Instant) {
        self.dials.keep(|peer| self.roster.contains(peer));
        self.speaker.set_peers(now, &self.roster.configs());
        for (_, member) in self.roster.members() {
            self.speaker.set_routes(member.key, Arc::clone(&member.routes));
        }
        self.doors.serve(now, &self.roster.entrances());
        self.paths.serve(&self.roster);
        let interval = self.roster.look_interval();
        self.look_at = interval.map(|interval| self.look_at.unwrap_or(now).min(now + interval));
        let dual_stack = self.roster.members().any(|(_, member)| member.is_dual_stack());
        self.relocate_at = dual_stack.then(|| self.relocate_at.unwrap_or(now + RELOCATE_EVERY));
        self.report_at = Some(now);
    }

    /// Looks again for next hops of sessions that are up: an interface may get its address of the other family after
    /// the session came up.
    fn relocate(&mut self, now: Instant) {
        self.relocate_at = Some(now + RELOCATE_EVERY);
        let mut changed = false;
        for member in self.roster.members_mut().filter(|member| member.is_dual_stack()) {
            let later = Home::locate(member.target.remote, member.target.source);
            let improved = member.home.improved_by(later, interface::is_here);
            changed |= improved != member.home;
            member.home = improved;
        }
        if changed {
            self.speaker.set_peers(now, &self.roster.configs());
        }
    }

    fn handle_path_news(&mut self) {
        let now = now();
        for event in self.paths.news() {
            self.speaker.handle_event(now, event);
        }
        self.report_at = Some(now);
    }

    fn handle_stop(&mut self, how: StopHow) {
        let now = now();
        info!(%how, "ending all sessions");
        self.dials.keep(|_| false);
        self.doors.shut();
        self.look_at = None;
        self.gathering = Gathering::default();
        self.waiting_plan = None;
        self.stopping_until = Some(now + STOP_WAIT);
        match how {
            StopHow::Restart => self.speaker.stop(now, Stop::Restart),
            StopHow::Remove(text) => {
                for (_, member) in self.roster.members() {
                    self.speaker.set_routes(member.key, Arc::new(shutdown::marked(&member.routes)));
                }
                self.removal = Some((now + SHUTDOWN_NOTICE, text));
            }
        }
    }

    fn remove_if_due(&mut self, now: Instant) {
        if let Some((_, text)) = self.removal.take_if(|(due, _)| *due <= now) {
            self.speaker.stop(now, Stop::Remove(text));
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopping_until.is_some_and(|until| self.connections.is_empty() || until <= now())
    }

    fn handle_connected(&mut self, peer: PeerKey, stream: TcpStream) {
        let now = now();
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else {
            // The router has closed it already.
            self.speaker
                .handle_event(now, Event::ConnectFailed { peer, reason: bgp_proto::ConnectFault::Refused });
            return;
        };
        let Some(connection) = self.take_stream(peer, stream, local) else { return };
        self.speaker
            .handle_event(now, Event::Connected { peer, connection, local: local.ip(), remote: remote.ip() });
        self.paths.serve(&self.roster);
        self.report_soon(now);
    }

    fn take_stream(&mut self, peer: PeerKey, stream: TcpStream, local: SocketAddr) -> Option<ConnectionId> {
        self.roster.member_mut(peer)?.local = Some(local.ip());
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(connection, Live::new(stream));
        Some(connection)
    }

    fn handle_dial_fault(&mut self, peer: PeerKey, fault: &DialFault) {
        let now = now();
        let Some(name) = self.roster.name(peer).map(str::to_owned) else { return };
        let Some(member) = self.roster.member_mut(peer) else { return };
        let text = fault.to_string();
        let told = member.dial_fault.replace((now, text.clone()));
        if told.is_none_or(|(_, before)| before != text) {
            warn!(peer = name, reason = text, "cannot connect");
        }
        self.speaker.handle_event(now, Event::ConnectFailed { peer, reason: fault.kind() });
        self.report_at = Some(now);
    }

    fn handle_readable(&mut self, id: ConnectionId) {
        let Some(live) = self.connections.get_mut(&id) else { return };
        let connection = &mut live.connection;
        let received = connection.receive();
        // The time at which the octets were there: parsing them must not count against the hold timer.
        let now = now();
        match received {
            Received::Octets => {
                let consumed = self.speaker.handle_input(now, id, connection.unread());
                connection.consume(consumed);
                self.report_soon(now);
            }
            Received::Nothing => {}
            Received::Eof => self.close(now, id, CloseCause::Eof),
            Received::Broken(fault) => self.close(now, id, close_cause(&fault)),
        }
    }

    /// The connection is over from the other side.
    fn close(&mut self, now: Instant, id: ConnectionId, reason: CloseCause) {
        let Some(live) = self.connections.remove(&id) else { return };
        if live.connection.is_open() {
            self.speaker.handle_event(now, Event::Closed { connection: id, reason });
        }
        self.report_soon(now);
    }

    /// Carries out everything the core wants at this moment.
    fn drain(&mut self) {
        loop {
            self.transmit();
            let mut quiet = true;
            while let Some(event) = self.speaker.poll_event() {
                quiet = false;
                self.handle_speaker_event(event);
            }
            if quiet {
                return;
            }
        }
    }

    fn transmit(&mut self) {
        let now = now();
        let mut broken = Vec::new();
        for (id, live) in &mut self.connections {
            match transmit_turn(&mut self.speaker, now, *id, live) {
                Ok(false) => {}
                Ok(true) => self.report_at = self.report_at.or(Some(now + REPORT_DELAY)),
                Err(fault) => broken.push((*id, close_cause(&fault))),
            }
        }
        for (id, reason) in broken {
            self.close(now, id, reason);
        }
        self.latency.follow(now, &self.connections, &self.speaker);
    }

    fn handle_speaker_event(&mut self, event: SpeakerEvent) {
        let now = now();
        match event {
            SpeakerEvent::Dial { peer } => self.dial(now, peer),
            SpeakerEvent::HangUp { connection, how: HangUp::Abort } => {
                self.connections.remove(&connection);
            }
            SpeakerEvent::HangUp { connection, how: HangUp::AfterFlush } => {
                if let Some(live) = self.connections.get_mut(&connection) {
                    live.connection.end_after_flush(now);
                }
            }
            SpeakerEvent::Up { peer } => {
                // The router's call came first: ours, landing now, would look to it like a restart of this node.
                self.dials.give_up(peer);
                if let Some(member) = self.roster.member_mut(peer) {
                    member.dial_fault = None;
                }
                info!(peer = self.roster.name(peer), "session established");
            }
            // Told by handle_dial_fault, once and not at each attempt.
            SpeakerEvent::Down { reason: DownReason::ConnectFailed(_), .. } => {}
            SpeakerEvent::Down { peer, reason } => {
                warn!(peer = self.roster.name(peer), word = reason.word(), reason = %reason, "session down");
            }
        }
        self.report_at = Some(now);
    }

    fn dial(&mut self, now: Instant, peer: PeerKey) {
        if self.stopping_until.is_some() {
            return;
        }
        let Some(member) = self.roster.member_mut(peer) else { return };
        // Routes and addresses may have changed since the last attempt, and before OPEN they cost nothing.
        let home = Home::locate(member.target.remote, member.target.source);
        let moved = home != member.home;
        member.home = home;
        member.local = None;
        self.dials.start(peer, member.target.clone());
        if moved {
            self.speaker.set_peers(now, &self.roster.configs());
            self.paths.serve(&self.roster);
        }
    }

    fn report_soon(&mut self, now: Instant) {
        self.report_at = self.report_at.or(Some(now + REPORT_DELAY));
    }

    fn report_if_due(&mut self) {
        let now = now();
        if self.report_at.is_none_or(|due| due > now) {
            return;
        }
        self.report_at = None;
        self.clock.refresh(now, SystemTime::now());
        self.tell_faults();
        let around = Around { paths: &self.paths, doors: &self.doors, adverts: &self.adverts };
        let mut table = report::table(&self.roster, self.speaker.sessions(), &around, &self.clock, now);
        let unacknowledged = self.connections.iter().filter_map(|(id, live)| {
            let name = self.roster.name(self.speaker.owner(*id)?)?;
            Some((name, live.connection.unacknowledged()?))
        });
        report::note_acknowledged(&mut table, unacknowledged);
        self.sessions.send_if_modified(|published| {
            let differs = **published != table;
            if differs {
                *published = Arc::new(table);
            }
            differs
        });
    }
}
