//! The machine of one session: RFC 5880 §6.8 in asynchronous mode.
//!
//! Its parameters exist three times: as configured, as last told to the other side, and as in force. They differ while
//! a Poll Sequence asks for consent to a change that would otherwise look like a failure (§6.8.3). Which packet
//! belongs to which session is the endpoint's.

mod adoption;

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::config::{Interval, SessionConfig};
use crate::discard::Discard;
use crate::packet::{Discriminator, PACKET_LEN, Packet};
use crate::state::{Diagnostic, State};
use crate::status::{DownReason, Event, SessionStatus};

/// RFC 5880 §6.8.3: a session that is not Up sends no faster than this.
const SLOW: Interval = Interval::from_millis(1000);

/// A session that is switched off goes on saying so for the other side's detection time, and no longer than this.
const LONGEST_FAREWELL: Duration = Duration::from_secs(3);

/// What the other side says of itself.
#[derive(Clone, Copy, Debug)]
struct Remote {
    discriminator: Option<Discriminator>,
    state: State,
    /// `None`: it wants no periodic packets.
    required_min_rx: Option<Interval>,
    desired_min_tx: Interval,
    multiplier: NonZeroU8,
    demand: bool,
    independent: bool,
}

impl Remote {
    /// Before it is heard, and again after silence: what it asked for is as outdated then as its discriminator.
    const UNKNOWN: Self = Self {
        discriminator: None,
        state: State::Down,
        required_min_rx: Some(Interval::from_micros(1)),
        desired_min_tx: Interval::from_micros(0),
        multiplier: NonZeroU8::MIN,
        demand: false,
        independent: false,
    };

    fn of(packet: &Packet) -> Self {
        Self {
            discriminator: Some(packet.my_discriminator),
            state: packet.state,
            required_min_rx: packet.required_min_rx,
            desired_min_tx: packet.desired_min_tx,
            multiplier: packet.detect_multiplier,
            demand: packet.demand,
            independent: packet.independent,
        }
    }
}

/// The two parameters that need consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    tx: Interval,
    rx: Interval,
}

/// How far a Poll Sequence is. The answers have no number, so a change during a sequence waits for a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Quiet,
    Running,
    RunningWithAnotherBehind,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    config: SessionConfig,
    discriminator: Discriminator,
    state: State,
    diagnostic: Diagnostic,
    since: Instant,
    remote: Remote,
    told: Pace,
    in_force: Pace,
    poll: Poll,
    heard_at: Option<Instant>,
    sent_at: Option<Instant>,
    /// The interval that `next_tx` was drawn from.
    paced_by: Option<Duration>,
    next_tx: Option<Instant>,
    /// The state has changed and the other side does not know.
    news: bool,
    answer_owed: bool,
    /// Switched off: when the session is forgotten.
    farewell_until: Option<Instant>,
    ups: u64,
    downs: u64,
    received: u64,
    sent: u64,
    last_down: Option<(Instant, DownReason)>,
}

impl Session {
    pub(crate) fn new(
        now: Instant,
        config: SessionConfig,
        discriminator: Discriminator,
        chance: &mut Chance,
    ) -> Self {
        let pace = Pace { tx: config.desired_min_tx.max(SLOW), rx: config.required_min_rx };
        let mut session = Self {
            config,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            since: now,
            remote: Remote::UNKNOWN,
            told: pace,
            in_force: pace,
            poll: Poll::Quiet,
            heard_at: None,
            sent_at: None,
            paced_by: None,
            next_tx: None,
            news: false,
            answer_owed: false,
            farewell_until: None,
            ups: 0,
            downs: 0,
            received: 0,
            sent: 0,
            last_down: None,
        };
        session.schedule(now, chance);
        session
    }

    pub(crate) fn discriminator(&self) -> Discriminator {
        self.discriminator
    }

    pub(crate) fn least_ttl(&self) -> u8 {
        self.config.least_ttl()
    }

    /// Applies an edit; a session that was on its way out is switched on again.
    pub(crate) fn configure(&mut self, now: Instant, config: SessionConfig, chance: &mut Chance) {
        if self.farewell_until.take().is_some() {
            self.config = config;
            self.remote = Remote::UNKNOWN;
            self.heard_at = None;
            self.enter(now, State::Down, Diagnostic::NONE);
        } else if self.config != config {
            self.config = config;
            self.propose();
        }
        self.schedule(now, chance);
    }

