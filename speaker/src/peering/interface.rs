//! Which address this node speaks from, and which address of the other family sits on the same interface.
//!
//! A session over IPv4 that carries IPv6 routes needs an IPv6 next hop: the global address of the interface that
//! the session runs over (and the other way round). The source address comes from connecting a UDP socket, which
//! asks the kernel's routing and sends nothing; the interface's addresses come from one dump (`netlink`), which, unlike
//! `/proc/net/if_inet6`, knows both families and ties each address to an interface index. The same dump says which networks
//! the node is connected to. Leaves out waiting for address changes: the caller asks again when it matters.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use super::netlink;

/// One address of one interface of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InterfaceAddress {
    /// The interface's index.
    index: u32,
    ip: IpAddr,
    /// Bits of the address that are the network's.
    length: u8,
    /// Of global scope, and neither tentative nor deprecated nor a detected duplicate.
    usable: bool,
    /// Secondary (IPv4) or temporary (IPv6 privacy address): a stable one is preferred.
    fleeting: bool,
}

/// Where a session lives on this node: the addresses that become next hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Home {
    /// The address that the session speaks from, or the IPv4 address beside it.
    pub(super) v4: Option<Ipv4Addr>,
    /// The address that the session speaks from, or the IPv6 address beside it.
    pub(super) v6: Option<Ipv6Addr>,
}

impl Home {
    /// Asks the kernel. What it does not know (no route yet, no address of the other family) is `None`: the dial
    /// or the session's row says so.
    pub(super) fn locate(remote: SocketAddr, source: Option<IpAddr>) -> Self {
        let Some(local) = source.or_else(|| source_towards(remote).ok()) else { return Self::default() };
        let beside = companion(&addresses().unwrap_or_default(), local);
        [Some(local), beside].into_iter().flatten().fold(Self::default(), |home, ip| match ip {
            IpAddr::V4(v4) => Self { v4: Some(v4), ..home },
            IpAddr::V6(v6) => Self { v6: Some(v6), ..home },
        })
    }

    /// What a later look changes for a session that is up: an address that was missing is taken, and one that left
    /// the node is replaced; one that is only missing now is kept, because interfaces come back.
    pub(super) fn improved_by(self, later: Self, still_here: impl Fn(IpAddr) -> bool) -> Self {
        Self {
            v4: self.v4.filter(|v4| later.v4.is_none() || still_here((*v4).into())).or(later.v4),
            v6: self.v6.filter(|v6| later.v6.is_none() || still_here((*v6).into())).or(later.v6),
        }
    }
}

/// Whether this node has the address now. A node that cannot be asked keeps everything.
pub(super) fn is_here(ip: IpAddr) -> bool {
    addresses().map_or(true, |all| all.iter().any(|address| address.ip == ip))
}

/// The networks that the interfaces of this node are connected to, sorted, each once. Addresses that stand alone are
/// left out: a whole-length prefix is how Service addresses and tunnels are put on interfaces.
///
/// # Errors
/// When the kernel gives no answer.
pub(super) fn connected_networks() -> io::Result<Vec<IpNet>> {
    Ok(networks(&addresses()?))
}

fn networks(addresses: &[InterfaceAddress]) -> Vec<IpNet> {
    let usable = addresses.iter().filter(|address| address.usable);
    let networks = usable.filter_map(|address| IpNet::new(address.ip, address.length).ok());
    let shared = networks.filter(|network| network.prefix_len() < network.max_prefix_len());
    shared.map(|network| network.trunc()).collect::<BTreeSet<IpNet>>().into_iter().collect()
}

/// The address that the kernel would speak from to `remote`. Errors when there is no route to it.
fn source_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

/// All addresses of this network namespace, in the kernel's order.
fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut found = Vec::new();
    netlink::dump(RTM_GETADDR, &[0; ADDRESS_HEADER], |kind, body| {
        if kind == RTM_NEWADDR {
            found.extend(read_address(body));
        }
    })?;
    Ok(found)
}

/// The address of the other family on the interface that owns `local`.
fn companion(addresses: &[InterfaceAddress], local: IpAddr) -> Option<IpAddr> {
    let index = addresses.iter().find(|address| address.ip == local)?.index;
    addresses
        .iter()
        .filter(|address| address.index == index && address.usable && address.ip.is_ipv4() != local.is_ipv4())
        .min_by_key(|address| address.fleeting)
        .map(|address| address.ip)
}

// Numbers of linux/rtnetlink.h and linux/if_addr.h.
const ADDRESS_HEADER: usize = 8;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const FLAG_FLEETING: u32 = 0x01;
const FLAG_DAD_FAILED: u32 = 0x08;
const FLAG_DEPRECATED: u32 = 0x20;
const FLAG_TENTATIVE: u32 = 0x40;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_SITE: u8 = 200;

