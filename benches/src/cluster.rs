//! A cluster's configuration as the benches use it: checked objects, made directly.

use std::net::SocketAddr;

use api::config::{Advertisement, Config, Peer, Pool, RemoteAsn, RouterAt};
use api::range::AddressRange;
use api::selector::Selectors;
use api::v1beta1::{LinkBandwidth, WithoutEndpoints};
use api::v1beta2::ConnectMode;

use yardstick::memory::NODE_ASN;
use yardstick::router::ROUTER_ASN;

/// An eBGP peer with every choice left to its default.
#[must_use]
pub fn peer(name: &str, address: SocketAddr) -> Peer {
    Peer {
        name: name.to_owned(),
        created: None,
        local_asn: NODE_ASN,
        remote_asn: RemoteAsn::Exactly(ROUTER_ASN),
        router: RouterAt::Address(address.ip()),
        port: address.port(),
        connect: ConnectMode::Active,
        listen_port: 179,
        ttl_security: None,
        inspect: false,
        source: None,
        hold_time: None,
        keepalive: None,
        connect_time: None,
        router_id: None,
        node_selectors: Selectors::default(),
        key: None,
        graceful_restart: true,
        dual_stack: true,
        ebgp_multihop: false,
        bfd: None,
        refused: None,
    }
}

/// A pool of one range that everybody may use.
///
/// # Panics
/// When the text is no range.
#[must_use]
pub fn pool(name: &str, range: &str) -> Pool {
    Pool {
        name: name.to_owned(),
        ranges: vec![AddressRange::parse(range).expect("a range")],
        auto_assign: true,
        ..Pool::default()
    }
}

/// One pool that is announced to all of `peers` as host routes.
#[must_use]
pub fn config(pool: Pool, peers: impl IntoIterator<Item = Peer>) -> Config {
    let advertisement = Advertisement {
        name: "all".to_owned(),
        aggregation_length: 32,
        aggregation_length_v6: 128,
        local_pref: None,
        med: None,
        prepend: 0,
        graceful_shutdown: false,
        link_bandwidth: LinkBandwidth::Off,
        without_endpoints: WithoutEndpoints::Withdraw,
        max_nodes: None,
        communities: Vec::new(),
        pools: [pool.name.clone()].into(),
        pool_selectors: Vec::new(),
        node_selectors: Selectors::default(),
        peers: Default::default(),
        service_selectors: Selectors::default(),
        unfit_pools: Default::default(),
        withheld: None,
    };
    Config {
        pools: [(pool.name.clone(), pool)].into(),
        peers: peers.into_iter().map(|peer| (peer.name.clone(), peer)).collect(),
        advertisements: [(advertisement.name.clone(), advertisement)].into(),
        ..Config::default()
    }
}
