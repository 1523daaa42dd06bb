//! The next free address in a nearly full IPv4 /16 and in an IPv6 /64.

use std::net::IpAddr;
use std::time::Instant;

use api::selector::Labels;
use api::service::{IpFamily, ServiceKey};
use benches::cluster;
use controller::alloc::{Allocator, Applicant, Existing, Network, Request, Sharing, Terms, Want};
use yardstick::{Measured, Size, Table};

fn main() {
    let size = Size::from_args();
    let (v4, last) = match size {
        Size::Test => ("10.0.0.0/22", "10.0.3.255"),
        Size::Full => ("10.0.0.0/16", "10.0.255.255"),
    };
    let table = Table::new("allocate and release the last free address", size);
    let taken = size.pick(1 << 10, 1 << 16) - 1;
    measure(size, &table, v4, taken, last);
    measure(
        size,
        &table,
        "2001:db8::/64",
        size.pick(1_000, 10_000),
        &format!("2001:db8::{:x}", size.pick(1_000, 10_000)),
    );
}

/// `taken` addresses from the first on are in use; the next Service gets `expected`.
fn measure(size: Size, table: &Table, range: &str, taken: usize, expected: &str) {
    let pool = cluster::pool("home", range);
    let first = pool.ranges[0].first();
    let existing = (0..taken).map(|number| Existing {
        service: ServiceKey::new("shop", format!("service-{number}")),
        uid: number.to_string(),
        addresses: vec![above(first, number)],
        recorded_pool: Some("home".to_owned()),
        named_pool: None,
        sharing: Sharing::default(),
    });
    let pools = [("home".to_owned(), pool)].into();
    let (mut allocator, refused) =
        Allocator::rebuild(&pools, Network::default(), Terms::default(), Instant::now(), existing);
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
    let measured = Measured::rounds(
        size,
        1,
        || (),
        |()| {
            let given = allocator.allocate(&request).expect("one address is free").addresses.clone();
            assert_eq!(given, [expected]);
            allocator.release(&service);
            allocator.take_touched()
        },
    );
    table.row(&format!("{range}, {taken} in use"), measured);
}

fn above(first: IpAddr, steps: usize) -> IpAddr {
    let steps = u128::try_from(steps).expect("fits");
    api::range::address_above(first, steps).expect("inside the family")
}
