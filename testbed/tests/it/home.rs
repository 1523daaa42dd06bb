//! The story of `cargo demo`, and the state from which most other stories begin.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testbed::HERALD_NAMESPACE;
use testbed::demo::{self, Screen};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::repository;
use testbed::process::output;
use testbed::service::Service;

use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "the_demo_tells_its_story",
    plan: LabPlan::default,
    story: |lab| Box::pin(the_demo(lab)),
}];

/// For whatever has no timer of its own, on a machine with much else to do.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The first address of the sample's pool.
pub(crate) const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 4, 1));

async fn the_demo(lab: &mut Lab) -> Result<()> {
    let path = lab.logs().join("demo.log");
    let screen = Screen::writing_to(File::create(path).context("making the demo's log")?);
    demo::tell(lab, &screen).await
}

/// Herald is installed and the sample of the home network applied; nothing is waited for.
pub(crate) async fn install(lab: &mut Lab) -> Result<Service> {
    lab.install_herald().await?;
    apply_sample(lab, "home-network.yaml").await?;
    Ok(Service::existing(lab.cluster().client(), "nginx"))
}

/// Herald announces the sample's Service from all nodes, with one pod on `pod_node`.
pub(crate) async fn settle(lab: &mut Lab, pod_node: &str) -> Result<Service> {
    let service = install(lab).await?;
    lab.start_pod("nginx", pod_node).await?;
    let (addresses, _) = service.wait_for_addresses(1, SOON).await?;
    ensure!(addresses == [FIRST], "the Service got {addresses:?}");
    let nodes: Vec<String> = lab.nodes().map(|node| node.name().to_owned()).collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    lab.wait_for_paths(FIRST, &nodes, SOON).await?;
    Ok(service)
}

/// The Pod of a speaker and its readiness, as a kubelet would write them.
pub(crate) async fn speaker_is_ready(lab: &Lab, node: &str, ready: bool) -> Result<()> {
    if ready {
        eventually(SOON, "the speaker to be ready", async || {
            let mut curl = lab.node(node)?.namespace().command("curl");
            let url = format!("http://127.0.0.1:{}/readyz", Daemon::Speaker.admin_port());
            output(curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "2", &url])).await
        })
        .await?;
    }
    let pods = Api::<Pod>::namespaced(lab.cluster().client(), HERALD_NAMESPACE);
    let (name, by) = (format!("speaker-{node}"), PatchParams::apply("kubelet"));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "metallb", "component": "speaker"}},
        "spec": {"nodeName": node, "hostNetwork": true, "containers": [{"name": "speaker", "image": "herald"}]},
    });
    pods.patch(&name, &by, &Patch::Apply(&pod)).await.context("applying the speaker's Pod")?;
    let address = lab.node(node)?.plan().v4;
    let truth = if ready { "True" } else { "False" };
    let status = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": truth}, {"type": "ContainersReady", "status": truth}],
    }});
    pods.patch_status(&name, &by, &Patch::Apply(&status)).await.context("applying its status").map(drop)
}

/// Applies a file of `manifests/samples` as it is.
pub(crate) async fn apply_sample(lab: &Lab, name: &str) -> Result<()> {
    let path = repository().join("manifests/samples").join(name);
    let yaml = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    lab.cluster().apply(&yaml).await.map(drop)
}
