//! What is told, in MetalLB's words, and that it is told once.

use serde_json::json;

use super::world::World;

const POOLS: &str = "one: 10.1.0.0/32, fd00:1::/128; two: 10.2.0.0/32";

fn check(services: &[&str], last: &str, expected: &[&str]) {
    let mut world = World::start(POOLS, services);
    world.settle();
    world.put(last);
    assert_eq!(world.settle(), expected, "{last}");
    assert!(world.settle().is_empty(), "told once: {last}");
}

#[test]
fn every_no_is_told_once_in_metallbs_words() {
    let failed = |why: &str| format!("s AllocationFailed: Failed to allocate IP for \"default/s\": {why}");
    for (service, why) in [
        ("s ask=10.9.0.1", "[\"10.9.0.1\"] is not allowed in config: no IPAddressPool in force contains it"),
        (
            "s pool=nowhere",
            "unknown pool \"nowhere\": metallb.io/address-pool must name an IPAddressPool in force, such as one, two",
        ),
        ("s pool=one", "no available IPs in pool one: it is full (1 of 1 IPv4 addresses in use)"),
        (
            "s v4+v6 require pool=two",
            "no available IPs in pool two for dual IPFamily: it has no IPv6 addresses",
        ),
        (
            "s ask=10.2.0.0 pool=one",
            "requested loadBalancer IP(s) [\"10.2.0.0\"] is not compatible with requested address pool one: they lie \
             in another pool; ask for addresses of one, or leave metallb.io/address-pool out",
        ),
        (
            "s ask=fd00:1::",
            "requested loadBalancer IP(s) [\"fd00:1::\"] does not match the ipFamily of the service: no IPv4 address is \
             requested, but the service has that family; metallb.io/loadBalancerIPs must name one IPv4 address",
        ),
        (
            "s ask=10.1.0.0",
            "can't change sharing key for \"default/s\", address also in use by default/a: 10.1.0.0 is shared only under \
             one value of metallb.io/allow-shared-ip and one externalTrafficPolicy (with Local, one selector)",
        ),
    ] {
        check(&["a"], service, &[&failed(why)]);
    }
    check(
        &["a", "b"],
        "s",
        &[&failed(
            "no available IPs: pool one is full (1 of 1 IPv4 addresses in use), pool two is full (1 of 1 IPv4 addresses in \
         use)",
        )],
    );
}

#[test]
fn unreadable_wishes_have_their_own_reason() {
    let failed = |why: &str| format!("s LoadBalancerFailed: {why}");
    let advice = "metallb.io/loadBalancerIPs takes one address, such as 10.0.4.20, or one of each family, such as \
                  10.0.4.20,fd00::20";
    for (service, why) in [
        (
            "s ask=10.1.0.0 spec=10.1.0.0",
            "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP: remove one of them"
                .to_owned(),
        ),
        ("s ask=ten", format!("invalid requested loadBalancer IP \"ten\": {advice}")),
        ("s ask=10.1.0.0,", format!("invalid requested loadBalancer IP \"\": {advice}")),
        ("s ask=10.1.0.0/32", format!("invalid requested loadBalancer IP \"10.1.0.0/32\": {advice}")),
        ("s ask=10.1.0.0-10.1.0.3", format!("invalid requested loadBalancer IP \"10.1.0.0-10.1.0.3\": {advice}")),
        (
            "s spec=ten",
            "invalid requested loadBalancer IP \"ten\": spec.loadBalancerIP takes one address, such as 10.0.4.20"
                .to_owned(),
        ),
        (
            "s ask=10.1.0.0,10.2.0.0",
            format!("requested loadBalancer IP(s) [\"10.1.0.0\" \"10.2.0.0\"] has the same family: {advice}"),
        ),
        (
            "s ask=10.1.0.0,10.2.0.0,fd00::1",
            format!(
                "more than two addresses requested: [\"10.1.0.0\" \"10.2.0.0\" \"fd00::1\"]: {advice}"
            ),
        ),
    ] {
        check(&[], service, &[&failed(&why)]);
        // The Service keeps what it had.
        check(&["s"], service, &[&failed(&why)]);
    }
    let few =
        "s NotEnoughClusterIPs: not enough clusterips: RequireDualStack needs one clusterIP of each family";
    check(&[], "s require", &[few]);
}

#[test]
fn given_moved_and_deprecated_are_told() {
    check(&[], "s", &["s IPAllocated: Assigned IP [\"10.1.0.0\"]"]);
    check(&[], "s v4+v6 require", &["s IPAllocated: Assigned IP [\"10.1.0.0\" \"fd00:1::\"]"]);
    check(
        &["s"],
        "s pool=two",
        &[
            "s ClearAssignment: Released IP [\"10.1.0.0\"]: the service asks for pool two",
            "s IPAllocated: Assigned IP [\"10.2.0.0\"]",
        ],
    );
    check(
        &[],
        "s oldpool=two",
        &[
            "s IPAllocated: Assigned IP [\"10.2.0.0\"]",
            "s deprecatedAnnotation: annotations with the prefix metallb.universe.tf/ are deprecated, use metallb.io/",
        ],
    );
    check(
        &["s pool=two"],
        "s v4+v6 prefer pool=two",
        &[
            "s AdditionalAssignFailed: Failed to assign an additional IP to \"default/s\": no available IPs in pool two: it has \
             no IPv6 addresses",
        ],
    );
}

#[test]
fn what_a_rival_wrote_is_replaced_and_not_released() {
    let mut world = World::start(POOLS, &["s"]);
    world.settle();
    let replaced = "s IPAllocated: Assigned IP [\"10.1.0.0\"] in place of [\"10.0.3.254\"], which this controller did not \
                    give: [\"10.0.3.254\"] is not allowed in config: no IPAddressPool in force contains it";
    world.overwrite_status("s", json!([{"ip": "10.0.3.254"}]));
    assert_eq!(world.settle(), [replaced]);
    assert!(world.settle().is_empty(), "told once");
    world.overwrite_status("s", json!([{"ip": "10.0.3.254"}]));
    let mut world = world.restart(POOLS);
    assert_eq!(world.settle(), [replaced], "the next leader sees it the same way");
    let mut world = World::start(POOLS, &["a", "b", "s foreign=k3s status=10.0.3.254"]);
    let told = world.settle();
    let released = "s ClearAssignment: Released IP [\"10.0.3.254\"], which this controller did not give: ";
    assert!(told.iter().any(|one| one.starts_with(released)), "{told:?}");
}

#[test]
fn a_restart_tells_nothing_again() {
    let services = ["a", "s ask=10.9.0.1", "k status=10.8.0.1 from=gone", "t ask=ten"];
    let mut world = World::start(POOLS, &services);
    let told = world.settle();
    assert_eq!(told.len(), 4, "{told:?}");
    let mut world = world.restart(POOLS);
    let told = world.settle();
    assert!(told.is_empty(), "{told:?}");
}
