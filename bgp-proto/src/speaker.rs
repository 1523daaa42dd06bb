//! The public face: all sessions of this node, and one [`RibOut`] per class of equal peers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::collision::Direction;
use crate::deadlines::Deadlines;
use crate::event::{Event, HangUp, SpeakerEvent, Stop};
use crate::fsm::Input;
use crate::handover::{AdoptFault, SessionImage};
use crate::inspection::Fault;
use crate::jitter::Jitter;
use crate::peer::{ConnectionId, PeerConfig, PeerKey};
use crate::rib_out::{PeerClass, RibOut};
use crate::route_set::RouteSet;
use crate::session::{Session, Shared};
use crate::status::SessionStatus;

/// A BGP speaker without sockets and clock. How to drive it: see the [crate] page.
#[derive(Debug)]
pub struct Speaker {
    sessions: BTreeMap<PeerKey, Session>,
    ribs: BTreeMap<PeerClass, RibOut>,
    shared: Shared,
    deadlines: Deadlines,
    /// Whether peers may have been peers of a process that ran before us: all of them, also those that are found or that
    /// call later.
    restarting: bool,
    stopping: bool,
}

impl Speaker {
    /// A speaker with no peers. `seed` makes its jitter (RFC 4271 §10); `restarting` says that a speaker of this node ran
    /// a moment ago, so OPENs carry the R bit until the peer's session was first Established (RFC 4724 §4.1), whenever
    /// the peer comes. A peer that holds nothing from before does nothing with it.
    #[must_use]
    pub fn new(seed: u64, restarting: bool) -> Self {
        let shared = Shared {
            events: VecDeque::new(),
            owners: BTreeMap::new(),
            classes: BTreeMap::new(),
            last_words: BTreeMap::new(),
            jitter: Jitter::new(seed),
            actions: Vec::new(),
        };
        Self {
            sessions: BTreeMap::new(),
            ribs: BTreeMap::new(),
            shared,
            deadlines: Deadlines::default(),
            restarting,
            stopping: false,
        }
    }

    /// Says which peers are wanted: all of them, every time. A new one is dialled, one that is no longer
    /// there gets Cease / Peer De-configured, one that differs in what OPEN says gets Cease / Other
    /// Configuration Change (RFC 4486) and is dialled again; so does one that is no longer there because another replaces
    /// it. The others notice nothing. After [`Speaker::stop`] this does nothing. Of two peers with one key the last counts.
    pub fn set_peers(&mut self, now: Instant, peers: &[PeerConfig]) {
        if self.stopping {
            return;
        }
        let wanted: BTreeMap<PeerKey, &PeerConfig> =
            peers.iter().map(|config| (config.key, config)).collect();
        let newcomers = wanted.values().filter(|config| !self.sessions.contains_key(&config.key));
        let heirs: BTreeMap<PeerKey, PeerKey> =
            newcomers.filter_map(|config| Some((config.replaces?, config.key))).collect();
        let mut left = BTreeMap::new();
        for (key, mut session) in self.sessions.extract_if(.., |key, _| !wanted.contains_key(key)) {
            session.unlist_deadline(&mut self.deadlines);
            match heirs.get(&key) {
                Some(heir) => drop(left.insert(*heir, session.give_way(now, &mut self.shared))),
                None => session.remove(now, &mut self.shared),
            }
        }
        for (key, config) in wanted {
            match self.sessions.get_mut(&key) {
                Some(session) => {
                    session.configure(now, config, &mut self.shared);
                    session.list_deadline(&mut self.deadlines);
                }
                None => {
                    let mut session = Session::new(now, config.clone(), self.restarting, &mut self.shared);
                    if let Some(history) = left.remove(&key) {
                        session.inherit(history);
                    }
                    session.list_deadline(&mut self.deadlines);
                    self.sessions.insert(key, session);
                }
            }
        }
        self.drop_unused_ribs();
    }

