//! Released addresses rest, and come back to the Service that had them.

use std::time::Duration;

use super::world::{World, key};

const POOL: &str = "one: 10.1.0.0/30";

#[test]
fn a_released_address_rests_for_a_minute() {
    let mut world = World::start(POOL, &["a", "b"]);
    world.settle();
    world.delete("a");
    world.put("c");
    world.settle();
    assert_eq!(world.shows("c"), "10.1.0.2 one", "10.1.0.0 rests");
    world.wait(59);
    world.put("d");
    world.settle();
    assert_eq!(world.shows("d"), "10.1.0.3 one");
    world.delete("d");
    world.wait(1);
    world.put("e");
    world.settle();
    assert_eq!(world.shows("e"), "10.1.0.0 one", "its minute is over; that of 10.1.0.3 is not");
}

#[test]
fn a_service_made_again_gets_its_address_back() {
    let mut world = World::start(POOL, &["a", "b"]);
    world.settle();
    world.delete("b");
    world.delete("a");
    world.wait(30);
    world.put("b uid=second");
    world.put("c");
    world.settle();
    assert_eq!(world.shows("b"), "10.1.0.1 one");
    assert_eq!(world.shows("c"), "10.1.0.2 one");
}

#[test]
fn a_pair_comes_back_in_both_families() {
    let mut world = World::start("one: 10.1.0.0/30, fd00:1::/126", &["a v4+v6 prefer", "b v4+v6 prefer"]);
    world.settle();
    world.delete("a");
    world.delete("b");
    world.put("b v6+v4 require uid=second");
    world.settle();
    assert_eq!(world.shows("b"), "fd00:1::1 10.1.0.1 one");
}

#[test]
fn what_has_rested_longest_is_given_when_nothing_else_is_left() {
    let mut world = World::start("one: 10.1.0.0/31", &["a", "b"]);
    world.settle();
    world.delete("b");
    world.wait(1);
    world.delete("a");
    world.put("c");
    world.put("d");
    world.settle();
    assert_eq!(world.shows("c"), "10.1.0.1 one");
    assert_eq!(world.shows("d"), "10.1.0.0 one");
}

#[test]
fn a_rest_does_not_refuse_an_address_that_is_asked_for() {
    let mut world = World::start(POOL, &["a"]);
    world.settle();
    world.delete("a");
    world.put("b ask=10.1.0.0");
    world.settle();
    assert_eq!(world.shows("b"), "10.1.0.0 one");
}

#[test]
fn a_pool_sets_its_own_rest() {
    for (rest, wait, expected) in [("0s", 0, "10.1.0.0"), ("5m", 299, "10.1.0.1"), ("5m", 300, "10.1.0.0")] {
        let mut world = World::start(&format!("{POOL} rest={rest}"), &["a"]);
        world.settle();
        world.delete("a");
        world.wait(wait);
        world.put("b");
        world.settle();
        assert_eq!(world.shows("b"), format!("{expected} one"), "{rest} after {wait} s");
    }
}

#[test]
fn a_shared_address_rests_only_when_the_last_service_leaves() {
    let mut world = World::start(POOL, &["a share=k", "b share=k port=81"]);
    world.settle();
    world.delete("a");
    assert_eq!(world.allocator.resting().count(), 0);
    world.delete("b");
    let resting: Vec<String> = world
        .allocator
        .resting()
        .map(|(address, service, until)| {
            format!("{address} {service} {:?}", until.saturating_duration_since(world.now()))
        })
        .collect();
    assert_eq!(resting, ["10.1.0.0 default/b 60s"]);
}

#[test]
fn a_rest_goes_on_under_the_next_leader() {
    let mut world = World::start(POOL, &["a", "b"]);
    world.settle();
    world.delete("a");
    let mut world = world.restart(POOL);
    let (a, at) = (key("a"), |text: &str| text.parse().unwrap());
    let left = Duration::from_secs(30);
    world.allocator.rest_on(at("10.1.0.0"), &a, left);
    world.allocator.rest_on(at("10.1.0.1"), &a, left);
    world.allocator.rest_on(at("10.9.0.1"), &a, left);
    let resting: Vec<_> = world.allocator.resting().map(|(address, ..)| address).collect();
    assert_eq!(resting, [at("10.1.0.0")], "10.1.0.1 is in use, 10.9.0.1 is in no pool");
    world.put("c");
    world.settle();
    assert_eq!(world.shows("c"), "10.1.0.2 one");
    world.put("a uid=second");
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.0 one");
    world.delete("a");
    let mut world = world.restart("one: 10.1.0.0/30 rest=10s");
    world.allocator.rest_on(at("10.1.0.0"), &a, Duration::from_secs(3600));
    world.wait(10);
    world.put("d");
    world.settle();
    assert_eq!(world.shows("d"), "10.1.0.0 one", "no longer than the pool says today, whatever was written");
}
