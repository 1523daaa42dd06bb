//! The relation with one peer: Idle, Connect and Active, the retry timer, and at most two connections.
//!
//! RFC 4271 §8 has one machine per connection; what is left for the peer is here. Which connection a
//! number belongs to is looked up in `speaker`; how sessions and connections end is in `ending`.

mod adoption;
mod ending;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::backoff::{Answer, Backoff};
use crate::collision::{Direction, End, Older, Outcome, resolve};
use crate::connection::{Connection, Told};
use crate::deadlines::Deadlines;
use crate::event::{ConnectFault, HangUp, SpeakerEvent};
use crate::family::Families;
use crate::fsm::negotiate::put_open;
use crate::fsm::{Action, Farewell, Input, Machine, Next, Surroundings};
use crate::inspection::{Fault, Inspection};
use crate::jitter::Jitter;
use crate::peer::{ConnectionId, PeerConfig, PeerKey};
use crate::rib_out::{PeerClass, RibOut};
use crate::route_set::RouteSet;
use crate::status::{Counters, DownReason, SessionStatus, State};
use crate::wire::header::{Framer, MAX_LEN, MessageType};
use crate::wire::notification::ErrorCode;
use ending::Leaving;

/// The driver has its own limit; this one is for a driver that forgot the dial.
const DIAL_LIMIT: Duration = Duration::from_secs(60);

/// A dial that has not succeeded after this long has lost its first SYN.
const STALE_DIAL: Duration = Duration::from_secs(1);

/// What all sessions write to.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) events: VecDeque<SpeakerEvent>,
    pub(crate) owners: BTreeMap<ConnectionId, PeerKey>,
    /// How many connections are told routes in each class.
    pub(crate) classes: BTreeMap<PeerClass, usize>,
    /// The last octets of connections that are over and wait for the driver.
    pub(crate) last_words: BTreeMap<ConnectionId, BytesMut>,
    pub(crate) jitter: Jitter,
    /// The buffer for what a step of a machine asks for.
    pub(crate) actions: Vec<Action>,
}

