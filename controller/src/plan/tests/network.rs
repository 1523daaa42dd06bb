//! Addresses of nodes, routers and the cluster itself are never handed out.

use crate::alloc::{Neighbour, Network, Place};

use super::world::World;

fn network() -> Network {
    let mut network = Network::default();
    network.add_address("10.1.0.0".parse().unwrap(), Neighbour::Node("n1".to_owned()));
    network.add_address("10.1.0.1".parse().unwrap(), Neighbour::Router("home".to_owned()));
    let range = "10.1.0.2-10.1.0.3".parse().unwrap();
    network.add_range(&range, Neighbour::Cluster("ServiceCIDR kubernetes".to_owned()));
    network
}

#[test]
fn neighbours_keep_their_addresses() {
    let mut world = World::start("one: 10.1.0.0/29", &[]);
    assert!(world.allocator.set_network(network()));
    assert!(!world.allocator.set_network(network()), "no news");
    for service in ["a", "n ask=10.1.0.0", "r ask=10.1.0.1", "c ask=10.1.0.3"] {
        world.put(service);
    }
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.4 one");
    let refused = |address, why| format!("[\"{address}\"] is not allowed in config: it is {why}");
    assert_eq!(world.message("n"), refused("10.1.0.0", "the address of node n1"));
    assert_eq!(world.message("r"), refused("10.1.0.1", "the router of BGPPeer home"));
    assert_eq!(
        world.message("c"),
        refused("10.1.0.3", "inside the cluster's own network ServiceCIDR kubernetes")
    );
    assert_eq!(world.allocator.usage()["one"].capacity_ipv4, 4);
}

#[test]
fn an_address_in_use_stays_when_a_node_comes_with_the_same() {
    let mut world = World::start("one: 10.1.0.0/29", &["a"]);
    world.settle();
    world.allocator.set_network(network());
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.0 one");
    assert_eq!(world.condition("a"), "True AddressOutsidePool");
    assert!(matches!(world.allocator.place("10.1.0.0".parse().unwrap()), Place::Avoided { .. }));
    world.allocator.set_network(Network::default());
    world.settle();
    assert_eq!(world.condition("a"), "");
}

#[test]
fn the_address_of_a_node_that_somebody_wrote_is_not_adopted() {
    let mut world = World::start("one: 10.1.0.0/29", &["a status=10.1.0.0 from=one foreign=k3s"]);
    world.allocator.set_network(network());
    // As after a restart: nothing is held yet.
    world.allocator.release(&super::world::key("a"));
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.4 one");
}
