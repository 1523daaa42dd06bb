//! The allocator against naive models, and its speed on pools that could never be materialised.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use api::config::Pool;
use api::range::AddressRange;
use api::selector::Labels;
use api::service::{IpFamily, Port, Protocol, ServiceKey};
use proptest::prelude::*;

use super::run::Runs;
use super::*;

fn pool(name: &str, ranges: &[&str], avoid_buggy_ips: bool) -> (String, Pool) {
    let ranges = ranges.iter().map(|text| AddressRange::parse(text).unwrap()).collect();
    let name = name.to_owned();
    let pool = Pool { name: name.clone(), ranges, auto_assign: true, avoid_buggy_ips, ..Pool::default() };
    (name, pool)
}

/// Without rests, so that the naive models need no clock.
fn rebuild(
    pools: &BTreeMap<String, Pool>,
    existing: impl IntoIterator<Item = Existing>,
) -> (Allocator, Vec<(ServiceKey, Denied)>) {
    let terms = Terms { quarantine: Duration::ZERO, ..Terms::default() };
    Allocator::rebuild(pools, Network::default(), terms, Instant::now(), existing)
}

fn service(number: usize) -> ServiceKey {
    ServiceKey::new("default", format!("s{number}"))
}

fn ask(
    allocator: &mut Allocator,
    number: usize,
    family: IpFamily,
    sharing: &Sharing,
) -> Result<IpAddr, Denied> {
    let labels = Labels::new();
    let request = Request {
        service: &service(number),
        uid: "uid",
        applicant: Applicant { namespace: "default", namespace_labels: &labels, labels: &labels },
        families: &[family],
        one_will_do: false,
        sharing,
        want: Want::Any,
    };
    allocator.allocate(&request).map(|holding| holding.addresses[0])
}

#[test]
fn ten_thousand_services_fit_into_pools_too_large_to_list() {
    let pools = BTreeMap::from([pool("four", &["10.0.0.0/8"], true), pool("six", &["fd00::/64"], false)]);
    let (mut allocator, _) = rebuild(&pools, []);
    let alone = Sharing::default();
    for number in 0..10_000 {
        ask(&mut allocator, number, IpFamily::V4, &alone).unwrap();
        ask(&mut allocator, 100_000 + number, IpFamily::V6, &alone).unwrap();
    }
    assert_eq!(allocator.usage()["four"].assigned_ipv4(), 10_000);
    assert_eq!(allocator.usage()["six"].assigned_ipv6(), 10_000);
    assert_eq!(allocator.usage()["six"].capacity_ipv6, i64::MAX);
    let last = allocator.holding(&service(9_999)).unwrap().addresses[0];
    // 254 addresses of each 256 are used: the 10 000th is number 93 of the 40th block.
    assert_eq!(last, IpAddr::from([10, 0, 39, 94]));
}

#[test]
fn capacity_leaves_out_what_is_never_given() {
    for (ranges, buggy, expected) in [
        (&["10.0.0.0/24"][..], false, 256),
        (&["10.0.0.0/24"], true, 254),
        (&["10.0.0.0/32"], true, 0),
        (&["10.0.0.255/32"], true, 0),
        (&["10.0.0.1-10.0.0.254"], true, 254),
        (&["10.0.0.255-10.0.2.0"], true, 254),
        (&["0.0.0.0/0"], false, 1 << 32),
        (&["0.0.0.0/0"], true, (1 << 32) - (1 << 25)),
        (&["10.0.0.0/30", "10.1.0.0/30", "fd00::/64"], false, 8),
    ] {
        let pools = BTreeMap::from([pool("p", ranges, buggy)]);
        let (allocator, _) = rebuild(&pools, []);
        assert_eq!(allocator.usage()["p"].capacity_ipv4, expected, "{ranges:?} {buggy}");
    }
}

