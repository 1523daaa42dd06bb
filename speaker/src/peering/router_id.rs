//! The BGP Identifier of a session that has no IPv4 address to take it from.

use std::net::Ipv4Addr;

use bgp_proto::RouterId;

/// A number that is the same after each restart and differs between nodes: FNV-1a of the node's name, in the 32 bits that an
/// identifier has. Never zero
/// (RFC 6286 §2.1).
pub(super) fn from_node_name(name: &str) -> RouterId {
    let hash =
        name.bytes().fold(0x811C_9DC5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    RouterId::try_new(Ipv4Addr::from_bits(hash.max(1))).expect("at least 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_give_stable_different_identifiers() {
        assert_eq!(from_node_name("node-1"), from_node_name("node-1"));
        assert_ne!(from_node_name("node-1"), from_node_name("node-2"));
        assert_ne!(from_node_name("").to_address(), Ipv4Addr::UNSPECIFIED);
    }
}
