//! What a Service costs in memory, on the whole way from the text that the API server sends to the last look.
//!
//! The allocator counts for the whole process, and other tests run beside: the counting is done in a process of its own.
//! `HERALD_WEIGH=10000 cargo test --release -p controller --lib -- --nocapture sixteen_megabytes` shows a large cluster, and
//! what its adoption takes.

use std::alloc::System;
use std::time::Instant;

use api::json::FromJson;
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use runtime::event::EventRecorder;
use runtime::status::StatusOutcome;
use runtime::watch::Change;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use super::Desk;
use crate::alloc::Terms;
use crate::clock::cpu_time;
use crate::input::{Extras, Input};
use crate::metrics::Metrics;
use crate::patch::Sent;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Names the number of Services to the process that counts.
const COUNT: &str = "HERALD_WEIGH";
/// This many Services, with one pool for each hundred of them.
const SERVICES: usize = 1_000;
/// Octets that the controller may keep of each, its share of all else included.
const MOST: usize = 1_600;

#[test]
fn ten_thousand_services_fit_into_sixteen_megabytes() {
    if let Ok(count) = std::env::var(COUNT) {
        return weigh(count.parse().unwrap());
    }
    let only = ["--exact", "desk::tests::ten_thousand_services_fit_into_sixteen_megabytes", "--nocapture"];
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let output = alone.args(only).env(COUNT, SERVICES.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn weigh(count: usize) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = tokio.enter();
    let before = live();
    let mut desk = desk();
    everything_else(&mut desk, count / 100);
    desk.take(Input::Service(Change::Restarted), Instant::now());
    desk.take(Input::Service(Change::Synced), Instant::now());
    desk.report();
    let empty = live();
    let mut addresses = Vec::with_capacity(count);
    for number in 0..count {
        let now = Instant::now();
        desk.take(Input::Service(Change::Apply(read(&service(number, None)))), now);
        let job = desk.next_job(now).expect("a new Service needs a write");
        let address = job.write.ingress[0].to_string();
        let sent = Sent::Ended(StatusOutcome::Applied { resource_version: version(number, 1) });
        desk.written(job, sent, now);
        desk.take(Input::Service(Change::Apply(read(&service(number, Some(&address))))), now);
        assert!(desk.next_job(now).is_none(), "our own write is no news");
        addresses.push(address);
    }
    desk.report();
    let served = live() - addresses.len() * 56;
    println!(
        "controller: {} octets without Services, {} each after a burst",
        empty - before,
        (served - empty) / count
    );
    drop(desk);

    let before = live();
    let mut desk = self::desk();
    everything_else(&mut desk, count / 100);
    let empty = live();
    let now = Instant::now();
    desk.take(Input::Service(Change::Restarted), now);
    for (number, address) in addresses.iter().enumerate() {
        desk.take(Input::Service(Change::Apply(read(&service(number, Some(address))))), now);
    }
    let listed = live();
    let (calls, start) = (HEAP.stats().allocations, cpu_time());
    desk.take(Input::Service(Change::Synced), now);
    let (adopted, adopted_at) = (live(), cpu_time());
    assert!(desk.next_job(now).is_none(), "a restart writes nothing");
    let (calls, end) = (HEAP.stats().allocations - calls, cpu_time());
    desk.report();
    let looked_at = live();
    println!(
        "controller: after a restart {} each when listed, {} when adopted and queued, {} when looked at",
        (listed - empty) / count,
        (adopted - empty) / count,
        (looked_at - empty) / count
    );
    if let (Some(start), Some(adopted_at), Some(end)) = (start, adopted_at, end) {
        let (adopting, looking) = (adopted_at - start, end - adopted_at);
        println!("controller: CPU time of adopting {adopting:.1?}, of looking {looking:.1?}");
        println!("controller: {} pieces of the heap asked for by both, each Service", calls / count);
    }
    for peak in [served, adopted] {
        assert!(peak - before <= MOST * count, "{} octets", peak - before);
    }
}

fn live() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn desk() -> Desk {
    // Nobody listens there; what is published waits.
    let client = Client::try_from(Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
    let recorder = EventRecorder::start(client, "metallb-controller", "test".to_owned());
    let metrics = Metrics::register(&mut Registry::default());
    Desk::new(None, Terms::default(), Extras::default(), recorder, metrics, 1)
}

/// Every watch but that of Services has been read once.
fn everything_else(desk: &mut Desk, pools: usize) {
    macro_rules! read_once {
        ($($kind:ident: $objects:expr),*) => {$(
            desk.take(Input::$kind(Change::Restarted), Instant::now());
            for object in $objects {
                desk.take(Input::$kind(Change::Apply(read(&object))), Instant::now());
            }
            desk.take(Input::$kind(Change::Synced), Instant::now());
        )*};
    }
    let none = Vec::<Value>::new;
    let namespaces =
        (0..50).map(|number| json!({"metadata": {"name": format!("team-{number}"), "labels": {"a": "b"}}}));
    read_once!(
        Namespace: namespaces, Node: none(), Pool: (0..pools).map(pool), Peer: none(), Advertisement: none(),
        Community: none(), BfdProfile: none(), L2Advertisement: none()
    );
}

fn read<K: FromJson>(object: &Value) -> K {
    K::from_json(&object.to_string()).unwrap()
}

fn version(number: usize, step: usize) -> String {
    (100_000 + 2 * number + step).to_string()
}

fn pool(number: usize) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {
            "name": format!("pool-{number:03}"), "namespace": "metallb-system", "uid": format!("uid-of-pool-{number}"),
            "resourceVersion": "5", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [managed("kubectl-client-side-apply", json!({
                "f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
                "f:spec": {".": {}, "f:addresses": {}, "f:autoAssign": {}, "f:avoidBuggyIPs": {}},
            }))],
        },
        "spec": {"addresses": [format!("10.7.{number}.0/24")]},
    })
}

fn managed(manager: &str, fields: Value) -> Value {
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    })
}

/// As a chart makes it, with everything around it that is of no interest here.
fn service(number: usize, address: Option<&str>) -> Value {
    let name = format!("service-{number}");
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": name, "namespace": format!("team-{}", number % 50),
            "uid": format!("5b3c9e7a-0000-4000-8000-{number:012}"),
            "resourceVersion": version(number, 0), "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name,
                "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "web-1.2.3",
            },
            "annotations": {
                "meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "team",
                "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(900),
            },
            "managedFields": [managed("helm", json!({
                "f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}},
                "f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
            }))],
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.10.20", "clusterIPs": ["10.96.10.20"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
            "selector": {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name},
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080},
                {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 8443, "nodePort": 30443},
            ],
        },
        "status": {"loadBalancer": {}},
    });
    if let Some(address) = address {
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(version(number, 1));
        meta["annotations"]["metallb.io/ip-allocated-from-pool"] = json!(format!("pool-{:03}", number / 256));
        let ours = managed(
            "herald-controller",
            json!({
                "f:metadata": {"f:annotations": {"f:metallb.io/ip-allocated-from-pool": {}}},
                "f:status": {"f:loadBalancer": {"f:ingress": {}}},
            }),
        );
        meta["managedFields"].as_array_mut().unwrap().push(ours);
        object["status"]["loadBalancer"] = json!({"ingress": [{"ip": address, "ipMode": "VIP"}]});
    }
    object
}
