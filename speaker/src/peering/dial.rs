//! Opens the TCP connection to a peer: options, key, source address, connect; each attempt bounded, in its own task.
//!
//! Leaves out when to try again (the connect retry timer of `bgp_proto`) and all BGP.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Once;
use std::time::Duration;

use api::config::SessionKey;
use bgp_proto::{ConnectFault, PeerKey};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::sockopt::{self, KeyFault};
use crate::key_record::record;
use crate::takeover::message::Identity;

/// How long one attempt may take.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Whether the log has been told which options this kernel does not know.
static UNKNOWN_OPTIONS: Once = Once::new();

/// Where to and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The router's address and port.
    pub(super) remote: SocketAddr,
    /// The address to speak from; `None` leaves it to the kernel's routing.
    pub(super) source: Option<IpAddr>,
    /// What signs the session.
    pub(super) key: Option<SessionKey>,
    /// How many hops packets may have come over (RFC 5082); `None` is any number.
    pub(super) hops: Option<NonZeroU8>,
    /// How long the kernel may keep sending into silence, or probing a window that stays closed.
    pub(super) dead_after: Option<Duration>,
}

impl Target {
    /// Whether both lead to the same TCP session: all but how long silence is borne.
    pub(super) fn is_same_session(&self, other: &Self) -> bool {
        (self.remote, self.source, &self.key, self.hops)
            == (other.remote, other.source, &other.key, other.hops)
    }

    /// The same for another process: all that [`Self::is_same_session`] compares.
    pub(super) fn identity(&self) -> Identity {
        let Self { remote, source, key, hops, dead_after: _ } = self;
        let (password, tcp_ao) = record(key.as_ref());
        Identity { remote: *remote, source: *source, password, tcp_ao, hops: *hops }
    }
}

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialFault {
    /// A RST came back, or an ICMP port unreachable.
    #[error("connection refused: nothing listens at {0}")]
    Refused(SocketAddr),
    /// The router closed the handshake half way.
    #[error("connection reset by {0} before it was open")]
    Reset(SocketAddr),
    /// No routing table entry, or nobody answers ARP or neighbour discovery.
    #[error("no route to host {0}")]
    NoRoute(IpAddr),
    /// The network of the peer is not reachable from this node.
    #[error("network of {0} is unreachable from this node")]
    NetworkUnreachable(IpAddr),
    /// Nothing came back.
    #[error("timed out after {wait} s: {0} does not answer", wait = CONNECT_WAIT.as_secs())]
    TimedOut(SocketAddr),
    /// As [`Self::TimedOut`], on a session with a key: a wrong key looks like silence.
    #[error(
        "timed out after {wait} s: {0} does not answer (a different TCP MD5 password looks like this)",
        wait = CONNECT_WAIT.as_secs()
    )]
    TimedOutWithKey(SocketAddr),
    /// As [`Self::TimedOut`], on a session with TCP-AO, where a wrong key and another KeyID look like silence, too.
    #[error(
        "timed out after {wait} s: {0} does not answer (a different TCP-AO key, algorithm, sendID or recvID looks like this)",
        wait = CONNECT_WAIT.as_secs()
    )]
    TimedOutWithTcpAo(SocketAddr),
    /// As [`Self::TimedOut`], on a session with TTL security: what comes with a lower TTL looks like silence.
    #[error(
        "timed out after {wait} s: {router} does not answer, or its packets come with a TTL below {least} (ttlSecurity)",
        wait = CONNECT_WAIT.as_secs()
    )]
    TimedOutWithTtl {
        /// The router.
        router: SocketAddr,
        /// The lowest TTL that is taken.
        least: u16,
    },
    /// `sourceAddress` belongs to nobody here.
    #[error("source address {0} is not on this node")]
    SourceMissing(IpAddr),
    /// `sourceAddress` is of the other family.
    #[error("source address {from} and peer address {to} are of different families")]
    SourceFamily {
        /// The configured source.
        from: IpAddr,
        /// The peer.
        to: IpAddr,
    },
    /// A firewall on this node said no.
    #[error("a firewall on this node forbids the connection to {0}")]
    Forbidden(SocketAddr),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// Whatever else the kernel says.
    #[error("connect: {0}")]
    Kernel(io::Error),
}

impl DialFault {
    /// What the core is told: it only wants to know the kind, for its retry timer.
    pub(super) fn kind(&self) -> ConnectFault {
        match self {
            Self::Refused(_) | Self::Reset(_) | Self::Forbidden(_) => ConnectFault::Refused,
            Self::NoRoute(_) | Self::NetworkUnreachable(_) => ConnectFault::Unreachable,
            Self::TimedOut(_)
            | Self::TimedOutWithKey(_)
            | Self::TimedOutWithTcpAo(_)
            | Self::TimedOutWithTtl { .. } => ConnectFault::TimedOut,
            Self::SourceMissing(_) | Self::SourceFamily { .. } => ConnectFault::AddressNotAvailable,
            Self::Key(_) => ConnectFault::Os(libc::EINVAL),
            Self::Kernel(fault) => ConnectFault::Os(fault.raw_os_error().unwrap_or_default()),
        }
    }
}

/// The attempts under way, at most one for each peer; each runs on its own, so that none waits for another.
#[derive(Debug, Default)]
pub(super) struct Dials {
    tasks: JoinSet<(PeerKey, Result<TcpStream, DialFault>)>,
    running: BTreeMap<PeerKey, AbortHandle>,
}

impl Dials {
    /// Starts an attempt; one that is still under way for this peer is given up.
    pub(super) fn start(&mut self, peer: PeerKey, target: Target) {
        self.give_up(peer);
        let attempt = self.tasks.spawn(async move { (peer, dial(&target).await) });
        self.running.insert(peer, attempt);
    }

