//! One TCP connection: octets that were read and not yet understood, octets that were built and not yet written,
//! and how it ends. Every step is one bounded, non-blocking turn.
//!
//! Knows nothing of BGP: the driver carries octets between this and `bgp_proto::Speaker`.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Context;
use std::time::{Duration, Instant};

use api::config::SessionKey;
use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::sockopt;

/// Room for two of the longest messages (RFC 8654), so that a whole one always fits behind a partial one. The pages
/// are only touched when a peer really sends that much at once.
const INBOX: usize = 128 * 1024;

/// How long an ending connection may take to write its last octets, and again to see the peer close.
const FAREWELL: Duration = Duration::from_secs(2);

/// What came of a turn of reading.
#[derive(Debug)]
pub(super) enum Received {
    /// New octets are in [`Connection::unread`].
    Octets,
    /// The kernel has nothing more at the moment.
    Nothing,
    /// The peer closed its side.
    Eof,
    /// The connection broke.
    Broken(io::Error),
}

/// What came of a turn of writing.
#[derive(Debug)]
pub(super) enum Written {
    /// The outbox is empty; `progress` says whether the kernel took anything.
    All {
        /// At least one octet went out.
        progress: bool,
    },
    /// The kernel takes no more at the moment.
    Blocked {
        /// At least one octet went out before.
        progress: bool,
    },
    /// The connection broke.
    Broken(io::Error),
}

/// A connection and its two bounded buffers.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    inbox: Box<[u8]>,
    /// The unread octets are `inbox[start..end]`.
    start: usize,
    end: usize,
    outbox: BytesMut,
    /// Octets that the kernel took from this process.
    written: u64,
    stage: Stage,
}

/// How far the connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last octets (a NOTIFICATION, say) are to be written; what still comes in is discarded.
    Flushing {
        until: Instant,
    },
    /// Our side is shut; waits for the peer's FIN, because closing with unread octets would send a RST, and a RST
    /// makes the peer's kernel throw away the NOTIFICATION that it has not read yet.
    Lingering {
        until: Instant,
    },
}

impl Connection {
    /// How much of what was written the router's TCP has not acknowledged yet; `None` on the way out, and where the kernel
    /// does not say.
    pub(super) fn unacknowledged(&self) -> Option<u32> {
        sockopt::unacknowledged(&self.stream).ok().filter(|_| self.is_open())
    }

    /// Octets that the kernel took from this process.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// How many of these octets the router's TCP has acknowledged, at least; `None` where the kernel does not say. (Of a
    /// connection of another process its octets may be among those that are still on the way.)
    pub(super) fn acknowledged(&self) -> Option<u64> {
        let on_the_way = sockopt::unacknowledged(&self.stream).ok()?;
        Some(self.written.saturating_sub(on_the_way.into()))
    }