impl Shared {
    /// One connection of a class is over.
    fn leave_class(&mut self, class: PeerClass) {
        let left = self.classes.get(&class).map_or(0, |peers| peers.saturating_sub(1));
        match left {
            0 => drop(self.classes.remove(&class)),
            _ => drop(self.classes.insert(class, left)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    config: PeerConfig,
    wanted: Arc<RouteSet>,
    /// Whether `wanted` was ever said.
    synced: bool,
    /// Whether OPEN says that we have restarted: until the session is first Established.
    restarting: bool,
    /// In the order in which they came; at most two.
    connections: Vec<Connection>,
    dial: Dial,
    backoff: Backoff,
    leaving: Option<Leaving>,
    state: State,
    since: Instant,
    established_count: u32,
    counters: Counters,
    inspection: Inspection,
    /// The deadline under which the speaker has this session in its list.
    listed: Option<Instant>,
    last_down: Option<(Instant, DownReason)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dial {
    /// Not needed: there is a connection, or the peer has to dial.
    Off,
    /// The session only waits for its connections to end.
    Forbidden,
    /// `state` is how the wait is called: Idle after a session, Active after a dial.
    Waiting {
        until: Instant,
        state: State,
    },
    Calling {
        give_up: Instant,
    },
}

impl Session {
    pub(crate) fn new(now: Instant, config: PeerConfig, restarting: bool, shared: &mut Shared) -> Self {
        let mut session = Self {
            config,
            wanted: Arc::default(),
            synced: false,
            restarting,
            connections: Vec::new(),
            dial: Dial::Off,
            backoff: Backoff::default(),
            leaving: None,
            state: State::Idle,
            since: now,
            established_count: 0,
            counters: Counters::default(),
            inspection: Inspection::default(),
            listed: None,
            last_down: None,
        };
        if !session.config.passive {
            session.call(now, shared);
        }
        session.note_state(now);
        session
    }

    /// Applies an edit. Only what was said to the peer needs a new session.
    pub(crate) fn configure(&mut self, now: Instant, config: &PeerConfig, shared: &mut Shared) {
        let restart = self.config.needs_restart(config);
        let role_changed = self.config.passive != config.passive;
        self.config.clone_from(config);
        if restart {
            self.backoff.reset();
            if matches!(self.dial, Dial::Waiting { .. }) {
                self.call(now, shared);
            }
            self.end_all(now, DownReason::ConfigurationChanged, ErrorCode::CONFIGURATION_CHANGE, shared);
        }
        if config.passive {
            self.dial = Dial::Off;
        } else if role_changed && self.connections.is_empty() {
            self.call(now, shared);
        }
        self.note_state(now);
    }

    pub(crate) fn set_routes(&mut self, routes: Arc<RouteSet>) {
        if self.leaving.is_some() {
            return;
        }
        let first = !std::mem::replace(&mut self.synced, true);
        self.wanted = routes;
        for connection in &mut self.connections {
            let families =
                connection.machine.negotiated().map_or(Families::NONE, |negotiated| negotiated.families);
            if let Some(told) = &mut connection.told {
                told.cursor.retarget(Arc::clone(&self.wanted));
                if first {
                    told.cursor.owe_end_of_rib(families);
                }
            }
        }
    }

    /// TCP is up, by our dial or the peer's. A dial that comes through behind a session that is up is hung up on. At most
    /// two connections live side by side; beyond that, one that has not said anything yet gives way, so that a peer which
    /// lost its side can come back.
    pub(crate) fn connected(
        &mut self,
        now: Instant,
        id: ConnectionId,
        direction: Direction,
        local: IpAddr,
        shared: &mut Shared,
    ) {
        if direction == Direction::Outgoing {
            self.dial = Dial::Off;
            // A dial from before the session that is up. To the router it would look like a call of ours after a restart
            // (RFC 4724 §4.2).
            if self.is_up() {
                shared.events.push_back(SpeakerEvent::HangUp { connection: id, how: HangUp::Abort });
                return;
            }
        }
        let silent = self.connections.iter().position(|connection| connection.state() == State::OpenSent);
        match silent {
            Some(at) if self.connections.len() > 1 => {
                let old = self.connections.remove(at);
                shared.owners.remove(&old.id);
                shared.events.push_back(SpeakerEvent::HangUp { connection: old.id, how: HangUp::Abort });
            }
            None if self.connections.len() > 1 => {
                shared.events.push_back(SpeakerEvent::HangUp { connection: id, how: HangUp::Abort });
                return;
            }
            Some(_) | None => {}
        }
        let mut open = BytesMut::new();
        put_open(&self.config, local.to_canonical(), self.restarting, &mut open);
        shared.owners.insert(id, self.config.key);
        let met = self.connections.first().map(Connection::as_older);
        let mut connection = Connection::new(id, direction, local, Machine::start(now), met, open);
        if !(self.config.delay_open && direction == Direction::Incoming) && connection.release_open() {
            self.counters.sent.count(MessageType::Open);
        }
        self.connections.push(connection);
        self.note_state(now);
    }

    pub(crate) fn connect_failed(&mut self, now: Instant, fault: ConnectFault, shared: &mut Shared) {
        if !matches!(self.dial, Dial::Calling { .. }) {
            return;
        }
        self.dial = Dial::Off;
        let answer = if fault == ConnectFault::Refused { Answer::Refusal } else { Answer::None };
        if self.connections.is_empty() {
            self.went_down(now, DownReason::ConnectFailed(fault), shared);
        }
        self.wait(now, answer, State::Active, shared);
        self.note_state(now);
    }

    /// BFD found the path whole: waiting on makes no sense. How long the next wait is stays what it was, so a path that
    /// comes and goes is not dialled more often than it comes.
    pub(crate) fn path_up(&mut self, now: Instant, shared: &mut Shared) {
        let stale = match self.dial {
            Dial::Waiting { .. } => true,
            // Its first SYN went into the hole, and the next may be seconds away.
            Dial::Calling { give_up } => {
                give_up.saturating_duration_since(now).saturating_add(STALE_DIAL) <= DIAL_LIMIT
            }
            Dial::Off | Dial::Forbidden => false,
        };
        if stale {
            self.call(now, shared);
            self.note_state(now);
        }
    }

    /// Reads whole messages off `octets`; returns how many octets those were. What comes behind the end
    /// of a connection is thrown away.
    pub(crate) fn handle_input(
        &mut self,
        now: Instant,
        id: ConnectionId,
        octets: &[u8],
        shared: &mut Shared,
    ) -> usize {
        let mut rest = octets;
        while let Some(connection) = self.connections.iter().find(|connection| connection.id == id) {
            let max = connection.machine.negotiated().map_or(MAX_LEN, |negotiated| negotiated.max_len);
            match Framer::new(max).next(rest) {
                Ok(Some(frame)) => {
                    self.counters.received.count(frame.kind);
                    self.step(now, id, Input::Frame(frame), shared);
                    rest = rest.get(frame.octets.len()..).unwrap_or_default();
                }
                Ok(None) => {
                    self.note_state(now);
                    return octets.len().saturating_sub(rest.len());
                }
                Err(error) => self.step(now, id, Input::NoFrame(error), shared),
            }
        }
        self.note_state(now);
        octets.len()
    }

    /// Anything else that happens to a connection.
    pub(crate) fn handle(&mut self, now: Instant, id: ConnectionId, input: Input<'_>, shared: &mut Shared) {
        self.step(now, id, input, shared);
        self.note_state(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, shared: &mut Shared) {
        for id in self.connection_ids() {
            self.step(now, id, Input::Tick, shared);
        }
        match self.dial {
            Dial::Waiting { until, .. } if until <= now => self.call(now, shared),
            Dial::Calling { give_up } if give_up <= now => {
                self.connect_failed(now, ConnectFault::TimedOut, shared)
            }
            Dial::Off | Dial::Forbidden | Dial::Waiting { .. } | Dial::Calling { .. } => {}
        }
        if self.leaving.as_ref().is_some_and(|leaving| leaving.deadline <= now) {
            self.leave(now, shared);
        }
        self.note_state(now);
    }

    /// Brings the speaker's list of deadlines up to date.
    pub(crate) fn list_deadline(&mut self, deadlines: &mut Deadlines) {
        let next = self.next_deadline();
        if next != self.listed {
            deadlines.moved(self.config.key, self.listed, next);
            self.listed = next;
        }
    }

    /// Takes the session off the speaker's list, for good.
    pub(crate) fn unlist_deadline(&mut self, deadlines: &mut Deadlines) {
        deadlines.moved(self.config.key, self.listed.take(), None);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Off | Dial::Forbidden => None,
            Dial::Waiting { until: at, .. } | Dial::Calling { give_up: at } => Some(at),
        };
        let leaving = self.leaving.as_ref().map(|leaving| leaving.deadline);
        let connections = self.connections.iter().filter_map(|connection| connection.machine.timers().next());
        connections.chain(dial).chain(leaving).min()
    }

    /// Appends what a connection has to say: OPEN and KEEPALIVE before anything else.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        id: ConnectionId,
        ribs: &mut BTreeMap<PeerClass, RibOut>,
        out: &mut BytesMut,
        shared: &mut Shared,
    ) {
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) else {
            return;
        };
        if connection.take_control(out) {
            self.counters.sent.count(MessageType::Keepalive);
        }
        let Some(Told { class, cursor }) = &mut connection.told else { return };
        if cursor.is_level() && self.leaving.is_none() {
            return;
        }
        let peers = shared.classes.get(class).copied().unwrap_or(0);
        let sent = ribs.entry(*class).or_insert_with(|| RibOut::new(*class)).advance(cursor, peers, out);
        if sent.updates > 0 {
            let local = connection.local;
            let mut around = Surroundings { now, config: &self.config, local, jitter: &mut shared.jitter };
            connection.machine = connection.machine.update_sent(&mut around);
        }
        let all_said = cursor.is_level();
        let total = &mut self.counters.sent;
        total.updates = total.updates.saturating_add(sent.updates);
        total.refreshes = total.refreshes.saturating_add(sent.refreshes);
        if all_said && self.leaving.is_some() {
            self.leave(now, shared);
            self.note_state(now);
        }
    }

    pub(crate) fn status(&self, ribs: &BTreeMap<PeerClass, RibOut>) -> SessionStatus {
        let furthest = self.connections.iter().max_by_key(|connection| connection.state());
        let negotiated = furthest.and_then(|connection| connection.machine.negotiated());
        let told = furthest.and_then(|connection| connection.told.as_ref());
        let too_large = told.and_then(|told| Some(ribs.get(&told.class)?.too_large(told.cursor.target())));
        SessionStatus {
            key: self.config.key,
            state: self.state,
            since: self.since,
            remote_router_id: negotiated.map(|negotiated| negotiated.remote_router_id),
            remote_asn: negotiated.map(|negotiated| negotiated.remote_asn),
            hold: negotiated.map(|negotiated| negotiated.hold),
            keepalive: negotiated.and_then(|negotiated| negotiated.keepalive),
            families: negotiated.map_or(Families::NONE, |negotiated| negotiated.families),
            extended_next_hop: negotiated.is_some_and(|negotiated| negotiated.extended_next_hop),
            end_of_rib_received: furthest.map_or(Families::NONE, |connection| connection.end_of_rib_received),
            announces: told.map_or(Families::NONE, |told| told.class.families()),
            prefixes_sent: told.map_or(0, |told| told.cursor.told()),
            prefixes_too_large: u32::try_from(too_large.unwrap_or(0)).unwrap_or(u32::MAX),
            converged: self.synced && told.is_some_and(|told| told.cursor.is_level()),
            established_count: self.established_count,
            counters: self.counters,
            verdicts: self.inspection.counts,
            last_down: self.last_down.clone(),
        }
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.inspection.faults()
    }

    fn step(&mut self, now: Instant, id: ConnectionId, input: Input<'_>, shared: &mut Shared) {
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) else {
            return;
        };
        let mut actions = std::mem::take(&mut shared.actions);
        let message = match input {
            Input::Frame(frame) => frame.octets,
            Input::NoFrame(_)
            | Input::Tick
            | Input::Closed(_)
            | Input::WriteBlocked
            | Input::WriteProgress => &[],
        };
        let local = connection.local;
        let mut around = Surroundings { now, config: &self.config, local, jitter: &mut shared.jitter };
        match connection.machine.handle(input, &mut around, &mut actions) {
            Next::On(machine) => connection.machine = machine,
            Next::Over(farewell) => self.end(now, id, farewell, shared),
        }
        for action in actions.drain(..) {
            match action {
                Action::Judged(verdict) => self.inspection.note(now, verdict, message),
                Action::Opened => {
                    self.keep_open(id, message);
                    self.act(now, id, action, shared);
                }
                Action::SendKeepalive | Action::Up | Action::Refresh(_) | Action::EndOfRib(_) => {
                    self.act(now, id, action, shared)
                }
            }
        }
        shared.actions = actions;
    }

    fn keep_open(&mut self, id: ConnectionId, message: &[u8]) {
        if let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) {
            connection.their_open = message.into();
        }
    }

