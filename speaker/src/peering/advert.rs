//! Tells routers on unnumbered links that this node is there: router advertisements (RFC 4861 §4.2) with a lifetime of
//! zero, which make nobody's default route.
//!
//! A router that finds its neighbours by their advertisements (FRR's `neighbor IFACE interface`) knows the node by its
//! advertisement's source address. It needs a raw socket and with it the capability NET_RAW; without it the router is
//! dialled all the same, and the fault is kept for the session's row. Leaves out hearing routers: `whereabouts`.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};

use super::whereabouts::{self, Link};

/// All nodes of a link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What this node tells, and why it cannot.
#[derive(Debug, Default)]
pub(super) struct Adverts {
    fault: Option<String>,
}

impl Adverts {
    /// Sends one advertisement on each interface.
    pub(super) fn send(&mut self, interfaces: &BTreeSet<&str>) {
        self.fault = None;
        if interfaces.is_empty() {
            return;
        }
        for interface in interfaces {
            if let Err(fault) = advertise(interface) {
                self.fault = Some(in_words(&fault, interface));
            }
        }
    }

    /// Why the last advertisement could not be sent, in words.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

fn advertise(interface: &str) -> io::Result<()> {
    let Some(link) = whereabouts::link(interface)? else { return Ok(()) };
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    // Receivers take nothing that could have come from farther than the link (RFC 4861 §6.1.2).
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(link.index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.send_to(&message(link), &SocketAddrV6::new(ALL_NODES, 0, 0, link.index).into())?;
    Ok(())
}

/// Type 134, no hop limit, no flags, no lifetime and no timers, and our Ethernet address. The kernel fills in the
/// checksum.
fn message(link: Link) -> Vec<u8> {
    let mut message = vec![0; 16];
    message[0] = 134;
    if link.hardware != [0; 6] {
        message.extend([1, 1]);
        message.extend(link.hardware);
    }
    message
}

fn in_words(fault: &io::Error, interface: &str) -> String {
    match fault.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!(
            "this node cannot advertise itself on {interface} without the capability NET_RAW, so a router that waits for that does not answer"
        ),
        Some(_) | None => format!("this node cannot advertise itself on {interface}: {fault}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_offers_no_route_and_names_the_sender() {
        let octets = message(Link { index: 2, hardware: [2, 0, 0, 0, 0, 9] });
        assert_eq!(
            octets[..8],
            [134, 0, 0, 0, 0, 0, 0, 0],
            "type, code, checksum, hop limit, flags, lifetime"
        );
        assert_eq!(octets[16..], [1, 1, 2, 0, 0, 0, 0, 9]);
        assert_eq!(message(Link { index: 2, hardware: [0; 6] }).len(), 16);
    }

    #[test]
    fn a_missing_capability_is_said_in_words() {
        let fault = io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(
            in_words(&fault, "eth1"),
            "this node cannot advertise itself on eth1 without the capability NET_RAW, so a router that waits for that does not answer"
        );
    }
}
