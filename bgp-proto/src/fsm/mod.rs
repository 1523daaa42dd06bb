//! The machine of one TCP connection (RFC 4271 §8): OpenSent, OpenConfirm, Established.
//!
//! It is stepped by value: the old state goes in, the new one comes out, and what is to be done is
//! written into a buffer of the caller. Idle, Connect and Active are the session's, since they exist
//! without a connection; so is what happens between two connections.

pub(crate) mod negotiate;
pub(crate) mod timers;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::error::DecodeError;
use crate::event::{CloseCause, HangUp};
use crate::family::Family;
use crate::jitter::Jitter;
use crate::number::HoldTime;
use crate::peer::{PeerConfig, Receive};
use crate::status::{DownReason, State};
use crate::wire::check::{Class, Verdict, check_body};
use crate::wire::header::{Frame, MessageType};
use crate::wire::notification::{ErrorCode, Notification};
use crate::wire::open::Open;
use crate::wire::refresh::{RefreshKind, RouteRefresh};
use crate::wire::update::Update;

use negotiate::{Negotiated, negotiate};
use timers::{Expired, Timers};

/// How long an OPEN may take (RFC 4271 §8.2.2).
const OPEN_HOLD: Duration = Duration::from_secs(240);

/// KEEPALIVEs are not to follow each other faster (RFC 4271 §4.4). A third of the least Hold Time is as long.
const KEEPALIVE_LEAST: Duration = Duration::from_secs(1);

/// Waiting for the peer's OPEN; ours is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenSent {
    pub(crate) timers: Timers,
}

/// Agreed; waiting for the peer's first KEEPALIVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenConfirm {
    pub(crate) negotiated: Negotiated,
    pub(crate) timers: Timers,
}

/// Routes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Established {
    pub(crate) negotiated: Negotiated,
    pub(crate) timers: Timers,
}

/// The states of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    OpenSent(OpenSent),
    OpenConfirm(OpenConfirm),
    Established(Established),
}

/// What can happen to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// A whole message.
    Frame(Frame<'a>),
    /// Octets that are no message.
    NoFrame(DecodeError),
    /// A deadline may have passed.
    Tick,
    /// TCP is gone.
    Closed(CloseCause),
    WriteBlocked,
    WriteProgress,
}

/// What the session has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The peer's OPEN is good: see whether there is another connection, before anything is sent.
    Opened,
    SendKeepalive,
    /// Established from now on.
    Up,
    /// The peer wants to hear a family again.
    Refresh(Family),
    /// The peer has told us everything about a family.
    EndOfRib(Family),
    /// An UPDATE was judged.
    Judged(Verdict),
}

/// What a step leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    On(Machine),
    Over(Farewell),
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) reason: DownReason,
    pub(crate) notification: Option<(ErrorCode, Vec<u8>)>,
    /// `None`: TCP is gone already.
    pub(crate) how: Option<HangUp>,
}

impl Farewell {
    /// With a NOTIFICATION.
    pub(crate) fn say(reason: DownReason, code: ErrorCode, data: Vec<u8>) -> Self {
        Self { reason, notification: Some((code, data)), how: Some(HangUp::AfterFlush) }
    }

    /// Without one; what is in the driver's hands still goes out.
    pub(crate) fn silent(reason: DownReason) -> Self {
        Self { reason, notification: None, how: Some(HangUp::AfterFlush) }
    }

    fn gone(cause: CloseCause) -> Self {
        Self { reason: DownReason::Closed(cause), notification: None, how: None }
    }
}

/// What a step needs from outside the connection.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a PeerConfig,
    /// Our end of the connection.
    pub(crate) local: IpAddr,
    pub(crate) jitter: &'a mut Jitter,
}

impl Machine {
    /// TCP is up and our OPEN goes out, now or as the answer to the peer's.
    pub(crate) fn start(now: Instant) -> Self {
        let timers = Timers { hold: now.checked_add(OPEN_HOLD), ..Timers::default() };
        Self::OpenSent(OpenSent { timers })
    }

    pub(crate) fn handle(
        self,
        input: Input<'_>,
        around: &mut Surroundings<'_>,
        out: &mut Vec<Action>,
    ) -> Next {
        match input {
            Input::Frame(frame) => self.message(frame, around, out),
            Input::NoFrame(error) => Next::Over(malformed(error, &[])),
            Input::Tick => self.tick(around, out),
            Input::Closed(cause) => Next::Over(Farewell::gone(cause)),
            Input::WriteBlocked => {
                let limit = self.send_hold(around.config);
                let deadline = limit.and_then(|limit| around.now.checked_add(limit));
                Next::On(self.with_timers(|timers| timers.send_hold = timers.send_hold.or(deadline)))
            }
            Input::WriteProgress => Next::On(self.with_timers(|timers| timers.send_hold = None)),
        }
    }

