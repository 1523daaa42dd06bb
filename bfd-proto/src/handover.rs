//! A session as one process hands it to the next, and why the next may not take it.
//!
//! What both ends last said are control packets, and so they are handed over as such: our discriminator, state and
//! parameters are in the one, the other side's in the other. Left out: the sockets, the configuration (the next process has
//! its own, and asks for consent where it differs), and why a session went down before.

use std::fmt;
use std::time::Duration;

use crate::config::{Interval, Path};
use crate::discard::Discard;
use crate::packet::{Discriminator, PACKET_LEN};

/// A session, apart from its sockets. All times are relative to the moment at which the image was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionImage {
    /// Which session.
    pub path: Path,
    /// The packet that we would send now.
    pub ours: [u8; PACKET_LEN],
    /// What the other side last said; `None` until it is heard, and again after silence.
    pub theirs: Option<Heard>,
    /// How often we send, as in force. It differs from what we say while a Poll Sequence runs.
    pub tx_in_force: Interval,
    /// How often the other side may send, as in force.
    pub rx_in_force: Interval,
    /// How long the session has been in its state.
    pub state_for: Duration,
    /// How often it came up.
    pub ups: u64,
    /// How often it went down from Up.
    pub downs: u64,
    /// Packets taken from the other side.
    pub received: u64,
    /// Packets handed out for the other side.
    pub sent: u64,
}

/// The other side's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The packet.
    pub packet: [u8; PACKET_LEN],
    /// How long ago it came.
    pub ago: Duration,
}

/// Why a session cannot be taken over. It begins anew then, if it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptFault {
    /// What was handed over as a packet is none.
    Unreadable(Discard),
    /// It is switched off, or says that it hears somebody of whom nothing was handed over.
    Contradiction,
    /// There is a session on this path already.
    PathTaken,
    /// A session here has this number already.
    DiscriminatorTaken(Discriminator),
}

impl fmt::Display for AdoptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => write!(f, "a packet that was handed over is none: {reason}"),
            Self::Contradiction => f.write_str("what was handed over contradicts itself"),
            Self::PathTaken => f.write_str("there is a session with this router already"),
            Self::DiscriminatorTaken(number) => {
                write!(f, "a session here has discriminator {number} already")
            }
        }
    }
}

impl std::error::Error for AdoptFault {}