    /// Switches the session off. The other side is told for its detection time, if it is there (RFC 5880 §6.8.16).
    pub(crate) fn switch_off(&mut self, now: Instant, chance: &mut Chance) -> Option<Event> {
        if self.farewell_until.is_some() {
            return None;
        }
        let pace = self.transmit_interval().unwrap_or_default();
        let patience =
            pace.saturating_mul(u32::from(self.config.detect_multiplier.get())).min(LONGEST_FAREWELL);
        let known = self.remote.discriminator.is_some();
        self.farewell_until = Some(if known { later(now, patience) } else { now });
        let event = self.leave_up(now, DownReason::SwitchedOff);
        self.enter(now, State::AdminDown, Diagnostic::ADMIN_DOWN);
        self.schedule(now, chance);
        event
    }

    /// Whether it was switched off and has said so for long enough.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.farewell_until.is_some_and(|until| until <= now)
    }

    /// RFC 5880 §6.8.6, from where the session is known.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        packet: &Packet,
        chance: &mut Chance,
    ) -> Result<Option<Event>, Discard> {
        if self.state == State::AdminDown {
            return Err(Discard::SwitchedOff);
        }
        self.received = self.received.saturating_add(1);
        self.heard_at = Some(now);
        self.remote = Remote::of(packet);
        if packet.answers_poll {
            self.poll_answered();
        }
        let event = self.follow(now, packet);
        self.answer_owed |= packet.poll;
        self.schedule(now, chance);
        Ok(event)
    }

    /// Lets the detection time pass (RFC 5880 §6.8.4). Too early it does nothing.
    pub(crate) fn timeout(&mut self, now: Instant, chance: &mut Chance) -> Option<Event> {
        if self.silent_at().is_none_or(|at| at > now) {
            return None;
        }
        let after = self.detection_time().unwrap_or_default();
        self.heard_at = None;
        self.remote = Remote::UNKNOWN;
        let event = self.leave_up(now, DownReason::TimeExpired { after });
        if matches!(self.state, State::Init | State::Up) {
            self.enter(now, State::Down, Diagnostic::TIME_EXPIRED);
        }
        self.schedule(now, chance);
        event
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.next_tx, self.silent_at(), self.farewell_until].into_iter().flatten().min()
    }

    /// The packet that is due now, if one is.
    pub(crate) fn transmit(&mut self, now: Instant, chance: &mut Chance) -> Option<[u8; PACKET_LEN]> {
        if self.answer_owed {
            // Says the news as well, and is no periodic packet: their schedule stays.
            (self.answer_owed, self.news) = (false, false);
            return Some(self.packet(true));
        }
        let is_due = self.next_tx.is_some_and(|at| at <= now);
        let may_tell = self.may_begin() && self.remote.required_min_rx.is_some();
        if !(is_due || self.news && may_tell) {
            return None;
        }
        self.news = false;
        self.sent_at = Some(now);
        self.next_tx = None;
        self.schedule(now, chance);
        Some(self.packet(false))
    }

    pub(crate) fn status(&self) -> SessionStatus {
        SessionStatus {
            path: self.config.path,
            state: self.state,
            remote_state: self.remote.state,
            since: self.since,
            heard: self.heard_at.is_some(),
            remote_independent: self.remote.independent,
            detection_time: self.detection_time(),
            transmit_interval: self.transmit_interval(),
            polling: self.poll != Poll::Quiet,
            ups: self.ups,
            downs: self.downs,
            received: self.received,
            sent: self.sent,
            last_down: self.last_down,
        }
    }

    /// The state table of RFC 5880 §6.8.6.
    fn follow(&mut self, now: Instant, packet: &Packet) -> Option<Event> {
        match (self.state, packet.state) {
            (State::Down, State::Down) => self.enter(now, State::Init, self.diagnostic),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(now, State::Up, Diagnostic::NONE);
                self.ups = self.ups.saturating_add(1);
                return Some(Event::Up { path: self.config.path });
            }
            (State::Init | State::Up, State::AdminDown) => {
                let event = self.leave_up(now, DownReason::PeerAdminDown);
                self.enter(now, State::Down, Diagnostic::NEIGHBOUR_DOWN);
                return event;
            }
            (State::Up, State::Down) => {
                let event = self.leave_up(now, DownReason::SignalledDown { diagnostic: packet.diagnostic });
                self.enter(now, State::Down, Diagnostic::NEIGHBOUR_DOWN);
                return event;
            }
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::AdminDown, _) => {}
        }
        None
    }

    /// Writes down that a session which is Up ends.
    fn leave_up(&mut self, now: Instant, reason: DownReason) -> Option<Event> {
        if self.state != State::Up {
            return None;
        }
        self.downs = self.downs.saturating_add(1);
        self.last_down = Some((now, reason));
        Some(Event::Down { path: self.config.path, reason })
    }

    /// A new state has its own pace, which needs nobody's consent: towards Up it only gets faster, and elsewhere there
    /// is no session to lose.
    fn enter(&mut self, now: Instant, state: State, diagnostic: Diagnostic) {
        (self.state, self.diagnostic, self.since) = (state, diagnostic, now);
        self.news = true;
        let wanted = self.wanted();
        self.in_force = wanted;
        let differs = std::mem::replace(&mut self.told, wanted) != wanted;
        self.poll = if differs { Poll::Running } else { Poll::Quiet };
    }

    /// RFC 5880 §6.8.3: changed parameters are told at once and polled for. Sending less often, and asking the other
    /// side to send more often, take effect when it agrees: until then it goes by what it was told before.
    fn propose(&mut self) {
        let wanted = self.wanted();
        if std::mem::replace(&mut self.told, wanted) == wanted {
            return;
        }
        let waits = self.state == State::Up;
        if !waits || wanted.tx < self.in_force.tx {
            self.in_force.tx = wanted.tx;
        }
        if !waits || wanted.rx > self.in_force.rx {
            self.in_force.rx = wanted.rx;
        }
        self.poll = match self.poll {
            Poll::Quiet => Poll::Running,
            Poll::Running | Poll::RunningWithAnotherBehind => Poll::RunningWithAnotherBehind,
        };
    }

    fn poll_answered(&mut self) {
        self.poll = match self.poll {
            Poll::RunningWithAnotherBehind => Poll::Running,
            Poll::Running | Poll::Quiet => {
                self.in_force = self.told;
                Poll::Quiet
            }
        };
    }

    fn wanted(&self) -> Pace {
        let config = &self.config;
        let tx =
            if self.state == State::Up { config.desired_min_tx } else { config.desired_min_tx.max(SLOW) };
        Pace { tx, rx: config.required_min_rx }
    }

    /// Draws the time of the next periodic packet anew when the interval has changed.
    fn schedule(&mut self, now: Instant, chance: &mut Chance) {
        let Some(interval) = self.periodic_interval() else {
            (self.paced_by, self.next_tx) = (None, None);
            return;
        };
        if self.next_tx.is_some() && self.paced_by == Some(interval) {
            return;
        }
        self.paced_by = Some(interval);
        let wait = chance.shorten(interval, self.config.detect_multiplier.get());
        self.next_tx = Some(self.sent_at.map_or(now, |at| later(at, wait)));
    }

    /// RFC 5880 §6.8.7: when there are periodic packets at all. A poll reaches also a side in demand mode.
    fn periodic_interval(&self) -> Option<Duration> {
        let both_up = self.state == State::Up && self.remote.state == State::Up;
        let unwanted = self.remote.demand && both_up && self.poll == Poll::Quiet;
        if unwanted || !self.may_begin() { None } else { self.transmit_interval() }
    }

    fn may_begin(&self) -> bool {
        !self.config.passive || self.remote.discriminator.is_some()
    }

    fn transmit_interval(&self) -> Option<Duration> {
        Some(self.in_force.tx.max(self.remote.required_min_rx?).duration())
    }

    /// RFC 5880 §6.8.4, asynchronous mode.
    fn detection_time(&self) -> Option<Duration> {
        self.heard_at?;
        let pace = self.in_force.rx.max(self.remote.desired_min_tx).duration();
        Some(pace.saturating_mul(u32::from(self.remote.multiplier.get())))
    }

    fn silent_at(&self) -> Option<Instant> {
        Some(later(self.heard_at?, self.detection_time()?))
    }

    fn packet(&mut self, answers_poll: bool) -> [u8; PACKET_LEN] {
        self.sent = self.sent.saturating_add(1);
        self.said(answers_poll).to_octets()
    }

    fn said(&self, answers_poll: bool) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: !answers_poll && self.poll != Poll::Quiet,
            answers_poll,
            // This BFD is a thread of the process that speaks BGP: it ends with its control plane.
            independent: false,
            demand: false,
            detect_multiplier: self.config.detect_multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.told.tx,
            required_min_rx: Some(self.told.rx),
            required_min_echo_rx: None,
        }
    }
}

/// A time that cannot be told any more is now.
fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at)
}
