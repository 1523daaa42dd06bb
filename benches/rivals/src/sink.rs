//! A bare router on 127.0.0.2: takes one session after the other, counts, keeps nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use yardstick::stream::Sums;
use yardstick::{floor, router};

use crate::pause;

/// How long the sink waits for the other side before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a speaker is to dial.
pub(crate) struct Sink {
    listener: TcpListener,
}

/// One session.
pub(crate) struct Session {
    stream: TcpStream,
    inbox: Vec<u8>,
    chunk: Vec<u8>,
}

/// One received message.
pub(crate) struct Message<'a> {
    /// The type octet.
    pub(crate) kind: u8,
    /// All of it.
    pub(crate) octets: &'a [u8],
}

/// How the routes of a session came in; times count from our KEEPALIVE, which makes it Established over there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Until 99 of 100 were there.
    pub(crate) most: Duration,
    /// Until all were there.
    pub(crate) all: Duration,
    /// UPDATEs with routes.
    pub(crate) updates: u64,
    /// Their octets.
    pub(crate) octets: usize,
    /// Routes.
    pub(crate) prefixes: u64,
}

impl Sink {
    /// Listens on a port of the kernel's choice.
    pub(crate) fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.2:0").context("listening on 127.0.0.2")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// To be dialled.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Takes the next connection and says nothing yet.
    pub(crate) fn accept(&self) -> Result<Session> {
        let start = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(Session {
                        stream,
                        inbox: Vec::with_capacity(1 << 20),
                        chunk: vec![0; 1 << 18],
                    });
                }
                Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => {
                    ensure!(start.elapsed() < PATIENCE, "nobody dialled for {PATIENCE:?}");
                    pause(Duration::from_millis(5));
                }
                Err(fault) => bail!(fault),
            }
        }
    }
}

impl Session {
    /// Exchanges OPEN and KEEPALIVE; returns when our KEEPALIVE went out.
    pub(crate) fn establish(&mut self, hold: u16) -> Result<Instant> {
        self.send(&router::open_with(hold))?;
        let mut opened = false;
        while !opened {
            self.receive(|message| opened |= message.kind == 1)?;
        }
        let established = Instant::now();
        self.send(&router::keepalive())?;
        Ok(established)
    }

    /// Counts until `prefixes` routes have come.
    pub(crate) fn collect(&mut self, established: Instant, prefixes: u64) -> Result<Arrival> {
        let mut arrival =
            Arrival { most: Duration::ZERO, all: Duration::ZERO, updates: 0, octets: 0, prefixes: 0 };
        while arrival.prefixes < prefixes {
            self.receive(|message| {
                let found = routes(message);
                arrival.prefixes += found;
                if found > 0 {
                    arrival.updates += 1;
                    arrival.octets += message.octets.len();
                }
            })
            .with_context(|| format!("{} of {prefixes} routes had come", arrival.prefixes))?;
            arrival.all = established.elapsed();
            if arrival.most.is_zero() && arrival.prefixes * 100 >= prefixes * 99 {
                arrival.most = arrival.all;
            }
        }
        Ok(arrival)
    }

    /// Reads once and hands over every whole message.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&Message<'_>)) -> Result<()> {
        let length = self.stream.read(&mut self.chunk).context("reading from the speaker")?;
        ensure!(length > 0, "the speaker closed the session");
        self.inbox.extend_from_slice(&self.chunk[..length]);
        let mut taken = 0;
        while let Some(octets) = first_message(&self.inbox[taken..]) {
            ensure!(octets[18] != 3, "the speaker sent NOTIFICATION {:?}", &octets[19..]);
            take(&Message { kind: octets[18], octets });
            taken += octets.len();
        }
        self.inbox.drain(..taken);
        Ok(())
    }

    /// Writes all of it.
    pub(crate) fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).context("writing to the speaker")
    }

    /// A second handle for writing while the first one reads.
    pub(crate) fn writer(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }
}

/// Prefixes announced or withdrawn in a message.
pub(crate) fn routes(message: &Message<'_>) -> u64 {
    let mut sums = Sums::default();
    // A speaker that sends a broken UPDATE has announced nothing.
    floor::walk_message(message.octets, &mut sums).map_or(0, |()| sums.prefixes)
}

fn first_message(stream: &[u8]) -> Option<&[u8]> {
    let length = u16::from_be_bytes(*stream.get(16..)?.first_chunk()?);
    stream.get(..usize::from(length).max(19))
}
