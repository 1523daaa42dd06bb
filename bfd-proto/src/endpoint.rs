//! The public face: all sessions of this node, and which packet belongs to which (RFC 5880 §6.3, RFC 5881 §3).

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::chance::Chance;
use crate::config::{Arrival, Path, SessionConfig};
use crate::discard::Discard;
use crate::handover::{AdoptFault, SessionImage};
use crate::packet::{Discriminator, PACKET_LEN, Packet};
use crate::session::Session;
use crate::status::{Event, SessionStatus};

/// The BFD sessions of one node. How to drive it: see the [crate] page.
#[derive(Debug)]
pub struct Endpoint {
    sessions: BTreeMap<Path, Session>,
    owners: BTreeMap<Discriminator, Path>,
    chance: Chance,
    events: VecDeque<Event>,
}

impl Endpoint {
    /// An endpoint without sessions. `seed` makes its jitter and its discriminators, so it should be hard to guess.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            sessions: BTreeMap::new(),
            owners: BTreeMap::new(),
            chance: Chance::new(seed),
            events: VecDeque::new(),
        }
    }

    /// Says which sessions are wanted: all of them, every time. A new one begins, one that is no longer there says
    /// AdminDown for the other side's detection time (3 s at most) and is forgotten, and one whose parameters differ goes
    /// on and agrees on them by a Poll Sequence. Of two with one path the last counts.
    pub fn set_sessions(&mut self, now: Instant, sessions: &[SessionConfig]) {
        let wanted: BTreeMap<Path, SessionConfig> =
            sessions.iter().map(|config| (config.path, *config)).collect();
        for (path, session) in &mut self.sessions {
            if !wanted.contains_key(path) {
                self.events.extend(session.switch_off(now, &mut self.chance));
            }
        }
        for (path, config) in wanted {
            match self.sessions.get_mut(&path) {
                Some(session) => session.configure(now, config, &mut self.chance),
                None => {
                    let discriminator = self.fresh_discriminator();
                    self.owners.insert(discriminator, path);
                    let session = Session::new(now, config, discriminator, &mut self.chance);
                    self.sessions.insert(path, session);
                }
            }
        }
        self.forget(now);
    }

    /// All sessions for another process, which goes on with them once this one has stopped: those left out that are
    /// switched off.
    #[must_use]
    pub fn images(&self, now: Instant) -> Vec<SessionImage> {
        self.sessions.values().filter_map(|session| session.image(now)).collect()
    }

    /// Goes on with a session of another process, which says and hears no more. It keeps the configuration that it had
    /// until [`Endpoint::set_sessions`] is next called; where it is not wanted then, it ends like any other.
    ///
    /// # Errors
    /// [`AdoptFault`]; nothing has changed then.
    pub fn adopt(&mut self, now: Instant, image: &SessionImage) -> Result<(), AdoptFault> {
        if self.sessions.contains_key(&image.path) {
            return Err(AdoptFault::PathTaken);
        }
        let session = Session::adopted(now, image, &mut self.chance)?;
        let discriminator = session.discriminator();
        if self.owners.contains_key(&discriminator) {
            return Err(AdoptFault::DiscriminatorTaken(discriminator));
        }
        self.owners.insert(discriminator, image.path);
        self.sessions.insert(image.path, session);
        Ok(())
    }

    /// Takes a packet and says whose it was.
    ///
    /// # Errors
    /// Why it was discarded; nothing has changed then.
    pub fn handle_packet(&mut self, now: Instant, arrival: Arrival, octets: &[u8]) -> Result<Path, Discard> {
        let packet = Packet::parse(octets)?;
        let path = match packet.your_discriminator {
            // RFC 5880 §6.3: from now on by the discriminator alone, whatever the addresses are.
            Some(discriminator) => self
                .owners
                .get(&discriminator)
                .copied()
                .ok_or(Discard::UnknownDiscriminator { discriminator })?,
            None => arrival.path(),
        };
        let session = self.sessions.get_mut(&path).ok_or(Discard::NoSession)?;
        if path.hops != arrival.hops {
            return Err(Discard::WrongPort);
        }
        let least = session.least_ttl();
        if arrival.ttl < least {
            return Err(Discard::Ttl { found: arrival.ttl, least });
        }
        let event = session.receive(now, &packet, &mut self.chance)?;
        self.events.extend(event);
        Ok(path)
    }

    /// Lets deadlines pass. Too early it does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        for session in self.sessions.values_mut() {
            self.events.extend(session.timeout(now, &mut self.chance));
        }
        self.forget(now);
    }

    /// When [`Endpoint::handle_timeout`] or a packet is due next; `None` when there is no session.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.values().filter_map(Session::next_deadline).min()
    }

    /// The next packet that is due, and for which path. Ask until there is none.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(Path, [u8; PACKET_LEN])> {
        let chance = &mut self.chance;
        self.sessions.iter_mut().find_map(|(path, session)| Some((*path, session.transmit(now, chance)?)))
    }

    /// What the user of the sessions has to know next.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All sessions, by path, those included that are on their way out.
    pub fn sessions(&self) -> impl Iterator<Item = SessionStatus> {
        self.sessions.values().map(Session::status)
    }

    /// One session; `None` for a path without one.
    #[must_use]
    pub fn session(&self, path: Path) -> Option<SessionStatus> {
        self.sessions.get(&path).map(Session::status)
    }

    fn forget(&mut self, now: Instant) {
        for (_, session) in self.sessions.extract_if(.., |_, session| session.is_over(now)) {
            self.owners.remove(&session.discriminator());
        }
    }

    fn fresh_discriminator(&mut self) -> Discriminator {
        loop {
            let drawn = self.chance.discriminator();
            if !self.owners.contains_key(&drawn) {
                return drawn;
            }
        }
    }
}
