//! Two thousand Services at once, and more changes in a minute than a cluster of that size has in a day.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::Lab;

use crate::home::{FIRST, SOON, apply_sample};

/// Made by hand, without selector: no controller writes their slices.
const MANY: usize = 2_000;
/// The sample's pool has room for 510.
const ROOM: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: home, namespace: metallb-system}
spec: {addresses: [10.0.4.0/23, 10.4.0.0/20], avoidBuggyIPs: true}
";
/// Requests under way at once.
const IN_FLIGHT: usize = 32;
/// How many paths change a second, and for how long. One label takes all away or gives them back; endpoints change as well, as
/// often as this machine's API server takes it.
const RATE: u64 = 1_000;
const MINUTE: Duration = Duration::from_secs(60);
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// All paths at once, with the time that a look at the router and a request of kubectl take.
const AT_ONCE: Duration = Duration::from_secs(5);
/// For everything that waits for the API server and not for Herald.
const LONG: Duration = Duration::from_secs(120);

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    lab.install_herald().await?;
    apply_sample(lab, "home-network.yaml").await?;
    lab.cluster().apply(ROOM).await?;
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let client = lab.cluster().client();
    for_all(0..MANY, |number| make(client.clone(), number)).await?;
    prefixes(lab, MANY + 1, LONG).await?;
    exclude(lab).await?;
    changes(lab, &client).await?;
    let start = delete_all(&client).await?;
    prefixes(lab, 1, LONG).await?;
    let took = start.elapsed();
    let event = format!("{MANY} Services are deleted at once");
    let outcome = "all their paths go, counted from the API server's answer on";
    tell(Chapter::Bulk, &event, outcome, took, Cost::NotMeasured);
    ensure!(took < AT_ONCE, "{event}: {took:?}");
    ensure!(lab.router().established().await?.contains(&IpAddr::from(lab.node("n1")?.plan().v4)));
    lab.check_daemons()
}

/// One label withdraws everything.
async fn exclude(lab: &Lab) -> Result<()> {
    for (word, left, change, outcome) in [
        (format!("{EXCLUDED}=true"), 0, "is excluded by its label", "all paths go"),
        (format!("{EXCLUDED}-"), MANY + 1, "is let in again", "all paths come back"),
    ] {
        let answer = lab.cluster().kubectl(&["label", "node", "n1", &word]).await?;
        ensure!(answer.accepted, "{}", answer.text);
        let took = prefixes(lab, left, LONG).await?;
        let event = format!("a node with {} paths {change}", MANY + 1);
        tell(Chapter::Bulk, &event, outcome, took, Cost::NotMeasured);
        ensure!(took < AT_ONCE, "{event}: {took:?}");
    }
    Ok(())
}

/// Labels the node or takes the label away, by turns, so often that the paths that come and go make up the rate. How many did.
async fn sway(client: Client) -> Result<u64> {
    let nodes = Api::<Node>::all(client);
    let turn = Duration::from_millis(MANY as u64 * 1_000 / RATE);
    let (start, mut turns) = (Instant::now(), 0_u32);
    while start.elapsed() < MINUTE {
        turns += 1;
        let value = if turns % 2 == 1 { json!("true") } else { json!(null) };
        let patch = Patch::Merge(json!({"metadata": {"labels": {EXCLUDED: value}}}));
        nodes.patch("n1", &PatchParams::default(), &patch).await.context("labelling the node")?;
        tokio::time::sleep_until((start + turn * turns).into()).await;
    }
    let patch = Patch::Merge(json!({"metadata": {"labels": {EXCLUDED: null}}}));
    nodes.patch("n1", &PatchParams::default(), &patch).await.context("taking the label away")?;
    Ok(u64::from(turns) * MANY as u64)
}

/// Paths come and go a thousand times a second, and beside that endpoints of all Services, as fast as the API server takes it.
async fn changes(lab: &mut Lab, client: &Client) -> Result<()> {
    let swaying = tokio::spawn(sway(client.clone()));
    let pid = lab.herald().process("n1", Daemon::Speaker)?.pid();
    let start = Instant::now();
    let mut done = 0_u64;
    while start.elapsed() < MINUTE {
        let due = start.elapsed().as_millis() as u64 * RATE / 1_000;
        if due <= done {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let batch = (due - done).min(RATE / 4);
        let numbers = (done..done + batch).map(|turn| (turn as usize % MANY, turn as usize / MANY % 2 == 1));
        let all: Vec<Result<()>> = stream::iter(numbers)
            .map(|(number, ready)| set_ready(client.clone(), number, ready))
            .buffer_unordered(IN_FLIGHT)
            .collect()
            .await;
        all.into_iter().collect::<Result<()>>()?;
        done += batch;
    }
    let rate = done / start.elapsed().as_secs().max(1);
    let paths = swaying.await.context("the task that labels the node")?? / MINUTE.as_secs();
    ensure!(paths >= RATE * 9 / 10, "{paths} changes of paths a second");
    for_all(0..MANY, |number| set_ready(client.clone(), number, true)).await?;
    let took = prefixes(lab, MANY + 1, LONG).await?;
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading the speaker's status")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim().to_owned();
    tell(
        Chapter::Bulk,
        &format!("{paths} paths and {rate} endpoints change each second for a minute, {MANY} Services"),
        &format!("the table is right again after the last change; peak memory of the speaker {peak}"),
        took,
        Cost::NotMeasured,
    );
    lab.check_daemons()
}

/// Waits until the router has so many prefixes of n1.
async fn prefixes(lab: &Lab, wanted: usize, limit: Duration) -> Result<Duration> {
    let neighbour = lab.node("n1")?.plan().v4.to_string();
    let ((), took) = eventually(limit, &format!("the router to have {wanted} prefixes"), async || {
        let text = lab.router().vtysh("show bgp ipv4 unicast summary json").await?;
        let summary: serde_json::Value = serde_json::from_str(&text)?;
        let found = summary["peers"][&neighbour]["pfxRcd"].as_u64();
        if found == Some(wanted as u64) { Ok(()) } else { bail!("it has {found:?}") }
    })
    .await?;
    Ok(took)
}

async fn for_all<F: Future<Output = Result<()>>>(
    numbers: std::ops::Range<usize>,
    work: impl Fn(usize) -> F,
) -> Result<()> {
    let all: Vec<Result<()>> = stream::iter(numbers).map(work).buffer_unordered(IN_FLIGHT).collect().await;
    all.into_iter().collect()
}

async fn make(client: Client, number: usize) -> Result<()> {
    let name = format!("bulk-{number}");
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"test": "bulk"}},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]},
    }))?;
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name, "test": "bulk"}},
        "addressType": "IPv4", "ports": [{"port": 80}],
        "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": true}}],
    }))?;
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &service).await?;
    Api::default_namespaced(client).create(&PostParams::default(), &slice).await?;
    Ok(())
}

async fn set_ready(client: Client, number: usize, ready: bool) -> Result<()> {
    let endpoints = json!([{"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": ready}}]);
    let slices = Api::<EndpointSlice>::default_namespaced(client);
    let patch = Patch::Merge(json!({"endpoints": endpoints}));
    slices.patch(&format!("bulk-{number}"), &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn delete_all(client: &Client) -> Result<Instant> {
    let ours = ListParams::default().labels("test=bulk");
    let services = Api::<Service>::default_namespaced(client.clone());
    services.delete_collection(&DeleteParams::default(), &ours).await.context("deleting the Services")?;
    Ok(Instant::now())
}
