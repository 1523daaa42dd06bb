//! Socket options of a BGP connection: the TCP MD5 key (RFC 2385), a TTL of 255 and the least that is taken (RFC 5082),
//! DSCP CS6, no delay, and bounded buffers with what of them is not acknowledged yet; and datagrams with the TTL that they arrived with, for BFD.
//!
//! The only file of the repository with `unsafe`: the standard library and socket2 know neither `TCP_MD5SIG` nor how to
//! read what the kernel tells beside a datagram. Leaves out binding and connecting, which is `dial`.
#![allow(unsafe_code, reason = "TCP_MD5SIG and the labels of datagrams have no safe wrapper")]

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ipnet::IpNet;
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
///
/// None of it is worth a session: an option that the kernel does not know (an old one, or a sandbox) is left out, and the
/// names of those come back.
pub(super) fn prepare(
    socket: &Socket,
    remote: IpAddr,
    dead_after: Option<Duration>,
) -> io::Result<Vec<&'static str>> {
    let of_family = match remote {
        IpAddr::V4(_) => [("IP_TTL", socket.set_ttl_v4(TTL)), ("IP_TOS", socket.set_tos_v4(TRAFFIC_CLASS))],
        IpAddr::V6(_) => [
            ("IPV6_UNICAST_HOPS", socket.set_unicast_hops_v6(TTL)),
            ("IPV6_TCLASS", socket.set_tclass_v6(TRAFFIC_CLASS)),
        ],
    };
    let of_all = [
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        ("SO_RCVBUF", socket.set_recv_buffer_size(KERNEL_BUFFER)),
        ("SO_SNDBUF", socket.set_send_buffer_size(KERNEL_BUFFER)),
        ("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(dead_after)),
    ];
    let mut unknown = Vec::new();
    for (option, outcome) in of_all.into_iter().chain(of_family) {
        match outcome.as_ref().map_err(|fault| fault.raw_os_error()) {
            Ok(()) => {}
            Err(Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP)) => unknown.push(option),
            Err(_) => outcome?,
        }
    }
    Ok(unknown)
}

/// Takes only packets that were sent with TTL (or hop limit) 255 and have come over at most `hops` routers' links, 1
/// being the next machine (RFC 5082 §3). On a listener it holds for SYNs and for what is accepted.
pub(super) fn require_ttl(socket: &impl AsFd, remote: IpAddr, hops: NonZeroU8) -> io::Result<()> {
    let least = 256 - i32::from(hops.get());
    match remote {
        IpAddr::V4(_) => set_number(socket, libc::IPPROTO_IP, libc::IP_MINTTL, least),
        IpAddr::V6(_) => set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, least),
    }
}

