//! Handing a session to another process, and taking one over.

use std::time::{Duration, Instant};

use super::{Pace, Poll, Remote, Session};
use crate::chance::Chance;
use crate::config::{Interval, SessionConfig};
use crate::handover::{AdoptFault, Heard, SessionImage};
use crate::packet::{Discriminator, Packet};
use crate::state::{Diagnostic, State};

impl Session {
    /// The session for another process; `None` when it is on its way out.
    pub(crate) fn image(&self, now: Instant) -> Option<SessionImage> {
        if self.state == State::AdminDown {
            return None;
        }
        let heard = self.heard_at.zip(self.remote.discriminator);
        Some(SessionImage {
            path: self.config.path,
            ours: self.said(false).to_octets(),
            theirs: heard.map(|(at, discriminator)| Heard {
                packet: self.remote.said(discriminator, self.discriminator).to_octets(),
                ago: now.saturating_duration_since(at),
            }),
            tx_in_force: self.in_force.tx,
            rx_in_force: self.in_force.rx,
            state_for: now.saturating_duration_since(self.since),
            ups: self.ups,
            downs: self.downs,
            received: self.received,
            sent: self.sent,
        })
    }

    /// Goes on where another process stopped, with the configuration that it had; its next packet is due now.
    pub(crate) fn adopted(
        now: Instant,
        image: &SessionImage,
        chance: &mut Chance,
    ) -> Result<Self, AdoptFault> {
        let ours = Packet::parse(&image.ours).map_err(AdoptFault::Unreadable)?;
        let theirs = image.theirs.map(|heard| Packet::parse(&heard.packet)).transpose();
        let theirs = theirs.map_err(AdoptFault::Unreadable)?;
        let fits = match ours.state {
            State::AdminDown => false,
            State::Down => true,
            State::Init | State::Up => theirs.is_some(),
        };
        if !fits {
            return Err(AdoptFault::Contradiction);
        }
        let earlier = |ago: Duration| now.checked_sub(ago).unwrap_or(now);
        let told =
            Pace { tx: ours.desired_min_tx, rx: ours.required_min_rx.unwrap_or(Interval::from_micros(0)) };
        let config = SessionConfig {
            path: image.path,
            desired_min_tx: told.tx,
            required_min_rx: told.rx,
            detect_multiplier: ours.detect_multiplier,
            passive: false,
            minimum_ttl: u8::MAX,
        };
        let mut session = Self {
            state: ours.state,
            diagnostic: ours.diagnostic,
            since: earlier(image.state_for),
            remote: theirs.as_ref().map_or(Remote::UNKNOWN, Remote::of),
            told,
            in_force: Pace { tx: image.tx_in_force, rx: image.rx_in_force },
            // An answer to the process before may be on its way, and answers have no number: ours is the one after.
            poll: if ours.poll { Poll::RunningWithAnotherBehind } else { Poll::Quiet },
            heard_at: image.theirs.map(|heard| earlier(heard.ago)),
            ups: image.ups,
            downs: image.downs,
            received: image.received,
            sent: image.sent,
            ..Self::new(now, config, ours.my_discriminator, chance)
        };
        (session.paced_by, session.next_tx) = (None, None);
        session.schedule(now, chance);
        Ok(session)
    }
}

impl Remote {
    /// A packet that says what is known of the other side.
    fn said(&self, own: Discriminator, of_us: Discriminator) -> Packet {
        Packet {
            diagnostic: Diagnostic::NONE,
            state: self.state,
            poll: false,
            answers_poll: false,
            independent: self.independent,
            demand: self.demand,
            detect_multiplier: self.multiplier,
            my_discriminator: own,
            your_discriminator: Some(of_us),
            desired_min_tx: self.desired_min_tx,
            required_min_rx: self.required_min_rx,
            required_min_echo_rx: None,
        }
    }
}