    pub(crate) fn state(&self) -> State {
        match self {
            Self::OpenSent(_) => State::OpenSent,
            Self::OpenConfirm(_) => State::OpenConfirm,
            Self::Established(_) => State::Established,
        }
    }

    pub(crate) fn timers(&self) -> &Timers {
        match self {
            Self::OpenSent(OpenSent { timers })
            | Self::OpenConfirm(OpenConfirm { timers, .. })
            | Self::Established(Established { timers, .. }) => timers,
        }
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        match self {
            Self::OpenSent(_) => None,
            Self::OpenConfirm(OpenConfirm { negotiated, .. })
            | Self::Established(Established { negotiated, .. }) => Some(negotiated),
        }
    }

    /// An UPDATE says as much as a KEEPALIVE (RFC 4271 §8.2.2, event 26 ff).
    pub(crate) fn update_sent(self, around: &mut Surroundings<'_>) -> Self {
        let keepalive = self.negotiated().and_then(|negotiated| next_keepalive(negotiated, around));
        self.with_timers(|timers| timers.keepalive = keepalive)
    }

    fn message(self, frame: Frame<'_>, around: &mut Surroundings<'_>, out: &mut Vec<Action>) -> Next {
        match (self, frame.kind) {
            (_, MessageType::Notification) => Next::Over(told_off(Notification::parse(frame.body))),
            (Self::OpenSent(state), MessageType::Open) => state.open(frame, around, out),
            (Self::OpenConfirm(state), MessageType::Keepalive) => {
                Next::On(Self::Established(state.confirm(around, out)))
            }
            (Self::Established(state), MessageType::Keepalive) => {
                Next::On(Self::Established(state.heard(around.now)))
            }
            (Self::Established(state), MessageType::Update) => state.update(frame, around, out),
            (Self::Established(state), MessageType::RouteRefresh) => state.refresh(frame, around.now, out),
            (
                Self::OpenSent(_) | Self::OpenConfirm(_) | Self::Established(_),
                MessageType::Open | MessageType::Update | MessageType::Keepalive | MessageType::RouteRefresh,
            ) => Next::Over(unexpected(self.state(), frame.kind)),
        }
    }

    fn tick(self, around: &mut Surroundings<'_>, out: &mut Vec<Action>) -> Next {
        match self.timers().expired(around.now) {
            Some(Expired::Hold) => {
                let after = self.negotiated().and_then(|n| n.hold.duration()).unwrap_or(OPEN_HOLD);
                let reason = DownReason::HoldTimerExpired { after };
                Next::Over(Farewell::say(reason, ErrorCode::HOLD_TIMER_EXPIRED, Vec::new()))
            }
            Some(Expired::SendHold) => {
                // RFC 9687 §3.3: nothing more can be written behind half a message.
                let after = self.send_hold(around.config).unwrap_or_default();
                let reason = DownReason::SendHoldTimerExpired { after };
                Next::Over(Farewell { reason, notification: None, how: Some(HangUp::Abort) })
            }
            Some(Expired::Keepalive) => {
                out.push(Action::SendKeepalive);
                Next::On(self.update_sent(around))
            }
            None => Next::On(self),
        }
    }

    /// `None` with Hold Time 0, which turns this timer off as well (RFC 9687 §3.2).
    fn send_hold(&self, config: &PeerConfig) -> Option<Duration> {
        let hold = self.negotiated().map_or(HoldTime::DEFAULT, |negotiated| negotiated.hold);
        hold.send_hold().map(|usual| config.send_hold.unwrap_or(usual))
    }

    fn with_timers(mut self, change: impl FnOnce(&mut Timers)) -> Self {
        match &mut self {
            Self::OpenSent(OpenSent { timers })
            | Self::OpenConfirm(OpenConfirm { timers, .. })
            | Self::Established(Established { timers, .. }) => change(timers),
        }
        self
    }
}

