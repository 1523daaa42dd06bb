//! What a pool says about its own addresses: excluded, reserved, skipped, disabled, spread; and policy Renumber.

use api::v1beta1::EditPolicy;

use super::world::World;
use crate::alloc::Terms;

fn check(pools: &str, services: &[&str], expected: &[&str]) {
    let mut world = World::start(pools, services);
    let told = world.settle();
    let shown: Vec<String> =
        services.iter().map(|service| world.shows(service.split(' ').next().unwrap())).collect();
    assert_eq!(shown, expected, "{pools}: {told:#?}");
    for name in world.names() {
        assert_eq!(world.step(&name).write, None, "{pools}: {name} is settled");
    }
    let mut world = world.restart(pools);
    for name in world.names() {
        assert_eq!(world.step(&name).write, None, "{pools}: {name} after a restart");
    }
}

#[test]
fn excluded_addresses_are_not_given() {
    let pool = "one: 10.1.0.0/29 excl=10.1.0.0/31+10.1.0.3+10.1.0.5-10.1.0.7";
    check(pool, &["a", "b", "c"], &["10.1.0.2 one", "10.1.0.4 one", "-"]);
    check(pool, &["a ask=10.1.0.3"], &["-"]);
    check(pool, &["a status=10.1.0.3 from=one"], &["10.1.0.3 one"]);
}

#[test]
fn a_reserved_address_waits_for_its_service() {
    let pool = "one: 10.1.0.0/30 rsv=10.1.0.0@web";
    check(pool, &["a", "web", "b"], &["10.1.0.1 one", "10.1.0.0 one", "10.1.0.2 one"]);
    check(pool, &["a ask=10.1.0.0"], &["-"]);
    check("one: 10.1.0.0/32 rsv=10.1.0.0@web", &["a", "web"], &["-", "10.1.0.0 one"]);
    check(&format!("{pool} auto=no; two: 10.2.0.0/30"), &["web"], &["10.1.0.0 one"]);
    check(pool, &["a status=10.1.0.0 from=one", "web"], &["10.1.0.0 one", "10.1.0.1 one"]);
    let mut world = World::start(pool, &["web"]);
    world.settle();
    world.delete("web");
    world.wait(3600);
    world.put("a");
    world.put("web uid=second");
    world.settle();
    assert_eq!([world.shows("a"), world.shows("web")], ["10.1.0.1 one", "10.1.0.0 one"]);
}