#[test]
fn the_last_address_of_all_can_be_given() {
    let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let pools = BTreeMap::from([
        pool("four", &["255.255.255.255/32"], false),
        pool("six", &[&format!("{top}/128")], false),
    ]);
    let (mut allocator, _) = rebuild(&pools, []);
    let alone = Sharing::default();
    assert_eq!(ask(&mut allocator, 1, IpFamily::V4, &alone).unwrap(), IpAddr::from([255; 4]));
    assert_eq!(ask(&mut allocator, 2, IpFamily::V6, &alone).unwrap(), top.parse::<IpAddr>().unwrap());
    assert_eq!(ask(&mut allocator, 3, IpFamily::V4, &alone).unwrap_err().word(), "Exhausted");
    assert_eq!(ask(&mut allocator, 4, IpFamily::V6, &alone).unwrap_err().word(), "Exhausted");
}

#[derive(Debug, Clone)]
enum Act {
    Ask { number: usize, key: usize, port: u16 },
    Release { number: usize },
    Pools { first: u8, last: u8 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..12_usize, 0..3_usize, 80..83_u16).prop_map(|(number, key, port)| Act::Ask { number, key, port }),
        2 => (0..12_usize).prop_map(|number| Act::Release { number }),
        1 => (0..8_u8, 8..16_u8).prop_map(|(first, last)| Act::Pools { first, last }),
    ]
}

fn terms(key: usize, port: u16) -> Sharing {
    let key = if key == 0 { String::new() } else { format!("key{key}") };
    Sharing { key, backend: String::new(), ports: BTreeSet::from([Port { protocol: Protocol::Tcp, port }]) }
}

/// The lowest address that fits, found by looking at each one.
fn naive(
    held: &BTreeMap<usize, (IpAddr, Sharing)>,
    who: usize,
    range: (u8, u8),
    sharing: &Sharing,
) -> Option<IpAddr> {
    let fits = |address: &IpAddr| {
        held.iter().filter(|(number, (at, _))| **number != who && at == address).all(|(_, (_, theirs))| {
            !sharing.key.is_empty() && sharing.key == theirs.key && sharing.ports.is_disjoint(&theirs.ports)
        })
    };
    (range.0..=range.1).map(|last| IpAddr::from([10, 0, 0, last])).find(fits)
}

