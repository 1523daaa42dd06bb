//! Random histories of pools, Services, nodes, rivals and restarts against invariants and a naive record of what was
//! given; and a cluster of many Services and pools.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::world::{World, config, key};
use crate::alloc::{Neighbour, Network};
use crate::plan::Outcome;

/// What a rival writes; without pools it is left alone.
const RIVAL: [u8; 4] = [10, 0, 3, 254];

/// Pools as people edit them: grown, shrunk, renamed, split, excluded, disabled, gone.
const POOLS: [&str; 9] = [
    "one: 10.0.0.0-10.0.0.5, fd00::/126",
    "one: 10.0.0.0-10.0.0.9, fd00::/126 buggy",
    "one: 10.0.0.2-10.0.0.3",
    "two: 10.0.0.0-10.0.0.5, fd00::/126 select=Spread",
    "one: 10.0.0.0-10.0.0.1, fd00::/127; two: 10.0.0.2-10.0.0.5, fd00::2/127",
    "one: 10.0.0.0-10.0.0.5 excl=10.0.0.1-10.0.0.2 rsv=10.0.0.4@s3; six: fd00::/126",
    "one: 10.0.0.0-10.0.0.5, fd00::/126 off; two: 10.0.1.0/30",
    "one: 10.0.0.0/29, fd00::/126 edges auto=no; two: 10.0.2.0/31 ns=default",
    "",
];

