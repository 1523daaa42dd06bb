//! What goes in and out of a [`Speaker`](crate::Speaker) besides octets.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::peer::{ConnectionId, PeerKey};
use crate::status::DownReason;

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The dial that was asked for has succeeded (event 16 of RFC 4271 §8.1.4).
    Connected {
        /// Who was dialled.
        peer: PeerKey,
        /// The number of the new connection.
        connection: ConnectionId,
        /// Our end: the next hop of its family.
        local: IpAddr,
        /// The peer's end.
        remote: IpAddr,
    },
    /// The peer has dialled us (event 17 of RFC 4271 §8.1.4).
    Accepted {
        /// Who it is, judged by its address.
        peer: PeerKey,
        /// The number of the new connection.
        connection: ConnectionId,
        /// Our end: the next hop of its family.
        local: IpAddr,
        /// The peer's end.
        remote: IpAddr,
    },
    /// The dial that was asked for has failed (event 18 of RFC 4271 §8.1.4).
    ConnectFailed {
        /// Who was dialled.
        peer: PeerKey,
        /// How it failed.
        reason: ConnectFault,
    },
    /// The connection is over (event 18 of RFC 4271 §8.1.4).
    Closed {
        /// Which one.
        connection: ConnectionId,
        /// How it ended.
        reason: CloseCause,
    },
    /// The kernel took octets of this connection; whatever was reported blocked no longer is. Stops the send hold timer
    /// (RFC 9687).
    WriteProgress {
        /// Which one.
        connection: ConnectionId,
    },
    /// The kernel takes no more octets of this connection although there are some. Starts the send hold timer, unless it
    /// runs (RFC 9687).
    WriteBlocked {
        /// Which one.
        connection: ConnectionId,
    },
    /// BFD found the path to this peer dead: an Established session ends at once (RFC 5882 §4.2, RFC 9384).
    PathDown {
        /// Whose path.
        peer: PeerKey,
        /// What BFD saw.
        fault: PathFault,
    },
    /// BFD found the path to this peer whole: a session that waits for its next dial dials now.
    PathUp {
        /// Whose path.
        peer: PeerKey,
    },
}

/// How BFD found out that a path is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathFault {
    /// Nothing came from the router for the detection time.
    Silence {
        /// The detection time.
        after: Duration,
    },
    /// The router says that its BFD session is down.
    Signalled,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { after } => {
                write!(f, "BFD heard nothing of the router for {} ms", after.as_millis())
            }
            Self::Signalled => f.write_str("the router's BFD says that it does not hear this node"),
        }
    }
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectFault {
    /// The router answered that nobody listens there, or that we may not.
    Refused,
    /// No answer.
    TimedOut,
    /// No way to the router.
    Unreachable,
    /// The local address that was asked for is not on this node.
    AddressNotAvailable,
    /// Anything else, with the number of the operating system (`errno`).
    Os(i32),
}

impl fmt::Display for ConnectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str(
                "connection refused: nothing listens there, or the router does not know this node",
            ),
            Self::TimedOut => {
                f.write_str("connection timed out: no answer from the router (address, firewall, password)")
            }
            Self::Unreachable => f.write_str("router unreachable: no route to its address"),
            Self::AddressNotAvailable => f.write_str("the source address of the peer is not on this node"),
            Self::Os(number) => write!(f, "connecting failed: operating system error {number}"),
        }
    }
}

/// Why a connection ended on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseCause {
    /// The router closed it.
    Eof,
    /// The router reset it.
    Reset,
    /// The socket failed, with the number of the operating system (`errno`).
    Error(i32),
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("the router closed the connection"),
            Self::Reset => f.write_str("the router reset the connection"),
            Self::Error(number) => write!(f, "the connection failed: operating system error {number}"),
        }
    }
}

/// What the driver has to do, or ought to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpeakerEvent {
    /// Connect to this peer. A dial to it that is still under way is given up first.
    Dial {
        /// Whom.
        peer: PeerKey,
    },
    /// Close this connection and then forget it.
    HangUp {
        /// Which one.
        connection: ConnectionId,
        /// With or without sending what is left.
        how: HangUp,
    },
    /// The session with this peer is Established (RFC 4271 §8.2.2).
    Up {
        /// Whose.
        peer: PeerKey,
    },
    /// The session with this peer is no longer Established, or an attempt at one has failed.
    Down {
        /// Whose.
        peer: PeerKey,
        /// Why.
        reason: DownReason,
    },
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// Drain `poll_transmit` once more, write it within a second or so, then close.
    AfterFlush,
    /// Close now: nothing written would arrive.
    Abort,
}

/// How the speaker is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// We shall be back: close TCP without a NOTIFICATION, so that routers keep the routes (RFC 4724).
    Restart,
    /// This node goes away: withdraw everything, then Hard Reset with this text (RFC 8538, RFC 9003).
    Remove(String),
    /// Administrative Shutdown with this text (RFC 9003).
    AdminShutdown(String),
}
