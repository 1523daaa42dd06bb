//! A router that only counts: takes one session, answers OPEN, and says when the last route was there.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::floor;
use crate::router;

/// How long the sink waits for more before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// From our KEEPALIVE, which makes the session Established at the peer, to the last route.
    pub duration: Duration,
    /// UPDATE messages with routes.
    pub updates: u64,
    /// Their octets.
    pub octets: usize,
    /// Routes.
    pub prefixes: u64,
}

/// Where the sink listens, and what it will have seen.
#[derive(Debug)]
pub struct Sink {
    /// To be dialled.
    pub address: SocketAddr,
    /// Ends when all routes have arrived.
    pub thread: JoinHandle<io::Result<Arrival>>,
}

impl Sink {
    /// Listens on loopback for a session that brings `prefixes` routes.
    ///
    /// # Errors
    /// When there is no loopback.
    pub fn listen(prefixes: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let thread = std::thread::spawn(move || receive(&listener.accept()?.0, prefixes));
        Ok(Self { address, thread })
    }
}

fn receive(mut stream: &TcpStream, prefixes: u64) -> io::Result<Arrival> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(&router::open())?;
    let mut inbox = Vec::with_capacity(1 << 20);
    let mut arrival = Arrival { duration: Duration::ZERO, updates: 0, octets: 0, prefixes: 0 };
    let mut established: Option<Instant> = None;
    let mut chunk = vec![0; 1 << 18];
    while arrival.prefixes < prefixes {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inbox.extend_from_slice(chunk.get(..length).unwrap_or_default());
        let mut taken = 0;
        while let Some(message) = first_message(inbox.get(taken..).unwrap_or_default()) {
            taken += message.len();
            match message.get(18) {
                Some(4) if established.is_none() => {
                    established = Some(Instant::now());
                    stream.write_all(&router::keepalive())?;
                }
                Some(2) => {
                    let sums = floor::walk(message).ok_or(io::ErrorKind::InvalidData)?;
                    arrival.prefixes += sums.prefixes;
                    arrival.updates += u64::from(sums.prefixes > 0);
                    arrival.octets += message.len();
                }
                Some(_) | None => {}
            }
        }
        inbox.drain(..taken);
    }
    arrival.duration = established.map_or(Duration::ZERO, |since| since.elapsed());
    Ok(arrival)
}

fn first_message(stream: &[u8]) -> Option<&[u8]> {
    let length = u16::from_be_bytes(*stream.get(16..)?.first_chunk()?);
    stream.get(..usize::from(length).max(19))
}
