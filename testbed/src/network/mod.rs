//! The home network: who lives where. Every lab has the same, because every lab has its own namespaces.

pub mod caller;
pub mod client;
pub mod node;
pub mod pod;
pub mod route;
pub mod router;

use std::net::{Ipv4Addr, Ipv6Addr};

/// The router in the LAN, where Herald's sessions go.
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
/// The router in the LAN, IPv6.
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0x2, 0, 0, 0, 1);
/// Bits of the LAN's IPv4 prefix.
pub const LAN_BITS_V4: u8 = 23;
/// The router's AS.
pub const ROUTER_AS: u32 = 65530;
/// The nodes' AS.
pub const NODE_AS: u32 = 64500;
/// The client behind the router.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 10);
/// The client behind the router, IPv6.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0x88, 0, 0, 0, 0x10);

/// Where a node lives and what its pods get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Name of the Node object and of the namespace.
    pub name: String,
    /// Its number, part of its pods' addresses.
    pub number: u8,
    /// Its LAN address.
    pub v4: Ipv4Addr,
    /// Its LAN address, IPv6.
    pub v6: Ipv6Addr,
}

impl NodePlan {
    /// Nodes 1 to 3 have fixed addresses 10.0.2.11 to 13, node 4 got 10.0.3.254 by DHCP.
    #[must_use]
    pub fn number(number: u8) -> Self {
        let v4 = if number < 4 { Ipv4Addr::new(10, 0, 2, 10 + number) } else { Ipv4Addr::new(10, 0, 3, 254) };
        let v6 = Ipv6Addr::new(0xfd00, 0x10, 0, 0x2, 0, 0, 0, 0x10 + u16::from(number));
        Self { name: format!("n{number}"), number, v4, v6 }
    }

    /// Its pods' IPv4 prefix.
    #[must_use]
    pub fn pod_prefix_v4(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// Its pods' IPv6 prefix.
    #[must_use]
    pub fn pod_prefix_v6(&self) -> String {
        format!("fd00:10:244:{}::/64", self.number)
    }

    /// The node's own address among its pods.
    #[must_use]
    pub fn gateway(&self) -> (Ipv4Addr, Ipv6Addr) {
        self.pod_address(1)
    }

    /// The addresses of its `index`-th pod; 1 is the node itself.
    #[must_use]
    pub fn pod_address(&self, index: u8) -> (Ipv4Addr, Ipv6Addr) {
        let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(self.number), 0, 0, 0, u16::from(index));
        (Ipv4Addr::new(10, 244, self.number, index), v6)
    }
}
