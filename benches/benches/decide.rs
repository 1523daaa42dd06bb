//! One endpoint change among many Services: kept up to date against decided from scratch, and as far as the octets of a
//! session; and what it costs to withdraw everything at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use api::config::Config;
use api::names::label;
use api::selector::Labels;
use api::service::{Ingress, ServiceKey, TrafficPolicy};
use benches::cluster;
use bgp_proto::{RouteSet, Speaker};
use speaker::decide::announcer::Synced;
use speaker::decide::snapshot::{EndpointCounts, EndpointFacts, ExcludeLabel, NodeFacts, ServiceFacts};
use speaker::decide::{Announcer, full};
use yardstick::{Measured, Size, Table, floor, memory};

const PEERS: u8 = 2;

/// How many Services go at once when a node is excluded or an advertisement deleted, in the figure that is promised.
const AT_ONCE: usize = 2_000;

/// Changes in a round, each for itself.
const CHANGES: usize = 200;

fn main() {
    let size = Size::from_args();
    for count in [size.pick(200, 1_000), size.pick(400, 10_000)] {
        measure(size, u32::try_from(count).expect("fits"));
    }
    one_among(size);
    all_at_once(size, u32::try_from(size.pick(200, AT_ONCE)).expect("fits"));
}

fn measure(size: Size, count: u32) {
    let mut announcer = cluster_of(count);
    let plan = announcer.plan(Synced::all_watches()).expect("the first plan").plan;
    let announced = usize::try_from(count).expect("fits");
    for wanted in plan.peers.values() {
        assert_eq!(wanted.routes.len(), announced, "every Service is announced to every peer");
    }
    let table = Table::new(&format!("{count} Services, {PEERS} peers"), size);
    let from_scratch =
        Measured::rounds(size, 1, || announcer.snapshot(), |facts| full::announcements(&facts));
    table.row("decide all from scratch", from_scratch);

    let mut before = plan;
    let mut ready = true;
    let one_change = Measured::rounds(
        size,
        1,
        || (),
        |()| {
            ready = !ready;
            announcer.set_endpoints(key(count / 2), endpoints(ready));
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
    for (name, wanted) in &full::announcements(&announcer.snapshot()).peers {
        assert_eq!(wanted.routes, before.peers[name].routes, "both ways lead to the same plan");
    }
}

/// A fact that takes everything away.
type Change<'a> = &'a dyn Fn(&mut Announcer);

/// What announces much withdraws it in one plan: from the fact to the octets of a session, beside a bare loop that writes
/// as many prefixes.
fn all_at_once(size: Size, count: u32) {
    let announced = usize::try_from(count).expect("fits");
    let mut table = Table::new(&format!("{count} Services withdrawn at once, from the fact to octets"), size);
    let bare = Measured::rounds(size, announced, Vec::new, |mut out| {
        floor::pack(&[], memory::addresses(announced), &mut out);
        out
    });
    table.floor("a bare loop that writes as many prefixes", bare);
    let excluded = Labels::from([(label::EXCLUDE_FROM_EXTERNAL_LB.to_owned(), String::new())]);
    let facts: [(&str, Change<'_>); 2] = [
        ("the node is excluded", &|announcer| announcer.set_node(node(excluded.clone()))),
        ("the advertisement is deleted", &|announcer| {
            let mut config = Config::clone(&announcer.snapshot().surroundings.config);
            config.advertisements.clear();
            announcer.set_config(Arc::new(config));
        }),
    ];
    let now = Instant::now();
    for (name, change) in facts {
        let withdrawn = Measured::rounds(
            size,
            announced,
            || on_a_session(count, now),
            |(mut announcer, mut session)| {
                change(&mut announcer);
                let (prefixes, octets) = tell(&mut announcer, &mut session, now);
                assert_eq!(prefixes, u64::from(count), "{name}: each is withdrawn");
                assert!(octets < announced * 6 + 64, "{name}: {octets} octets hold nothing but withdrawals");
            },
        );
        table.row(name, withdrawn);
    }
}

/// One Service changes among many, from the fact to octets: what it costs must not depend on how many there are.
fn one_among(size: Size) {
    let mut table = Table::new("one endpoint change, from the fact to octets", size);
    let now = Instant::now();
    for (row, count) in [100, size.pick(200, 1_000), size.pick(400, 10_000)].into_iter().enumerate() {
        let count = u32::try_from(count).expect("fits");
        let (mut announcer, mut session) = on_a_session(count, now);
        let measured = Measured::rounds(
            size,
            CHANGES,
            || (),
            |()| {
                for step in 0..u32::try_from(CHANGES).expect("fits") {
                    // Each goes and comes back, one after the other.
                    announcer.set_endpoints(key(step / 2 * 7 % count), endpoints(step % 2 == 1));
                    let (prefixes, _) = tell(&mut announcer, &mut session, now);
                    assert_eq!(prefixes, 1, "one change is one prefix on the wire");
                }
            },
        );
        let name = format!("among {count} Services");
        if row == 0 { table.floor(&name, measured) } else { table.row(&name, measured) }
    }
}

/// A node that announces so many Services, and a session that has told its router.
fn on_a_session(count: u32, now: Instant) -> (Announcer, Speaker) {
    let (mut announcer, mut session) = (cluster_of(count), memory::established(now));
    let (prefixes, _) = tell(&mut announcer, &mut session, now);
    assert_eq!(prefixes, u64::from(count), "every Service is announced");
    (announcer, session)
}

/// Plans what changed and tells the router: how many prefixes, in how many octets.
fn tell(announcer: &mut Announcer, session: &mut Speaker, now: Instant) -> (u64, usize) {
    let plan = announcer.plan(Synced::all_watches()).expect("the plan changes").plan;
    session.set_routes(memory::PEER, Arc::clone(&plan.peers["tor-1"].routes));
    let (octets, _) = memory::drain(session, now);
    (floor::walk(&octets).expect("whole messages").prefixes, octets.len())
}

fn node(labels: Labels) -> Option<NodeFacts> {
    Some(NodeFacts { labels, network_unavailable: false, drain: None })
}

fn cluster_of(count: u32) -> Announcer {
    let peers =
        (1..=PEERS).map(|last| cluster::peer(&format!("tor-{last}"), ([192, 0, 2, last], 179).into()));
    let mut announcer = Announcer::new(ExcludeLabel::Honoured);
    announcer.set_config(Arc::new(cluster::config(cluster::pool("home", "10.0.0.0/16"), peers)));
    announcer.set_node(node(Labels::new()));
    for number in 0..count {
        announcer.set_service(key(number), Some(&service(number)));
        announcer.set_endpoints(key(number), endpoints(true));
    }
    announcer
}

fn key(number: u32) -> ServiceKey {
    ServiceKey::new("shop", format!("service-{number}"))
}

fn service(number: u32) -> ServiceFacts {
    let address = IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 + number));
    ServiceFacts {
        uid: format!("00000000-0000-4000-8000-{number:012}"),
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