/// Octets that were written to the connection and that the router's TCP has not acknowledged yet.
pub(super) fn unacknowledged(socket: &impl AsFd) -> io::Result<u32> {
    let mut octets: libc::c_int = 0;
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel writes one `int` through the pointer, which is
    // that of a live local of this type.
    let answer = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if answer == 0 { Ok(u32::try_from(octets).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// Sets the TCP MD5 key (RFC 2385) for packets from and to `peer`. To be called before connect (or on the
/// listener, before the SYN arrives): a connection whose first packets were not signed cannot become signed.
pub(super) fn set_md5_key(socket: &impl AsFd, peer: IpAddr, key: &[u8]) -> Result<(), KeyFault> {
    set_md5_key_of(socket, IpNet::from(peer), key)
}

/// As [`set_md5_key`] for a whole network, on a listener. The longest prefix counts.
pub(super) fn set_md5_key_of(socket: &impl AsFd, peers: IpNet, key: &[u8]) -> Result<(), KeyFault> {
    if key.is_empty() {
        return Err(KeyFault::Empty);
    }
    let option = Md5Option::try_new(peers, key).ok_or(KeyFault::TooLong { octets: key.len() })?;
    put_md5_option(socket, &option).map_err(KeyFault::Kernel)
}

/// Takes the key of a network off a listener again. Connections that were accepted with it keep it.
pub(super) fn clear_md5_key(socket: &impl AsFd, peers: IpNet) -> io::Result<()> {
    // Linux takes an empty key as "no key".
    Md5Option::try_new(peers, &[]).map_or(Ok(()), |option| put_md5_option(socket, &option))
}

fn put_md5_option(socket: &impl AsFd, option: &Md5Option) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<Md5Option>()).expect("216 fits");
    let name = if option.flags == 0 { libc::TCP_MD5SIG } else { libc::TCP_MD5SIG_EXT };
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel only reads `length` octets from the
    // pointer, which is the exact size of the live, fully initialised, padding-free `#[repr(C)]` value behind it.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            name,
            std::ptr::from_ref(option).cast(),
            length,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// `TCP_MD5SIG_FLAG_PREFIX` of `linux/tcp.h`: the prefix length counts.
const MD5_FLAG_PREFIX: u8 = 1;

const _: () = assert!(size_of::<Md5Option>() == 216, "struct tcp_md5sig has 216 octets and no padding");

impl Md5Option {
    /// `None` when the key is too long. A single address needs no prefix length, which older kernels do not know.
    fn try_new(peers: IpNet, key: &[u8]) -> Option<Self> {
        let is_one = peers.prefix_len() == peers.max_prefix_len();
        let mut padded = [0; MD5_KEY_MAX];
        padded.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self {
            address: socket_address(peers.network()),
            flags: if is_one { 0 } else { MD5_FLAG_PREFIX },
            prefix_length: if is_one { 0 } else { peers.prefix_len() },
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

/// Asks the kernel to tell with each datagram where it was sent to and with which TTL it came.
pub(crate) fn label_datagrams(socket: &Socket, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        set_number(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)?;
        set_number(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    } else {
        socket.set_recv_hoplimit_v6(true)?;
        set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    }
}

fn set_number(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>()).expect("4 fits");
    // SAFETY: the descriptor is open while `socket` is borrowed; the kernel only reads `length` octets from the
    // pointer, which is the exact size of the live integer behind it.
    let answer = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What is known about a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// How many of its octets fit the buffer.
    pub(crate) length: usize,
    /// Who sent it.
    pub(crate) from: IpAddr,
    /// Which of our addresses it was sent to.
    pub(crate) to: IpAddr,
    /// The number of the interface that it came by, where that is a link-local address; else 0.
    pub(crate) link: u32,
    /// Its TTL or hop limit on arrival.
    pub(crate) ttl: u8,
}

/// Reads one datagram of a socket that was given to [`label_datagrams`], without waiting. `None` for a datagram whose
/// labels are missing.
pub(crate) fn receive_labelled(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Labelled>> {
    let mut name = [0_u8; 128];
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero octets are a valid `msghdr`: null pointers with lengths of zero.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = libc::socklen_t::try_from(name.len()).expect("128 fits");
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL as _;
    // SAFETY: the descriptor is open while `socket` is borrowed; each pointer in `header` leads to a live, initialised
    // buffer that nothing else touches during the call, with its exact length beside it, beyond which the kernel
    // does not write.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_negative| io::Error::last_os_error())?;
    // What the kernel has not written is zero, and a message of length zero ends the reading.
    let labels = Labels::read(&control.0);
    let Labels { to: Some(to), ttl: Some(ttl), link } = labels else { return Ok(None) };
    Ok(sender(&name).map(|from| Labelled { length, from, to, link, ttl }))
}

/// Room for both labels with their heads, of either family.
const CONTROL: usize = 128;

/// The kernel writes heads of control messages at multiples of a word.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// The length and the two numbers before a control message, as the kernel lays them out.
const CONTROL_HEAD: usize = size_of::<usize>() + 8;

/// What the control messages of a datagram say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Labels {
    to: Option<IpAddr>,
    ttl: Option<u8>,
    link: u32,
}

impl Labels {
    /// Reads the messages one behind the other; one that does not fit ends the reading.
    fn read(mut rest: &[u8]) -> Self {
        let mut labels = Self::default();
        while let Some((level, kind, value, after)) = split_control(rest) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let number = value.first_chunk().map(|octets| i32::from_ne_bytes(*octets));
                    labels.ttl = number.and_then(|number| u8::try_from(number).ok());
                }
                // Behind the interface and the address that an answer would leave by.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let octets = value.get(8..).and_then(|tail| tail.first_chunk::<4>());
                    labels.to = octets.map(|octets| IpAddr::from(*octets));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let to = value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
                    let index = value.get(16..).and_then(|tail| tail.first_chunk());
                    let is_local = to.is_some_and(|to| to.is_unicast_link_local());
                    labels.link = index.filter(|_| is_local).map_or(0, |octets| u32::from_ne_bytes(*octets));
                    labels.to = to.map(IpAddr::from);
                }
                _ => {}
            }
            rest = after;
        }
        labels
    }
}