    fn act(&mut self, now: Instant, id: ConnectionId, action: Action, shared: &mut Shared) {
        if action == Action::Opened {
            if let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id)
                && connection.release_open()
            {
                self.counters.sent.count(MessageType::Open);
            }
            return self.settle_collision(now, id, shared);
        }
        // A collision may just have ended it.
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == id) else {
            return;
        };
        match action {
            Action::Opened | Action::Judged(_) => {}
            Action::SendKeepalive => connection.keepalive_due = true,
            Action::Up => {
                let Some(negotiated) = connection.machine.negotiated().copied() else { return };
                let told = connection.begin_telling(&self.config, &negotiated);
                let peers = shared.classes.entry(told.class).or_default();
                *peers = peers.saturating_add(1);
                told.cursor.retarget(Arc::clone(&self.wanted));
                if self.synced {
                    told.cursor.owe_end_of_rib(negotiated.families);
                }
                self.came_up(shared);
            }
            // Before the first table there is nothing to repeat, and marks around nothing would make the
            // router drop what it still keeps of us from before a restart.
            Action::Refresh(_) if !self.synced => {}
            Action::Refresh(family) => {
                if let Some(told) = &mut connection.told {
                    told.cursor.ask_refresh(family);
                }
            }
            Action::EndOfRib(family) => {
                connection.end_of_rib_received = connection.end_of_rib_received.with(family);
            }
        }
    }

    fn came_up(&mut self, shared: &mut Shared) {
        self.established_count = self.established_count.saturating_add(1);
        self.restarting = false;
        if matches!(self.dial, Dial::Waiting { .. } | Dial::Calling { .. }) {
            self.dial = Dial::Off;
        }
        shared.events.push_back(SpeakerEvent::Up { peer: self.config.key });
    }

    /// The peer's OPEN has come on `newer`: only now is it known that both connections lead to one speaker.
    fn settle_collision(&mut self, now: Instant, newer: ConnectionId, shared: &mut Shared) {
        let other = self.connections.iter().find(|connection| connection.id != newer);
        let this = self.connections.iter().find(|connection| connection.id == newer);
        let (Some(other), Some(this)) = (other, this) else { return };
        let Some(negotiated) = this.machine.negotiated() else { return };
        let local = End { router_id: self.config.router_id, asn: self.config.local_asn };
        let remote = End { router_id: negotiated.remote_router_id, asn: negotiated.remote_asn };
        let older = other.id;
        let lost = || Farewell::say(DownReason::CollisionLost, ErrorCode::COLLISION, Vec::new());
        // Where one side has called twice, identifiers say nothing of the call that it means.
        let crossed = this.direction != other.direction;
        let met = self.connections.last().and_then(|later| later.met);
        let met = met.filter(|met| crossed || *met != Older::OpenSent).unwrap_or(Older::OpenConfirm);
        match resolve(other.as_older(), met, this.direction, local, remote) {
            Outcome::BothStay => {}
            Outcome::OlderStays => self.end(now, newer, lost(), shared),
            Outcome::NewerStays => self.end(now, older, lost(), shared),
            Outcome::NewerSupersedes => {
                self.end(now, older, Farewell::silent(DownReason::Superseded), shared)
            }
        }
    }

    fn call(&mut self, now: Instant, shared: &mut Shared) {
        self.dial = Dial::Calling { give_up: now.checked_add(DIAL_LIMIT).unwrap_or(now) };
        shared.events.push_back(SpeakerEvent::Dial { peer: self.config.key });
    }

    fn wait(&mut self, now: Instant, answer: Answer, state: State, shared: &mut Shared) {
        if self.config.passive || self.is_up() {
            return;
        }
        let wait = self.backoff.after(answer, self.config.connect_retry_max, &mut shared.jitter);
        self.dial = Dial::Waiting { until: now.checked_add(wait).unwrap_or(now), state };
    }

    fn is_up(&self) -> bool {
        self.connections.iter().any(|connection| connection.state() == State::Established)
    }

    fn connection_ids(&self) -> Vec<ConnectionId> {
        self.connections.iter().map(|connection| connection.id).collect()
    }

    fn note_state(&mut self, now: Instant) {
        let waiting = match self.dial {
            Dial::Off if self.config.passive => State::Active,
            Dial::Off | Dial::Forbidden => State::Idle,
            Dial::Waiting { state, .. } => state,
            Dial::Calling { .. } => State::Connect,
        };
        let state = self.connections.iter().map(Connection::state).max().unwrap_or(waiting);
        if state != self.state {
            self.state = state;
            self.since = now;
        }
    }
}