    /// Gives up the attempt of a peer, if one is under way.
    pub(super) fn give_up(&mut self, peer: PeerKey) {
        if let Some(attempt) = self.running.remove(&peer) {
            attempt.abort();
        }
    }

    /// Gives up all attempts of peers that are not wanted any more.
    pub(super) fn keep(&mut self, wanted: impl Fn(PeerKey) -> bool) {
        self.running.retain(|peer, attempt| {
            let keep = wanted(*peer);
            if !keep {
                attempt.abort();
            }
            keep
        });
    }

    /// The next attempt that ended. Waits for ever when there is none.
    pub(super) async fn next(&mut self) -> (PeerKey, Result<TcpStream, DialFault>) {
        loop {
            match self.tasks.join_next_with_id().await {
                // An attempt that was given up may still have ended first; its successor has another task id.
                Some(Ok((id, (peer, outcome)))) => {
                    if self.running.get(&peer).is_some_and(|attempt| attempt.id() == id) {
                        self.running.remove(&peer);
                        return (peer, outcome);
                    }
                }
                Some(Err(_given_up)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// One attempt. Ends within [`CONNECT_WAIT`].
pub(super) async fn dial(target: &Target) -> Result<TcpStream, DialFault> {
    let socket = prepared_socket(target)?;
    match tokio::time::timeout(CONNECT_WAIT, socket.connect(target.remote)).await {
        Ok(outcome) => outcome.map_err(|fault| in_words(fault, target)),
        Err(_) => Err(timed_out(target)),
    }
}

fn prepared_socket(target: &Target) -> Result<TcpSocket, DialFault> {
    let socket = sockopt::stream_socket(target.remote).map_err(DialFault::Kernel)?;
    let unknown =
        sockopt::prepare(&socket, target.remote.ip(), target.dead_after).map_err(DialFault::Kernel)?;
    if !unknown.is_empty() {
        // One kernel, one answer: said once.
        UNKNOWN_OPTIONS.call_once(|| {
            tracing::warn!(
                options = unknown.join(", "),
                "the kernel does not know a socket option: sessions run without it"
            );
        });
    }
    if let Some(hops) = target.hops {
        sockopt::require_ttl(&socket, target.remote.ip(), hops).map_err(DialFault::Kernel)?;
    }
    if let Some(key) = &target.key {
        sockopt::set_key(&socket, target.remote.ip().into(), key)?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    if let Some(source) = target.source {
        if source.is_ipv4() != target.remote.is_ipv4() {
            return Err(DialFault::SourceFamily { from: source, to: target.remote.ip() });
        }
        socket.bind(SocketAddr::new(source, 0)).map_err(|fault| match fault.raw_os_error() {
            Some(libc::EADDRNOTAVAIL) => DialFault::SourceMissing(source),
            Some(_) | None => DialFault::Kernel(fault),
        })?;
    }
    Ok(socket)
}

fn timed_out(target: &Target) -> DialFault {
    match (&target.key, target.hops) {
        (Some(SessionKey::Md5(_)), _) => DialFault::TimedOutWithKey(target.remote),
        (Some(SessionKey::TcpAo(_)), _) => DialFault::TimedOutWithTcpAo(target.remote),
        (None, Some(hops)) => {
            DialFault::TimedOutWithTtl { router: target.remote, least: 256 - u16::from(hops.get()) }
        }
        (None, None) => DialFault::TimedOut(target.remote),
    }
}

fn in_words(fault: io::Error, target: &Target) -> DialFault {
    match fault.raw_os_error().unwrap_or_default() {
        libc::ECONNREFUSED => DialFault::Refused(target.remote),
        libc::ECONNRESET | libc::ECONNABORTED => DialFault::Reset(target.remote),
        libc::EHOSTUNREACH => DialFault::NoRoute(target.remote.ip()),
        libc::ENETUNREACH => DialFault::NetworkUnreachable(target.remote.ip()),
        libc::ETIMEDOUT => timed_out(target),
        libc::EPERM | libc::EACCES => DialFault::Forbidden(target.remote),
        _ => DialFault::Kernel(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use api::config::Password;

    use super::*;

    fn target(remote: SocketAddr) -> Target {
        Target { remote, source: None, key: None, hops: None, dead_after: Some(Duration::from_secs(30)) }
    }

    async fn fault(target: Target) -> String {
        dial(&target).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_listener_is_reached_from_the_source_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = Target { source: Some([127, 0, 0, 7].into()), ..target(listener.local_addr().unwrap()) };
        let stream = dial(&wanted).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 7]));
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let remote = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(fault(target(remote)).await, format!("connection refused: nothing listens at {remote}"));
    }

    #[tokio::test]
    async fn a_source_address_of_another_node_is_named() {
        let wanted = Target { source: Some([192, 0, 2, 99].into()), ..target(([127, 0, 0, 1], 179).into()) };
        assert_eq!(fault(wanted).await, "source address 192.0.2.99 is not on this node");
        let wanted = Target { source: Some("::1".parse().unwrap()), ..target(([127, 0, 0, 1], 179).into()) };
        assert_eq!(
            fault(wanted).await,
            "source address ::1 and peer address 127.0.0.1 are of different families"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_ten_seconds() {
        if !sockopt::kernel_has_md5() {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        sockopt::set_md5_key(&listener, remote.ip(), b"herald").unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(fault(target(remote)).await, format!("timed out after 10 s: {remote} does not answer"));
        assert_eq!(before.elapsed(), CONNECT_WAIT);
        let wanted = Target { key: Password::try_new(*b"wrong").map(SessionKey::Md5), ..target(remote) };
        assert!(fault(wanted).await.ends_with("(a different TCP MD5 password looks like this)"));
    }
}
