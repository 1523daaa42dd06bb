//! What can be read about a session, and what its user has to know at once.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::Path;
use crate::state::{Diagnostic, State};

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both ends hear each other.
    Up {
        /// Whose.
        path: Path,
    },
    /// A session that was Up no longer is.
    Down {
        /// Whose.
        path: Path,
        /// Why.
        reason: DownReason,
    },
}

/// Why a session left Up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DownReason {
    /// Silence for longer than the detection time (RFC 5880 §6.8.4).
    TimeExpired {
        /// The detection time.
        after: Duration,
    },
    /// The other side says that its session is down: it no longer hears us, or it has restarted.
    SignalledDown {
        /// The other side's reason.
        diagnostic: Diagnostic,
    },
    /// The other side's operator switched the session off. The path may be well (RFC 5882 §4.2).
    PeerAdminDown,
    /// The session is no longer wanted here.
    SwitchedOff,
}

impl DownReason {
    /// Whether the path has failed, so that whatever runs over it should be taken down (RFC 5882 §4.2).
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::TimeExpired { .. } | Self::SignalledDown { .. } => true,
            Self::PeerAdminDown | Self::SwitchedOff => false,
        }
    }

    /// One word in CamelCase.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TimeExpired { .. } => "TimeExpired",
            Self::SignalledDown { .. } => "SignalledDown",
            Self::PeerAdminDown => "PeerAdminDown",
            Self::SwitchedOff => "SwitchedOff",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeExpired { after } => write!(f, "nothing heard for {} ms", after.as_millis()),
            Self::SignalledDown { diagnostic } => write!(f, "the router says that it is down ({diagnostic})"),
            Self::PeerAdminDown => f.write_str("switched off on the router"),
            Self::SwitchedOff => f.write_str("switched off here"),
        }
    }
}

/// A session as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// Whose.
    pub path: Path,
    /// Its state here.
    pub state: State,
    /// The state that the other side last sent; Down before it was heard, and after it fell silent.
    pub remote_state: State,
    /// Since when it is in this state, on the caller's clock.
    pub since: Instant,
    /// Whether anything of the other side was heard within the last detection time.
    pub heard: bool,
    /// The C bit of the other side's last packet: its BFD survives the loss of its control plane.
    pub remote_independent: bool,
    /// How long silence is borne, as agreed (RFC 5880 §6.8.4); `None` until the other side has been heard.
    pub detection_time: Option<Duration>,
    /// How often we send, jitter left out (RFC 5880 §6.8.7); `None` when the other side wants no periodic packets.
    pub transmit_interval: Option<Duration>,
    /// Whether a change of parameters waits for the other side's consent (RFC 5880 §6.5).
    pub polling: bool,
    /// How often the session came up.
    pub ups: u64,
    /// How often it went down from Up.
    pub downs: u64,
    /// Packets taken from the other side.
    pub received: u64,
    /// Packets handed out for the other side.
    pub sent: u64,
    /// When, on the caller's clock, and why it last left Up.
    pub last_down: Option<(Instant, DownReason)>,
}
