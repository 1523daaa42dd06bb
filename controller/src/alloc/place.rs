//! Where an address lies, and what stands against handing it out: the pool's own rules and the network around it.
//!
//! Leaves out who uses an address.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use api::config::Pool;
use api::range::AddressRange;
use api::service::ServiceKey;

/// Where an address lies with respect to the pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this pool, which could hand it out.
    Pool(String),
    /// In this pool, which does not hand it out.
    Avoided {
        /// The pool.
        pool: String,
        /// Why not.
        why: Obstacle,
    },
    /// In no pool.
    Outside,
}

/// Why a pool does not hand out one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// `avoidBuggyIPs`.
    Buggy,
    /// `excluded`.
    Excluded,
    /// `skipNetworkAndBroadcast`.
    Edge,
    /// `reserved` for another Service.
    Reserved(ServiceKey),
    /// The network around the pool uses it.
    Taken(Neighbour),
}

impl Obstacle {
    /// The sentence that follows "pool `name`".
    #[must_use]
    pub fn of(&self, pool: &str) -> String {
        match self {
            Self::Buggy => format!("pool {pool} avoids addresses that end in .0 or .255"),
            Self::Excluded => format!("pool {pool} excludes it"),
            Self::Edge => format!("pool {pool} skips network and broadcast addresses"),
            Self::Reserved(service) => format!("pool {pool} reserves it for {service}"),
            Self::Taken(neighbour) => format!("it is {neighbour}"),
        }
    }
}

/// Who uses addresses beside the Services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbour {
    /// A node of the cluster.
    Node(String),
    /// The router of a BGPPeer.
    Router(String),
    /// The cluster's own networks: a ServiceCIDR or a node's podCIDR, by name.
    Cluster(String),
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "the address of node {name}"),
            Self::Router(name) => write!(f, "the router of BGPPeer {name}"),
            Self::Cluster(name) => write!(f, "inside the cluster's own network {name}"),
        }
    }
}

/// The addresses around the pools that are in use by something else than Services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    by_first: BTreeMap<(IpAddr, IpAddr), Neighbour>,
}

impl Network {
    /// Adds one address.
    pub fn add_address(&mut self, address: IpAddr, neighbour: Neighbour) {
        self.by_first.entry((address, address)).or_insert(neighbour);
    }

    /// Adds a range.
    pub fn add_range(&mut self, range: &AddressRange, neighbour: Neighbour) {
        self.by_first.entry((range.first(), range.last())).or_insert(neighbour);
    }

    /// Everything, sorted: first and last address, and whose they are.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, IpAddr, &Neighbour)> {
        self.by_first.iter().map(|((first, last), neighbour)| (*first, *last, neighbour))
    }

    /// Who uses the address.
    #[must_use]
    pub fn neighbour(&self, address: IpAddr) -> Option<&Neighbour> {
        if let Some(exact) = self.by_first.get(&(address, address)) {
            return Some(exact);
        }
        let inside = self.iter().filter(|(first, last, _)| *first <= address && address <= *last);
        inside.map(|(_, _, neighbour)| neighbour).next()
    }
}

/// What the pool itself has against one of its addresses, reservations aside.
pub(super) fn own_obstacle(pool: &Pool, address: IpAddr) -> Option<Obstacle> {
    if pool.avoids(address) {
        Some(Obstacle::Buggy)
    } else if pool.edges.contains(&address) {
        Some(Obstacle::Edge)
    } else if pool.excluded.iter().any(|range| range.contains(address)) {
        Some(Obstacle::Excluded)
    } else {
        None
    }
}
