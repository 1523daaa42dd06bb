//! Socket options of a BGP connection: the TCP MD5 key (RFC 2385), a TTL of 255 (RFC 5082), DSCP CS6, no delay, and
//! bounded buffers.
//!
//! The only file of the repository with `unsafe`: the standard library and socket2 do not know `TCP_MD5SIG`, so
//! the one `setsockopt` for it is made here. Leaves out binding and connecting, which is `dial`.
#![allow(unsafe_code, reason = "TCP_MD5SIG has no safe wrapper")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::Socket;

/// The longest key that `TCP_MD5SIG` takes, in octets (`TCP_MD5SIG_MAXKEYLEN` of Linux).
pub(super) const MD5_KEY_MAX: usize = 80;

/// Class selector 6, "internetwork control": what routers give their own BGP packets (RFC 4594 §3.1).
const TRAFFIC_CLASS: u32 = 0xC0;

/// What packets leave with: a router with the generalised TTL security mechanism (RFC 5082 §3) takes nothing that
/// comes with less than 255 minus the hops it allows, and one without it does not care.
const TTL: u32 = 255;

/// Bound of each kernel buffer in octets (Linux doubles it for its own bookkeeping). Without a bound the kernel
/// would grow the buffer of a peer that never reads to several megabytes.
const KERNEL_BUFFER: usize = 256 * 1024;

/// Why a TCP MD5 key could not be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFault {
    /// The secret is there and has nothing in it; Linux would take that as "no key".
    #[error("the password is empty; TCP MD5 needs 1 to 80 octets")]
    Empty,
    /// The secret is longer than the kernel takes.
    #[error("the password has {octets} octets; TCP MD5 takes at most 80")]
    TooLong {
        /// Its length in octets.
        octets: usize,
    },
    /// The kernel said no.
    #[error("the kernel does not take the TCP MD5 key: {0}")]
    Kernel(#[source] io::Error),
}

/// Sets everything that a BGP connection wants besides the key. To be called before connect, because the receive
/// buffer decides the window scale of the SYN. `dead_after` bounds how long the kernel keeps sending into silence.
pub(super) fn prepare(socket: &Socket, remote: IpAddr, dead_after: Option<Duration>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.set_send_buffer_size(KERNEL_BUFFER)?;
    socket.set_tcp_user_timeout(dead_after)?;
    match remote {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(TTL)?;
            socket.set_tos_v4(TRAFFIC_CLASS)
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(TTL)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)
        }
    }
}

/// Sets the TCP MD5 key (RFC 2385) for packets from and to `peer`. To be called before connect (or on the
/// listener, before the SYN arrives): a connection whose first packets were not signed cannot become signed.
pub(super) fn set_md5_key(socket: &impl AsFd, peer: IpAddr, key: &[u8]) -> Result<(), KeyFault> {
    if key.is_empty() {
        return Err(KeyFault::Empty);
    }
    let option = Md5Option::try_new(peer, key).ok_or(KeyFault::TooLong { octets: key.len() })?;
    let length = libc::socklen_t::try_from(size_of::<Md5Option>()).expect("216 fits");
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel only reads `length` octets from the
    // pointer, which is the exact size of the live, fully initialised, padding-free `#[repr(C)]` value behind it.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            (&raw const option).cast(),
            length,
        )
    };
    if answer == 0 { Ok(()) } else { Err(KeyFault::Kernel(io::Error::last_os_error())) }
}

/// `struct tcp_md5sig` of `linux/tcp.h`.
#[repr(C)]
struct Md5Option {
    /// A `struct sockaddr_storage`.
    address: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: u32,
    key: [u8; MD5_KEY_MAX],
}

const _: () = assert!(size_of::<Md5Option>() == 216, "struct tcp_md5sig has 216 octets and no padding");

impl Md5Option {
    /// `None` when the key is too long.
    fn try_new(peer: IpAddr, key: &[u8]) -> Option<Self> {
        let mut padded = [0; MD5_KEY_MAX];
        padded.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self {
            address: socket_address(peer),
            flags: 0,
            prefix_length: 0,
            key_length: u16::try_from(key.len()).ok()?,
            interface: 0,
            key: padded,
        })
    }
}

/// The address as `sockaddr_in` or `sockaddr_in6` with port 0: the kernel keys by address only.
fn socket_address(peer: IpAddr) -> [u8; 128] {
    let mut octets = [0; 128];
    let (family, at, address) = match &peer {
        IpAddr::V4(v4) => (libc::AF_INET, 4, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, 8, v6.octets().to_vec()),
    };
    let family = libc::sa_family_t::try_from(family).expect("address families are small numbers");
    octets[..2].copy_from_slice(&family.to_ne_bytes());
    octets[at..at + address.len()].copy_from_slice(&address);
    octets
}

