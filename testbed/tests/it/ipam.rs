//! Addresses never move: other writers, crashes at any moment, two controllers at once, many Services at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service as ServiceObject;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use testbed::HERALD_NAMESPACE;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::process::output;
use testbed::service::{Service, ServicePlan};

use crate::home::SOON;
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "ipam_a_rival_is_named_and_not_fought_and_the_address_is_back_when_it_stops",
        plan: one_node,
        story: |lab| Box::pin(rival(lab)),
    },
    Test {
        name: "ipam_killed_between_writes_gives_no_address_twice_and_moves_none",
        plan: one_node,
        story: |lab| Box::pin(killed(lab)),
    },
    Test {
        name: "ipam_of_two_controllers_a_paused_leader_writes_nothing_wrong",
        plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(paused(lab)),
    },
    Test {
        name: "ipam_a_thousand_services_cost_one_write_each_and_a_restart_none",
        plan: one_node,
        story: |lab| Box::pin(thousand(lab)),
    },
    Test {
        name: "ipam_wiped_released_reserved_and_overlapping_addresses_are_dealt_with",
        plan: one_node,
        story: |lab| Box::pin(daily_life(lab)),
    },
];

/// A lease runs for 15 s; the rest is for a busy machine.
const TAKEOVER: Duration = Duration::from_secs(40);
/// What k3s' ServiceLB writes: the address of a node.
const RIVAL_ADDRESS: &str = "10.0.3.254";

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

pub(crate) fn pool(name: &str, more: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: {HERALD_NAMESPACE}}}\nspec:\n  {more}\n"
    )
}

/// The manifests and one pool; no daemon runs.
async fn prepare(lab: &Lab, addresses: &str) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    lab.cluster().apply(&pool("home", &format!("addresses: [{addresses}]"))).await.map(drop)
}

async fn rival(lab: &mut Lab) -> Result<()> {
    prepare(lab, "10.0.4.0/24").await?;
    lab.start_daemon("n1", Daemon::Controller).await?;
    let service = lab.create_service("web", &ServicePlan::default()).await?;
    service.wait_for_addresses(1, SOON).await?;
    let given = service.addresses().await?;

    let fight = Duration::from_secs(25);
    let (writes, told) = tokio::join!(k3s(lab.cluster().client(), "web", fight), async {
        eventually(SOON, "the condition", async || condition(lab, "web").await).await
    });
    let writes = writes?;
    let ((status, reason, message), _) = told?;
    ensure!(
        (status.as_str(), reason.as_str()) == ("False", "ForeignLoadBalancerStatus"),
        "{status} {reason}"
    );
    ensure!(message.starts_with("k3s writes"), "{message}");
    println!("  in {fight:?} the rival wrote {writes} times");
    ensure!(writes <= 6, "{writes} writes of the rival in {fight:?}: that is a fight");
    let events = events(lab, "ForeignLoadBalancerStatus").await?;
    ensure!(events.len() == 1 && events[0].contains("k3s"), "{events:?}");

    let again = eventually(Duration::from_secs(90), "the address of the pool", async || {
        let now = service.addresses().await?;
        if now == given { Ok(()) } else { bail!("it shows {now:?}") }
    });
    let ((), took) = again.await?;
    println!("  the address was back {took:.1?} after the rival stopped");
    throughout(Duration::from_secs(10), "the address", async || {
        let now = service.addresses().await?;
        ensure!(now == given, "{now:?}");
        ensure!(condition(lab, "web").await.is_err(), "the condition is gone");
        Ok(())
    })
    .await?;

    // What a rival left while no controller ran is no address of ours, though our annotation is still there.
    lab.kill_daemon("n1", Daemon::Controller).await?;
    write_as(&services(&lab.cluster().client()), "web", "k3s", RIVAL_ADDRESS).await?;
    lab.start_daemon("n1", Daemon::Controller).await?;
    let ((), _) = eventually(TAKEOVER, "the address of the pool after a restart", async || {
        let now = service.addresses().await?;
        if now == given { Ok(()) } else { bail!("it shows {now:?}") }
    })
    .await?;
    lab.check_daemons()
}