fn split_control(octets: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let length = usize::from_ne_bytes(*octets.first_chunk()?);
    let numbers = octets.get(size_of::<usize>()..CONTROL_HEAD)?;
    let level = i32::from_ne_bytes(*numbers.first_chunk()?);
    let kind = i32::from_ne_bytes(*numbers.last_chunk()?);
    let value = octets.get(CONTROL_HEAD..length)?;
    let after = length.checked_next_multiple_of(size_of::<usize>())?;
    Some((level, kind, value, octets.get(after..).unwrap_or_default()))
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn sender(name: &[u8; 128]) -> Option<IpAddr> {
    let family = i32::from(libc::sa_family_t::from_ne_bytes(*name.first_chunk()?));
    match family {
        libc::AF_INET => name.get(4..)?.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        libc::AF_INET6 => name.get(8..)?.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
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
    use std::net::{Ipv4Addr, TcpListener};

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
    fn a_key_of_a_network_signs_its_addresses_until_it_is_taken_away() {
        if !kernel_has_md5() {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let network: IpNet = "127.0.0.0/8".parse().unwrap();
        let connects = |key: Option<&[u8]>| {
            let socket = stream_socket(remote).unwrap();
            socket.set_nonblocking(false).unwrap();
            if let Some(key) = key {
                set_md5_key(&socket, remote.ip(), key).unwrap();
            }
            socket.connect_timeout(&remote.into(), Duration::from_millis(300)).is_ok()
        };
        set_md5_key_of(&listener, network, b"herald").unwrap();
        assert!(connects(Some(b"herald")));
        assert!(!connects(None));
        clear_md5_key(&listener, network).unwrap();
        assert!(connects(None));
        assert!(!connects(Some(b"herald")));
    }

    #[test]
    fn packets_with_a_lower_ttl_are_not_taken() {
        for host in localhosts() {
            let listener = TcpListener::bind((host, 0)).unwrap();
            let remote = listener.local_addr().unwrap();
            require_ttl(&listener, host, NonZeroU8::MIN).unwrap();
            let connects = |ttl: u32| {
                let socket = stream_socket(remote).unwrap();
                socket.set_nonblocking(false).unwrap();
                match host {
                    IpAddr::V4(_) => socket.set_ttl_v4(ttl).unwrap(),
                    IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl).unwrap(),
                }
                socket.connect_timeout(&remote.into(), Duration::from_millis(300)).is_ok()
            };
            assert!(connects(255));
            assert!(!connects(254));
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
    fn what_the_other_side_acknowledged_is_told_from_what_waits() {
        use std::io::{Read, Write};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        // More than the two kernel buffers hold, so that some of it can only wait.
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged(&ours).unwrap() > 0);
        theirs.set_nonblocking(true).unwrap();
        let mut octets = vec![0; 1 << 20];
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        while unacknowledged(&ours).unwrap() > 0 {
            assert!(std::time::Instant::now() < patience, "everything was read and is not acknowledged");
            // Nothing to read for a moment is no end.
            let _ = theirs.read(&mut octets);
        }
        assert!(unacknowledged(&std::fs::File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn a_socket_that_is_no_tcp_refuses_the_key() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fault = set_md5_key(&socket, Ipv4Addr::LOCALHOST.into(), b"herald").unwrap_err();
        assert!(matches!(fault, KeyFault::Kernel(_)), "{fault}");
    }

    #[test]
    fn datagrams_come_with_their_addresses_and_their_ttl() {
        for host in localhosts() {
            let socket =
                Socket::new(socket2::Domain::for_address((host, 0).into()), socket2::Type::DGRAM, None)
                    .unwrap();
            label_datagrams(&socket, host.is_ipv4()).unwrap();
            socket.bind(&SocketAddr::new(host, 0).into()).unwrap();
            let mut buffer = [0; 8];
            let empty = receive_labelled(&socket, &mut buffer).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
            let sender = std::net::UdpSocket::bind((host, 0)).unwrap();
            if host.is_ipv4() {
                sender.set_ttl(77).unwrap();
            } else {
                socket2::SockRef::from(&sender).set_unicast_hops_v6(77).unwrap();
            }
            let there = socket.local_addr().unwrap().as_socket().unwrap();
            for (sent, length) in [(&b"bfd"[..], 3), (b"more than fits", 8), (b"", 0)] {
                sender.send_to(sent, there).unwrap();
                let expected = Labelled { length, from: host, to: host, link: 0, ttl: 77 };
                assert_eq!(receive_labelled(&socket, &mut buffer).unwrap(), Some(expected));
                assert_eq!(buffer[..length], sent[..length]);
            }
        }
    }

    #[test]
    fn a_link_local_datagram_says_by_which_interface_it_came() {
        let labels = |to: &str| {
            let to: Ipv6Addr = to.parse().unwrap();
            let value = [&to.octets()[..], &3_u32.to_ne_bytes(), &[0; 4]].concat();
            let numbers = [libc::IPPROTO_IPV6.to_ne_bytes(), libc::IPV6_PKTINFO.to_ne_bytes()].concat();
            Labels::read(&[&(CONTROL_HEAD + 20).to_ne_bytes()[..], &numbers, &value].concat())
        };
        assert_eq!(labels("fe80::1"), Labels { to: Some("fe80::1".parse().unwrap()), ttl: None, link: 3 });
        assert_eq!(labels("fd00::1").link, 0, "its address alone says where it is");
    }

    #[test]
    fn control_messages_that_lie_about_their_length_end_the_reading() {
        let message = |length: usize, level: i32, kind: i32, value: &[u8]| {
            let numbers = [level.to_ne_bytes(), kind.to_ne_bytes()].concat();
            [&length.to_ne_bytes()[..], &numbers, value].concat()
        };
        let ttl = |length| message(length, libc::IPPROTO_IP, libc::IP_TTL, &[255, 0, 0, 0, 0, 0, 0, 0]);
        let good = ttl(CONTROL_HEAD + 4);
        assert_eq!(Labels::read(&good), Labels { to: None, ttl: Some(255), link: 0 });
        for cut in 0..CONTROL_HEAD + 4 {
            assert_eq!(Labels::read(&good[..cut]), Labels::default(), "cut at {cut}");
        }
        for length in [0, 1, CONTROL_HEAD - 1, 4096, usize::MAX, usize::MAX - 7] {
            assert_eq!(Labels::read(&ttl(length)), Labels::default(), "{length}");
        }
        let foreign = message(CONTROL_HEAD + 8, 1, 2, &[0; 8]);
        assert_eq!(Labels::read(&[foreign, good].concat()).ttl, Some(255));
    }

    #[test]
    fn options_that_the_kernel_does_not_know_are_named_and_cost_nothing() {
        // A local socket is no TCP: the kernel answers for TCP's and IP's options as an old one does.
        let socket = Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let unknown = prepare(&socket, IpAddr::from([127, 0, 0, 1]), None).unwrap();
        assert_eq!(unknown, ["TCP_NODELAY", "TCP_USER_TIMEOUT", "IP_TTL", "IP_TOS"]);
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