    /// Takes over a connected stream.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            inbox: vec![0; INBOX].into_boxed_slice(),
            start: 0,
            end: 0,
            outbox: BytesMut::new(),
            written: 0,
            stage: Stage::Open,
        }
    }

    /// The most octets that may be read and not understood.
    pub(super) const UNREAD_MAX: usize = INBOX / 2;

    /// Goes on with a stream of another process: with what it had read and not understood (at most
    /// [`Self::UNREAD_MAX`] octets, what is beyond is lost) and what it had built and not written.
    pub(super) fn resumed(stream: TcpStream, unread: &[u8], unsent: &[u8]) -> Self {
        let mut connection = Self::new(stream);
        for (to, from) in connection.inbox.iter_mut().zip(unread.iter().take(Self::UNREAD_MAX)) {
            *to = *from;
        }
        connection.end = unread.len().min(Self::UNREAD_MAX);
        connection.outbox.extend_from_slice(unsent);
        connection
    }

    /// Its socket, for another process to have a copy of.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Signs with another key from now on, and takes nothing else.
    ///
    /// # Errors
    /// The kernel does not do that with a connection, or the connection is gone.
    pub(super) fn sign_with(&self, key: &SessionKey) -> io::Result<()> {
        let router = self.stream.peer_addr()?.ip();
        sockopt::set_key(&self.stream, router.into(), key).map_err(io::Error::other)
    }

    /// What was built and not written.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.outbox
    }

    /// Whether a turn would achieve something. Registers for a wake-up otherwise.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> bool {
        let readable = self.stream.poll_read_ready(context).is_ready();
        let writable = !self.outbox.is_empty() && self.stream.poll_write_ready(context).is_ready();
        readable || writable
    }

    /// One read, as much as fits. An ending connection discards what it reads.
    pub(super) fn receive(&mut self) -> Received {
        self.make_room();
        let room = self.inbox.get_mut(self.end..).unwrap_or_default();
        match self.stream.try_read(room) {
            Ok(0) => Received::Eof,
            Ok(length) if self.stage == Stage::Open => {
                self.end += length;
                Received::Octets
            }
            Ok(_) => Received::Nothing,
            Err(fault) if is_temporary(&fault) => Received::Nothing,
            Err(fault) => Received::Broken(fault),
        }
    }

    /// What was read and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.inbox.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `length` unread octets are understood.
    pub(super) fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The octets to write next; the driver fills it only while it is empty.
    pub(super) fn outbox(&mut self) -> &mut BytesMut {
        &mut self.outbox
    }

    /// Writes until the outbox is empty or the kernel takes no more.
    pub(super) fn write(&mut self) -> Written {
        let mut progress = false;
        while !self.outbox.is_empty() {
            match self.stream.try_write(&self.outbox) {
                Ok(length) => {
                    progress |= length > 0;
                    self.written = self.written.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
                    self.outbox.advance(length);
                }
                Err(fault) if is_temporary(&fault) => return Written::Blocked { progress },
                Err(fault) => return Written::Broken(fault),
            }
        }
        Written::All { progress }
    }

    /// From now on: write what is left, then close. Reading goes on, into nothing.
    pub(super) fn end_after_flush(&mut self, now: Instant) {
        if self.stage == Stage::Open {
            self.stage = Stage::Flushing { until: now + FAREWELL };
            (self.start, self.end) = (0, 0);
        }
    }

    /// Everything is written: shuts our side, if the connection is on its way out.
    pub(super) fn flushed(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Flushing { .. }) {
            self.stage = Stage::Lingering { until: now + FAREWELL };
            // A fault here means that the connection is gone already; the next read says so.
            let _ = SockRef::from(&self.stream).shutdown(Shutdown::Write);
        }
    }

    /// Whether it is still the core's; an ending one only has octets to get rid of.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether there may be more to write before our side is shut.
    pub(super) fn can_send(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Flushing { .. })
    }

    /// When an ending connection is dropped whatever the peer does.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Open => None,
            Stage::Flushing { until } | Stage::Lingering { until } => Some(until),
        }
    }

    /// Moves a partial message to the front when the free end is short; whole messages are never moved.
    fn make_room(&mut self) {
        if self.start > 0 && self.inbox.len() - self.end < INBOX / 2 {
            self.inbox.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

fn is_temporary(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    async fn pair() -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Connection::new(ours), listener.accept().unwrap().0)
    }

    async fn receive(connection: &mut Connection) -> Received {
        std::future::poll_fn(|context| match connection.poll_ready(context) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
        connection.receive()
    }

    #[tokio::test]
    async fn a_partial_message_stays_until_the_rest_came() {
        let (mut ours, mut theirs) = pair().await;
        theirs.write_all(b"first sec").unwrap();
        assert!(matches!(receive(&mut ours).await, Received::Octets));
        ours.consume(6);
        theirs.write_all(b"ond").unwrap();
        while ours.unread().len() < 6 {
            receive(&mut ours).await;
        }
        assert_eq!(ours.unread(), b"second");
        ours.consume(6);
        assert_eq!((ours.start, ours.end), (0, 0));
    }

    #[tokio::test]
    async fn the_inbox_never_grows_and_always_has_room_for_a_whole_message() {
        let (mut ours, mut theirs) = pair().await;
        let writer = std::thread::spawn(move || theirs.write_all(&[7; 4 * INBOX]));
        let mut total = 0;
        while total < 4 * INBOX {
            receive(&mut ours).await;
            let whole = ours.unread().len() / 1000 * 1000;
            assert!(ours.unread().len() - whole < 1000);
            total += whole;
            ours.consume(whole);
            if total >= 4 * INBOX / 1000 * 1000 {
                break;
            }
            assert_eq!(ours.inbox.len(), INBOX);
        }
        writer.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_blocks_the_write_and_a_farewell_has_a_deadline() {
        let (mut ours, _theirs) = pair().await;
        let blocked = loop {
            ours.outbox().extend_from_slice(&[1; 64 * 1024]);
            match ours.write() {
                Written::All { .. } => {}
                Written::Blocked { .. } => break true,
                Written::Broken(_) => break false,
            }
        };
        assert!(blocked);
        let now = Instant::now();
        ours.end_after_flush(now);
        assert!(!ours.is_open() && ours.can_send());
        assert_eq!(ours.deadline(), Some(now + FAREWELL));
    }

    #[tokio::test]
    async fn last_words_arrive_although_the_peer_had_sent_more() {
        let (mut ours, mut theirs) = pair().await;
        theirs.write_all(&[9; 100_000]).unwrap();
        ours.outbox().extend_from_slice(b"farewell");
        ours.end_after_flush(Instant::now());
        assert!(matches!(ours.write(), Written::All { progress: true }));
        ours.flushed(Instant::now());
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            theirs.read_to_string(&mut text).map(|_| text)
        });
        while !matches!(receive(&mut ours).await, Received::Eof) {}
        assert_eq!(reader.join().unwrap().unwrap(), "farewell");
    }
}