#[derive(Debug, Clone)]
enum Act {
    Put { number: usize, words: &'static str },
    Delete { number: usize },
    Pools(usize),
    Node(bool),
    Wipe { number: usize },
    Overwrite { number: usize },
    Wait(u64),
    Restart,
}

const WISHES: [&str; 11] = [
    "",
    "",
    "",
    "v6",
    "v4+v6 prefer",
    "v6+v4 require",
    "share=k",
    "share=k port=81",
    "share=k port=82 local",
    "ask=10.0.0.3",
    "pool=two",
];

fn act() -> impl Strategy<Value = Act> {
    let number = || 0..8_usize;
    prop_oneof![
        8 => (number(), 0..WISHES.len()).prop_map(|(number, wish)| Act::Put { number, words: WISHES[wish] }),
        3 => number().prop_map(|number| Act::Delete { number }),
        2 => (0..POOLS.len()).prop_map(Act::Pools),
        1 => any::<bool>().prop_map(Act::Node),
        1 => number().prop_map(|number| Act::Wipe { number }),
        1 => number().prop_map(|number| Act::Overwrite { number }),
        2 => (0..90_u64).prop_map(Act::Wait),
        2 => Just(Act::Restart),
    ]
}

/// What each Service held and asked for when it was last settled.
type Record = BTreeMap<String, (Vec<IpAddr>, &'static str)>;

fn addresses(world: &World, name: &str) -> Vec<IpAddr> {
    world.shows(name).split(' ').filter_map(|word| word.parse().ok()).collect()
}

fn held(world: &World, name: &str) -> Vec<IpAddr> {
    world.allocator.holding(&key(name)).map_or_else(Vec::new, |held| held.addresses.clone())
}

/// Nobody shares an address without a key, nobody shares a port, and the counters are those of a recount.
fn check_owners(world: &World, wishes: &BTreeMap<String, &'static str>, pools: &str) {
    let mut owners: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for name in wishes.keys() {
        for address in addresses(world, name).into_iter().filter(|address| *address != IpAddr::from(RIVAL)) {
            owners.entry(address).or_default().push(name);
        }
    }
    for (address, names) in owners.iter().filter(|(_, names)| names.len() > 1) {
        let terms: BTreeSet<&str> = names.iter().map(|name| wishes[*name]).collect();
        assert!(terms.iter().all(|wish| wish.contains("share=k")), "{address} belongs to {names:?}");
        assert_eq!(terms.len(), names.len(), "{address}: two Services with one port: {names:?}");
    }
    for name in wishes.keys() {
        let held = held(world, name);
        let shown = addresses(world, name);
        if pools.is_empty() {
            continue; // Nothing to judge foreign addresses by: they are left alone.
        }
        assert_eq!(
            held.iter().collect::<BTreeSet<_>>(),
            shown.iter().collect(),
            "{name} shows what it holds"
        );
    }
}

/// An address that a Service shows stays, unless the Service asks for something else or another one has it.
fn check_moves(world: &World, before: &Record, wishes: &BTreeMap<String, &'static str>, told: &[String]) {
    for (name, (was, wish)) in before {
        let Some(now_wishes) = wishes.get(name) else { continue };
        let now = held(world, name);
        let lost: Vec<&IpAddr> = was.iter().filter(|address| !now.contains(address)).collect();
        if lost.is_empty() || wish != now_wishes {
            continue;
        }
        panic!("{name} ({wish}) moved from {was:?} to {now:?} without a cause: {told:#?}");
    }
}

proptest! {
    #[test]
    fn no_history_gives_an_address_twice_or_moves_one_without_a_cause(acts in proptest::collection::vec(act(), 1..60)) {
        let mut pools = POOLS[0];
        let mut world = World::start(pools, &[]);
        let mut wishes: BTreeMap<String, &'static str> = BTreeMap::new();
        // The wishes that a choice was made by: without pools none is made.
        let mut judged: BTreeMap<String, &'static str> = BTreeMap::new();
        for act in acts {
            let judged_by = |name: &String| judged.get(name).copied().unwrap_or("-");
            let before: Record =
                wishes.keys().map(|name| (name.clone(), (held(&world, name), judged_by(name)))).collect();
            match act {
                Act::Put { number, words } => {
                    let name = format!("s{number}");
                    world.put(&format!("{name} {words}"));
                    wishes.insert(name, words);
                }
                Act::Delete { number } => {
                    if wishes.remove(&format!("s{number}")).is_some() {
                        world.delete(&format!("s{number}"));
                    }
                }
                Act::Pools(index) => {
                    pools = POOLS[index];
                    world.set_pools(pools);
                }
                Act::Node(there) => {
                    let mut network = Network::default();
                    if there {
                        network.add_address("10.0.0.0".parse().unwrap(), Neighbour::Node("n1".to_owned()));
                    }
                    world.allocator.set_network(network);
                }
                Act::Wipe { number } => {
                    if wishes.contains_key(&format!("s{number}")) {
                        world.overwrite_status(&format!("s{number}"), serde_json::json!([]));
                    }
                }
                Act::Overwrite { number } => {
                    if wishes.contains_key(&format!("s{number}")) {
                        world.overwrite_status(&format!("s{number}"), serde_json::json!([{"ip": "10.0.3.254"}]));
                    }
                }
                Act::Wait(seconds) => world.wait(seconds),
                Act::Restart => world = world.restart(pools),
            }
            let told = world.settle();
            check_owners(&world, &wishes, pools);
            check_moves(&world, &before, &wishes, &told);
            for name in wishes.keys() {
                prop_assert_eq!(world.step(name).write, None, "{} is settled", name);
            }
            if !pools.is_empty() {
                judged = wishes.clone();
            }
        }
        // Recovered = before.
        let shown: BTreeMap<String, String> = wishes.keys().map(|name| (name.clone(), world.shows(name))).collect();
        let usage = world.allocator.usage().clone();
        let mut world = world.restart(pools);
        for (name, shows) in &shown {
            prop_assert_eq!(world.step(name).write, None, "{} after a restart", name);
            prop_assert_eq!(&world.shows(name), shows);
        }
        if !pools.is_empty() {
            for (pool, usage) in usage {
                prop_assert_eq!(world.allocator.usage()[&pool].assigned_ipv4(), usage.assigned_ipv4());
                prop_assert_eq!(world.allocator.usage()[&pool].assigned_ipv6(), usage.assigned_ipv6());
            }
        }
    }
}

#[test]
fn a_large_cluster_is_served_edited_and_restarted() {
    let (many_pools, many_services) = (100_u32, 5_000_u32);
    let pool = |number: u32| {
        let (high, low) = (number / 256, number % 256);
        format!("p{number}: 10.{high}.{low}.0/24 label=team=t{number}")
    };
    let pools: Vec<String> = (0..many_pools).map(pool).collect();
    let pools = pools.join(";");
    let services: Vec<String> = (0..many_services)
        .map(|number| format!("s{number} label=team=t{} port={}", number % many_pools, 1 + number % 9))
        .collect();
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    let mut world = World::start(&pools, &services);
    world.settle();
    let given: BTreeSet<String> = world.names().iter().map(|name| world.shows(name)).collect();
    assert_eq!(given.len(), services.len(), "each has an address of its own");
    assert!(!given.contains("-"));
    let mut world = world.restart(&pools);
    assert_eq!(world.allocator.len(), services.len());
    let half: Vec<String> = (0..many_pools / 2).map(pool).collect();
    world.set_pools(&half.join(";"));
    for name in world.names() {
        let before = world.shows(&name);
        let step = world.step(&name);
        assert_eq!(world.shows(&name), before, "no edit moves an address");
        assert!(matches!(step.memory.outcome, Outcome::Given | Outcome::Kept { .. }));
    }
    assert!(!config(&pools).pools.is_empty());
}