#[test]
fn network_and_broadcast_addresses_are_skipped_on_demand() {
    let pool = "one: 10.1.0.0/30, 10.1.1.0-10.1.1.1, 10.1.2.0/31, fd00:1::/126 edges";
    let services = ["a", "b", "c", "d", "e", "f", "g", "x v6"];
    let given = ["10.1.0.1", "10.1.0.2", "10.1.1.0", "10.1.1.1", "10.1.2.0", "10.1.2.1"];
    let mut expected: Vec<String> = given.iter().map(|address| format!("{address} one")).collect();
    expected.extend(["-".to_owned(), "fd00:1::1 one".to_owned()]);
    check(pool, &services, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    check(pool, &["a status=10.1.0.0 from=one"], &["10.1.0.0 one"]);
}

#[test]
fn a_disabled_pool_gives_nothing_and_takes_nothing() {
    let pools = "one: 10.1.0.0/30 off; two: 10.2.0.0/30";
    check(pools, &["a status=10.1.0.1 from=one", "b"], &["10.1.0.1 one", "10.2.0.0 two"]);
    check(pools, &["a pool=one", "b ask=10.1.0.2"], &["-", "-"]);
}

#[test]
fn spread_places_follow_from_names_and_fill_the_whole_pool() {
    let pool = "one: 10.1.0.0/30, 10.2.0.0/30 select=Spread";
    let names: Vec<String> = (0..8).map(|number| format!("s{number}")).collect();
    let services: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::start(pool, &services);
    world.settle();
    let given: std::collections::BTreeSet<String> = names.iter().map(|name| world.shows(name)).collect();
    assert_eq!(given.len(), 8, "{given:?}");
    assert!(!given.contains("-"));
    let alone = |name: &str| {
        let mut world = World::start("one: 10.0.0.0/8 select=Spread", &[name]);
        world.settle();
        world.shows(name)
    };
    assert_eq!(alone("web"), alone("web"));
    assert_ne!(alone("web"), alone("mail"));
}

#[test]
fn a_pending_service_is_told_what_stands_in_the_way() {
    for (pools, service, expected) in [
        ("one: 10.1.0.0/32", "s", "no available IPs: pool one is full (1 of 1 IPv4 addresses in use)"),
        ("one: fd00::/126", "s", "no available IPs: pool one has no IPv4 addresses"),
        ("one: 10.1.0.0/30 off", "s", "no available IPs: pool one is disabled"),
        ("one: 10.1.0.0/30 auto=no", "s", "no available IPs: pool one is given on request only (autoAssign)"),
        (
            "one: 10.1.0.0/30 ns=x",
            "s",
            "no available IPs: pool one is for other services (serviceAllocation)",
        ),
        (
            "one: 10.1.0.0/31 rsv=10.1.0.1@web",
            "s",
            "no available IPs: pool one has only IPv4 addresses left that are reserved (1 of 2 in use, 1 reserved)",
        ),
        ("one: 10.1.0.0/30 off", "s pool=one", "pool one is disabled: it gives no new address"),
        (
            "one: 10.1.0.0/30 excl=10.1.0.2",
            "s ask=10.1.0.2",
            "[\"10.1.0.2\"] is not allowed in config: pool one excludes it",
        ),
        (
            "one: 10.1.0.0/30 rsv=10.1.0.2@web",
            "s ask=10.1.0.2",
            "[\"10.1.0.2\"] is not allowed in config: pool one reserves it for default/web",
        ),
    ] {
        let mut world = World::start(pools, &["first status=10.1.0.0 from=one", service]);
        world.settle();
        assert_eq!(world.message("s"), expected, "{pools}: {service}");
    }
}

const START: &str = "test: 1.2.3.0/30, 1000::/126";
const SERVICES: [&str; 2] = ["s1 status=1.2.3.0 from=test", "s2 v6 status=1000:: from=test"];

/// Expected: the pool that the old address is in, or what the Service shows instead.
fn renumber(pools: &str, s1: &str, s2: &str) {
    let terms = Terms { edit_policy: EditPolicy::Renumber, ..Terms::default() };
    let mut running = World::start_with(terms, START, &SERVICES);
    running.settle();
    running.set_pools(pools);
    let mut restarted = World::start_with(terms, pools, &SERVICES);
    let own_policy: Vec<String> = pools
        .split(';')
        .filter(|pool| !pool.is_empty())
        .map(|pool| format!("{pool} policy=Renumber"))
        .collect();
    let mut by_pool = World::start(&own_policy.join(";"), &SERVICES);
    let worlds = if own_policy.is_empty() { vec![] } else { vec![&mut by_pool] };
    for world in [&mut running, &mut restarted].into_iter().chain(worlds) {
        let told = world.settle();
        for (name, address, expected) in [("s1", "1.2.3.0", s1), ("s2", "1000::", s2)] {
            let expected = match expected {
                pool if pool.starts_with("test") => format!("{address} {pool}"),
                other => other.to_owned(),
            };
            assert_eq!(world.shows(name), expected, "{pools}: {told:?}");
        }
    }
}

#[test]
fn policy_renumber_does_what_metallb_does() {
    renumber(START, "test", "test");
    renumber("test: 1.2.3.0/24, 1000::/120", "test", "test");
    renumber("test: 1.2.3.2/31, 1000::/126", "1.2.3.2 test", "test");
    renumber("test: 1.2.3.0/30, 1000::2/127", "test", "1000::2 test");
    renumber("test2: 1.2.3.0/30, 1000::/126", "test2", "test2");
    renumber("test: 1.2.3.0/31, 1000::2/127; test2: 1.2.3.2/31, 1000::/127", "test", "test2");
    renumber("test2: 1.2.3.0/31, 1000::/127 buggy", "1.2.3.1 test2", "test2");
    renumber("", "-", "-");
    renumber("test: 1.2.3.0/30, 1000::/126 ns=elsewhere", "-", "-");
    renumber("test: 1.2.3.0/30, 1000::/126 excl=1.2.3.0/31", "1.2.3.2 test", "test");
    renumber("test: 1.2.3.0/30, 1000::/126 off", "test", "test");
}
