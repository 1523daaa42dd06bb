//! What is told, in MetalLB's words, and that it is told once.

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
        ("s ask=10.9.0.1", "[\"10.9.0.1\"] is not allowed in config"),
        ("s pool=nowhere", "unknown pool \"nowhere\""),
        ("s pool=one", "no available IPs in pool one"),
        ("s v4+v6 require pool=two", "no available IPs in pool two for dual IPFamily"),
        (
            "s ask=10.2.0.0 pool=one",
            "requested loadBalancer IP(s) [\"10.2.0.0\"] is not compatible with requested address pool one",
        ),
        (
            "s ask=fd00:1::",
            "requested loadBalancer IP(s) [\"fd00:1::\"] does not match the ipFamily of the service: no IPv4 address is \
             requested, but the service has that family",
        ),
        ("s ask=10.1.0.0", "can't change sharing key for \"default/s\", address also in use by default/a"),
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
    let twice = "s LoadBalancerFailed: service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP";
    check(&[], "s ask=10.1.0.0 spec=10.1.0.0", &[twice]);
    check(&[], "s ask=ten", &["s LoadBalancerFailed: invalid requested loadBalancer IP \"ten\""]);
    let same =
        "s LoadBalancerFailed: requested loadBalancer IP(s) [\"10.1.0.0\" \"10.2.0.0\"] has the same family";
    check(&[], "s ask=10.1.0.0,10.2.0.0", &[same]);
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
            "s AdditionalAssignFailed: Failed to assign an additional IP to \"default/s\": no available IPs in pool two",
        ],
    );
}
