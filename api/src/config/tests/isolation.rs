//! A bad object is rejected alone, and its last good version stays in force as far as that agrees with the others.

use super::*;

/// Builds the second set of objects on top of the first one.
fn edit(before: &Resources, after: &Resources) -> (Config, Vec<Rejection>) {
    Config::build(after, &build(before).0)
}

fn pools(list: &[IPAddressPool]) -> Resources {
    Resources { pools: list.to_vec(), ..Resources::default() }
}

fn in_force(config: &Config) -> Vec<String> {
    let line = |pool: &Pool| {
        let ranges: Vec<String> = pool.ranges.iter().map(ToString::to_string).collect();
        format!("{} {}", pool.name, ranges.join(" "))
    };
    config.pools.values().map(line).collect()
}

#[test]
fn a_bad_edit_leaves_the_last_good_version_in_force() {
    let before = pools(&[pool("a", 1, &["10.0.4.0/24"]), pool("b", 2, &["10.0.5.0/24"])]);
    let after = pools(&[pool("a", 1, &["10.0.4.0/99"]), pool("b", 2, &["10.0.6.0/24"])]);
    let (config, rejections) = edit(&before, &after);
    assert_eq!(in_force(&config), ["a 10.0.4.0/24", "b 10.0.6.0/24"]);
    assert_eq!(rejections.iter().map(|rejection| rejection.in_force).collect::<Vec<_>>(), [true]);
}

#[test]
fn a_bad_object_that_was_never_good_is_rejected_alone() {
    let (config, rejections) = build(&pools(&[pool("a", 1, &["ten"]), pool("b", 2, &["10.0.6.0/24"])]));
    assert_eq!(in_force(&config), ["b 10.0.6.0/24"]);
    assert_eq!(rejections.iter().map(|rejection| rejection.in_force).collect::<Vec<_>>(), [false]);
}

#[test]
fn a_deleted_object_is_gone_at_once() {
    let (config, rejections) = edit(&pools(&[pool("a", 1, &["10.0.4.0/24"])]), &pools(&[]));
    assert_eq!(in_force(&config), Vec::<String>::new());
    assert_eq!(rejections, []);
}

#[test]
fn of_two_pools_that_overlap_the_older_wins_and_then_the_name() {
    let (config, rejections) = build(&pools(&[
        pool("young", 2, &["10.0.4.0/24"]),
        pool("old", 1, &["10.0.4.128-10.0.5.3"]),
        pool("twin-b", 3, &["10.0.9.0/24"]),
        pool("twin-a", 3, &["10.0.9.0/24"]),
    ]));
    assert_eq!(in_force(&config), ["old 10.0.4.128-10.0.5.3", "twin-a 10.0.9.0/24"]);
    assert_eq!(
        said(&rejections),
        [
            "IPAddressPool twin-b (out of force): CIDR \"10.0.9.0/24\" in pool \"twin-b\" overlaps with already \
             defined CIDR \"10.0.9.0/24\" of pool \"twin-a\"; remove the addresses from one of them",
            "IPAddressPool young (out of force): CIDR \"10.0.4.0/24\" in pool \"young\" overlaps with already defined \
             CIDR \"10.0.4.128-10.0.5.3\" of pool \"old\"; remove the addresses from one of them",
        ]
    );
}

#[test]
fn a_younger_pool_that_grows_into_an_older_one_keeps_its_old_size() {
    let before = pools(&[pool("old", 1, &["10.0.4.0/24"]), pool("young", 2, &["10.0.5.0/24"])]);
    let after = pools(&[pool("old", 1, &["10.0.4.0/24"]), pool("young", 2, &["10.0.4.0/23"])]);
    let (config, rejections) = edit(&before, &after);
    assert_eq!(in_force(&config), ["old 10.0.4.0/24", "young 10.0.5.0/24"]);
    assert!(rejections.iter().all(|rejection| rejection.in_force));
}

#[test]
fn an_advertisement_outlives_the_community_name_that_it_uses() {
    let with = |communities: Vec<Community>| Resources {
        pools: vec![pool("a", 1, &["10.0.4.0/24"])],
        advertisements: vec![advertisement("ad", |spec| spec.communities = texts(&["vpn"]))],
        communities,
        ..Resources::default()
    };
    let before = with(vec![community("names", 1, &[("vpn", "64500:7")])]);
    let (config, rejections) = edit(&before, &with(Vec::new()));
    assert_eq!(config.advertisements["ad"].communities, [CommunityValue::Standard(64500 << 16 | 7)]);
    assert_eq!(config.advertisements["ad"].withheld, None);
    assert!(rejections.iter().all(|rejection| rejection.in_force));

    let (fresh, rejections) = build(&with(Vec::new()));
    let refusal = AdvertisementRefusal::UnknownCommunity { alias: "vpn".to_owned() };
    assert_eq!(fresh.advertisements["ad"].withheld, Some(refusal));
    assert!(rejections.iter().all(|rejection| !rejection.in_force));
}

#[test]
fn a_broken_community_name_keeps_its_last_good_value() {
    let with = |value: &str| Resources {
        communities: vec![community("names", 1, &[("vpn", value), ("lan", "64500:8")])],
        ..Resources::default()
    };
    let (config, rejections) = edit(&with("64500:7"), &with("many"));
    assert_eq!(config.aliases["names"].get("vpn"), Some(&CommunityValue::Standard(64500 << 16 | 7)));
    assert_eq!(config.aliases["names"].len(), 2);
    assert_eq!(rejections.len(), 1);
}

#[test]
fn a_peer_with_a_bad_edit_goes_on_as_before() {
    let with = |address: &str| Resources {
        peers: vec![peer("router", 1, |spec| spec.peer_address = Some(address.to_owned()))],
        ..Resources::default()
    };
    let (config, rejections) = edit(&with("10.0.2.1"), &with("10.0.2"));
    assert_eq!(config.peers["router"].router.to_string(), "10.0.2.1");
    assert!(rejections.iter().all(|rejection| rejection.in_force));
}

#[test]
fn a_profile_that_disappears_takes_its_peer_down() {
    let with = |bfd_profiles: Vec<BFDProfile>| Resources {
        peers: vec![peer("router", 1, |spec| spec.bfd_profile = Some("fast".to_owned()))],
        bfd_profiles,
        ..Resources::default()
    };
    let (config, rejections) =
        edit(&with(vec![BFDProfile::new("fast", BFDProfileSpec::default())]), &with(Vec::new()));
    let refusal = PeerRefusal::UnknownBfdProfile { profile: "fast".to_owned() };
    assert_eq!(
        (config.peers["router"].refused.as_ref(), &config.peers["router"].bfd),
        (Some(&refusal), &None)
    );
    assert_eq!(rejections.iter().map(|rejection| rejection.in_force).collect::<Vec<_>>(), [false]);
}
