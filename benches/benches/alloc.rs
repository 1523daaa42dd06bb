//! The next free address in a nearly full IPv4 /16, in an IPv6 /64 and behind thousands of ranges; adoption at start;
//! and a whole cluster through the pure core.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::config::Pool;
use api::range::AddressRange;
use api::selector::Labels;
use api::service::{Ingress, IpFamily, ServiceKey, ServiceType, ServiceView};
use benches::cluster;
use controller::alloc::{Allocator, Applicant, Existing, Network, Request, Sharing, Terms, Want};
use controller::plan::{Memory, Surroundings, existing, plan};
use yardstick::{Measured, Size, Table};

fn main() {
    let size = Size::from_args();
    let (v4, last) = match size {
        Size::Test => ("10.0.0.0/22", "10.0.3.255"),
        Size::Full => ("10.0.0.0/16", "10.0.255.255"),
    };
    let table = Table::new("allocate and release the last free address", size);
    let taken = size.pick(1 << 10, 1 << 16) - 1;
    measure(size, &table, cluster::pool("home", v4), v4, taken, last);
    let v6 = "2001:db8::/64";
    let some = size.pick(1_000, 10_000);
    measure(size, &table, cluster::pool("home", v6), v6, some, &format!("2001:db8::{some:x}"));
    let ranges = size.pick(100, 2_000);
    let name = format!("{ranges} ranges of 4, all but the last address in use");
    measure(size, &table, scattered(ranges), &name, ranges * 4 - 1, &last_of_scattered(ranges));

    let (services, pools) = (size.pick(500, 10_000), size.pick(10, 100));
    let (big_services, big_pools) = (size.pick(1_000, 50_000), size.pick(20, 500));
    let table = Table::new("a cluster through the pure core, time for each Service", size);
    serve(size, &table, services, pools);
    serve(size, &table, big_services, big_pools);
}

/// Ranges of four addresses with gaps between them.
fn scattered(ranges: usize) -> Pool {
    let range = |number: usize| {
        let first = above(IpAddr::from([10, 0, 0, 0]), number * 8);
        AddressRange::try_new(first, above(first, 3)).expect("in order")
    };
    Pool { ranges: (0..ranges).map(range).collect(), ..cluster::pool("home", "10.0.0.0/30") }
}

fn last_of_scattered(ranges: usize) -> String {
    above(IpAddr::from([10, 0, 0, 0]), (ranges - 1) * 8 + 3).to_string()
}

/// `taken` addresses from the first on are in use; the next Service gets `expected`.
fn measure(size: Size, table: &Table, pool: Pool, name: &str, taken: usize, expected: &str) {
    let first = pool.ranges[0].first();
    let steps = pool.ranges.iter().flat_map(|range| {
        let length = usize::try_from(range.len()).unwrap_or(usize::MAX);
        (0..length).map(move |step| above(range.first(), step))
    });
    let existing = steps.take(taken).enumerate().map(|(number, address)| Existing {
        service: ServiceKey::new("shop", format!("service-{number}")),
        uid: number.to_string(),
        addresses: vec![address],
        recorded_pool: Some("home".to_owned()),
        named_pool: None,
        sharing: Sharing::default(),
    });
    // Without rests: each round shall find the address free.
    let terms = Terms { quarantine: Duration::ZERO, ..Terms::default() };
    let pools = [("home".to_owned(), pool.clone())].into();
    let (mut allocator, refused) =
        Allocator::rebuild(&pools, Network::default(), terms, Instant::now(), existing);
    assert!(refused.is_empty(), "every address is adopted");

    let service = ServiceKey::new("shop", "next");
    let (labels, sharing) = (Labels::new(), Sharing::default());
    let families = [IpFamily::of(first)];
    let request = Request {
        service: &service,
        uid: "next",
        applicant: Applicant { namespace: "shop", namespace_labels: &labels, labels: &labels },
        families: &families,
        one_will_do: false,
        sharing: &sharing,
        want: Want::Any,
    };
    let expected: IpAddr = expected.parse().expect("an address");
    let repeats = size.pick(10, 1_000);
    let measured = Measured::rounds(
        size,
        repeats,
        || (),
        |()| {
            for _ in 0..repeats {
                let given = allocator.allocate(&request).expect("one address is free").addresses.clone();
                assert_eq!(given, [expected]);
                allocator.release(&service);
                drop(allocator.take_touched());
            }
        },
    );
    table.row(&format!("{name}, {taken} in use"), measured);
}

/// Gives every Service its address, then adopts all of them as a new leader does, then looks at each again.
fn serve(size: Size, table: &Table, services: usize, pools: usize) {
    let pool = |number: usize| {
        let name = format!("pool-{number}");
        let first = above(IpAddr::from([10, 0, 0, 0]), number << 8);
        (name.clone(), cluster::pool(&name, &format!("{first}/24")))
    };
    let pools: BTreeMap<String, Pool> = (0..pools).map(pool).collect();
    let mut views: Vec<ServiceView> = (0..services).map(view).collect();
    let now = Instant::now();
    let nothing = Labels::new();
    let around = Surroundings { namespace_labels: &nothing, class: None, rivals: &[], now };
    let empty =
        || Allocator::rebuild(&pools, Network::default(), Terms::default(), now, std::iter::empty()).0;

    let serve = |mut allocator: Allocator| -> Vec<IpAddr> {
        let give = |view: &ServiceView| {
            let write = plan(view, &around, &mut allocator, &Memory::default()).write;
            write.expect("a write").ingress[0]
        };
        views.iter().map(give).collect()
    };
    table.row(
        &format!("{services} Services get addresses of {} pools", pools.len()),
        Measured::rounds(size, services, empty, serve),
    );
    let mut allocator = empty();
    for view in &mut views {
        let write = plan(view, &around, &mut allocator, &Memory::default()).write.expect("a write");
        view.ingress = Ingress::Addresses(write.ingress);
        view.allocated_from_pool = write.pool;
    }
    let adopt = |()| {
        let adopted = views.iter().filter_map(|view| existing(view, &around));
        let (allocator, refused) =
            Allocator::rebuild(&pools, Network::default(), Terms::default(), now, adopted);
        assert!(refused.is_empty() && allocator.len() == services);
        allocator
    };
    let adopted = Measured::rounds(size, services, || (), adopt);
    table.row(&format!("{services} Services are adopted at start"), adopted);
    let steady = |mut allocator: Allocator| {
        for view in &views {
            assert_eq!(plan(view, &around, &mut allocator, &Memory::default()).write, None);
        }
    };
    let looked_at = Measured::rounds(size, services, || adopt(()), steady);
    table.row(&format!("{services} Services are looked at and need no write"), looked_at);
}

fn view(number: usize) -> ServiceView {
    ServiceView {
        key: ServiceKey::new(format!("team-{}", number % 50), format!("service-{number}")),
        uid: format!("uid-{number}"),
        resource_version: "1".to_owned(),
        service_type: ServiceType::LoadBalancer,
        cluster_ips: vec![IpAddr::from([10, 96, 0, 1])],
        families: vec![IpFamily::V4],
        ..ServiceView::default()
    }
}

fn above(first: IpAddr, steps: usize) -> IpAddr {
    let steps = u128::try_from(steps).expect("fits");
    api::range::address_above(first, steps).expect("inside the family")
}
