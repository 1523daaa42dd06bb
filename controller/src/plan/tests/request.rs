//! What a Service asks for, and what it gets: one Service alone with the pools of its row.

use super::world::World;

const POOLS: &str = "one: 10.1.0.0/30, fd00:1::/126
    two: 10.2.0.0/30
    six: fd00:6::/126 auto=no";

fn check(pools: &str, service: &str, expected: &str) {
    let name = service.split(' ').next().unwrap();
    let mut world = World::start(pools, &[service]);
    let told = world.settle();
    assert_eq!(world.shows(name), expected, "{service}\nevents: {told:#?}");
    let again = world.step(name);
    assert_eq!(again.write, None, "a second pass writes nothing: {service}");
    assert!(again.events.is_empty(), "a second pass tells nothing: {service}: {:?}", again.events);
    let mut later = world.restart(pools);
    assert_eq!(later.step(name).write, None, "a restart writes nothing: {service}");
}

#[test]
fn a_service_gets_what_it_asks_for_or_nothing() {
    for (service, expected) in [
        ("s", "10.1.0.0 one"),
        ("s type=NodePort", "-"),
        ("s class=cloud", "-"),
        ("s v6", "fd00:1:: one"),
        ("s local", "10.1.0.0 one"),
        ("s ask=10.2.0.3", "10.2.0.3 two"),
        ("s spec=10.2.0.3", "10.2.0.3 two"),
        ("s ask=10.2.0.3 spec=10.2.0.3", "-"),
        ("s ask=nonsense", "-"),
        ("s ask=10.2.0.1,10.2.0.2", "-"),
        ("s ask=10.2.0.1,10.2.0.2,fd00:6::1", "-"),
        ("s ask=10.9.0.1", "-"),
        ("s ask=10.2.0.3 pool=two", "10.2.0.3 two"),
        ("s ask=10.2.0.3 pool=one", "-"),
        ("s pool=two", "10.2.0.0 two"),
        ("s oldpool=two", "10.2.0.0 two"),
        ("s pool=nowhere", "-"),
        ("s v6 pool=six", "fd00:6:: six"),
        ("s pool=six", "-"),
        ("s v6 ask=fd00:6::2", "fd00:6::2 six"),
        ("s ask=fd00:1::1", "-"),
        ("s v6 ask=10.1.0.1", "-"),
        ("s headless", "-"),
        ("s v4+v6 prefer spec=10.1.0.1", "-"),
        ("s v4+v6 require ask=10.1.0.1,fd00:1::1", "10.1.0.1 fd00:1::1 one"),
        ("s v6+v4 require ask=10.1.0.1,fd00:1::1", "fd00:1::1 10.1.0.1 one"),
        ("s v4+v6 require ask=10.2.0.1,fd00:6::1", "10.2.0.1 fd00:6::1 two"),
        ("s v6+v4 require ask=10.2.0.1,fd00:6::1", "fd00:6::1 10.2.0.1 six"),
        ("s v4+v6 require ask=10.2.0.1,fd00:6::1 pool=two", "-"),
        ("s v4+v6 require ask=10.1.0.1,fd00:6::1", "-"),
        ("s v4+v6 require", "10.1.0.0 fd00:1:: one"),
        ("s v6+v4 require", "fd00:1:: 10.1.0.0 one"),
        ("s v4 require", "-"),
        ("s v4 prefer", "10.1.0.0 one"),
        ("s v4+v6 prefer", "10.1.0.0 fd00:1:: one"),
        ("s v4+v6 prefer pool=two", "10.2.0.0 two"),
        ("s v6+v4 prefer pool=two", "10.2.0.0 two"),
        ("s v4+v6 require pool=two", "-"),
    ] {
        check(POOLS, service, expected);
    }
}

#[test]
fn two_pools_serve_one_service_where_neither_has_both_families() {
    check("a: 10.1.0.0/30; b: fd00:1::/126", "s v6+v4 prefer", "fd00:1:: 10.1.0.0 b");
    check("a: 10.1.0.0/30; b: fd00:1::/126", "s v4+v6 prefer", "10.1.0.0 fd00:1:: a");
    check("a: 10.1.0.0/30; b: fd00:1::/126", "s v4+v6 require", "10.1.0.0 fd00:1:: a");
    check("a: 10.1.0.0/30; b: fd00:1::/126 auto=no", "s v4+v6 require", "-");
    check("b: fd00:1::/126", "s v4+v6 prefer", "fd00:1:: b");
    check(
        "a: 10.1.0.0/30; b: fd00:1::/126; c: 10.3.0.0/30,fd00:3::/126",
        "s v6+v4 prefer",
        "fd00:3:: 10.3.0.0 c",
    );
    let pinned = "a: 10.1.0.0/30 prio=1 ns=default; b: 10.2.0.0/30,fd00:2::/126";
    check(pinned, "s v4+v6 prefer", "10.1.0.0 fd00:2:: a");
    check(pinned, "s v4+v6 require", "10.2.0.0 fd00:2:: b");
}

