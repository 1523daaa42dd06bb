//! `Config::build` on small sets of objects: what is accepted, what is rejected in which words, what stays in force.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::community::CommunityValue;
use crate::selector::Labels;
use crate::v1beta1::{
    BFDProfileSpec, BGPAdvertisementSpec, CommunityAlias, CommunitySpec, IPAddressPoolSpec,
    L2AdvertisementSpec,
};
use crate::v1beta2::{BGPPeerSpec, SecretReference};

mod isolation;
mod peers;

/// Seconds since 1970 as a creation time.
fn at(seconds: i64) -> Option<Time> {
    Some(Time(Timestamp::from_second(seconds).expect("a time")))
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn labels(key: &str, value: &str) -> Labels {
    Labels::from([(key.to_owned(), value.to_owned())])
}

fn selecting(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(key, value)), match_expressions: None }
}

fn pool(name: &str, age: i64, addresses: &[&str]) -> IPAddressPool {
    let spec = IPAddressPoolSpec { addresses: texts(addresses), ..IPAddressPoolSpec::default() };
    let mut pool = IPAddressPool::new(name, spec);
    pool.metadata.creation_timestamp = at(age);
    pool
}

fn peer(name: &str, age: i64, change: impl FnOnce(&mut BGPPeerSpec)) -> BGPPeer {
    let mut spec = BGPPeerSpec {
        my_asn: 64500,
        peer_asn: Some(65530),
        peer_address: Some("10.0.2.1".to_owned()),
        ..BGPPeerSpec::default()
    };
    change(&mut spec);
    let mut peer = BGPPeer::new(name, spec);
    peer.metadata.creation_timestamp = at(age);
    peer
}

fn advertisement(name: &str, change: impl FnOnce(&mut BGPAdvertisementSpec)) -> BGPAdvertisement {
    let mut spec = BGPAdvertisementSpec::default();
    change(&mut spec);
    BGPAdvertisement::new(name, spec)
}

fn community(name: &str, age: i64, aliases: &[(&str, &str)]) -> Community {
    let alias =
        |(name, value): &(&str, &str)| CommunityAlias { name: (*name).into(), value: (*value).into() };
    let mut community =
        Community::new(name, CommunitySpec { communities: aliases.iter().map(alias).collect() });
    community.metadata.creation_timestamp = at(age);
    community
}

fn build(resources: &Resources) -> (Config, Vec<Rejection>) {
    Config::build(resources, &Config::default())
}

/// Rejections as `object (in force or not): text`.
fn said(rejections: &[Rejection]) -> Vec<String> {
    let line = |rejection: &Rejection| {
        let force = if rejection.in_force { "in force" } else { "out of force" };
        format!("{} ({force}): {}", rejection.object, rejection.reason)
    };
    rejections.iter().map(line).collect()
}

fn check_pool(addresses: &[&str], expected: &[&str]) {
    let resources = Resources { pools: vec![pool("p", 1, addresses)], ..Resources::default() };
    let texts: Vec<String> =
        build(&resources).1.iter().map(|rejection| rejection.reason.to_string()).collect();
    assert_eq!(texts, expected, "{addresses:?}");
}

#[test]
fn pools_are_judged_in_metallbs_words() {
    check_pool(&["10.0.4.0/24", "10.0.5.1-10.0.5.9", "fd00::/64"], &[]);
    check_pool(&[], &["pool has no prefixes defined; list at least one network or range under addresses"]);
    check_pool(
        &["10.0.4.0/33"],
        &[
            "invalid CIDR \"10.0.4.0/33\" in pool \"p\": write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99",
        ],
    );
    check_pool(
        &["10.0.4.9-10.0.4.1"],
        &[
            "invalid CIDR \"10.0.4.9-10.0.4.1\" in pool \"p\": invalid IP range \"10.0.4.9-10.0.4.1\": start IP \
           \"10.0.4.9\" is after the end IP \"10.0.4.1\"; swap them",
        ],
    );
    check_pool(
        &["10.0.4.0/24", "10.0.4.128-10.0.5.3"],
        &[
            "CIDR \"10.0.4.128-10.0.5.3\" in pool \"p\" overlaps with already defined CIDR \"10.0.4.0/24\" of pool \
           \"p\"; remove the addresses from one of them",
        ],
    );
}

