//! Socket options of a BGP connection: the TCP MD5 key (RFC 2385) or the TCP-AO key (RFC 5925), a TTL of 255 and the least
//! that is taken (RFC 5082), DSCP CS6, no delay, and bounded buffers with what of them is not acknowledged yet; and
//! datagrams with the TTL that they arrived with, for BFD.
//!
//! The only file of the repository with `unsafe`: the standard library and socket2 know neither of the keys nor how to
//! read what the kernel tells beside a datagram. Leaves out binding and connecting, which is `dial`.
#![allow(unsafe_code, reason = "TCP_MD5SIG, TCP_AO_ADD_KEY and the labels of datagrams have no safe wrapper")]

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use api::config::{SessionKey, TcpAo, TcpAoAlgorithm};
use ipnet::IpNet;
use socket2::{Socket, TcpKeepalive};

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

/// When the kernel looks whether the other end still knows a connection on which nobody says anything, and how often.
/// Where KEEPALIVEs come more often (a hold time of 30 s or less) it never has to.
const PROBED_AFTER: Duration = Duration::from_secs(10);

/// Why a key could not be set.
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
    /// The kernel was built without TCP-AO, or is older than it.
    #[error(
        "this node's kernel has no TCP-AO (it needs Linux 6.7 with CONFIG_TCP_AO): run a kernel that has it, or sign with TCP MD5 (passwordSecret in place of tcpAOSecret)"
    )]
    NoTcpAo,
    /// The kernel has TCP-AO and not what computes its codes.
    #[error(
        "this node's kernel has TCP-AO without {algorithm}: load the module of its crypto {name}, or name another algorithm in the Secret",
        algorithm = .0.word(), name = kernel_name(*.0)
    )]
    NoAlgorithm(TcpAoAlgorithm),
    /// The kernel has TCP-AO and said no.
    #[error("the kernel does not take the TCP-AO key: {0}")]
    KernelTcpAo(#[source] io::Error),
}

