//! What a user of a Service notices: short requests at a steady pace, each on a connection of its own, and long downloads.
//!
//! Runs on threads inside the client's namespace, so that a busy runtime does not look like a lost packet. Bounded by its
//! timeouts; ends when the value is dropped.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::{Domain, Socket, Type};

use crate::network::client::ClientHost;

/// Threads that send short requests.
const REQUESTERS: usize = 2;
/// Each of them begins one this often.
const PACE: Duration = Duration::from_millis(20);
/// A request that is not answered by then is lost.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The server sends a little every second; a download without anything for this long is broken.
const DEAD_AIR: Duration = Duration::from_secs(6);
/// So many lost requests are told one by one.
const TOLD: u64 = 3;
/// Source ports, below those that the kernel chooses.
const PORTS: std::ops::Range<u16> = 1024..32_768;
/// How often a reader looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(200);

/// What was sent and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Requests that were begun and are decided.
    pub requests: u64,
    /// Those of them that were not answered.
    pub lost: u64,
    /// Downloads that run at a time.
    pub downloads: u64,
    /// Downloads that broke; each was begun anew, and may have broken again.
    pub broken: u64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, lost, downloads, broken } = self;
        write!(f, "{lost} of {requests} requests, {broken} downloads ({downloads} at a time)")
    }
}

/// Source ports of a client, each only once in five minutes at this pace. The kernel would choose for all labs from one row,
/// and come to the same port again while the nodes still remember the last connection from there (conntrack).
#[derive(Debug, Default)]
pub struct Ports {
    used: AtomicU32,
}

impl Ports {
    fn next(&self) -> u16 {
        let nth = self.used.fetch_add(1, Ordering::Relaxed) % u32::from(PORTS.end - PORTS.start);
        PORTS.start + u16::try_from(nth).unwrap_or_default()
    }
}

/// Traffic that runs.
#[derive(Debug)]
pub struct Traffic {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    stop: AtomicBool,
    requests: AtomicU64,
    lost: AtomicU64,
    downloads: AtomicU64,
    broken: AtomicU64,
}

impl Traffic {
    /// Begins to send from a client, with so many long downloads at a time.
    ///
    /// # Errors
    /// When its namespace cannot be entered.
    pub async fn begin(client: &ClientHost, target: SocketAddr, downloads: usize) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let (shared, ports) = (Arc::clone(&counters), Arc::clone(client.ports()));
        // Threads are born into the namespace of their parent.
        client
            .namespace()
            .inside_for_long(move || {
                for _ in 0..REQUESTERS {
                    let (counters, ports) = (Arc::clone(&shared), Arc::clone(&ports));
                    std::thread::spawn(move || request_on(&counters, &ports, target));
                }
                for _ in 0..downloads {
                    let (counters, ports) = (Arc::clone(&shared), Arc::clone(&ports));
                    std::thread::spawn(move || download_on(&counters, &ports, target));
                }
            })
            .await?;
        Ok(Self { counters })
    }

    /// What happened since this was asked last. Downloads that run are counted each time.
    pub fn lap(&self) -> Loss {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Loss {
            requests: take(&self.counters.requests),
            lost: take(&self.counters.lost),
            downloads: self.counters.downloads.load(Ordering::Relaxed),
            broken: take(&self.counters.broken),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Relaxed);
    }
}

impl Counters {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn request_on(counters: &Counters, ports: &Ports, target: SocketAddr) {
    // Nobody sends here: waiting for a message is how this thread waits for time.
    let (_keep, clock) = mpsc::sync_channel::<()>(0);
    let first = Instant::now();
    while !counters.ended() {
        let began = Instant::now();
        let answer = request(ports, target);
        counters.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = answer {
            let before = counters.lost.fetch_add(1, Ordering::Relaxed);
            if before < TOLD {
                let (after, took) = (began.duration_since(first), began.elapsed());
                println!("  lost: a request {after:?} after the first, which ended after {took:?}: {error}");
            }
        }
        let _ = clock.recv_timeout(PACE.saturating_sub(began.elapsed()));
    }
}

fn request(ports: &Ports, target: SocketAddr) -> std::io::Result<()> {
    let mut stream = open(ports, target, "/")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

fn open(ports: &Ports, target: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let here = match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(here, ports.next()).into())?;
    socket.connect_timeout(&target.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(PATIENCE))?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: herald\r\nConnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// One download after another. One that never began is the requests' business.
fn download_on(counters: &Counters, ports: &Ports, target: SocketAddr) {
    let (_keep, clock) = mpsc::sync_channel::<()>(0);
    while !counters.ended() {
        let Ok(mut stream) = open(ports, target, crate::network::pod::LONG_PATH) else {
            let _ = clock.recv_timeout(GLANCE);
            continue;
        };
        counters.downloads.fetch_add(1, Ordering::Relaxed);
        let (began, mut came) = (Instant::now(), 0);
        let broke = download(counters, &mut stream, &mut came).err();
        counters.downloads.fetch_sub(1, Ordering::Relaxed);
        let Some(error) = broke else { continue };
        if counters.broken.fetch_add(1, Ordering::Relaxed) < TOLD {
            println!("  broken: a download after {:?} and {came} octets: {error}", began.elapsed());
        }
    }
}

/// Goes on until it is told to end; an error says why it broke before. Counts the octets that came.
fn download(counters: &Counters, stream: &mut TcpStream, came: &mut usize) -> std::io::Result<()> {
    let mut octets = [0; 4096];
    let mut heard = Instant::now();
    stream.set_read_timeout(Some(GLANCE))?;
    while !counters.ended() {
        match stream.read(&mut octets) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                *came += count;
                heard = Instant::now();
            }
            // A program of the lab has ended, and this thread was told of it: a read with a limit is not begun again by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if heard.elapsed() > DEAD_AIR {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