impl OpenSent {
    fn open(self, frame: Frame<'_>, around: &mut Surroundings<'_>, out: &mut Vec<Action>) -> Next {
        let open = match Open::parse(frame.body) {
            Ok(open) => open,
            Err(error) => return Next::Over(malformed(error, frame.octets)),
        };
        let negotiated = match negotiate(around.config, &open, around.local) {
            Ok(negotiated) => negotiated,
            Err(farewell) => return Next::Over(farewell),
        };
        out.extend([Action::Opened, Action::SendKeepalive]);
        let timers = Timers {
            hold: negotiated.hold.duration().and_then(|hold| around.now.checked_add(hold)),
            keepalive: next_keepalive(&negotiated, around),
            send_hold: self.timers.send_hold,
        };
        Next::On(Machine::OpenConfirm(OpenConfirm { negotiated, timers }))
    }
}

impl OpenConfirm {
    fn confirm(self, around: &mut Surroundings<'_>, out: &mut Vec<Action>) -> Established {
        out.push(Action::Up);
        Established { negotiated: self.negotiated, timers: self.timers }.heard(around.now)
    }
}

impl Established {
    /// A whole message has come: the peer lives.
    fn heard(mut self, now: Instant) -> Self {
        self.timers.hold = self.negotiated.hold.duration().and_then(|hold| now.checked_add(hold));
        self
    }

    fn update(self, frame: Frame<'_>, around: &Surroundings<'_>, out: &mut Vec<Action>) -> Next {
        note_end_of_rib(frame, out);
        if around.config.receive == Receive::Inspect {
            let verdict = check_body(frame.body, &self.negotiated.context());
            out.push(Action::Judged(verdict));
            if verdict.class == Class::Reset {
                let reason = DownReason::FaultyUpdate(verdict);
                return Next::Over(Farewell::say(reason, verdict.code(), Vec::new()));
            }
        }
        Next::On(Machine::Established(self.heard(around.now)))
    }

    fn refresh(self, frame: Frame<'_>, now: Instant, out: &mut Vec<Action>) -> Next {
        match RouteRefresh::parse(frame.body) {
            Ok(refresh) => {
                let wanted = refresh.family().filter(|family| self.negotiated.families.contains(*family));
                if let (RefreshKind::Request, Some(family)) = (refresh.kind, wanted) {
                    out.push(Action::Refresh(family));
                }
            }
            // RFC 7313 §5: an error only between speakers that both have the capability.
            Err(error) if self.negotiated.enhanced_refresh => {
                return Next::Over(malformed(error, frame.octets));
            }
            Err(_) => {}
        }
        Next::On(Machine::Established(self.heard(now)))
    }
}

/// All that is read of an UPDATE unless it is inspected: whether it is an End-of-RIB. What else is in it may be as broken as it
/// likes (RFC 7606 asks for care with routes that are used; none is).
fn note_end_of_rib(frame: Frame<'_>, out: &mut Vec<Action>) {
    let mark = Update::parse(frame.body).ok().and_then(|update| update.end_of_rib());
    if let Some(family) = mark.and_then(|(afi, safi)| Family::from_afi_safi(afi, safi)) {
        out.push(Action::EndOfRib(family));
    }
}

/// RFC 4271 §10: a jitter of 0.75 to 1.0 on each interval, but never less than [`KEEPALIVE_LEAST`].
fn next_keepalive(negotiated: &Negotiated, around: &mut Surroundings<'_>) -> Option<Instant> {
    let interval = around.jitter.percent(negotiated.keepalive?, 75, 100);
    around.now.checked_add(interval.max(KEEPALIVE_LEAST))
}

fn malformed(error: DecodeError, message: &[u8]) -> Farewell {
    Farewell::say(DownReason::Malformed(error), error.code(), error.data(message))
}

/// RFC 6608 §3: which state, and which message.
fn unexpected(state: State, kind: MessageType) -> Farewell {
    let code = match state {
        State::OpenSent => ErrorCode::UNEXPECTED_IN_OPEN_SENT,
        State::OpenConfirm => ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM,
        State::Established => ErrorCode::UNEXPECTED_IN_ESTABLISHED,
        State::Idle | State::Connect | State::Active => ErrorCode::FSM_UNSPECIFIC,
    };
    Farewell::say(DownReason::UnexpectedMessage { state, kind }, code, vec![kind.code()])
}

/// A NOTIFICATION is never answered.
fn told_off(notification: Notification<'_>) -> Farewell {
    let inner = notification.hard_reset();
    let said = inner.unwrap_or(notification);
    Farewell::silent(DownReason::NotificationReceived {
        code: said.code,
        hard: inner.is_some(),
        text: said.shutdown_text(),
    })
}
