//! Addresses that are already there when the controller starts, or that others write.

use serde_json::json;

use super::world::{World, key};

const POOLS: &str = "one: 10.1.0.0/30, fd00:1::/126";

#[test]
fn a_status_is_kept_replaced_or_cleared() {
    for (service, expected) in [
        ("s status=10.1.0.2 from=one", "10.1.0.2 one"),
        ("s status=10.1.0.2", "10.1.0.2 one"),
        ("s status=10.1.0.2 from=renamed", "10.1.0.2 one"),
        ("s status=10.9.9.9", "10.1.0.0 one"),
        ("s status=10.9.9.9 from=gone", "10.9.9.9 gone"),
        ("s status=10.9.9.9 from=gone foreign=k3s", "10.1.0.0 one"),
        ("s status=10.1.0.2 from=one foreign=k3s", "10.1.0.2 one"),
        ("s hostname=lb.example", "10.1.0.0 one"),
        ("s v6 status=10.1.0.2 from=one", "fd00:1:: one"),
        ("s headless status=10.1.0.2 from=one", "-"),
        ("s require status=10.1.0.2 from=one", "-"),
        ("s v4+v6 prefer status=10.1.0.2 from=one", "10.1.0.2 fd00:1:: one"),
        ("s v4+v6 require status=10.1.0.2 from=one", "10.1.0.2 fd00:1:: one"),
        ("s v4 status=10.1.0.2,fd00:1::2 from=one", "10.1.0.2 one"),
        ("s v6+v4 require status=10.1.0.2,fd00:1::2 from=one", "10.1.0.2 fd00:1::2 one"),
        ("s class=cloud status=10.1.0.2 from=one", "10.1.0.2 one"),
    ] {
        let mut world = World::start(POOLS, &[service]);
        let told = world.settle();
        assert_eq!(world.shows("s"), expected, "{service}: {told:?}");
    }
}

#[test]
fn existing_addresses_are_adopted_before_new_ones_are_given() {
    let mut world = World::start(POOLS, &["a", "b", "z status=10.1.0.0 from=one"]);
    world.settle();
    assert_eq!(world.shows("z"), "10.1.0.0 one");
    assert_eq!(world.shows("a"), "10.1.0.1 one");
    assert_eq!(world.shows("b"), "10.1.0.2 one");
}

#[test]
fn of_two_services_with_one_address_the_first_keeps_it() {
    let mut world = World::start(POOLS, &["a status=10.1.0.2 from=one", "b status=10.1.0.2 from=one"]);
    let told = world.settle();
    assert_eq!(world.shows("a"), "10.1.0.2 one");
    assert_eq!(world.shows("b"), "10.1.0.0 one");
    assert!(told.iter().any(|line| line.starts_with("b ClearAssignment: ")), "{told:?}");
    let conflict: Vec<&String> = told.iter().filter(|line| line.starts_with("b AddressConflict: ")).collect();
    assert_eq!(conflict.len(), 1, "{told:?}");
    assert!(conflict[0].contains("default/a"), "the winner is named: {conflict:?}");
    assert_eq!(world.condition("b"), "True AddressConflict");
    assert!(world.message("b").contains("default/a"), "{}", world.message("b"));
    let mut world = world.restart(POOLS);
    assert_eq!(world.step("b").write, None, "the word stays, and is not worth a write");
}

#[test]
fn without_any_pool_no_status_is_cleared() {
    let mut world = World::start("", &["a status=10.1.0.2", "b status=10.1.0.3 from=one", "c"]);
    let told = world.settle();
    assert_eq!(world.shows("a"), "10.1.0.2");
    assert_eq!(world.shows("b"), "10.1.0.3 one");
    assert_eq!(world.shows("c"), "-");
    assert!(told.iter().any(|line| line.contains("there is no IPAddressPool")), "{told:?}");
    world.set_pools(POOLS);
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.2 one");
}

#[test]
fn a_wiped_status_is_written_again_with_the_same_address() {
    let mut world = World::start(POOLS, &["a", "b"]);
    world.settle();
    world.overwrite_status("b", json!([]));
    world.settle();
    assert_eq!(world.shows("b"), "10.1.0.1 one");
}

