//! What a Service costs the speaker in memory, on the whole way from the texts that the API server sends to the plan.
//!
//! In a program of its own, because the allocator counts for the whole process. `HERALD_WEIGH=10000 cargo test --release -p
//! speaker --test weight -- --nocapture` shows a large cluster.

#![allow(clippy::unwrap_used, reason = "a surprise ends the run")]

use std::alloc::System;
use std::time::Instant;

use api::json::FromJson;
use runtime::watch::{Barrier, Change};
use serde_json::{Value, json};
use speaker::decide::announcer::Planned;
use speaker::decide::snapshot::ExcludeLabel;
use speaker::watch::WatchSettings;
use speaker::watch::intake::{Fact, Intake};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The number of Services, where it is not the usual one.
const COUNT: &str = "HERALD_WEIGH";
const SERVICES: usize = 1_000;
/// Octets that the speaker may keep of each Service with one EndpointSlice, its labels and its share of the plan included.
const MOST: usize = 720;
/// Octets beyond that while all of them are decided for the first time, each.
const MOST_AT_START: usize = 64;

#[test]
fn a_service_with_its_endpoints_and_its_route_takes_less_than_a_kilobyte() {
    let count = std::env::var(COUNT).map_or(SERVICES, |count| count.parse().unwrap());
    let mut intake = Intake::new(&settings(), &Barrier::new());
    everything_else(&mut intake);
    let before = Weight::now();
    read_all(&mut intake, Fact::Service, service, count);
    let services = Weight::now();
    read_all(&mut intake, Fact::Slice, slice, count);
    let slices = Weight::now();
    let Planned { plan, transitions } = intake.plan(Instant::now()).expect("a first plan");
    let start = Weight::now();
    assert_eq!(transitions.len(), count);
    drop(transitions);
    assert_eq!(plan.peers["router"].routes.len(), count);
    let planned = Weight::now();
    for (what, from, to) in [
        ("Services as read", before, services),
        ("EndpointSlices as read", services, slices),
        ("verdicts and routes", slices, planned),
        ("for a moment", planned, start),
    ] {
        println!(
            "speaker: {what}: {} octets of heap in {:.2} pieces each",
            (to.octets - from.octets) / count.cast_signed(),
            to.pieces_since(from, count)
        );
    }
    let whole = (planned.octets - before.octets).cast_unsigned();
    println!("speaker: {} octets each", whole / count);
    assert!(whole <= MOST * count, "{} octets each", whole / count);
    let moment = (start.octets - planned.octets).cast_unsigned();
    assert!(moment <= MOST_AT_START * count, "{} octets each for a moment", moment / count);
}

/// The heap in use at one moment.
#[derive(Clone, Copy)]
struct Weight {
    octets: isize,
    pieces: isize,
}

impl Weight {
    fn now() -> Self {
        let stats = HEAP.stats();
        Self {
            octets: stats.bytes_allocated.cast_signed() - stats.bytes_deallocated.cast_signed(),
            pieces: stats.allocations.cast_signed() - stats.deallocations.cast_signed(),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn pieces_since(self, before: Self, count: usize) -> f64 {
        (self.pieces - before.pieces) as f64 / count as f64
    }
}

fn settings() -> WatchSettings {
    WatchSettings {
        node: "node-17".to_owned(),
        namespace: "metallb-system".to_owned(),
        class: None,
        exclude_label: ExcludeLabel::Honoured,
        seed: 1,
    }
}

/// A list as the API server gives it: sorted by namespace and name.
fn read_all<K: FromJson>(
    intake: &mut Intake,
    fact: impl Fn(Change<K>) -> Fact,
    object: impl Fn(usize) -> Value,
    count: usize,
) {
    intake.take(fact(Change::Restarted));
    for number in 0..count {
        intake.take(fact(Change::Apply(read(&object(number)))));
    }
    intake.take(fact(Change::Synced));
}

fn read<K: FromJson>(object: &Value) -> K {
    K::from_json(&object.to_string()).unwrap()
}

/// Every watch but the two large ones has been read once.
fn everything_else(intake: &mut Intake) {
    let meta = |name: &str| json!({"name": name, "namespace": "metallb-system", "resourceVersion": "7"});
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": meta("production"),
        "spec": {"addresses": ["10.0.0.0/8"]},
    });
    let peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": meta("router"),
        "spec": {"myASN": 64500, "peerASN": 65530, "peerAddress": "192.0.2.1"},
    });
    let advertisement = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement", "metadata": meta("all"), "spec": {},
    });
    let node = json!({"metadata": {"name": "node-17", "uid": "node-uid", "labels": {"zone": "a"}}});
    read_all(intake, Fact::Node, |_| node.clone(), 1);
    read_all(intake, Fact::Pool, |_| pool.clone(), 1);
    read_all(intake, Fact::Peer, |_| peer.clone(), 1);
    read_all(intake, Fact::Advertisement, |_| advertisement.clone(), 1);
    read_all(intake, Fact::Community, |_| Value::Null, 0);
    read_all(intake, Fact::BfdProfile, |_| Value::Null, 0);
    read_all(intake, Fact::Secret, |_| Value::Null, 0);
}

fn place(number: usize) -> (String, String) {
    (format!("team-{:03}", number / 20), format!("service-{number:06}"))
}

/// As a chart makes it and Herald's controller gave it an address.
fn service(number: usize) -> Value {
    let (namespace, name) = place(number);
    let labels = json!({
        "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "web-1.2.3",
    });
    let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("5b3c9e7a-0000-4000-8000-{number:012}"),
            "resourceVersion": (100_000 + number).to_string(), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
            "annotations": {"metallb.io/ip-allocated-from-pool": "production"},
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.10.20", "clusterIPs": ["10.96.10.20"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": format!("10.{a}.{b}.{c}")}]}},
    })
}

fn slice(number: usize) -> Value {
    let (namespace, service) = place(number);
    let endpoint = |turn: usize| {
        let node = format!("node-{}", (3 * number + turn) % 1_000);
        json!({"addresses": ["10.244.1.2"], "nodeName": node, "conditions": {"ready": true, "serving": true}})
    };
    json!({
        "metadata": {
            "name": format!("{service}-x7k2p"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "x"},
        },
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": (0..3).map(endpoint).collect::<Vec<_>>(),
    })
}