#[test]
fn a_pool_admits_by_namespace_and_by_service() {
    let mut object = pool("p", 1, &["10.0.4.0/24"]);
    object.spec.service_allocation = Some(crate::v1beta1::ServiceAllocation {
        priority: Some(5),
        namespaces: texts(&["shop"]),
        namespace_selectors: vec![selecting("team", "a")],
        service_selectors: vec![selecting("app", "web")],
    });
    let (config, rejections) = build(&Resources { pools: vec![object], ..Resources::default() });
    assert_eq!(rejections, []);
    let pool = &config.pools["p"];
    let (none, web, team) = (Labels::new(), labels("app", "web"), labels("team", "a"));
    assert!(pool.admits("shop", &none, &web));
    assert!(pool.admits("other", &team, &web));
    assert!(!pool.admits("other", &none, &web), "selectors that match no namespace admit nobody");
    assert!(!pool.admits("shop", &none, &none));
}

#[test]
fn buggy_addresses_end_in_0_or_255_and_are_ipv4() {
    let mut object = pool("p", 1, &["10.0.4.0/23"]);
    object.spec.avoid_buggy_ips = true;
    let (config, _) = build(&Resources { pools: vec![object], ..Resources::default() });
    let hands_out = |ip: &str| config.pools["p"].hands_out(ip.parse().expect("an address"));
    assert_eq!(
        ["10.0.4.0", "10.0.4.1", "10.0.4.255", "10.0.5.0", "fd00::"].map(hands_out),
        [false, true, false, false, true]
    );
}

fn check_advertisement(change: impl FnOnce(&mut BGPAdvertisementSpec), expected: &[&str]) {
    let resources = Resources {
        pools: vec![pool("wide", 1, &["10.0.4.0/23"]), pool("six", 1, &["fd00::/64"])],
        advertisements: vec![advertisement("a", change)],
        communities: vec![community("names", 1, &[("vpn", "64500:7")])],
        ..Resources::default()
    };
    assert_eq!(said(&build(&resources).1), expected);
}

#[test]
fn advertisements_are_judged_alone_and_against_pools() {
    check_advertisement(|_| {}, &[]);
    check_advertisement(|spec| spec.communities = texts(&["vpn", "64500:7", "large:1:2:3"]), &[]);
    check_advertisement(
        |spec| spec.aggregation_length = Some(33),
        &["BGPAdvertisement a (out of force): invalid aggregationLength 33: must be between 1 and 32"],
    );
    check_advertisement(
        |spec| spec.aggregation_length = Some(22),
        &[
            "BGPAdvertisement a (in force): aggregationLength 22 is shorter than \"10.0.4.0/23\" in pool \"wide\": the \
           announced network would reach outside the pool; use 23 or more. The pool is not announced by this object",
        ],
    );
    check_advertisement(
        |spec| {
            spec.aggregation_length_v6 = Some(64);
            spec.service_selectors = vec![LabelSelector::default()];
        },
        &[
            "BGPAdvertisement a (out of force): serviceSelectors cannot be combined with aggregationLength below 32 or \
           aggregationLengthV6 below 128, because a network carries other Services too; remove one of them",
        ],
    );
    check_advertisement(
        |spec| spec.communities = texts(&["70000:1"]),
        &[
            "BGPAdvertisement a (out of force): invalid community \"70000:1\": write 64500:100 (two numbers up to 65535) \
           or large:64500:1:2 (three up to 4294967295)",
        ],
    );
    check_advertisement(
        |spec| spec.communities = texts(&["lan"]),
        &[
            "BGPAdvertisement a (out of force): community \"lan\" is not defined; write a value like 64500:100, or \
           define the name in a Community object",
        ],
    );
    check_advertisement(
        |spec| spec.ip_address_pools = texts(&["wide", "six", "wide"]),
        &["BGPAdvertisement a (out of force): duplicate definition of pool \"wide\"; remove one of them"],
    );
}

#[test]
fn an_advertisement_announces_the_pools_that_fit() {
    let resources = Resources {
        pools: vec![pool("narrow", 1, &["10.0.9.0/28"]), pool("wide", 1, &["10.0.4.0/23"])],
        advertisements: vec![advertisement("a", |spec| spec.aggregation_length = Some(24))],
        ..Resources::default()
    };
    let (config, _) = build(&resources);
    let selects = |pool: &str| config.advertisements["a"].selects_pool(&config.pools[pool]);
    assert!(selects("wide"));
    assert!(!selects("narrow"));
}

