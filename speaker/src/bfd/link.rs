//! The sockets that control packets go out by: one for each session, with a source port that stays (RFC 5881 §4).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use bfd_proto::Path;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

/// RFC 5881 §4: source ports of BFD.
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Source ports that are tried before the node counts as full.
const TRIES: u16 = 64;

/// Class selector 6, like BGP's own packets: BFD must not wait behind anything.
const TRAFFIC_CLASS: u32 = 0xC0;

/// How long a socket that failed rests.
const RETRY: Duration = Duration::from_secs(1);

/// Why packets do not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkFault {
    /// An ICMP port unreachable came back.
    #[error("the router answers that nothing listens on UDP port {port}: switch BFD on there")]
    Refused {
        /// The port.
        port: u16,
    },
    /// Our address has left the node.
    #[error("address {0} is not on this node")]
    AddressMissing(IpAddr),
    /// No way to the router.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// A firewall on this node said no.
    #[error("a firewall on this node forbids UDP to {0}")]
    Forbidden(IpAddr),
    /// Whatever else the kernel says.
    #[error("BFD packets cannot be sent: operating system error {0}")]
    Kernel(i32),
}

#[derive(Debug)]
struct Link {
    socket: Option<Socket>,
    retry_at: Option<Instant>,
    fault: Option<LinkFault>,
}

/// All sessions' sockets.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<Path, Link>,
    /// Where the search for a free source port goes on.
    next_port: u16,
}

impl Links {
    /// Keeps the sockets of these paths only; new ones are opened with their first packet.
    pub(super) fn keep(&mut self, paths: impl Iterator<Item = Path>) {
        let kept: BTreeSet<Path> = paths.collect();
        self.links.retain(|path, _| kept.contains(path));
    }

    /// Goes on with the socket of another process, and so with its source port.
    pub(super) fn inherit(&mut self, path: Path, socket: OwnedFd) {
        self.links.insert(path, Link { socket: Some(Socket::from(socket)), retry_at: None, fault: None });
    }

    /// The socket of this path for another process; `None` where there is none, or no descriptor is left.
    pub(super) fn copy(&self, path: Path) -> Option<OwnedFd> {
        self.links.get(&path)?.socket.as_ref()?.as_fd().try_clone_to_owned().ok()
    }

    /// Why packets of this path do not leave, or are not wanted at the other end.
    pub(super) fn obstacle(&self, path: Path) -> Option<LinkFault> {
        self.links.get(&path)?.fault
    }

    /// The port that packets of this path leave from.
    #[cfg(test)]
    pub(super) fn source_port(&self, path: Path) -> Option<u16> {
        Some(self.links.get(&path)?.socket.as_ref()?.local_addr().ok()?.as_socket()?.port())
    }

    /// The other end was heard: whatever was refused before no longer is.
    pub(super) fn heard(&mut self, path: Path) {
        if let Some(link) = self.links.get_mut(&path)
            && matches!(link.fault, Some(LinkFault::Refused { .. }))
        {
            link.fault = None;
        }
    }

    /// Sends a packet, once. What does not leave is lost, as a packet may be.
    pub(super) fn send(&mut self, now: Instant, path: Path, octets: &[u8]) {
        let link = self.links.entry(path).or_insert(Link { socket: None, retry_at: None, fault: None });
        if link.socket.is_none() {
            if link.retry_at.is_some_and(|at| at > now) {
                return;
            }
            match open(path, &mut self.next_port) {
                Ok(socket) => link.socket = Some(socket),
                Err(fault) => return link.fail(now, path, &fault),
            }
        }
        let Some(socket) = &link.socket else { return };
        let mut sent = socket.send(octets);
        if sent.as_ref().is_err_and(is_refusal) {
            // The refusal of an earlier packet; this one has not been sent.
            sent = socket.send(octets);
            link.note(path, LinkFault::Refused { port: path.hops.port() });
        }
        match sent {
            Ok(_) => link.fault = link.fault.filter(|fault| matches!(fault, LinkFault::Refused { .. })),
            Err(fault) if is_refusal(&fault) || fault.kind() == io::ErrorKind::WouldBlock => {}
            Err(fault) => link.fail(now, path, &fault),
        }
    }
}

impl Link {
    fn fail(&mut self, now: Instant, path: Path, fault: &io::Error) {
        self.socket = None;
        self.retry_at = Some(now + RETRY);
        self.note(path, in_words(path, fault));
    }

    fn note(&mut self, path: Path, fault: LinkFault) {
        if self.fault.replace(fault) != Some(fault) {
            warn!(router = %path.remote, reason = %fault, "BFD packets do not arrive");
        }
    }
}

fn is_refusal(fault: &io::Error) -> bool {
    fault.raw_os_error() == Some(libc::ECONNREFUSED)
}

fn in_words(path: Path, fault: &io::Error) -> LinkFault {
    match fault.raw_os_error().unwrap_or_default() {
        libc::EADDRNOTAVAIL => LinkFault::AddressMissing(path.local),
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL => LinkFault::NoRoute(path.remote),
        libc::EPERM | libc::EACCES => LinkFault::Forbidden(path.remote),
        other => LinkFault::Kernel(other),
    }
}

fn open(path: Path, next_port: &mut u16) -> io::Result<Socket> {
    let remote = at(path.remote, path.hops.port(), path.link);
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match path.remote {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(255)?;
            socket.set_tos_v4(TRAFFIC_CLASS)?;
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(255)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
        }
    }
    bind(&socket, path, next_port)?;
    socket.connect(&remote.into())?;
    Ok(socket)
}

fn at(address: IpAddr, port: u16, link: u32) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(address, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, link).into(),
    }
}

/// Takes the next source port that is free.
fn bind(socket: &Socket, path: Path, next_port: &mut u16) -> io::Result<()> {
    let mut last = io::Error::from_raw_os_error(libc::EADDRINUSE);
    for _ in 0..TRIES {
        let port = (*next_port).max(*SOURCE_PORTS.start());
        *next_port = port.checked_add(1).unwrap_or(*SOURCE_PORTS.start());
        match socket.bind(&at(path.local, port, path.link).into()) {
            Ok(()) => return Ok(()),
            Err(fault) if fault.raw_os_error() == Some(libc::EADDRINUSE) => last = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(last)
}