/// Plays ServiceLB: whatever stands there is replaced by the address of a node. Returns how often that was.
async fn k3s(client: Client, name: &str, span: Duration) -> Result<u32> {
    let api = services(&client);
    let start = Instant::now();
    let mut writes = 0;
    while start.elapsed() < span {
        if addresses(&api.get(name).await?) != [RIVAL_ADDRESS.parse::<IpAddr>()?] {
            write_as(&api, name, "k3s", RIVAL_ADDRESS).await?;
            writes += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(writes)
}

async fn killed(lab: &mut Lab) -> Result<()> {
    prepare(lab, "10.0.4.0/24").await?;
    let client = lab.cluster().client();
    create_many(&client, "s", 0..60).await?;
    let mut history = History::default();
    for goal in [1, 20, 45] {
        lab.start_daemon("n1", Daemon::Controller).await?;
        // Looked at without a pause, so that the kill hits the burst of writes.
        let start = Instant::now();
        while history.look(&client).await? < goal {
            ensure!(start.elapsed() < TAKEOVER, "{goal} addresses within {TAKEOVER:?}");
        }
        lab.kill_daemon("n1", Daemon::Controller).await?;
        let written = history.look(&client).await?;
        println!("  killed with {written} of 60 addresses written");
    }
    lab.start_daemon("n1", Daemon::Controller).await?;
    eventually(TAKEOVER, "all addresses", async || {
        let given = history.look(&client).await?;
        if given == 60 { Ok(()) } else { bail!("{given} of 60") }
    })
    .await?;
    lab.check_daemons()
}

async fn paused(lab: &mut Lab) -> Result<()> {
    prepare(lab, "10.0.4.0/24").await?;
    let client = lab.cluster().client();
    for node in ["n1", "n2"] {
        lab.start_daemon(node, Daemon::Controller).await?;
    }
    let mut history = History::default();
    create_many(&client, "a", 0..20).await?;
    wait_for(&mut history, &client, 20).await?;

    let old = leader(lab).await?;
    lab.freeze_daemon(&old, Daemon::Controller, true)?;
    // Deleted while the leader sleeps: its memory is older than the world when it wakes.
    for number in 0..5 {
        services(&client).delete(&format!("a{number}"), &Default::default()).await?;
    }
    history.forget(|name| (0..5).any(|number| name == format!("a{number}")));
    create_many(&client, "b", 0..20).await?;
    let start = Instant::now();
    wait_for(&mut history, &client, 35).await?;
    println!("  the standby gave the last address {:.1?} after the leader was paused", start.elapsed());
    let new = leader(lab).await?;
    ensure!(new != old, "the standby leads");
    lab.freeze_daemon(&old, Daemon::Controller, false)?;
    create_many(&client, "c", 0..20).await?;
    wait_for(&mut history, &client, 55).await?;
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        history.look(&client).await?;
    }
    ensure!(leader(lab).await? == new, "the old leader stands by");

    let status = lab.stop_daemon(&new, Daemon::Controller).await?;
    ensure!(status.success(), "{new} ended with {status}");
    let start = Instant::now();
    create_many(&client, "d", 0..1).await?;
    wait_for(&mut history, &client, 56).await?;
    println!("  after SIGTERM the next address came in {:.1?}", start.elapsed());
    ensure!(start.elapsed() < Duration::from_secs(8), "a lease that was given back is taken at once");
    Ok(())
}

async fn thousand(lab: &mut Lab) -> Result<()> {
    const MANY: usize = 1000;
    prepare(lab, "10.0.8.0/21").await?;
    let client = lab.cluster().client();
    lab.start_daemon("n1", Daemon::Controller).await?;
    create_many(&client, "warm", 0..1).await?;
    let mut history = History::default();
    wait_for(&mut history, &client, 1).await?;
    let start = Instant::now();
    create_many(&client, "s", 0..MANY).await?;
    let created = start.elapsed();
    eventually(Duration::from_secs(120), "all addresses", async || {
        let given = history.look(&client).await?;
        if given == MANY + 1 { Ok(()) } else { bail!("{given}") }
    })
    .await?;
    println!(
        "  {MANY} Services: created in {created:.1?}, the last address {:.1?} after that",
        start.elapsed() - created
    );
    let written = writes(lab)?;
    ensure!(written == MANY + 1, "{written} writes for {} Services", MANY + 1);

    let api = services(&client);
    let start = Instant::now();
    stream::iter(0..MANY)
        .map(|number| {
            let api = api.clone();
            async move {
                let name = format!("s{number}");
                let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                    "status": {"conditions": [{"type": "testbed/Bare", "status": "True", "reason": "Bare",
                        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
                api.patch_status(&name, &PatchParams::apply("testbed"), &Patch::Apply(&body)).await
            }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    println!("  a bare loop of {MANY} status applies, 16 at a time: {:.1?}", start.elapsed());

    let status = lab.stop_daemon("n1", Daemon::Controller).await?;
    ensure!(status.success(), "it ended with {status}");
    lab.start_daemon("n1", Daemon::Controller).await?;
    create_many(&client, "last", 0..1).await?;
    wait_for(&mut history, &client, MANY + 2).await?;
    throughout(Duration::from_secs(3), "one write after a restart, for the new Service", async || {
        let since = writes(lab)? - written;
        if since == 1 { Ok(()) } else { bail!("{since} writes") }
    })
    .await?;
    lab.check_daemons()
}

async fn daily_life(lab: &mut Lab) -> Result<()> {
    prepare(lab, "10.0.4.0/29").await?;
    let node = lab.node("n1")?.plan().v4;
    let more = "addresses: [10.0.4.0/29]\n  excluded: [10.0.4.0]\n  reserved: [{address: 10.0.4.2, namespace: default, service: printer}]";
    lab.cluster().apply(&pool("home", more)).await?;
    lab.cluster().apply(&pool("second", "addresses: [10.0.4.4/30]")).await?;
    lab.cluster().apply(&pool("lan", &format!("addresses: [{node}/31]\n  autoAssign: false"))).await?;
    lab.cluster().apply(&pool("cluster", "addresses: [10.96.200.0/24]\n  autoAssign: false")).await?;
    lab.start_daemon("n1", Daemon::Controller).await?;
    let web = lab.create_service("web", &ServicePlan::default()).await?;
    let (first, _) = web.wait_for_addresses(1, SOON).await?;
    ensure!(first == ["10.0.4.1".parse::<IpAddr>()?], "{first:?}");

    // A tool that applies whole objects wipes the status: it is put back.
    for _ in 0..3 {
        web.write_addresses(&[]).await?;
        let (again, took) = web.wait_for_addresses(1, SOON).await?;
        ensure!(again == first, "{again:?}");
        println!("  a wiped status was back after {took:.1?}");
    }

    // Deleted and made again: the same address, and nobody else got it in between.
    web.delete().await?;
    let other = lab.create_service("other", &ServicePlan::default()).await?;
    let (others, _) = other.wait_for_addresses(1, SOON).await?;
    ensure!(others == ["10.0.4.3".parse::<IpAddr>()?], "10.0.4.1 rests, 10.0.4.2 is reserved: {others:?}");
    let web = lab.create_service("web", &ServicePlan::default()).await?;
    let (again, _) = web.wait_for_addresses(1, SOON).await?;
    ensure!(again == first, "{again:?}");
    let printer = lab.create_service("printer", &ServicePlan::default()).await?;
    let (reserved, _) = printer.wait_for_addresses(1, SOON).await?;
    ensure!(reserved == ["10.0.4.2".parse::<IpAddr>()?], "{reserved:?}");

    // Addresses of nodes and of the cluster are refused with the reason.
    for (name, address, why) in [
        ("on-node", node.to_string(), "the address of node n1"),
        ("on-cluster", "10.96.200.1".to_owned(), "ServiceCIDR"),
    ] {
        let annotations = vec![("metallb.io/loadBalancerIPs".to_owned(), address)];
        lab.create_service(name, &ServicePlan { annotations, ..ServicePlan::default() }).await?;
        let ((status, reason, message), _) =
            eventually(SOON, "the reason", async || condition(lab, name).await).await?;
        ensure!(
            status == "False" && reason == "AvoidedAddress" && message.contains(why),
            "{name}: {message}"
        );
    }
    // What the controller writes about itself goes with its Deployment.
    eventually(SOON, "the owner of the ConfigurationState", async || {
        let path = "jsonpath={.metadata.ownerReferences[*].kind}/{.metadata.ownerReferences[*].name}";
        let state = ["get", "configurationstate", "controller", "-n", HERALD_NAMESPACE, "-o", path];
        let answer = lab.cluster().kubectl(&state).await?;
        if answer.text.trim() == "Deployment/controller" { Ok(()) } else { bail!("{:?}", answer.text) }
    })
    .await?;
    for (name, condition, status) in [
        ("home", "Overlapping", "True"),
        ("second", "Accepted", "False"),
        ("second", "Overlapping", "True"),
        ("lan", "Overlapping", "True"),
        ("cluster", "Overlapping", "True"),
        ("cluster", "Exhausted", "False"),
    ] {
        eventually(SOON, &format!("{condition}={status} on pool {name}"), async || {
            let path = format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].status}}");
            let answer = lab
                .cluster()
                .kubectl(&["get", "ipaddresspool", name, "-n", HERALD_NAMESPACE, "-o", &path])
                .await?;
            if answer.text.trim() == status { Ok(()) } else { bail!("{:?}", answer.text) }
        })
        .await?;
    }
    metrics(lab).await?;
    lab.check_daemons()
}

/// MetalLB's names with true values, and Herald's own: 8 addresses of which one is excluded, three Services that have one,
/// and two that wait.
async fn metrics(lab: &Lab) -> Result<()> {
    const EXPECTED: [&str; 8] = [
        r#"metallb_allocator_addresses_total{pool="home"} 7"#,
        r#"metallb_allocator_ipv4_addresses_total{pool="home"} 7"#,
        r#"metallb_allocator_ipv6_addresses_total{pool="home"} 0"#,
        r#"metallb_allocator_addresses_in_use_total{pool="home"} 3"#,
        r#"metallb_allocator_services_allocated_total{pool="home"} 3"#,
        "metallb_k8s_client_config_loaded_bool 1",
        "metallb_k8s_client_config_stale_bool 1",
        r#"herald_services_waiting{reason="AvoidedAddress"} 2"#,
    ];
    eventually(SOON, "the metrics", async || {
        let mut curl = lab.node("n1")?.namespace().command("curl");
        let url = format!("http://127.0.0.1:{}/metrics", Daemon::Controller.admin_port());
        let text = output(curl.args(["--silent", "--fail", "--max-time", "2", &url])).await?;
        let missing: Vec<&&str> =
            EXPECTED.iter().filter(|line| !text.lines().any(|one| one == **line)).collect();
        ensure!(missing.is_empty(), "without {missing:?} in\n{text}");
        Ok(())
    })
    .await
    .map(drop)
}

/// Every address that each Service was seen with. An address that moves, or that two Services have, is an error.
#[derive(Default)]
struct History {
    seen: BTreeMap<String, Vec<IpAddr>>,
}

impl History {
    /// Looks at all Services; returns how many have an address.
    async fn look(&mut self, client: &Client) -> Result<usize> {
        let list = services(client).list(&ListParams::default()).await.context("listing Services")?;
        let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
        for object in &list.items {
            let name = object.metadata.name.clone().unwrap_or_default();
            let now = addresses(object);
            for address in &now {
                if let Some(other) = owners.insert(*address, name.clone()) {
                    bail!("{address} belongs to {other} and to {name}");
                }
            }
            if let Some(before) = self.seen.get(&name) {
                ensure!(*before == now, "{name} moved from {before:?} to {now:?}");
            }
            if !now.is_empty() {
                self.seen.insert(name, now);
            }
        }
        Ok(owners.values().collect::<BTreeSet<_>>().len())
    }

    fn forget(&mut self, gone: impl Fn(&str) -> bool) {
        self.seen.retain(|name, _| !gone(name));
    }
}

async fn wait_for(history: &mut History, client: &Client, count: usize) -> Result<()> {
    eventually(TAKEOVER, &format!("{count} addresses"), async || {
        let given = history.look(client).await?;
        if given == count { Ok(()) } else { bail!("{given}") }
    })
    .await
    .map(drop)
}

async fn create_many(client: &Client, name: &str, numbers: std::ops::Range<usize>) -> Result<()> {
    stream::iter(numbers)
        .map(|number| async move {
            Service::create(client.clone(), &format!("{name}{number}"), &ServicePlan::default()).await
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await
}

fn services(client: &Client) -> Api<ServiceObject> {
    Api::namespaced(client.clone(), "default")
}

fn addresses(object: &ServiceObject) -> Vec<IpAddr> {
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|row| row.ip.as_deref()?.parse().ok()).collect()
}

async fn write_as(api: &Api<ServiceObject>, name: &str, manager: &str, address: &str) -> Result<()> {
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
    api.patch_status(name, &params, &Patch::Merge(&status)).await.context("writing as a rival").map(drop)
}

/// Status, reason and message of Herald's condition.
pub(crate) async fn condition(lab: &Lab, name: &str) -> Result<(String, String, String)> {
    let object = services(&lab.cluster().client()).get(name).await?;
    let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
    let ours = conditions.into_iter().find(|condition| condition.type_ == "herald-lb.io/AddressAssigned");
    let ours = ours.context("the Service has no condition of Herald")?;
    Ok((ours.status, ours.reason, ours.message))
}

pub(crate) async fn events(lab: &Lab, reason: &str) -> Result<Vec<String>> {
    let list =
        Api::<Event>::namespaced(lab.cluster().client(), "default").list(&ListParams::default()).await?;
    let ours = list.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    Ok(ours.filter_map(|event| event.note).collect())
}

/// The node whose controller holds the lease.
async fn leader(lab: &Lab) -> Result<String> {
    let lease =
        Api::<Lease>::namespaced(lab.cluster().client(), HERALD_NAMESPACE).get("herald-controller").await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    let node = holder.split('-').next().unwrap_or_default().to_owned();
    ensure!(!node.is_empty(), "nobody holds the lease: {holder:?}");
    Ok(node)
}

/// How many writes of a Service's status the controllers of the first node have logged.
fn writes(lab: &Lab) -> Result<usize> {
    let log = lab.herald().process("n1", Daemon::Controller)?.log().to_owned();
    let text = std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    Ok(text.lines().filter(|line| line.contains("status written")).count())
}
