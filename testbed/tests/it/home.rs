//! The story of `cargo demo`, and the state from which most other stories begin.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::demo::{self, Screen};
use testbed::lab::{Lab, LabPlan};
use testbed::machine::repository;
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

/// Applies a file of `manifests/samples` as it is.
pub(crate) async fn apply_sample(lab: &Lab, name: &str) -> Result<()> {
    let path = repository().join("manifests/samples").join(name);
    let yaml = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    lab.cluster().apply(&yaml).await.map(drop)
}
