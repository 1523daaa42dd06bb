//! Handing an Established session to another process, and taking one over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{Dial, Session, Shared};
use crate::collision::Direction;
use crate::connection::Connection;
use crate::event::SpeakerEvent;
use crate::family::Families;
use crate::fsm::negotiate::{negotiate, put_open};
use crate::fsm::timers::Timers;
use crate::fsm::{Established, Machine};
use crate::handover::{AdoptFault, SessionImage};
use crate::peer::ConnectionId;
use crate::rib_out::Cursor;
use crate::status::State;
use crate::wire::header::{Framer, MessageType};
use crate::wire::open::Open;

impl Session {
    /// The session behind a connection, if that one is Established and to stay so.
    pub(crate) fn image(&self, now: Instant, id: ConnectionId) -> Option<SessionImage> {
        let connection = self.connections.iter().find(|connection| connection.id == id)?;
        let told = connection.told.as_ref().filter(|_| self.leaving.is_none())?;
        let timers = connection.machine.timers();
        let left = |deadline: Option<Instant>| deadline.map(|at| at.saturating_duration_since(now));
        let families = connection.machine.negotiated().map_or(Families::NONE, |agreed| agreed.families);
        Some(SessionImage {
            our_open: connection.our_open.to_vec(),
            their_open: connection.their_open.to_vec(),
            dialled: connection.direction == Direction::Outgoing,
            local: connection.local,
            next_hop_v4: told.class.next_hop_v4,
            next_hop_v6: told.class.next_hop_v6,
            hold_left: left(timers.hold),
            keepalive_left: left(timers.keepalive),
            send_hold_left: left(timers.send_hold),
            keepalive_due: connection.keepalive_due,
            routes: told.cursor.known(),
            told: told.cursor.told(),
            // Whoever has never said what it wants has not released End-of-RIB either.
            end_of_rib_owed: if self.synced { told.cursor.end_of_rib_owed() } else { families },
            end_of_rib_received: connection.end_of_rib_received,
            refresh_owed: told.cursor.refresh_owed(),
            up_for: now.saturating_duration_since(self.since),
            established_count: self.established_count,
            counters: self.counters,
        })
    }

    /// Goes on where another process stopped. Nothing is changed on an error.
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        id: ConnectionId,
        image: &SessionImage,
        shared: &mut Shared,
    ) -> Result<(), AdoptFault> {
        if !self.connections.is_empty() || self.leaving.is_some() || self.dial == Dial::Forbidden {
            return Err(AdoptFault::Busy);
        }
        let mut connection = self.continued(now, id, image)?;
        let Some(negotiated) = connection.machine.negotiated().copied() else {
            return Err(AdoptFault::Unreadable);
        };
        let told = connection.begin_telling(&self.config, &negotiated);
        if (told.class.next_hop_v4, told.class.next_hop_v6) != (image.next_hop_v4, image.next_hop_v6) {
            return Err(AdoptFault::ConfigurationChanged);
        }
        told.cursor = Cursor::resumed(negotiated.enhanced_refresh, Arc::clone(&image.routes), image.told);
        for family in image.refresh_owed.iter().filter(|family| negotiated.families.contains(*family)) {
            told.cursor.ask_refresh(family);
        }
        if self.synced {
            told.cursor.owe_end_of_rib(image.end_of_rib_owed.intersection(negotiated.families));
            told.cursor.retarget(Arc::clone(&self.wanted));
        } else if image.end_of_rib_owed.is_empty() {
            // Until somebody says otherwise, what was told is what is wanted.
            self.wanted = Arc::clone(&image.routes);
            self.synced = true;
        }
        let peers = shared.classes.entry(told.class).or_default();
        *peers = peers.saturating_add(1);
        shared.owners.insert(id, self.config.key);
        let own = self.config.key;
        shared.events.retain(|event| !matches!(event, SpeakerEvent::Dial { peer } if *peer == own));
        self.connections.push(connection);
        self.dial = Dial::Off;
        self.restarting = false;
        self.established_count = image.established_count;
        self.counters = image.counters;
        self.state = State::Established;
        self.since = now.checked_sub(image.up_for).unwrap_or(now);
        Ok(())
    }

    /// The connection as our own configuration would have it, on the peer's OPEN.
    fn continued(
        &self,
        now: Instant,
        id: ConnectionId,
        image: &SessionImage,
    ) -> Result<Connection, AdoptFault> {
        // The R bit is a word about the past, and no matter of configuration.
        let says = |restarting| {
            let mut open = BytesMut::new();
            put_open(&self.config, image.local.to_canonical(), restarting, &mut open);
            *open == *image.our_open
        };
        if !says(true) && !says(false) {
            return Err(AdoptFault::ConfigurationChanged);
        }
        let frame = Framer::default().next(&image.their_open).ok().flatten();
        let frame = frame.filter(|frame| frame.kind == MessageType::Open).ok_or(AdoptFault::Unreadable)?;
        let open = Open::parse(frame.body).map_err(|_| AdoptFault::Unreadable)?;
        let negotiated = negotiate(&self.config, &open, image.local.to_canonical())
            .map_err(|farewell| AdoptFault::Refused(farewell.reason))?;
        let later = |left: Option<Duration>| left.and_then(|left| now.checked_add(left));
        let timers = Timers {
            hold: later(image.hold_left),
            keepalive: later(image.keepalive_left),
            send_hold: later(image.send_hold_left),
        };
        let machine = Machine::Established(Established { negotiated, timers });
        let direction = if image.dialled { Direction::Outgoing } else { Direction::Incoming };
        let mut connection = Connection::new(id, direction, image.local, machine, None, BytesMut::new());
        connection.our_open = image.our_open.clone().into();
        connection.their_open = image.their_open.clone().into();
        connection.keepalive_due = image.keepalive_due;
        connection.end_of_rib_received = image.end_of_rib_received;
        Ok(connection)
    }
}