#[test]
fn a_foreign_address_is_not_adopted_once_ours_was_given() {
    let mut world = World::start(POOLS, &["a"]);
    world.settle();
    world.overwrite_status("a", json!([{"ip": "192.168.0.7"}]));
    let step = world.step("a");
    assert_eq!(step.write.unwrap().ingress, ["10.1.0.0".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn an_address_of_a_pool_that_someone_wrote_by_hand_is_adopted() {
    let mut world = World::start(POOLS, &["a", "b"]);
    world.settle();
    world.overwrite_status("a", json!([{"ip": "10.1.0.3"}]));
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.3 one");
    world.overwrite_status("a", json!([{"ip": "10.1.0.1"}]));
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.3 one", "b has that one");
    assert_eq!(world.shows("b"), "10.1.0.1 one");
}

#[test]
fn a_failed_write_is_planned_again_with_the_same_address() {
    let mut world = World::start(POOLS, &["a", "b"]);
    let first = world.step_without_write("a");
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.0 one");
    assert_eq!(first.write.unwrap().ingress[0].to_string(), "10.1.0.0");
    world.put("a pool=one ask=10.1.0.3");
    let moved = world.step_without_write("a");
    let again = world.step_without_write("a");
    assert_eq!(moved.write, again.write);
    assert_eq!(moved.events, again.events, "the events of a write that failed are not lost");
}

#[test]
fn a_service_made_again_under_its_name_is_another_one() {
    let mut world = World::start(POOLS, &["a", "b"]);
    world.settle();
    world.delete("a");
    world.put("a uid=second");
    let step = world.step("a");
    assert!(step.write.is_some());
    assert_eq!(world.allocator.holding(&key("a")).unwrap().uid, "second");
}

#[test]
fn a_service_being_deleted_keeps_its_address_and_gets_no_new_one() {
    let mut world = World::start(POOLS, &["a deleting", "b deleting status=10.1.0.1 from=one"]);
    world.settle();
    assert_eq!(world.shows("a"), "-");
    assert_eq!(world.shows("b"), "10.1.0.1 one");
    assert!(world.allocator.holding(&key("b")).is_some());
}

#[test]
fn what_is_adopted_needs_no_write() {
    let services = ["a status=10.1.0.2 from=one", "b v4+v6 prefer status=fd00:1::1,10.1.0.1 from=one", "c"];
    let mut world = World::start(POOLS, &services);
    world.settle();
    let mut world = world.restart(POOLS);
    for name in world.names() {
        assert_eq!(world.step(&name).write, None, "{name}");
    }
}

#[test]
fn a_service_of_another_class_loses_only_what_is_ours() {
    let services = ["a class=cloud status=10.1.0.1 from=one", "b class=cloud status=10.1.0.2 from=one ours"];
    let mut world = World::start(POOLS, &services);
    let told = world.settle();
    assert_eq!(world.shows("a"), "10.1.0.1 one", "never touched");
    assert_eq!(world.shows("b"), "-", "given up once and reported");
    assert_eq!(
        told,
        ["b ClearAssignment: Released IP [\"10.1.0.2\"]: the service is no longer served by this controller"]
    );
    assert!(world.allocator.is_empty());
}

#[test]
fn a_foreign_status_is_not_adopted_after_a_restart() {
    let mut world = World::start(POOLS, &["a"]);
    world.settle();
    world.overwrite_status("a", json!([{"ip": "10.0.3.254"}]));
    let mut world = world.restart(POOLS);
    world.settle();
    assert_eq!(world.shows("a"), "10.1.0.0 one");
}

#[test]
fn a_service_that_changed_while_there_were_no_pools_is_judged_the_same_after_a_restart() {
    let pools = "one: 10.0.0.0-10.0.0.5, fd00::/126";
    let mut world = World::start(pools, &["a v4+v6 prefer"]);
    world.settle();
    let given = world.shows("a");
    world.set_pools("");
    world.put("a ask=10.0.0.3");
    world.settle();
    let mut world = world.restart("");
    assert_eq!((world.settle(), world.shows("a")), (vec![], given), "nothing to judge by");
    world.put("a v6");
    world.settle();
    assert_eq!(world.shows("a"), "fd00:: one", "the family that it still wants is its own");
    assert_eq!(world.restart("").step("a").write, None);
}

#[test]
fn a_contested_service_keeps_its_address_and_names_the_rival() {
    let mut world = World::start(POOLS, &["a", "b"]);
    world.settle();
    world.overwrite_status("a", json!([{"ip": "10.0.3.254"}]));
    let step = world.step_among("a", &["k3s".to_owned()]);
    let write = step.write.unwrap();
    assert!(write.yields, "the addresses are left to the rival");
    let remark = write.remark.unwrap();
    assert_eq!((remark.holds, remark.reason), (false, "ForeignLoadBalancerStatus"));
    assert!(remark.message.starts_with("k3s writes"), "{}", remark.message);
    assert_eq!(world.allocator.holding(&key("a")).unwrap().addresses[0].to_string(), "10.1.0.0");
    let again = world.step("a").write.unwrap();
    assert!(!again.yields);
    assert_eq!(again.remark, None);
    assert_eq!(world.shows("a"), "10.1.0.0 one", "the same address once the rival is tried again");
}

#[test]
fn a_condition_is_there_only_while_something_is_to_be_said() {
    let mut world = World::start("one: 10.1.0.0/32", &["a", "b", "c status=10.9.9.9 from=gone"]);
    world.settle();
    assert_eq!(world.condition("a"), "");
    assert_eq!(world.condition("b"), "False Exhausted");
    assert_eq!(world.condition("c"), "True AddressOutsidePool");
    assert_eq!(world.step("b").write, None, "said once");
    world.set_pools("one: 10.1.0.0/31, 10.9.9.0/24");
    world.settle();
    assert_eq!(["a", "b", "c"].map(|name| world.condition(name)), ["", "", ""]);
}