/// A stream socket of the family of `remote`, not blocking.
pub(super) fn stream_socket(remote: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        socket2::Domain::for_address(remote),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Whether this kernel knows TCP MD5 at all. A test that needs it is skipped aloud where it does not.
#[cfg(test)]
pub(super) fn kernel_has_md5() -> bool {
    let has = stream_socket(([127, 0, 0, 1], 179).into())
        .is_ok_and(|socket| set_md5_key(&socket, [127, 0, 0, 1].into(), b"probe").is_ok());
    if !has {
        println!("skipped: this kernel has no TCP MD5 (CONFIG_TCP_MD5SIG)");
    }
    has
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;

    /// Both loopback addresses, or the one that this machine has.
    fn localhosts() -> Vec<IpAddr> {
        let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        both.into_iter().filter(|ip| TcpListener::bind((*ip, 0)).is_ok()).collect()
    }

    /// Connects to a listener that wants `theirs` with `ours`, and says whether TCP came up.
    fn connects(host: IpAddr, theirs: Option<&[u8]>, ours: Option<&[u8]>) -> bool {
        let listener = TcpListener::bind((host, 0)).unwrap();
        if let Some(key) = theirs {
            set_md5_key(&listener, host, key).unwrap();
        }
        let remote = listener.local_addr().unwrap();
        let socket = Socket::new(socket2::Domain::for_address(remote), socket2::Type::STREAM, None).unwrap();
        if let Some(key) = ours {
            set_md5_key(&socket, host, key).unwrap();
        }
        let outcome = socket.connect_timeout(&remote.into(), Duration::from_millis(300));
        if let Err(fault) = &outcome {
            assert_eq!(fault.kind(), io::ErrorKind::TimedOut, "an unsigned SYN is dropped, not refused");
        }
        outcome.is_ok()
    }

    #[test]
    fn equal_keys_connect() {
        if !kernel_has_md5() {
            return;
        }
        for host in localhosts() {
            assert!(connects(host, Some(b"herald"), Some(b"herald")));
            assert!(
                connects(host, Some(&[0xA5; MD5_KEY_MAX]), Some(&[0xA5; MD5_KEY_MAX])),
                "the longest key"
            );
        }
    }

    #[test]
    fn different_missing_and_unexpected_keys_do_not_connect() {
        if !kernel_has_md5() {
            return;
        }
        for host in localhosts() {
            assert!(!connects(host, Some(b"herald"), Some(b"heralds")));
            assert!(!connects(host, Some(b"herald"), None));
            assert!(!connects(host, None, Some(b"herald")));
        }
    }

    #[test]
    fn keys_that_tcp_cannot_carry_are_refused_in_words() {
        let socket = stream_socket(([127, 0, 0, 1], 179).into()).unwrap();
        let say = |key: &[u8]| set_md5_key(&socket, Ipv4Addr::LOCALHOST.into(), key).unwrap_err().to_string();
        assert_eq!(say(&[b'x'; 81]), "the password has 81 octets; TCP MD5 takes at most 80");
        assert_eq!(say(&[b'x'; 70_000]), "the password has 70000 octets; TCP MD5 takes at most 80");
        assert_eq!(say(b""), "the password is empty; TCP MD5 needs 1 to 80 octets");
    }

    #[test]
    fn a_socket_that_is_no_tcp_refuses_the_key() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fault = set_md5_key(&socket, Ipv4Addr::LOCALHOST.into(), b"herald").unwrap_err();
        assert!(matches!(fault, KeyFault::Kernel(_)), "{fault}");
    }

    #[test]
    fn prepared_sockets_carry_the_options() {
        for host in localhosts() {
            let socket = stream_socket((host, 179).into()).unwrap();
            prepare(&socket, host, Some(Duration::from_secs(30))).unwrap();
            assert!(socket.tcp_nodelay().unwrap());
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
            let class = if host.is_ipv4() { socket.tos_v4() } else { socket.tclass_v6() };
            assert_eq!(class.unwrap(), 0xC0);
            let ttl = if host.is_ipv4() { socket.ttl_v4() } else { socket.unicast_hops_v6() };
            assert_eq!(ttl.unwrap(), 255);
            assert!(socket.recv_buffer_size().unwrap() <= 2 * KERNEL_BUFFER);
            assert!(socket.send_buffer_size().unwrap() <= 2 * KERNEL_BUFFER);
        }
    }
}
