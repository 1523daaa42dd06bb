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
/// The subnet of a node is not written in its Node object. Until its speaker has reported it, these lengths are taken for
/// granted.
const USUAL_SUBNET: (u8, u8) = (24, 64);

/// What is around the pools.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    /// Nodes by name.
    pub(crate) nodes: Vec<(&'a String, &'a Place)>,
    /// The networks that nodes are connected to, by the name of the node, where a speaker has reported them.
    pub(crate) connected: BTreeMap<&'a String, &'a Place>,
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
    let subnets = subnets(around);
    for pool in config.pools.values() {
        for (first, last, neighbour) in network.iter().filter(|(first, last, _)| is_in(pool, *first, *last)) {
            let what = match AddressRange::try_new(first, last) {
                Ok(range) if first != last => range.to_string(),
                Ok(_) | Err(_) => first.to_string(),
            };
            say(&pool.name, format!("{what} is {neighbour} and never handed out"));
        }
        for (subnet, nodes) in &subnets {
            if pool.ranges.iter().any(|range| range.overlaps(subnet)) {
                say(&pool.name, nodes.sentence(subnet));
            }
        }
    }
    said
}

fn is_in(pool: &Pool, first: IpAddr, last: IpAddr) -> bool {
    AddressRange::try_new(first, last).is_ok_and(|range| pool.ranges.iter().any(|mine| mine.overlaps(&range)))
}

/// The nodes of one subnet.
#[derive(Debug, Default)]
struct Subnet<'a> {
    /// Each with one of its addresses there, if its Node object names one.
    nodes: BTreeMap<&'a String, Option<IpAddr>>,
    /// Whether a speaker has reported it; otherwise it is guessed.
    reported: bool,
}

impl Subnet<'_> {
    fn sentence(&self, subnet: &AddressRange) -> String {
        let node = match self.nodes.first_key_value() {
            Some((name, Some(address))) => format!("{name} ({address})"),
            Some((name, None)) => (*name).clone(),
            None => String::new(),
        };
        let more = match self.nodes.len() {
            0 | 1 => String::new(),
            nodes => format!(" and {} more", nodes - 1),
        };
        let whose = if self.reported {
            format!("a subnet of node {node}{more}, as its speaker reports")
        } else {
            format!("probably the subnet of node {node}{more}, as no speaker has reported it")
        };
        format!(
            "the pool reaches into {subnet}, {whose}: machines there look for these addresses by ARP or neighbour discovery \
             and never ask the router, so BGP does not lead them here; give the pool a network of its own"
        )
    }
}

/// The subnets of the nodes: what their speakers report, the cluster's own networks aside, and a guess for addresses of a
/// family of which nothing is reported.
fn subnets<'a>(around: &Around<'a>) -> BTreeMap<AddressRange, Subnet<'a>> {
    let mut subnets: BTreeMap<AddressRange, Subnet<'a>> = BTreeMap::new();
    for (name, place) in &around.nodes {
        let reported = around.connected.get(name).map_or(&[][..], |connected| connected.networks.as_slice());
        for network in reported.iter().filter(|one| !place.networks.iter().any(|pods| pods.overlaps(one))) {
            let subnet = subnets.entry(*network).or_default();
            subnet.reported = true;
            let address = place.addresses.iter().copied().find(|address| network.contains(*address));
            subnet.nodes.insert(name, address);
        }
        for address in &place.addresses {
            let same_family = |network: &AddressRange| network.first().is_ipv4() == address.is_ipv4();
            if !reported.iter().any(same_family)
                && let Some(guess) = usual_subnet(*address)
            {
                subnets.entry(guess).or_default().nodes.insert(name, Some(*address));
            }
        }
    }
    subnets
}

