//! Edits of pools under policy Keep: no address moves.

use super::world::{World, key};
use crate::plan::Outcome;

const START: &str = "test: 1.2.3.0/30, 1000::/126";
const SERVICES: [&str; 2] = ["s1 status=1.2.3.0 from=test", "s2 v6 status=1000:: from=test"];

/// Expected: `pool` the address is recorded with, and `!` if it is kept with a warning.
fn check(pools: &str, s1: &str, s2: &str) {
    let mut running = World::start(START, &SERVICES);
    running.settle();
    running.set_pools(pools);
    let mut restarted = World::start(pools, &SERVICES);
    for world in [&mut running, &mut restarted] {
        let told = world.settle();
        for (name, address, expected) in [("s1", "1.2.3.0", s1), ("s2", "1000::", s2)] {
            let pool = expected.trim_end_matches('!');
            assert_eq!(world.shows(name), format!("{address} {pool}"), "{pools}: {told:?}");
            let warned = told.iter().any(|line| line.starts_with(&format!("{name} AddressOutsidePool")));
            assert_eq!(warned, expected.ends_with('!'), "{pools}: {told:?}");
            let kept = matches!(world.step(name).memory.outcome, Outcome::Kept { .. });
            assert_eq!(kept, expected.ends_with('!'), "{pools}: {name}");
        }
    }
}

#[test]
fn a_pool_edit_moves_no_address() {
    check(START, "test", "test");
    check("test: 1.2.3.0/24, 1000::/120", "test", "test");
    check("test: 1.2.3.2/31, 1000::/126", "test!", "test");
    check("test: 1.2.3.0/30, 1000::2/127", "test", "test!");
    check("test2: 1.2.3.0/30, 1000::/126", "test2", "test2");
    check("test: 1.2.3.0/31, 1000::2/127; test2: 1.2.3.2/31, 1000::/127", "test", "test2");
    check("test2: 1.2.3.0/31, 1000::/127 buggy", "test2!", "test2");
    check("", "test!", "test!");
    check("test: 1.2.3.0/30, 1000::/126 auto=no", "test", "test");
    check("test: 1.2.3.0/30, 1000::/126 ns=elsewhere", "test", "test");
}

#[test]
fn a_pool_that_comes_back_takes_its_addresses_in_and_the_warning_goes() {
    let mut world = World::start(START, &SERVICES);
    world.settle();
    world.set_pools("");
    world.settle();
    world.set_pools(START);
    for name in ["s1", "s2"] {
        assert_eq!(world.condition(name), "True AddressOutsidePool");
        let step = world.step(name);
        assert!(step.events.is_empty(), "{name}: no address moved");
        assert_eq!(step.memory.outcome, Outcome::Given);
        assert_eq!(world.condition(name), "");
        assert_eq!(world.step(name).write, None);
    }
}

#[test]
fn a_kept_address_is_gone_for_good_once_released() {
    let mut world = World::start("test: 1.2.3.2/31", &SERVICES);
    world.settle();
    world.delete("s1");
    world.put("new ask=1.2.3.0");
    world.put("any1");
    world.put("any2");
    world.put("any3");
    let told = world.settle();
    assert_eq!(world.shows("new"), "-");
    assert!(
        told.contains(
            &"new AllocationFailed: Failed to allocate IP for \"default/new\": [\"1.2.3.0\"] is not allowed in config: no \
              IPAddressPool in force contains it"
                .to_owned()
        ),
        "{told:?}"
    );
    assert_eq!(world.shows("any3"), "-", "only 1.2.3.2 and 1.2.3.3 are left");
}

#[test]
fn a_kept_address_is_refused_to_others() {
    let mut world = World::start("test: 1.2.3.2/31", &SERVICES);
    world.put("thief ask=1.2.3.0");
    let told = world.settle();
    assert_eq!(world.shows("thief"), "-");
    assert!(told.iter().any(|line| line.contains("address also in use by default/s1")), "{told:?}");
    assert_eq!(world.shows("s1"), "1.2.3.0 test");
}

#[test]
fn a_service_that_names_its_pool_survives_the_edit_of_that_pool() {
    for pools in ["other: 10.0.0.0/24", "test2: 1.2.3.0/30", "test: 9.9.9.0/24; test2: 1.2.3.0/30", ""] {
        let mut world = World::start(START, &["s pool=test status=1.2.3.0 from=test"]);
        world.settle();
        world.set_pools(pools);
        world.settle();
        assert_eq!(world.shows("s"), "1.2.3.0 test", "{pools}");
        let mut restarted = world.restart(pools);
        restarted.settle();
        assert_eq!(restarted.shows("s"), "1.2.3.0 test", "{pools}, restarted");
    }
}

#[test]
fn the_counters_follow_the_pools() {
    let mut world = World::start(START, &SERVICES);
    let usage = &world.allocator.usage()["test"];
    assert_eq!((usage.assigned_ipv4(), usage.available_ipv4()), (1, 3));
    assert_eq!((usage.assigned_ipv6(), usage.available_ipv6()), (1, 3));
    world.set_pools("test: 1.2.3.0/30, 1000::/64 buggy");
    let usage = &world.allocator.usage()["test"];
    assert_eq!(
        (usage.assigned_ipv4(), usage.available_ipv4()),
        (1, 3),
        "the kept .0 takes none of the other three"
    );
    assert_eq!((usage.assigned_ipv6(), usage.capacity_ipv6), (1, i64::MAX));
    world.allocator.release(&key("s1"));
    assert_eq!(world.allocator.usage()["test"].assigned_ipv4(), 0);
}

#[test]
fn without_any_pool_a_request_is_refused_for_one_reason_before_and_after_a_restart() {
    let mut world = World::start("one: 10.0.0.0-10.0.0.5, fd00::/126", &["s0", "s1 ask=10.0.0.0"]);
    world.settle();
    assert_eq!(world.shows("s0"), "10.0.0.0 one");
    assert_eq!(world.shows("s1"), "-");
    world.set_pools("");
    world.put("s0 v6");
    world.settle();
    let mut world = world.restart("");
    assert_eq!(world.step("s1").write, None, "nothing about it has changed");
}
