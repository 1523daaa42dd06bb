//! A simulated cluster of 50,000 Services and 500 pools through the pure core: served, restarted, edited, restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use api::config::Pool;
use api::range::AddressRange;
use api::selector::Labels;
use api::service::{Ingress, IpFamily, ServiceKey, ServiceType, ServiceView};
use controller::alloc::{Allocator, Neighbour, Network, Terms};
use controller::plan::{Memory, Outcome, Surroundings, existing, plan};

const SERVICES: usize = 50_000;
const POOLS: usize = 500;

fn pools(numbers: std::ops::Range<usize>) -> BTreeMap<String, Pool> {
    let pool = |number: usize| {
        let (high, low) = (number / 256, number % 256);
        let name = format!("pool-{number:03}");
        let range = AddressRange::parse(&format!("10.{high}.{low}.0/24")).expect("a range");
        let pool = Pool {
            name: name.clone(),
            ranges: vec![range],
            auto_assign: true,
            avoid_buggy_ips: true,
            ..Pool::default()
        };
        (name, pool)
    };
    numbers.map(pool).collect()
}

fn view(number: usize) -> ServiceView {
    ServiceView {
        key: ServiceKey::new(format!("team-{}", number % 50), format!("service-{number}")),
        uid: format!("uid-{number}"),
        service_type: ServiceType::LoadBalancer,
        cluster_ips: vec![IpAddr::from([10, 96, 0, 1])],
        families: vec![IpFamily::V4],
        ..ServiceView::default()
    }
}

#[test]
fn fifty_thousand_services_in_five_hundred_pools_keep_what_they_have() {
    let (now, nothing) = (Instant::now(), Labels::new());
    let around = Surroundings { namespace_labels: &nothing, class: None, rivals: &[], now };
    let all = pools(0..POOLS);
    let rebuild = |pools: &BTreeMap<String, Pool>, network: Network, views: &[ServiceView]| {
        let adopted = views.iter().filter_map(|view| existing(view, &around));
        let (allocator, refused) = Allocator::rebuild(pools, network, Terms::default(), now, adopted);
        assert!(refused.is_empty(), "every address is adopted: {refused:?}");
        allocator
    };

    let mut views: Vec<ServiceView> = (0..SERVICES).map(view).collect();
    let mut allocator = rebuild(&all, Network::default(), &views);
    for view in &mut views {
        let write = plan(view, &around, &mut allocator, &Memory::default()).write.unwrap();
        view.ingress = Ingress::Addresses(write.ingress);
        view.allocated_from_pool = write.pool;
    }
    let given: BTreeSet<IpAddr> = views.iter().map(|view| view.addresses()[0]).collect();
    assert_eq!(given.len(), SERVICES, "each has an address of its own");
    let used: i64 = allocator.usage().values().map(|usage| usage.assigned_ipv4()).sum();
    assert_eq!(used, i64::try_from(SERVICES).unwrap());

    let mut restarted = rebuild(&all, Network::default(), &views);
    assert_eq!(restarted.usage(), allocator.usage(), "recovered = before");
    for view in &views {
        assert_eq!(
            plan(view, &around, &mut restarted, &Memory::default()).write,
            None,
            "a restart writes nothing"
        );
    }

    // Three of four pools go, and a node comes with an address that is in use.
    let node = views[10].addresses()[0];
    let mut network = Network::default();
    network.add_address(node, Neighbour::Node("n1".to_owned()));
    let fewer = pools(0..POOLS / 4);
    restarted.set_pools(&fewer);
    restarted.set_network(network.clone());
    let mut kept = 0;
    for view in &mut views {
        let step = plan(view, &around, &mut restarted, &Memory::default());
        let is_kept = matches!(step.memory.outcome, Outcome::Kept { .. });
        assert!(is_kept || step.memory.outcome == Outcome::Given, "{}: {:?}", view.key, step.memory.outcome);
        kept += usize::from(is_kept);
        if let Some(write) = step.write {
            assert_eq!(write.ingress, view.addresses(), "no edit moves an address");
            view.allocated_from_pool = write.pool;
        }
    }
    assert_eq!(
        kept,
        SERVICES - POOLS / 4 * 254 + 1,
        "those of the pools that are gone, and that of the node"
    );
    let after = rebuild(&fewer, network, &views);
    assert_eq!(after.usage(), restarted.usage(), "recovered = before, after the edits as well");
    assert_eq!(after.len(), SERVICES);
}