#[test]
fn names_labels_and_nothing_select_pools() {
    let mut labelled = pool("labelled", 1, &["10.0.4.0/24"]);
    labelled.metadata.labels = Some(labels("tier", "gold"));
    let resources = Resources {
        pools: vec![labelled, pool("plain", 1, &["10.0.5.0/24"])],
        advertisements: vec![
            advertisement("all", |_| {}),
            advertisement("by-label", |spec| {
                spec.ip_address_pool_selectors = vec![selecting("tier", "gold")]
            }),
            advertisement("by-name", |spec| spec.ip_address_pools = texts(&["plain", "unknown"])),
        ],
        ..Resources::default()
    };
    let (config, rejections) = build(&resources);
    assert_eq!(rejections, []);
    let table: Vec<(&str, bool, bool, bool)> = config
        .advertisements
        .values()
        .map(|ad| {
            let selects = |pool: &str| ad.selects_pool(&config.pools[pool]);
            (ad.name.as_str(), selects("labelled"), selects("plain"), ad.selects_pool_name("gone"))
        })
        .collect();
    assert_eq!(
        table,
        [("all", true, true, true), ("by-label", true, false, false), ("by-name", false, true, false)]
    );
}

#[test]
fn the_older_definition_of_a_community_name_wins() {
    let resources = Resources {
        communities: vec![
            community("younger", 2, &[("vpn", "64500:2"), ("own", "64500:3")]),
            community("older", 1, &[("vpn", "64500:1")]),
        ],
        advertisements: vec![advertisement("a", |spec| spec.communities = texts(&["vpn", "own"]))],
        ..Resources::default()
    };
    let (config, rejections) = build(&resources);
    assert_eq!(
        said(&rejections),
        [
            "Community younger (in force): duplicate definition of community \"vpn\": Community older defines it and \
          stays in force"
        ]
    );
    let value = |low: u32| CommunityValue::Standard(64500 << 16 | low);
    assert_eq!(config.advertisements["a"].communities, [value(1), value(3)]);
}

#[test]
fn what_is_accepted_and_does_nothing_is_noticed() {
    let resources = Resources {
        l2_advertisements: vec![L2Advertisement::new("l2", L2AdvertisementSpec::default())],
        bfd_profiles: vec![
            BFDProfile::new(
                "fast",
                BFDProfileSpec { transmit_interval: Some(50), ..BFDProfileSpec::default() },
            ),
            BFDProfile::new("echo", BFDProfileSpec { echo_mode: Some(true), ..BFDProfileSpec::default() }),
        ],
        peers: vec![peer("router", 1, |spec| {
            spec.bfd_profile = Some("fast".to_owned());
            spec.disable_mp = Some(true);
            spec.ebgp_multi_hop = Some(true);
            spec.hold_time = Some("0s".to_owned());
            spec.password = Some("guess".to_owned());
        })],
        ..Resources::default()
    };
    let (config, rejections) = build(&resources);
    assert_eq!(rejections, []);
    let notices: Vec<String> =
        config.notices.iter().map(|(object, notice)| format!("{object}: {}", notice.word())).collect();
    assert_eq!(
        notices,
        [
            "BGPPeer router: DisableMPIgnored",
            "BGPPeer router: EBGPMultiHopIgnored",
            "BGPPeer router: HoldTimeOff",
            "BGPPeer router: PasswordInObject",
            "BFDProfile echo: BFDEchoNotOffered",
            "BFDProfile fast: BFDIntervalShort",
            "L2Advertisement l2: L2NotImplemented",
        ]
    );
}

#[test]
fn every_object_reference_names_its_kind() {
    let names: Vec<String> = Kind::ALL.iter().map(|kind| ObjectRef::new(*kind, "x").to_string()).collect();
    assert_eq!(
        names,
        [
            "IPAddressPool x",
            "BGPPeer x",
            "BGPAdvertisement x",
            "Community x",
            "BFDProfile x",
            "L2Advertisement x"
        ]
    );
}

proptest! {
    #[test]
    fn the_order_of_objects_does_not_matter(order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let pools = [
            pool("a", 3, &["10.0.4.0/24"]),
            pool("b", 1, &["10.0.4.0/23"]),
            pool("c", 2, &["10.0.5.0/24"]),
            pool("d", 2, &["10.0.7.0/24"]),
            pool("e", 2, &["10.0.6.0/23"]),
            pool("f", 4, &["ten"]),
        ];
        let sorted = Resources { pools: pools.to_vec(), ..Resources::default() };
        let shuffled = Resources {
            pools: order.iter().map(|index| pools[*index].clone()).collect(),
            ..Resources::default()
        };
        prop_assert_eq!(build(&shuffled), build(&sorted));
    }

    #[test]
    fn pools_in_force_never_overlap(edges in proptest::collection::vec((0..200_u8, 0..40_u8), 1..8)) {
        let pools = edges.iter().enumerate().map(|(index, (first, more))| {
            let range = format!("10.0.0.{first}-10.0.0.{}", first.saturating_add(*more));
            pool(&format!("p{index}"), i64::try_from(index % 3).expect("small"), &[range.as_str()])
        });
        let (config, _) = build(&Resources { pools: pools.collect(), ..Resources::default() });
        for last in 0..=255_u8 {
            let ip = IpAddr::from([10, 0, 0, last]);
            prop_assert!(config.pools.values().filter(|pool| pool.contains(ip)).count() <= 1);
        }
    }
}

