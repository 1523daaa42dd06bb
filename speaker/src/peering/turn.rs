//! One connection's turn of writing: bounded, and reported to the core, which times how long a router takes nothing.

use std::io;
use std::time::Instant;

use bgp_proto::{CloseCause, ConnectionId, Event, Speaker};
use tokio::net::TcpStream;

use super::connection::{Connection, Written};

/// How many bursts (64 KiB each) one connection may write before the others have their turn.
const BURSTS_A_TURN: usize = 4;

/// A connection, and whether the core knows that the kernel takes no more.
#[derive(Debug)]
pub(super) struct Live {
    /// The connection.
    pub(super) connection: Connection,
    blocked: bool,
}

impl Live {
    /// A connection that has said nothing yet.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { connection: Connection::new(stream), blocked: false }
    }

    /// A connection that another process had before.
    pub(super) fn resumed(connection: Connection) -> Self {
        Self { connection, blocked: false }
    }
}

/// Writes what the core has for this connection: a few bursts at most. Says whether the kernel took anything.
pub(super) fn transmit_turn(
    speaker: &mut Speaker,
    now: Instant,
    id: ConnectionId,
    live: &mut Live,
) -> io::Result<bool> {
    let Live { connection, blocked } = live;
    let mut any = false;
    for _ in 0..BURSTS_A_TURN {
        let (progress, full) = match connection.write() {
            Written::All { progress } => (progress, false),
            Written::Blocked { progress } => (progress, true),
            Written::Broken(fault) => return Err(fault),
        };
        any |= progress;
        if connection.is_open() {
            if progress {
                speaker.handle_event(now, Event::WriteProgress { connection: id });
            }
            if full && (progress || !*blocked) {
                speaker.handle_event(now, Event::WriteBlocked { connection: id });
            }
        }
        *blocked = full;
        if full {
            break;
        }
        if connection.can_send() {
            // "Nothing more" shows as an empty outbox.
            let _ = speaker.poll_transmit(now, id, connection.outbox());
        }
        if connection.outbox().is_empty() {
            connection.flushed(now);
            break;
        }
    }
    // After the last burst the outbox is full again, so that the socket's readiness asks for the next turn.
    Ok(any)
}

/// What the core is told about a socket that failed.
pub(super) fn close_cause(fault: &io::Error) -> CloseCause {
    match fault.raw_os_error() {
        Some(libc::ECONNRESET | libc::EPIPE) => CloseCause::Reset,
        Some(number) => CloseCause::Error(number),
        None => CloseCause::Eof,
    }
}