fn usual_subnet(address: IpAddr) -> Option<AddressRange> {
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
        let around = Around {
            nodes: vec![(&n1, &node)],
            connected: BTreeMap::new(),
            service_cidrs: vec![(&kubernetes, &cidr)],
        };
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
            &["home: 10.0.4.1 is the router of BGPPeer router and never handed out"],
        );
        check(
            &[("home", "10.0.2.0/24")],
            &[
                "home: 10.0.2.11 is the address of node n1 and never",
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

    /// A node: name, addresses, what its speaker reports.
    type Row<'a> = (&'a str, &'a [&'a str], Option<&'a [&'a str]>);

    /// What is said of the subnets of these nodes.
    fn check_subnets(pool: &str, nodes: &[Row<'_>], expected: &[&str]) {
        let (config, rejections) = config(&[("home", pool)]);
        let place = |addresses: &[&str], networks: &[&str]| Place {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            networks: networks.iter().map(|text| AddressRange::parse(text).unwrap()).collect(),
        };
        let rows: Vec<(String, Place, Option<Place>)> = nodes
            .iter()
            .map(|(name, addresses, reported)| {
                let node = place(addresses, &["10.42.0.0/24"]);
                ((*name).to_owned(), node, reported.map(|networks| place(&[], networks)))
            })
            .collect();
        let around = Around {
            nodes: rows.iter().map(|(name, node, _)| (name, node)).collect(),
            connected: rows
                .iter()
                .filter_map(|(name, _, reported)| Some((name, reported.as_ref()?)))
                .collect(),
            service_cidrs: Vec::new(),
        };
        let said =
            sentences(&config, &rejections, &Network::default(), &around).remove("home").unwrap_or_default();
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for (line, start) in said.iter().zip(expected) {
            assert!(line.starts_with(start), "{line}\nshould start with {start}");
        }
    }

    #[test]
    fn the_networks_that_speakers_report_are_believed_before_a_guess() {
        let n1 = ("n1", &["10.0.2.11"][..]);
        // A home network of /23: the guess of /24 would miss its second half, and sees too much of a /25.
        check_subnets(
            "10.0.3.0/28",
            &[(n1.0, n1.1, Some(&["10.0.2.0/23"]))],
            &[
                "the pool reaches into 10.0.2.0/23, a subnet of node n1 (10.0.2.11), as its speaker reports: machines",
            ],
        );
        check_subnets("10.0.2.128/25", &[(n1.0, n1.1, Some(&["10.0.2.0/25"]))], &[]);
        check_subnets("10.0.3.0/28", &[(n1.0, n1.1, None)], &[]);
        check_subnets(
            "10.0.2.128/25",
            &[(n1.0, n1.1, None)],
            &[
                "the pool reaches into 10.0.2.0/24, probably the subnet of node n1 (10.0.2.11), as no speaker has",
            ],
        );
        // Of IPv4 nothing is reported, so it is guessed.
        check_subnets(
            "10.0.2.128/25",
            &[(n1.0, n1.1, Some(&["fd00:2::/64"]))],
            &["the pool reaches into 10.0.2.0/24, probably"],
        );
    }

    #[test]
    fn nodes_of_one_subnet_are_told_together_and_other_networks_of_a_node_count() {
        let (n1, n2) = (&["10.0.2.11"][..], &["10.0.2.12"][..]);
        check_subnets(
            "10.0.2.200-10.0.2.250",
            &[("n1", n1, Some(&["10.0.2.0/23"])), ("n2", n2, Some(&["10.0.2.0/23"]))],
            &["the pool reaches into 10.0.2.0/23, a subnet of node n1 (10.0.2.11) and 1 more, as"],
        );
        check_subnets(
            "10.9.0.0/24",
            &[("n1", n1, Some(&["10.0.2.0/23", "10.9.0.0/16"]))],
            &["the pool reaches into 10.9.0.0/16, a subnet of node n1, as its speaker reports"],
        );
        // The bridge of the node's pods is inside its podCIDR, which has a sentence of its own.
        check_subnets("10.42.0.128/25", &[("n1", n1, Some(&["10.42.0.0/24"]))], &[]);
    }

    #[test]
    fn what_touches_no_pool_is_left_out() {
        let (config, _) = config(&[("home", "10.0.8.0/24"), ("six", "fd00::/64")]);
        let node = Place {
            addresses: vec!["10.0.2.11".parse().unwrap(), "fe80::1".parse().unwrap()],
            networks: Vec::new(),
        };
        let name = "n1".to_owned();
        let around =
            Around { nodes: vec![(&name, &node)], connected: BTreeMap::new(), service_cidrs: Vec::new() };
        assert_eq!(network(&config, &around), Network::default());
    }
}