/// Sets everything that a BGP connection wants besides the key. To be called before connect, because the receive
/// buffer decides the window scale of the SYN. `dead_after` bounds how long the kernel keeps sending
/// into silence, or probes a window that stays closed. With it the kernel also probes a connection on which nobody says
/// anything: a router that was restarted refuses it, where otherwise an OPEN would be awaited for four minutes.
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
    let probed = dead_after.map(|_| {
        let probes = TcpKeepalive::new().with_time(PROBED_AFTER).with_interval(PROBED_AFTER);
        ("SO_KEEPALIVE", socket.set_tcp_keepalive(&probes))
    });
    let mut unknown = Vec::new();
    for (option, outcome) in of_all.into_iter().chain(probed).chain(of_family) {
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

/// Sets the key for packets from and to `peers`: before connect on a socket that dials, on a listener before SYNs arrive.
/// Where `peers` has a key of TCP-AO already, that has to be cleared first.
pub(super) fn set_key(socket: &impl AsFd, peers: IpNet, key: &SessionKey) -> Result<(), KeyFault> {
    match key {
        SessionKey::Md5(password) => set_md5_key_of(socket, peers, password.octets()),
        SessionKey::TcpAo(key) => set_tcp_ao_key(socket, peers, key),
    }
}

/// Takes a key of a network off a listener again. Connections that were accepted with it keep it.
pub(super) fn clear_key(socket: &impl AsFd, peers: IpNet, key: &SessionKey) -> Result<(), KeyFault> {
    match key {
        SessionKey::Md5(_) => clear_md5_key(socket, peers).map_err(KeyFault::Kernel),
        SessionKey::TcpAo(key) => clear_tcp_ao_key(socket, peers, key),
    }
}

/// Whether `old` has to be cleared before `new` is set: a password is replaced in place, and nothing else is.
pub(super) fn has_to_go(old: &SessionKey, new: Option<&SessionKey>) -> bool {
    match (old, new) {
        (SessionKey::Md5(_), Some(SessionKey::Md5(_))) => false,
        (SessionKey::Md5(_), Some(SessionKey::TcpAo(_)) | None) => true,
        (SessionKey::TcpAo(_), new) => new != Some(old),
    }
}

/// Sets the TCP MD5 key (RFC 2385) for packets from and to `peers`; of several the longest prefix counts. A connection
/// whose first packets were not signed cannot become signed.
fn set_md5_key_of(socket: &impl AsFd, peers: IpNet, key: &[u8]) -> Result<(), KeyFault> {
    if key.is_empty() {
        return Err(KeyFault::Empty);
    }
    let option = Md5Option::try_new(peers, key).ok_or(KeyFault::TooLong { octets: key.len() })?;
    put_md5_option(socket, &option).map_err(KeyFault::Kernel)
}

/// Takes the key of a network off a listener again. Connections that were accepted with it keep it.
fn clear_md5_key(socket: &impl AsFd, peers: IpNet) -> io::Result<()> {
    // Linux takes an empty key as "no key".
    Md5Option::try_new(peers, &[]).map_or(Ok(()), |option| put_md5_option(socket, &option))
}

fn put_md5_option(socket: &impl AsFd, option: &Md5Option) -> io::Result<()> {
    put_option(socket, if option.flags == 0 { libc::TCP_MD5SIG } else { libc::TCP_MD5SIG_EXT }, option)
}

/// Values that the kernel may read octet by octet: `#[repr(C)]`, without padding and without pointers.
trait OptionValue {}
impl OptionValue for Md5Option {}
impl OptionValue for AddTcpAo {}
impl OptionValue for DeleteTcpAo {}

fn put_option<T: OptionValue>(socket: &impl AsFd, name: i32, option: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("the options are small");
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

/// Adds the key; the kernel's answer is the probe.
fn set_tcp_ao_key(socket: &impl AsFd, peers: IpNet, key: &TcpAo) -> Result<(), KeyFault> {
    let octets = key.key.octets();
    let mut padded = [0; TCP_AO_KEY_MAX];
    let fits = padded.get_mut(..octets.len()).ok_or(KeyFault::TooLong { octets: octets.len() })?;
    fits.copy_from_slice(octets);
    let mut algorithm = [0; 64];
    let name = kernel_name(key.algorithm).as_bytes();
    algorithm[..name.len()].copy_from_slice(name);
    let option = AddTcpAo {
        address: socket_address(peers.network()),
        algorithm,
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix_length: peers.prefix_len(),
        send_id: key.send_id,
        recv_id: key.recv_id,
        code_length: TCP_AO_CODE,
        key_flags: 0,
        key_length: u8::try_from(octets.len()).expect("80 fits"),
        key: padded,
    };
    put_option(socket, TCP_AO_ADD_KEY, &option).map_err(|fault| match fault.raw_os_error() {
        Some(libc::ENOPROTOOPT) => KeyFault::NoTcpAo,
        Some(libc::ENOENT) => KeyFault::NoAlgorithm(key.algorithm),
        Some(_) | None => KeyFault::KernelTcpAo(fault),
    })
}

fn clear_tcp_ao_key(socket: &impl AsFd, peers: IpNet, key: &TcpAo) -> Result<(), KeyFault> {
    let option = DeleteTcpAo {
        address: socket_address(peers.network()),
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix_length: peers.prefix_len(),
        send_id: key.send_id,
        recv_id: key.recv_id,
        current_key: 0,
        next_key: 0,
        key_flags: 0,
    };
    put_option(socket, TCP_AO_DEL_KEY, &option).map_err(KeyFault::KernelTcpAo)
}

/// The kernel's names of the algorithms.
fn kernel_name(algorithm: TcpAoAlgorithm) -> &'static str {
    match algorithm {
        TcpAoAlgorithm::HmacSha1 => "hmac(sha1)",
        TcpAoAlgorithm::Aes128Cmac => "cmac(aes128)",
        TcpAoAlgorithm::HmacSha256 => "hmac(sha256)",
    }
}

/// `TCP_AO_ADD_KEY` of `linux/tcp.h`, which older C libraries lack.
const TCP_AO_ADD_KEY: i32 = 38;
/// `TCP_AO_DEL_KEY` of `linux/tcp.h`.
const TCP_AO_DEL_KEY: i32 = 39;
/// `TCP_AO_MAXKEYLEN` of `linux/tcp.h`, in octets.
const TCP_AO_KEY_MAX: usize = 80;
/// The length of codes in octets: 96 bits (RFC 5926 §3.2).
const TCP_AO_CODE: u8 = 12;

/// `struct tcp_ao_add` of `linux/tcp.h`.
#[repr(C, align(8))]
struct AddTcpAo {
    /// A `struct sockaddr_storage`.
    address: [u8; 128],
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    recv_id: u8,
    code_length: u8,
    key_flags: u8,
    key_length: u8,
    key: [u8; TCP_AO_KEY_MAX],
}

/// `struct tcp_ao_del` of `linux/tcp.h`.
#[repr(C, align(8))]
struct DeleteTcpAo {
    /// A `struct sockaddr_storage`.
    address: [u8; 128],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    recv_id: u8,
    current_key: u8,
    next_key: u8,
    key_flags: u8,
}

const _: () = assert!(size_of::<AddTcpAo>() == 288, "struct tcp_ao_add has 288 octets and no padding");
const _: () = assert!(size_of::<DeleteTcpAo>() == 144, "struct tcp_ao_del has 144 octets and no padding");

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

/// As [`set_key`] for one router and a password.
#[cfg(test)]
pub(super) fn set_md5_key(socket: &impl AsFd, peer: IpAddr, key: &[u8]) -> Result<(), KeyFault> {
    set_md5_key_of(socket, IpNet::from(peer), key)
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

/// Whether this kernel knows TCP-AO at all.
#[cfg(test)]
pub(super) fn kernel_has_tcp_ao() -> bool {
    let key = api::config::Password::try_new("probe").expect("it is short");
    let key = TcpAo { key, send_id: 1, recv_id: 1, algorithm: TcpAoAlgorithm::HmacSha1 };
    let probe = stream_socket(([127, 0, 0, 1], 179).into())
        .map(|socket| set_tcp_ao_key(&socket, IpAddr::from([127, 0, 0, 1]).into(), &key));
    matches!(probe, Ok(Ok(())))
}

#[cfg(test)]
mod tests;
