//! The states of a session and the reasons that travel with them.

use std::fmt;

/// The state of a session (RFC 5880 §4.1, Sta; §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Switched off by an operator; says nothing about the path.
    AdminDown,
    /// The other side is not heard, or says that it does not hear us.
    Down,
    /// The other side is heard; whether it hears us is open.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    /// The two bits on the wire; what is above them is not looked at.
    pub(crate) fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// The state's name, as in the RFC.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why the sender's session last left Up (RFC 5880 §4.1, Diag). Numbers without a name are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic(pub(crate) u8);

impl Diagnostic {
    /// Nothing to say.
    pub const NONE: Self = Self(0);
    /// Silence for longer than the detection time.
    pub const TIME_EXPIRED: Self = Self(1);
    /// The other side said that its session is down.
    pub const NEIGHBOUR_DOWN: Self = Self(3);
    /// An operator switched the session off.
    pub const ADMIN_DOWN: Self = Self(7);

    /// The number on the wire, 0 to 31.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbour signalled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            other => return write!(f, "diagnostic {other}"),
        })
    }
}
