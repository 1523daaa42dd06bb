//! Where pools touch each other and the network around: what is never handed out because of it, and the sentences for
//! the status of the pools. Pure.
//!
//! Leaves out where the facts come from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::{Config, Kind, Pool, Rejection, RejectionReason};
use api::range::AddressRange;
use ipnet::IpNet;

use crate::alloc::{Neighbour, Network};
use crate::neighbour::Place;

/// Sentences for one pool.
const MOST_SENTENCES: usize = 8;
/// The subnet of a node is not written in its Node object; these lengths are taken for granted.
const USUAL_SUBNET: (u8, u8) = (24, 64);

/// What is around the pools.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    /// Nodes by name.
    pub(crate) nodes: Vec<(&'a String, &'a Place)>,
    /// ServiceCIDRs by name.
    pub(crate) service_cidrs: Vec<(&'a String, &'a Place)>,
}

/// Everything around the pools that uses one of their addresses. The rest of the network is left out, so that a node
/// far away changes nothing.
pub(crate) fn network(config: &Config, around: &Around<'_>) -> Network {
    let mut by_first: BTreeMap<IpAddr, IpAddr> = BTreeMap::new();
    for range in config.pools.values().flat_map(|pool| &pool.ranges) {
        by_first.insert(range.first(), range.last());
    }
    let touches = |first: IpAddr, last: IpAddr| {
        let below = by_first.range(..=last).next_back();
        below.is_some_and(|(_, end)| end.is_ipv4() == first.is_ipv4() && *end >= first)
    };
    let mut network = Network::default();
    for (name, place) in &around.nodes {
        for address in place.addresses.iter().filter(|address| touches(**address, **address)) {
            network.add_address(*address, Neighbour::Node((*name).clone()));
        }
        for range in place.networks.iter().filter(|range| touches(range.first(), range.last())) {
            network.add_range(range, Neighbour::Cluster(format!("podCIDR of node {name}")));
        }
    }
    for (name, place) in &around.service_cidrs {
        for range in place.networks.iter().filter(|range| touches(range.first(), range.last())) {
            network.add_range(range, Neighbour::Cluster(format!("ServiceCIDR {name}")));
        }
    }
    for peer in config.peers.values() {
        if let Some(address) = peer.router.address().filter(|address| touches(*address, *address)) {
            network.add_address(address, Neighbour::Router(peer.name.clone()));
        }
    }
    network
}

/// For each pool that touches something: what, and what that means. At most a few sentences each.
pub(crate) fn sentences(
    config: &Config,
    rejections: &[Rejection],
    network: &Network,
    around: &Around<'_>,
) -> BTreeMap<String, Vec<String>> {
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut say = |pool: &str, sentence: String| {
        let list = said.entry(pool.to_owned()).or_default();
        if list.len() < MOST_SENTENCES && !list.contains(&sentence) {
            list.push(sentence);
        }
    };
    for rejection in rejections.iter().filter(|rejection| rejection.object.kind == Kind::IPAddressPool) {
        if let RejectionReason::Overlap { cidr, pool, other, other_pool } = &rejection.reason
            && pool != other_pool
        {
            say(
                pool,
                format!("{cidr} overlaps {other} of pool {other_pool}, which is older and stays in force"),
            );
            say(
                other_pool,
                format!(
                    "{other} is claimed as {cidr} by pool {pool}, too; this pool is older and stays in force"
                ),
            );
        }
    }
    for pool in config.pools.values() {
        for (first, last, neighbour) in network.iter().filter(|(first, last, _)| is_in(pool, *first, *last)) {
            let what = AddressRange::try_new(first, last)
                .map_or_else(|_| first.to_string(), |range| range.to_string());
            say(&pool.name, format!("{what} is {neighbour} and never handed out"));
        }
        for (name, place) in &around.nodes {
            for (address, subnet) in
                place.addresses.iter().filter_map(|address| Some((address, subnet(*address)?)))
            {
                if pool.ranges.iter().any(|range| range.overlaps(&subnet)) {
                    say(
                        &pool.name,
                        format!(
                            "the pool reaches into {subnet}, probably the subnet of node {name} ({address}): machines \
                             there look for these addresses by ARP or neighbour discovery and never ask the router, so \
                             BGP does not lead them here; give the pool a network of its own"
                        ),
                    );
                }
            }
        }
    }
    said
}