fn secret(name: &str) -> Option<SecretReference> {
    Some(SecretReference { name: Some(name.to_owned()), namespace: None })
}

#[test]
fn the_extensions_of_a_pool_are_checked_and_kept_apart() {
    let build = |spec: serde_json::Value| {
        let object = serde_json::json!({"metadata": {"name": "p"}, "spec": spec});
        let pools = vec![serde_json::from_value(object).expect("a pool")];
        Config::build(&Resources { pools, ..Resources::default() }, &Config::default())
    };
    let (config, rejections) = build(serde_json::json!({
        "addresses": ["10.0.4.0/24", "10.0.5.0/31", "fd00::/64"], "skipNetworkAndBroadcast": true,
        "excluded": ["10.0.4.7", "10.0.4.16/28", "10.0.4.100 - 10.0.4.110"],
        "reserved": [{"address": "10.0.4.20", "namespace": "shop", "service": "web"}],
        "releaseQuarantine": "5m", "editPolicy": "Renumber", "selection": "Spread", "disabled": true,
    }));
    assert!(rejections.is_empty(), "{rejections:?}");
    let pool = &config.pools["p"];
    let hands_out = |ip: &str| pool.hands_out(ip.parse().expect("an address"));
    for (address, expected) in [
        ("10.0.4.0", false),
        ("10.0.4.1", true),
        ("10.0.4.7", false),
        ("10.0.4.31", false),
        ("10.0.4.32", true),
        ("10.0.4.105", false),
        ("10.0.4.255", false),
        ("10.0.5.0", true),
        ("fd00::", false),
        ("fd00::1", true),
    ] {
        assert_eq!(hands_out(address), expected, "{address}");
    }
    assert_eq!(pool.release_quarantine, Some(std::time::Duration::from_secs(300)));
    for (field, value, expected) in [
        ("excluded", serde_json::json!(["printer"]), "invalid excluded \"printer\": write an address"),
        (
            "releaseQuarantine",
            serde_json::json!("soon"),
            "invalid releaseQuarantine \"soon\": write a duration",
        ),
        (
            "releaseQuarantine",
            serde_json::json!("25h"),
            "invalid releaseQuarantine \"25h\": write a duration",
        ),
        (
            "reserved",
            serde_json::json!([{"address": "10.0.4.0/28", "namespace": "a", "service": "b"}]),
            "invalid reserved.address \"10.0.4.0/28\": write one address",
        ),
        (
            "reserved",
            serde_json::json!([{"address": "10.0.4.1", "namespace": "a", "service": "b"},
                               {"address": "10.0.4.1", "namespace": "a", "service": "c"}]),
            "duplicate definition of reserved address \"10.0.4.1\"",
        ),
    ] {
        let mut spec = serde_json::json!({"addresses": ["10.0.4.0/24"]});
        spec[field] = value;
        let (_, rejections) = build(spec);
        let said: Vec<String> = rejections.iter().map(|rejection| rejection.reason.to_string()).collect();
        assert!(said.len() == 1 && said[0].starts_with(expected), "{said:?}");
    }
}

#[test]
fn pools_of_thousands_of_ranges_are_compared_by_neighbours() {
    let pool = |name: &str, shift: u32| {
        let range = |number: u32| {
            let first = std::net::Ipv4Addr::from(0x0a00_0000 + number * 8 + shift);
            format!("{first}/31")
        };
        let spec = IPAddressPoolSpec { addresses: (0..2000).map(range).collect(), ..Default::default() };
        IPAddressPool::new(name, spec)
    };
    let pools = vec![pool("a", 0), pool("b", 2), pool("c", 4), pool("d", 4)];
    let (config, rejections) =
        Config::build(&Resources { pools, ..Resources::default() }, &Config::default());
    assert_eq!(config.pools.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(rejections.len(), 1);
}
