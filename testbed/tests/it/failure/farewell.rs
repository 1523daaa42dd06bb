//! A node is drained under load; the last way to a Service stays until there is another. And a clock that jumps.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::Lab;
use testbed::traffic::Traffic;

use super::{afterwards, quiet, settle_with_traffic};
use crate::home::{FIRST, SOON};

const TAINT: &str = "ToBeDeletedByClusterAutoscaler";
/// The notice of a drain is over after five seconds.
const PAST_THE_NOTICE: Duration = Duration::from_secs(8);
/// A path comes or goes within this, whatever the clock on the wall shows.
const PROMPT: Duration = Duration::from_secs(5);

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    // The library that bends a clock has to be there from the process's start on.
    lab.set_clock("n2", Daemon::Speaker, "+0")?;
    let traffic = settle_with_traffic(lab, 0).await?;
    clock_jumps(lab).await?;

    quiet(&traffic, 0).await?;
    shuts_down(lab, true).await?;
    drained(lab, &traffic, "the kubelet says that its node shuts down, under load").await?;
    shuts_down(lab, false).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    quiet(&traffic, 0).await?;
    taint(lab, "n1", true).await?;
    drained(lab, &traffic, "a node is drained under load (the autoscaler's taint)").await?;

    // The other node is left alone with it, and is to go as well.
    lab.delete_pods("nginx", "n1").await?;
    quiet(&traffic, 0).await?;
    taint(lab, "n2", true).await?;
    throughout(PAST_THE_NOTICE, "the last way to the Service", async || {
        ensure!(told(lab).await? == [lab.node("n2")?.plan().v4], "the router has lost it");
        Ok(())
    })
    .await?;
    let loss = traffic.lap();
    let event = "the node with the last ready endpoint is drained (ETP Local)";
    tell(Chapter::Nodes, event, "its path stays", Duration::ZERO, Cost::Measured(loss));
    ensure!(loss.lost == 0, "{loss}");
    taint(lab, "n1", false).await?;
    lab.start_pod("nginx", "n1").await?;
    let start = Instant::now();
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let took = start.elapsed();
    known(lab, &["n1"]).await?;
    afterwards().await;
    let loss = traffic.lap();
    let outcome = "the router changes over, and the routes by the drained node are withdrawn";
    // Nothing is promised here: that node's own kube-proxy may hear of the endpoint after the router does.
    tell(Chapter::Nodes, "a ready endpoint comes elsewhere", outcome, took, Cost::Measured(loss));

    taint(lab, "n2", false).await?;
    lab.start_pod("nginx", "n2").await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    // Whoever holds a finalizer on a Node, such as a cloud's or a fleet's controller, has something to do before it goes.
    finalizer(lab, "n1", json!(["herald-lb.io/test"])).await?;
    quiet(&traffic, 0).await?;
    let words = ["delete", "node", "n1", "--wait=false"];
    let answer = lab.cluster().kubectl(&words).await?;
    ensure!(answer.accepted, "{}", answer.text);
    drained(lab, &traffic, "a Node is being deleted, under load").await?;
    finalizer(lab, "n1", json!(null)).await?;
    lab.check_daemons()
}

/// n1 has begun to leave, n2 stays, and nothing is lost.
async fn drained(lab: &Lab, traffic: &Traffic, event: &str) -> Result<()> {
    let took = lab.wait_for_paths(FIRST, &["n2"], SOON).await?;
    known(lab, &["n2"]).await?;
    afterwards().await;
    let loss = traffic.lap();
    let outcome = "the router forwards elsewhere, and five seconds later the routes are withdrawn";
    tell(Chapter::Nodes, event, outcome, took, Cost::Measured(loss));
    ensure!(loss.lost == 0, "{event}: {loss}");
    Ok(())
}

/// As the kubelet tells that it ends all Pods because the machine goes off, or that it is back.
async fn shuts_down(lab: &Lab, off: bool) -> Result<()> {
    let (status, reason, message) = match off {
        true => ("False", "KubeletNotReady", "node is shutting down"),
        false => ("True", "KubeletReady", "kubelet is posting ready status"),
    };
    let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message});
    let patch = json!({"status": {"conditions": [condition]}});
    let nodes = Api::<Node>::all(lab.cluster().client());
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Strategic(&patch)).await?;
    Ok(())
}

async fn finalizer(lab: &Lab, node: &str, finalizers: Value) -> Result<()> {
    let patch = json!({"metadata": {"finalizers": finalizers}});
    let nodes = Api::<Node>::all(lab.cluster().client());
    nodes.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.context("patching the Node")?;
    Ok(())
}

/// NTP at last: two and a half years forth and back. Sessions go on, and the speaker still does its work.
async fn clock_jumps(lab: &mut Lab) -> Result<()> {
    for offset in ["+900d", "-900d", "+0"] {
        lab.set_clock("n2", Daemon::Speaker, offset)?;
        // Longer than the hold time of a third of 15 s that a broken timer would have.
        throughout(Duration::from_secs(6), "both paths", async || {
            lab.check_paths(FIRST, &["n1", "n2"]).await
        })
        .await?;
    }
    lab.set_clock("n2", Daemon::Speaker, "+900d")?;
    let pod = lab.pods().iter().find(|pod| pod.node() == "n2");
    let pod = pod.ok_or_else(|| anyhow::anyhow!("no pod on n2"))?;
    let start = Instant::now();
    pod.set_ready(lab.cluster().client(), false).await?;
    lab.wait_for_paths(FIRST, &["n1"], PROMPT).await?;
    let took = start.elapsed();
    pod.set_ready(lab.cluster().client(), true).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], PROMPT).await?;
    lab.set_clock("n2", Daemon::Speaker, "+0")?;
    let event = "the wall clock of a node jumps by 900 days, forth and back";
    let outcome = "all paths stay; a pod that becomes unready on that node";
    tell(Chapter::Nodes, event, outcome, took, Cost::NotMeasured);
    Ok(())
}

async fn taint(lab: &Lab, node: &str, tainted: bool) -> Result<()> {
    let word = if tainted { format!("{TAINT}=x:NoSchedule") } else { format!("{TAINT}-") };
    let answer = lab.cluster().kubectl(&["taint", "node", node, &word]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(())
}

/// Waits until the router has been told exactly these paths, used or not.
async fn known(lab: &Lab, nodes: &[&str]) -> Result<()> {
    let mut wanted = Vec::new();
    for node in nodes {
        wanted.push(lab.node(node)?.plan().v4);
    }
    eventually(SOON, &format!("the router to know {nodes:?}"), async || {
        let hops = told(lab).await?;
        ensure!(hops == wanted, "{hops:?}");
        Ok(())
    })
    .await
    .map(drop)
}

/// Where the paths lead that the router has been told.
async fn told(lab: &Lab) -> Result<Vec<Ipv4Addr>> {
    let told = lab.router().paths(&format!("{FIRST}/32")).await?;
    let paths = told["paths"].as_array().into_iter().flatten();
    let mut hops: Vec<Ipv4Addr> =
        paths.filter_map(|path| path["nexthops"][0]["ip"].as_str()?.parse().ok()).collect();
    hops.sort_unstable();
    Ok(hops)
}
