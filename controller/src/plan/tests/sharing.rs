//! Sharing of addresses: who may join whom.

use super::world::World;

const POOLS: &str = "one: 10.1.0.0/30, fd00:1::/126";

/// The first Service has its address; what does the second get?
fn check(first: &str, second: &str, expected: &str) {
    let mut world = World::start(POOLS, &[first]);
    world.settle();
    world.put(second);
    world.settle();
    let name = second.split(' ').next().unwrap();
    assert_eq!(world.shows(name), expected, "{first} | {second}");
    assert_eq!(world.step(name).write, None, "{second}");
}

#[test]
fn an_address_is_shared_under_equal_keys_equal_backends_and_other_ports_only() {
    let first = "a share=k port=80 ask=10.1.0.2";
    check(first, "b share=k port=443 ask=10.1.0.2", "10.1.0.2 one");
    check(first, "b share=k port=80 ask=10.1.0.2", "-");
    check(first, "b share=other port=443 ask=10.1.0.2", "-");
    check(first, "b port=443 ask=10.1.0.2", "-");
    check(first, "b share=k port=443 local ask=10.1.0.2", "-");
    check("a port=80 ask=10.1.0.2", "b port=443 ask=10.1.0.2", "-");
    let local = "a share=k port=80 local ask=10.1.0.2";
    check(local, "b share=k port=443 local ask=10.1.0.2", "10.1.0.2 one");
    check(local, "b share=k port=443 local selector=b ask=10.1.0.2", "-");
    check("a v6 share=k port=80 ask=fd00:1::2", "b v6 share=k port=443 ask=fd00:1::2", "fd00:1::2 one");
    check("a v6 share=k port=80 ask=fd00:1::2", "b v6 share=x port=443 ask=fd00:1::2", "-");
    check("a share=k port=80", "b ns=other share=k port=443", "10.1.0.0 one");
}

#[test]
fn without_a_request_the_lowest_address_that_fits_is_joined_or_taken() {
    check("a share=k port=80", "b share=k port=443", "10.1.0.0 one");
    check("a share=k port=80", "b share=k port=80", "10.1.0.1 one");
    check("a share=k port=80 ask=10.1.0.2", "b share=k port=443", "10.1.0.0 one");
    check("a v4+v6 require share=k port=80", "b v4+v6 require share=k port=443", "10.1.0.0 fd00:1:: one");
}

#[test]
fn the_only_user_of_an_address_may_change_its_terms_in_place() {
    let mut world = World::start(POOLS, &["a share=k port=80"]);
    world.settle();
    for change in ["a share=k2 port=80", "a share=k2 port=81", "a share=k2 local port=81", "a port=80"] {
        world.put(change);
        assert_eq!(world.step("a").write, None, "{change}");
        assert_eq!(world.shows("a"), "10.1.0.0 one");
    }
}

#[test]
fn one_of_two_users_may_change_ports_but_not_the_key() {
    let mut world = World::start(POOLS, &["a share=k port=80", "b share=k port=443"]);
    world.settle();
    world.put("b share=k port=444");
    world.settle();
    assert_eq!(world.shows("b"), "10.1.0.0 one");
    world.put("b share=k2 port=444");
    let told = world.settle();
    assert_eq!(world.shows("a"), "10.1.0.0 one");
    assert_eq!(world.shows("b"), "10.1.0.1 one", "it moves, the other one stays");
    assert!(
        told.iter().any(|line| line.contains("can't change sharing key for \"default/b\"")
            && line.contains("address also in use by default/a")),
        "{told:?}"
    );
    world.delete("b");
    world.put("a share=k3 port=80");
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.0 one", "alone again, it may");
}

#[test]
fn a_port_clash_names_port_and_address() {
    let mut world = World::start(POOLS, &["a share=k port=80 ask=10.1.0.2"]);
    world.settle();
    world.put("b share=k port=80 ask=10.1.0.2");
    let told = world.settle();
    let clash = "port TCP/80 is already in use on \"10.1.0.2\" by default/a";
    assert!(told[0].ends_with(clash), "{told:?}");
}

#[test]
fn a_freed_address_goes_to_the_next() {
    let mut world = World::start("one: 10.1.0.0/32", &["a", "b"]);
    world.settle();
    assert_eq!(world.shows("b"), "-");
    world.delete("a");
    assert_eq!(world.allocator.take_touched(), ["10.1.0.0".parse::<std::net::IpAddr>().unwrap()]);
    world.settle();
    assert_eq!(world.shows("b"), "10.1.0.0 one");
}

#[test]
fn a_shared_address_counts_once() {
    let mut world = World::start(POOLS, &["a share=k port=80", "b share=k port=443"]);
    world.settle();
    assert_eq!(world.allocator.usage()["one"].assigned_ipv4(), 1);
    world.delete("a");
    assert_eq!(world.allocator.usage()["one"].assigned_ipv4(), 1);
    world.delete("b");
    assert_eq!(world.allocator.usage()["one"].assigned_ipv4(), 0);
}

#[test]
fn leaving_a_shared_address_clears_the_status_even_without_pools() {
    let mut world = World::start("one: 10.1.0.0/30", &["a share=k", "b share=k port=81"]);
    world.settle();
    world.set_pools("");
    world.put("a");
    world.settle();
    assert_eq!(world.shows("b"), "10.1.0.0 one");
    assert_eq!(world.shows("a"), "-", "it may not use it without the key");
}
