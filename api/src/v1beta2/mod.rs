//! The kinds of `metallb.io/v1beta2`: `BGPPeer` alone, in the version that is stored.

mod bgp_peer;

pub use bgp_peer::{
    BGPPeer, BGPPeerSpec, BGPPeerStatus, ConnectMode, DynamicAsn, GatewayFamily, SecretReference,
};