fn is_in(pool: &Pool, first: IpAddr, last: IpAddr) -> bool {
    AddressRange::try_new(first, last).is_ok_and(|range| pool.ranges.iter().any(|mine| mine.overlaps(&range)))
}

fn subnet(address: IpAddr) -> Option<AddressRange> {
    let length = if address.is_ipv4() { USUAL_SUBNET.0 } else { USUAL_SUBNET.1 };
    IpNet::new(address, length).ok().map(|network| AddressRange::from(network.trunc()))
}

#[cfg(test)]
mod tests {
    use api::config::Resources;
    use api::v1beta1::{IPAddressPool, IPAddressPoolSpec};
    use serde_json::json;

    use super::*;

    fn config(pools: &[(&str, &str)]) -> (Config, Vec<Rejection>) {
        let pool = |(name, range): &(&str, &str)| {
            let addresses = vec![(*range).to_owned()];
            IPAddressPool::new(name, IPAddressPoolSpec { addresses, ..IPAddressPoolSpec::default() })
        };
        let peer = json!({
            "metadata": {"name": "router"}, "spec": {"myASN": 64500, "peerASN": 65530, "peerAddress": "10.0.4.1"},
        });
        let resources = Resources {
            pools: pools.iter().map(pool).collect(),
            peers: vec![serde_json::from_value(peer).unwrap()],
            ..Resources::default()
        };
        Config::build(&resources, &Config::default())
    }

    /// Expected: the start of each sentence, after the name of its pool.
    fn check(pools: &[(&str, &str)], expected: &[&str]) {
        let (config, rejections) = config(pools);
        let range = |text: &str| AddressRange::parse(text).unwrap();
        let node =
            Place { addresses: vec!["10.0.2.11".parse().unwrap()], networks: vec![range("10.42.0.0/24")] };
        let cidr = Place { addresses: Vec::new(), networks: vec![range("10.96.0.0/16")] };
        let (n1, kubernetes) = ("n1".to_owned(), "kubernetes".to_owned());
        let around = Around { nodes: vec![(&n1, &node)], service_cidrs: vec![(&kubernetes, &cidr)] };
        let network = network(&config, &around);
        let said = sentences(&config, &rejections, &network, &around);
        let lines: Vec<String> = said
            .iter()
            .flat_map(|(pool, list)| list.iter().map(move |line| format!("{pool}: {line}")))
            .collect();
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(expected) {
            assert!(line.starts_with(start), "{line}\nshould start with {start}");
        }
    }

    #[test]
    fn every_overlap_is_named() {
        check(&[("home", "10.0.8.0/24")], &[]);
        check(
            &[("home", "10.0.4.0/24")],
            &["home: 10.0.4.1/32 is the router of BGPPeer router and never handed out"],
        );
        check(
            &[("home", "10.0.2.0/24")],
            &[
                "home: 10.0.2.11/32 is the address of node n1 and never",
                "home: the pool reaches into 10.0.2.0/24, probably",
            ],
        );
        check(&[("home", "10.0.2.200-10.0.2.250")], &["home: the pool reaches into 10.0.2.0/24, probably"]);
        check(
            &[("home", "10.96.7.0/24")],
            &["home: 10.96.0.0/16 is inside the cluster's own network ServiceCIDR"],
        );
        check(
            &[("home", "10.42.0.0/16")],
            &["home: 10.42.0.0/24 is inside the cluster's own network podCIDR of node n1"],
        );
        check(
            &[("a", "10.0.8.0/24"), ("b", "10.0.8.128/25")],
            &[
                "a: 10.0.8.0/24 is claimed as 10.0.8.128/25 by pool b",
                "b: 10.0.8.128/25 overlaps 10.0.8.0/24 of pool a",
            ],
        );
    }

    #[test]
    fn what_touches_no_pool_is_left_out() {
        let (config, _) = config(&[("home", "10.0.8.0/24"), ("six", "fd00::/64")]);
        let node = Place {
            addresses: vec!["10.0.2.11".parse().unwrap(), "fe80::1".parse().unwrap()],
            networks: Vec::new(),
        };
        let name = "n1".to_owned();
        let around = Around { nodes: vec![(&name, &node)], service_cidrs: Vec::new() };
        assert_eq!(network(&config, &around), Network::default());
    }
}
