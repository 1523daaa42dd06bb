//! One endpoint change among many Services: kept up to date against decided from scratch.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use api::names::label;
use api::selector::Labels;
use api::service::{Ingress, ServiceKey, TrafficPolicy};
use benches::cluster;
use bgp_proto::RouteSet;
use speaker::decide::announcer::Synced;
use speaker::decide::snapshot::{EndpointCounts, EndpointFacts, ExcludeLabel, NodeFacts, ServiceFacts};
use speaker::decide::{Announcer, full};
use yardstick::{Measured, Size, Table};

const PEERS: u8 = 2;

/// How many Services go at once when a node is excluded or an advertisement deleted, in the figure that is promised.
const AT_ONCE: usize = 2_000;

fn main() {
    let size = Size::from_args();
    for count in [size.pick(200, 1_000), size.pick(400, 10_000)] {
        measure(size, u32::try_from(count).expect("fits"));
    }
    exclude(size, u32::try_from(size.pick(200, AT_ONCE)).expect("fits"));
}

fn measure(size: Size, count: u32) {
    let mut announcer = cluster_of(count);
    let plan = announcer.plan(Synced::all_watches()).expect("the first plan").plan;
    let announced = usize::try_from(count).expect("fits");
    for wanted in plan.peers.values() {
        assert_eq!(wanted.routes.len(), announced, "every Service is announced to every peer");
    }
    let table = Table::new(&format!("{count} Services, {PEERS} peers"), size);
    let from_scratch = Measured::rounds(size, 1, || (), |()| full::announcements(announcer.facts()));
    table.row("decide all from scratch", from_scratch);

    let mut before = plan;
    let mut ready = true;
    let one_change = Measured::rounds(
        size,
        1,
        || (),
        |()| {
            ready = !ready;
            announcer.set_endpoints(key(count / 2), Some(endpoints(ready)));
            let after = announcer.plan(Synced::all_watches()).expect("the plan changes").plan;
            for (name, wanted) in &after.peers {
                assert_eq!(
                    RouteSet::diff(&before.peers[name].routes, &wanted.routes).count(),
                    1,
                    "one route"
                );
            }
            before = after;
        },
    );
    table.row("one endpoint change, kept up to date", one_change);
    for (name, wanted) in &full::announcements(announcer.facts()).peers {
        assert_eq!(wanted.routes, before.peers[name].routes, "both ways lead to the same plan");
    }
}

/// The node is excluded: everything that it announces goes in one plan.
fn exclude(size: Size, count: u32) {
    let table = Table::new(&format!("{count} Services, {PEERS} peers, the node excluded"), size);
    let node = |labels| Some(NodeFacts { labels, network_unavailable: false, drain: None });
    let excluded = Labels::from([(label::EXCLUDE_FROM_EXTERNAL_LB.to_owned(), String::new())]);
    let mut announcer = cluster_of(count);
    announcer.plan(Synced::all_watches()).expect("the first plan");
    let announced = usize::try_from(count).expect("fits");
    let mut out = false;
    let all_at_once = Measured::rounds(
        size,
        1,
        || (),
        |()| {
            out = !out;
            announcer.set_node(node(if out { excluded.clone() } else { Labels::new() }));
            let plan = announcer.plan(Synced::all_watches()).expect("the plan changes").plan;
            let expected = if out { 0 } else { announced };
            assert!(plan.peers.values().all(|wanted| wanted.routes.len() == expected));
        },
    );
    table.row("all withdrawn or announced in one plan", all_at_once);
}

fn cluster_of(count: u32) -> Announcer {
    let peers =
        (1..=PEERS).map(|last| cluster::peer(&format!("tor-{last}"), ([192, 0, 2, last], 179).into()));
    let mut announcer = Announcer::new(ExcludeLabel::Honoured);
    announcer.set_config(Arc::new(cluster::config(cluster::pool("home", "10.0.0.0/16"), peers)));
    announcer.set_node(Some(NodeFacts { labels: Labels::new(), network_unavailable: false, drain: None }));
    for number in 0..count {
        announcer.set_service(key(number), Some(service(number)));
        announcer.set_endpoints(key(number), Some(endpoints(true)));
    }
    announcer
}

fn key(number: u32) -> ServiceKey {
    ServiceKey::new("shop", format!("service-{number}"))
}

fn service(number: u32) -> ServiceFacts {
    let address = IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 + number));
    ServiceFacts {
        load_balancer: true,
        labels: Labels::new(),
        ingress: Ingress::Addresses(vec![address]),
        traffic_policy: TrafficPolicy::Local,
        pending: None,
        allocated_from_pool: Some("home".to_owned()),
    }
}

fn endpoints(ready: bool) -> EndpointFacts {
    let counts = EndpointCounts {
        local_ready: u32::from(ready),
        elsewhere_ready: 1,
        any_ready: 1 + u32::from(ready),
        ..EndpointCounts::default()
    };
    EndpointFacts { v4: counts, ..EndpointFacts::default() }
}
