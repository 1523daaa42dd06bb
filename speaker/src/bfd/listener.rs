//! The sockets that control packets come in by: one for each port and family that a session needs.
//!
//! The ports are fixed by the RFCs, so another BFD on the node stands in the way; that is said and tried again, because
//! it is also what happens while the speaker of a Pod before this one ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use bfd_proto::{Arrival, Hops, Path};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{info, warn};

use crate::peering::sockopt::{Labelled, label_datagrams, receive_labelled};

/// Datagrams that one socket may hand over before the others, and the deadlines, have their turn: more than its buffer
/// holds, so that a round that comes late knows all that has come.
const BATCH: usize = 512;

/// A control packet is 24 octets; a longer datagram is cut, and judged by what is left.
const DATAGRAM: usize = 128;

/// How often a port that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Which socket a session hears by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ear {
    /// Which port.
    pub hops: Hops,
    /// Which family: IPv4, or IPv6.
    pub ipv4: bool,
}

impl Ear {
    fn of(path: Path) -> Self {
        Self { hops: path.hops, ipv4: path.local.is_ipv4() }
    }
}

#[derive(Debug)]
enum Listener {
    Open(Socket),
    Closed { fault: ListenFault, retry_at: Instant },
}

/// Why nothing can be heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenFault {
    /// Somebody else has the port.
    #[error(
        "UDP port {port} is taken by another program on this node (another BFD, or a speaker that still ends)"
    )]
    Taken {
        /// The port.
        port: u16,
    },
    /// Whatever else the kernel says.
    #[error("UDP port {port} cannot be opened: {fault}")]
    Kernel {
        /// The port.
        port: u16,
        /// In the kernel's words.
        fault: io::Error,
    },
}

/// All open ports.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    ears: BTreeMap<Ear, Listener>,
}

impl Listeners {
    /// Opens what the sessions need and closes what they do not.
    pub(super) fn serve(&mut self, now: Instant, paths: impl Iterator<Item = Path>) {
        let needed: BTreeSet<Ear> = paths.map(Ear::of).collect();
        self.ears.retain(|ear, _| needed.contains(ear));
        for ear in needed {
            if !self.ears.contains_key(&ear) {
                self.open(now, ear);
            }
        }
    }

    /// Goes on with the socket of another process: what has come to it and was not read is not lost.
    pub(super) fn inherit(&mut self, ear: Ear, socket: OwnedFd) {
        self.ears.insert(ear, Listener::Open(Socket::from(socket)));
    }

    /// The open sockets for another process.
    pub(super) fn copies(&self) -> Vec<(Ear, OwnedFd)> {
        let open = self.ears.iter().filter_map(|(ear, listener)| match listener {
            Listener::Open(socket) => Some((*ear, socket.as_fd().try_clone_to_owned().ok()?)),
            Listener::Closed { .. } => None,
        });
        open.collect()
    }

    /// Tries again what could not be opened.
    pub(super) fn retry(&mut self, now: Instant) {
        let due: Vec<Ear> = self
            .ears
            .iter()
            .filter(|(_, listener)| matches!(listener, Listener::Closed { retry_at, .. } if *retry_at <= now))
            .map(|(ear, _)| *ear)
            .collect();
        for ear in due {
            self.open(now, ear);
        }
    }

    /// When [`Self::retry`] is due.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let waits = |listener: &Listener| match listener {
            Listener::Open(_) => None,
            Listener::Closed { retry_at, .. } => Some(*retry_at),
        };
        self.ears.values().filter_map(waits).min()
    }

    /// What keeps this session from hearing anything.
    pub(super) fn obstacle(&self, path: Path) -> Option<&ListenFault> {
        match self.ears.get(&Ear::of(path))? {
            Listener::Open(_) => None,
            Listener::Closed { fault, .. } => Some(fault),
        }
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ears.values().filter_map(|listener| match listener {
            Listener::Open(socket) => Some(socket.as_fd()),
            Listener::Closed { .. } => None,
        })
    }

    /// Hands over what has come, a bounded number of datagrams of each socket.
    pub(super) fn receive(&self, mut take: impl FnMut(Arrival, &[u8])) {
        let mut datagram = [0; DATAGRAM];
        for (ear, listener) in &self.ears {
            let Listener::Open(socket) = listener else { continue };
            for _ in 0..BATCH {
                // An error is the end of the batch like an empty socket: a listener has none that lasts.
                let Ok(labelled) = receive_labelled(socket, &mut datagram) else { break };
                // Both labels are asked for when the socket is opened; without them nothing can be judged.
                let Some(Labelled { length, from, to, link, ttl }) = labelled else { continue };
                let arrival = Arrival { local: to, remote: from, link, ttl, hops: ear.hops };
                take(arrival, datagram.get(..length).unwrap_or_default());
            }
        }
    }

    fn open(&mut self, now: Instant, ear: Ear) {
        let port = ear.hops.port();
        let before = self.ears.get(&ear);
        let listener = match open(ear) {
            Ok(socket) => {
                if before.is_some() {
                    info!(port, "the port of BFD is open now");
                }
                Listener::Open(socket)
            }
            Err(fault) => {
                let fault = match fault.raw_os_error() {
                    Some(libc::EADDRINUSE) => ListenFault::Taken { port },
                    Some(_) | None => ListenFault::Kernel { port, fault },
                };
                if before.is_none() {
                    warn!(reason = %fault, "BFD cannot hear: trying again until it can");
                }
                Listener::Closed { fault, retry_at: now + RETRY }
            }
        };
        self.ears.insert(ear, listener);
    }
}

fn open(ear: Ear) -> io::Result<Socket> {
    let any: IpAddr = if ear.ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let address = SocketAddr::new(any, ear.hops.port());
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if !ear.ipv4 {
        socket.set_only_v6(true)?;
    }
    label_datagrams(&socket, ear.ipv4)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