    /// Says which routes a peer is to know: all of them, every time. What changed is found and sent when
    /// the peer's socket takes octets. The first call for a peer also releases End-of-RIB (RFC 4724 §4.1): until then
    /// the peer keeps what it may still know of us from before a restart. A peer that is not set is ignored.
    pub fn set_routes(&mut self, peer: PeerKey, routes: Arc<RouteSet>) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.set_routes(routes);
        }
    }

    /// Says what happened to a socket. Events of connections that are over are ignored.
    pub fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected { peer, connection, local, remote: _ } => {
                self.connected(now, peer, connection, Direction::Outgoing, local);
            }
            Event::Accepted { peer, connection, local, remote: _ } => {
                self.connected(now, peer, connection, Direction::Incoming, local);
            }
            Event::ConnectFailed { peer, reason } => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.connect_failed(now, reason, &mut self.shared);
                    session.list_deadline(&mut self.deadlines);
                }
            }
            Event::Closed { connection, reason } => {
                self.shared.last_words.remove(&connection);
                self.step(now, connection, Input::Closed(reason));
                self.drop_unused_ribs();
            }
            Event::PathDown { peer, fault } => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.path_down(now, fault, &mut self.shared);
                    session.list_deadline(&mut self.deadlines);
                    self.drop_unused_ribs();
                }
            }
            Event::PathUp { peer } => {
                if let Some(session) = self.sessions.get_mut(&peer) {
                    session.path_up(now, &mut self.shared);
                    session.list_deadline(&mut self.deadlines);
                }
            }
            Event::WriteProgress { connection } => self.step(now, connection, Input::WriteProgress),
            Event::WriteBlocked { connection } => self.step(now, connection, Input::WriteBlocked),
        }
    }

    /// Reads octets of a connection and returns how many were used up: whole messages only. The caller
    /// keeps the others in front of what comes next; they are fewer than one message. `now` is when the
    /// octets were read, so that a long queue before this call cannot look like silence.
    pub fn handle_input(&mut self, now: Instant, connection: ConnectionId, octets: &[u8]) -> usize {
        let owner = self.shared.owners.get(&connection).and_then(|peer| self.sessions.get_mut(peer));
        let Some(session) = owner else { return octets.len() };
        let used = session.handle_input(now, connection, octets, &mut self.shared);
        session.list_deadline(&mut self.deadlines);
        used
    }

    /// Lets deadlines pass. Too early it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = self.deadlines.due(now);
        for peer in &due {
            if let Some(session) = self.sessions.get_mut(peer) {
                session.handle_timeout(now, &mut self.shared);
                session.list_deadline(&mut self.deadlines);
            }
        }
        self.deadlines.hand_back(due);
    }

    /// When [`Speaker::handle_timeout`] is due next; `None` when nothing runs.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Appends whole messages for a connection, at most one burst of 64 KiB; `false` when there was
    /// nothing to append. Ask when the socket takes octets, not before: what is sent is the newest then.
    /// After [`SpeakerEvent::HangUp`] it yields the last words once.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, connection: ConnectionId, out: &mut BytesMut) -> bool {
        let before = out.len();
        let owner = self.shared.owners.get(&connection).and_then(|peer| self.sessions.get_mut(peer));
        if let Some(session) = owner {
            session.transmit(now, connection, &mut self.ribs, out, &mut self.shared);
            session.list_deadline(&mut self.deadlines);
        }
        if let Some(last) = self.shared.last_words.remove(&connection) {
            out.extend_from_slice(&last);
        }
        out.len() > before
    }

    /// What the driver has to do or ought to know next.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<SpeakerEvent> {
        self.shared.events.pop_front()
    }

    /// Ends all sessions, for good. [`Stop::Remove`] takes up to three seconds while routers take their
    /// withdrawals: go on driving until all connections were hung up.
    pub fn stop(&mut self, now: Instant, how: Stop) {
        self.stopping = true;
        for session in self.sessions.values_mut() {
            session.stop(now, &how, &mut self.shared);
            session.list_deadline(&mut self.deadlines);
        }
    }

    /// Whose connection this is; `None` for one that is over.
    #[must_use]
    pub fn owner(&self, connection: ConnectionId) -> Option<PeerKey> {
        self.shared.owners.get(&connection).copied()
    }

    /// An Established session as it is now, for another process to go on with ([`Speaker::adopt`]); `None` for a
    /// connection that is not Established or about to end. Nothing changes here: whoever hands the session over neither
    /// reads nor writes its socket from then on, and drops it.
    #[must_use]
    pub fn image(&self, now: Instant, connection: ConnectionId) -> Option<SessionImage> {
        let peer = self.shared.owners.get(&connection)?;
        self.sessions.get(peer)?.image(now, connection)
    }

    /// Goes on with a session of another process, for a peer that is set and has no connection. What the peer was told
    /// by then is known, so that only the difference to what is wanted goes out. A dial that was asked for is taken
    /// back.
    ///
    /// # Errors
    /// When the session does not fit what is configured here. It has changed nothing then; the caller ends the
    /// connection with [`AdoptFault::last_words`], and the peer is dialled as any other.
    pub fn adopt(
        &mut self,
        now: Instant,
        peer: PeerKey,
        connection: ConnectionId,
        image: &SessionImage,
    ) -> Result<(), AdoptFault> {
        let session = self.sessions.get_mut(&peer).ok_or(AdoptFault::UnknownPeer)?;
        session.adopt(now, connection, image, &mut self.shared)?;
        session.list_deadline(&mut self.deadlines);
        Ok(())
    }

    /// All sessions, by key.
    pub fn sessions(&self) -> impl Iterator<Item = SessionStatus> {
        self.sessions.values().map(|session| session.status(&self.ribs))
    }

    /// One session; `None` for a peer that is not set.
    #[must_use]
    pub fn session(&self, peer: PeerKey) -> Option<SessionStatus> {
        self.sessions.get(&peer).map(|session| session.status(&self.ribs))
    }

    /// The last faults in a peer's UPDATEs, oldest first, where they are inspected ([`Receive::Inspect`]).
    ///
    /// [`Receive::Inspect`]: crate::Receive::Inspect
    pub fn faults(&self, peer: PeerKey) -> impl Iterator<Item = &Fault> {
        self.sessions.get(&peer).into_iter().flat_map(Session::faults)
    }

    fn connected(
        &mut self,
        now: Instant,
        peer: PeerKey,
        connection: ConnectionId,
        direction: Direction,
        local: std::net::IpAddr,
    ) {
        match self.sessions.get_mut(&peer) {
            Some(session) if !self.stopping => {
                session.connected(now, connection, direction, local, &mut self.shared);
                session.list_deadline(&mut self.deadlines);
            }
            Some(_) | None => {
                self.shared.events.push_back(SpeakerEvent::HangUp { connection, how: HangUp::Abort });
            }
        }
    }

    fn step(&mut self, now: Instant, connection: ConnectionId, input: Input<'_>) {
        let owner = self.shared.owners.get(&connection).and_then(|peer| self.sessions.get_mut(peer));
        if let Some(session) = owner {
            session.handle(now, connection, input, &mut self.shared);
            session.list_deadline(&mut self.deadlines);
        }
    }

    /// Encoded attributes are kept for classes that have a peer.
    fn drop_unused_ribs(&mut self) {
        self.ribs.retain(|class, _| self.shared.classes.contains_key(class));
    }
}