proptest! {
    #[test]
    fn runs_hold_exactly_what_was_put_in(acts in proptest::collection::vec((any::<bool>(), 0..24_u8), 0..200)) {
        let mut runs = Runs::default();
        let mut model = BTreeSet::new();
        for (insert, last) in acts {
            let address = IpAddr::V4(Ipv4Addr::new(0, 0, 0, last));
            if insert { runs.insert(address); model.insert(last); } else { runs.remove(address); model.remove(&last); }
            for at in 0..24_u8 {
                let end = (at..=255).take_while(|last| model.contains(last)).last();
                let expected = end.map(|last| IpAddr::V4(Ipv4Addr::new(0, 0, 0, last)));
                prop_assert_eq!(runs.end_of_run(IpAddr::V4(Ipv4Addr::new(0, 0, 0, at))), expected);
            }
        }
    }

    #[test]
    fn ranges_in_runs_are_what_a_set_of_addresses_says(
        acts in proptest::collection::vec((any::<bool>(), 0..40_u8, 0..9_u8), 0..60)
    ) {
        let mut runs = Runs::default();
        let mut model = BTreeSet::new();
        let at = |last: u8| IpAddr::V4(Ipv4Addr::new(0, 0, 0, last));
        for (insert, first, length) in acts {
            if insert {
                runs.insert_range(at(first), at(first + length));
                model.extend(first..=first + length);
            } else {
                runs.remove(at(first));
                model.remove(&first);
            }
            let gaps: BTreeSet<u8> = runs
                .gaps(at(3), at(45))
                .into_iter()
                .flat_map(|(first, last)| match (first, last) {
                    (IpAddr::V4(first), IpAddr::V4(last)) => first.octets()[3]..=last.octets()[3],
                    (first, last) => panic!("{first} {last}"),
                })
                .collect();
            prop_assert_eq!(gaps, (3..=45).filter(|last| !model.contains(last)).collect());
        }
    }

    #[test]
    fn whatever_stands_in_the_way_the_lowest_address_left_is_given(
        excluded in proptest::collection::btree_set(0..40_u8, 0..20),
        reserved in proptest::collection::btree_set(0..40_u8, 0..5),
        nodes in proptest::collection::btree_set(0..40_u8, 0..5),
        releases in proptest::collection::vec(0..40_usize, 0..40),
    ) {
        let at = |last: u8| IpAddr::from([10, 0, 0, last]);
        let (name, plain) = pool("p", &["10.0.0.0-10.0.0.9", "10.0.0.10-10.0.0.39"], true);
        let one = |last: &u8| AddressRange::try_new(at(*last), at(*last)).unwrap();
        let pool = Pool {
            excluded: excluded.iter().map(one).collect(),
            reserved: reserved.iter().map(|last| (at(*last), ServiceKey::new("x", "y"))).collect(),
            ..plain
        };
        let mut network = Network::default();
        nodes.iter().for_each(|last| network.add_address(at(*last), Neighbour::Node("n".to_owned())));
        let terms = Terms { quarantine: Duration::ZERO, ..Terms::default() };
        let (mut allocator, _) = Allocator::rebuild(&[(name, pool)].into(), network, terms, Instant::now(), []);
        let barred = |last: &u8| {
            *last == 0 || excluded.contains(last) || reserved.contains(last) || nodes.contains(last)
        };
        let mut left: BTreeSet<u8> = (0..40).filter(|last| !barred(last)).collect();
        let blocked = (0..40_u8).filter(|last| *last == 0 || excluded.contains(last) || nodes.contains(last)).count();
        prop_assert_eq!(allocator.usage()["p"].capacity_ipv4, 40 - blocked as i64);
        let mut held: BTreeMap<usize, u8> = BTreeMap::new();
        for (number, release) in releases.into_iter().enumerate() {
            let expected = left.pop_first();
            let given = ask(&mut allocator, number, IpFamily::V4, &Sharing::default());
            prop_assert_eq!(given.ok(), expected.map(at));
            held.extend(expected.map(|last| (number, last)));
            if let Some(last) = held.remove(&release) {
                allocator.release(&service(release));
                left.insert(last);
            }
        }
    }

    #[test]
    fn the_allocator_gives_what_a_naive_search_gives(acts in proptest::collection::vec(act(), 0..80)) {
        let mut range = (0_u8, 11_u8);
        let pools = |(first, last): (u8, u8)| {
            BTreeMap::from([pool("p", &[&format!("10.0.0.{first}-10.0.0.{last}")], false)])
        };
        let (mut allocator, _) = rebuild(&pools(range), []);
        let mut held: BTreeMap<usize, (IpAddr, Sharing)> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Ask { number, key, port } => {
                    let sharing = terms(key, port);
                    allocator.release(&service(number));
                    held.remove(&number);
                    let expected = naive(&held, number, range, &sharing);
                    let given = ask(&mut allocator, number, IpFamily::V4, &sharing);
                    prop_assert_eq!(given.ok(), expected);
                    if let Some(address) = expected {
                        held.insert(number, (address, sharing));
                    }
                }
                Act::Release { number } => {
                    allocator.release(&service(number));
                    held.remove(&number);
                }
                Act::Pools { first, last } => {
                    range = (first, last);
                    allocator.set_pools(&pools(range));
                }
            }
            for (number, (address, _)) in &held {
                let holding = allocator.holding(&service(*number)).unwrap();
                prop_assert_eq!(&holding.addresses, &vec![*address], "no pool edit moves an address");
            }
            prop_assert_eq!(allocator.len(), held.len());
            let low = IpAddr::from([10, 0, 0, range.0]);
            let high = IpAddr::from([10, 0, 0, range.1]);
            let inside: BTreeSet<IpAddr> =
                held.values().map(|(at, _)| *at).filter(|at| (low..=high).contains(at)).collect();
            prop_assert_eq!(allocator.usage()["p"].assigned_ipv4(), inside.len() as i64);
        }
        let existing = held.iter().map(|(number, (address, sharing))| Existing {
            service: service(*number),
            uid: "uid".to_owned(),
            addresses: vec![*address],
            recorded_pool: Some("p".to_owned()),
            named_pool: None,
            sharing: sharing.clone(),
        });
        let (rebuilt, refused) = rebuild(&pools(range), existing);
        prop_assert!(refused.is_empty());
        prop_assert_eq!(rebuilt.usage(), allocator.usage(), "counters equal a full recount");
    }
}