fn read_address(body: &[u8]) -> Option<InterfaceAddress> {
    let &[_family, length, short_flags, scope, ref tail @ ..] = body else { return None };
    let index = u32::from_ne_bytes(*tail.first_chunk()?);
    let mut flags = u32::from(short_flags);
    let mut address = None;
    let mut local = None;
    for (kind, value) in netlink::attributes(body.get(ADDRESS_HEADER..)?) {
        match kind {
            IFA_ADDRESS => address = netlink::read_ip(value),
            // On a point-to-point link IFA_ADDRESS is the far end and IFA_LOCAL is us.
            IFA_LOCAL => local = netlink::read_ip(value),
            IFA_FLAGS => flags = value.first_chunk().map_or(flags, |octets| u32::from_ne_bytes(*octets)),
            _ => {}
        }
    }
    let unusable = FLAG_DAD_FAILED | FLAG_DEPRECATED | FLAG_TENTATIVE;
    Some(InterfaceAddress {
        index,
        ip: local.or(address)?,
        length,
        usable: matches!(scope, SCOPE_UNIVERSE | SCOPE_SITE) && flags & unusable == 0,
        fleeting: flags & FLAG_FLEETING != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, ip: &str) -> InterfaceAddress {
        InterfaceAddress { index, ip: ip.parse().unwrap(), length: 24, usable: true, fleeting: false }
    }

    #[test]
    fn the_companion_is_a_usable_stable_address_of_the_same_interface() {
        let link_local = InterfaceAddress { usable: false, ..address(2, "fe80::1") };
        let privacy = InterfaceAddress { fleeting: true, ..address(2, "2001:db8::abcd") };
        let all = [
            address(1, "127.0.0.1"),
            address(2, "10.0.2.11"),
            address(3, "2001:db8:9::1"),
            link_local,
            privacy,
            address(2, "2001:db8::11"),
        ];
        let check = |local: &str, expected: Option<&str>| {
            let found = companion(&all, local.parse().unwrap());
            assert_eq!(found, expected.map(|ip| ip.parse().unwrap()), "companion of {local}");
        };
        check("10.0.2.11", Some("2001:db8::11"));
        check("2001:db8::11", Some("10.0.2.11"));
        check("127.0.0.1", None);
        check("2001:db8:9::1", None);
        check("192.0.2.1", None);
        assert_eq!(
            companion(&all[..5], "10.0.2.11".parse().unwrap()),
            Some("2001:db8::abcd".parse().unwrap())
        );
    }

    #[test]
    fn connected_are_the_networks_of_usable_addresses_that_others_can_be_in() {
        let with = |ip: &str, length: u8| InterfaceAddress { length, ..address(2, ip) };
        let all = [
            with("10.0.3.254", 23),
            with("10.0.2.11", 23),
            with("10.0.4.1", 32),
            with("2001:db8::11", 64),
            with("2001:db8::1:11", 128),
            InterfaceAddress { usable: false, ..with("127.0.0.1", 8) },
            InterfaceAddress { usable: false, ..with("fe80::1", 64) },
            with("10.42.0.1", 99),
        ];
        let found: Vec<String> = networks(&all).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.2.0/23", "2001:db8::/64"]);
    }

    #[test]
    fn a_later_look_adds_and_replaces_but_never_only_takes_away() {
        let home = |v4: Option<[u8; 4]>, v6: Option<&str>| Home {
            v4: v4.map(Ipv4Addr::from),
            v6: v6.map(|v6| v6.parse().unwrap()),
        };
        let v4 = Some([10, 0, 2, 11]);
        let check = |before: Option<&str>, later: Option<&str>, still_here: bool, expected: Option<&str>| {
            let improved = home(v4, before).improved_by(home(v4, later), |ip| ip.is_ipv4() || still_here);
            assert_eq!(improved, home(v4, expected), "{before:?} then {later:?}");
        };
        check(None, Some("2001:db8::1"), true, Some("2001:db8::1"));
        check(Some("2001:db8::1"), Some("2001:db8::2"), true, Some("2001:db8::1"));
        check(Some("2001:db8::1"), Some("2001:db8::2"), false, Some("2001:db8::2"));
        check(Some("2001:db8::1"), None, false, Some("2001:db8::1"));
    }

    #[test]
    fn a_home_on_loopback_has_no_second_family() {
        let home = Home::locate(([127, 0, 0, 1], 179).into(), Some([127, 0, 0, 5].into()));
        assert_eq!(home, Home { v4: Some([127, 0, 0, 5].into()), v6: None });
    }

    #[test]
    fn the_kernel_knows_loopback_and_calls_it_unusable() {
        let all = addresses().unwrap();
        let loopback = all.iter().find(|address| address.ip == IpAddr::from([127, 0, 0, 1])).unwrap();
        assert!(!loopback.usable, "host scope");
    }

    #[test]
    fn the_source_towards_a_loopback_address_is_on_this_node() {
        let source = source_towards(([127, 0, 0, 2], 179).into()).unwrap();
        assert!(addresses().unwrap().iter().any(|address| address.ip == source));
    }

    #[test]
    fn an_entry_names_interface_and_address() {
        let entry = [2, 24, 0, 0, 7, 0, 0, 0, 8, 0, 2, 0, 10, 0, 2, 11];
        assert_eq!(read_address(&entry), Some(address(7, "10.0.2.11")));
        for length in 0..entry.len() {
            assert_eq!(read_address(&entry[..length]), None, "cut at {length}");
        }
    }
}