#[test]
fn a_family_is_added_and_removed_later_and_the_other_address_stays() {
    for pools in ["a: 10.1.0.0/30, fd00:1::/126", "a: 10.1.0.0/30; b: fd00:1::/126"] {
        let mut world = World::start(pools, &["s", "t"]);
        world.settle();
        world.put("t v4+v6 prefer");
        world.settle();
        assert_eq!(world.shows("t"), "10.1.0.1 fd00:1:: a", "{pools}");
        world.put("t v4+v6 require");
        world.settle();
        assert_eq!(world.shows("t"), "10.1.0.1 fd00:1:: a", "{pools}");
        let mut world = world.restart(pools);
        assert_eq!(world.step("t").write, None, "{pools}");
        world.put("t");
        world.settle();
        assert_eq!(world.shows("t"), "10.1.0.1 a", "{pools}");
        assert_eq!(world.allocator.usage()["a"].assigned_ipv4(), 2);
    }
}

#[test]
fn pinned_pools_come_first_by_priority_and_zero_is_last() {
    let pools = "a: 10.1.0.0/30
        b: 10.2.0.0/30 prio=0 ns=default
        c: 10.3.0.0/30 prio=20 ns=default
        d: 10.4.0.0/30 prio=10 ns=other
        e: 10.5.0.0/30 prio=10 ns=default label=app=web
        f: 10.6.0.0/30 prio=20 ns=default
        g: 10.7.0.0/30 auto=no prio=1 ns=default";
    check(pools, "s", "10.3.0.0 c");
    check(pools, "s label=app=web", "10.5.0.0 e");
    check(pools, "s label=app=db ns=other", "10.4.0.0 d");
    check(pools, "s ns=third", "10.1.0.0 a");
    check(pools, "s ns=third label=app=web", "10.1.0.0 a");
    check(pools, "s pool=g", "10.7.0.0 g");
    check(pools, "s pool=d", "-");
    check(pools, "s ask=10.4.0.1", "-");
    check(pools, "s ask=10.7.0.1", "10.7.0.1 g");
    check("a: 10.1.0.0/30; b: 10.2.0.0/30 pinned", "s", "10.2.0.0 b");
}

#[test]
fn namespace_selectors_admit_the_namespaces_they_match_and_nobody_else() {
    let pools = "a: 10.1.0.0/30 nslabel=team=blue";
    let mut world = World::start(pools, &["s ask=10.1.0.1"]);
    world.settle();
    assert_eq!(world.shows("s"), "-", "a selector that matches no namespace admits nobody");
    world.namespace("default", ("team", "blue"));
    world.settle();
    assert_eq!(world.shows("s"), "10.1.0.1 a");
}

#[test]
fn avoided_addresses_are_not_given_even_when_asked_for() {
    check("a: 10.1.0.0/24 buggy", "s", "10.1.0.1 a");
    check("a: 10.1.0.255-10.1.1.3 buggy", "s", "10.1.1.1 a");
    check("a: 10.1.0.0/24 buggy", "s ask=10.1.0.0", "-");
    check("a: 10.1.0.0/24 buggy", "s ask=10.1.0.255", "-");
    check("a: fd00::/120 buggy", "s v6", "fd00:: a");
}

#[test]
fn ranges_are_used_in_listed_order_lowest_address_first() {
    check("a: 10.9.0.4-10.9.0.5, 10.1.0.0/30", "s", "10.9.0.4 a");
    let services = ["s1", "s2", "s3", "s4"];
    let mut world = World::start("b: 10.3.0.0/32; a: 10.9.0.4-10.9.0.5, 10.1.0.0/32", &services);
    world.settle();
    let shown: Vec<String> = services.iter().map(|name| world.shows(name)).collect();
    assert_eq!(shown, ["10.9.0.4 a", "10.9.0.5 a", "10.1.0.0 a", "10.3.0.0 b"]);
}

#[test]
fn a_second_family_is_added_from_the_same_pool_and_taken_back() {
    let mut world = World::start("a: 10.1.0.0/30,fd00:1::/126; b: fd00:2::/126", &["s"]);
    world.settle();
    world.put("s v4+v6 prefer");
    assert_eq!(world.settle(), ["s IPAllocated: Assigned additional IP [\"fd00:1::\"]"]);
    assert_eq!(world.shows("s"), "10.1.0.0 fd00:1:: a");
    world.put("s v6");
    world.settle();
    assert_eq!(world.shows("s"), "fd00:1:: a");
}

#[test]
fn another_wish_of_the_service_itself_moves_it() {
    for (change, expected) in [
        ("s pool=two", "10.2.0.0 two"),
        ("s ask=10.1.0.3", "10.1.0.3 one"),
        ("s v6", "fd00:1:: one"),
        ("s type=NodePort", "-"),
        ("s ask=nonsense", "10.1.0.0 one"),
        ("s pool=nowhere", "-"),
        ("s ask=10.9.9.9", "-"),
    ] {
        let mut world = World::start(POOLS, &["s"]);
        world.settle();
        world.put(change);
        world.settle();
        assert_eq!(world.shows("s"), expected, "{change}");
    }
}
