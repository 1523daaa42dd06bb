//! Pools beside routers and pods, and a policy for all pools: what is around a pool changes while its addresses are in
//! use, and nobody loses one until somebody asks for that.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::service::{Service, ServicePlan};

use crate::home::SOON;
use crate::ipam::{condition, events, pool};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "ipam_routers_and_pods_are_kept_clear_of_and_only_a_policy_for_all_pools_renumbers",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(neighbours(lab)),
}];

async fn neighbours(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let pods = lab.node("n1")?.plan().pod_prefix_v4();
    for (name, spec) in [
        ("edge", "{addresses: [10.0.6.0/29], autoAssign: false}".to_owned()),
        ("pods", format!("{{addresses: [\"{pods}\"], autoAssign: false}}")),
        ("home", "{addresses: [10.0.4.0/30]}".to_owned()),
        ("kept", "{addresses: [10.0.5.0/30], autoAssign: false, editPolicy: Keep}".to_owned()),
    ] {
        set_pool(lab, name, &spec).await?;
    }
    lab.start_daemon("n1", Daemon::Controller).await?;
    let first = create(lab, "first", "address-pool", "edge").await?;
    shows(&first, "10.0.6.0").await?;
    let second = create(lab, "second", "address-pool", "edge").await?;
    shows(&second, "10.0.6.1").await?;
    pool_says(lab, "edge", "Overlapping", "False", "").await?;

    // A router comes: the pool says so at once, and its address is given to nobody.
    set_router(lab, "10.0.6.2").await?;
    let taken = "10.0.6.2 is the router of BGPPeer upstream and never handed out";
    pool_says(lab, "edge", "Overlapping", "True", taken).await?;
    let asks = create(lab, "asks", "loadBalancerIPs", "10.0.6.2").await?;
    service_says(lab, "asks", "False AvoidedAddress", "the router of BGPPeer upstream").await?;
    let third = create(lab, "third", "address-pool", "edge").await?;
    shows(&third, "10.0.6.3").await?;

    // It moves to an address that is in use: the Service keeps it, pool and Service say so, and who waited is served.
    set_router(lab, "10.0.6.1").await?;
    shows(&asks, "10.0.6.2").await?;
    shows(&second, "10.0.6.1").await?;
    service_says(lab, "second", "True AddressOutsidePool", "no pool would hand it out today").await?;
    pool_says(lab, "edge", "KeptAddresses", "True", "10.0.6.1 by default/second").await?;

    // The network of a node's pods is no pool, though somebody wrote one.
    let inside = pods.replace(".0/24", ".5");
    create(lab, "on-pods", "loadBalancerIPs", &inside).await?;
    service_says(lab, "on-pods", "False AvoidedAddress", "podCIDR of node n1").await?;
    create(lab, "in-pods", "address-pool", "pods").await?;
    service_says(lab, "in-pods", "False PoolExhausted", "pods").await?;
    pool_says(lab, "pods", "Overlapping", "True", "podCIDR of node n1").await?;

    // Edits move nothing, until all pools are told to renumber; a pool's own word counts more.
    let web = Service::create(lab.cluster().client(), "web", &ServicePlan::default()).await?;
    shows(&web, "10.0.4.0").await?;
    let stays = create(lab, "stays", "address-pool", "kept").await?;
    shows(&stays, "10.0.5.0").await?;
    set_pool(lab, "home", "{addresses: [10.0.4.16/30]}").await?;
    set_pool(lab, "kept", "{addresses: [10.0.5.16/30], autoAssign: false, editPolicy: Keep}").await?;
    for name in ["web", "stays"] {
        service_says(lab, name, "True AddressOutsidePool", "no pool would hand it out today").await?;
    }
    shows(&web, "10.0.4.0").await?;
    lab.stop_daemon("n1", Daemon::Controller).await?;
    lab.add_argument("n1", Daemon::Controller, "--edit-policy=Renumber");
    lab.start_daemon("n1", Daemon::Controller).await?;
    shows(&web, "10.0.4.16").await?;
    shows(&second, "10.0.6.4").await?;
    for (service, address) in [(&first, "10.0.6.0"), (&third, "10.0.6.3"), (&stays, "10.0.5.0")] {
        shows(service, address).await?;
    }
    eventually(SOON, "the reason of the move", async || {
        let told = events(lab, "ClearAssignment").await?;
        for (address, why) in
            [("10.0.4.0", "no pool holds it any more"), ("10.0.6.1", "it is the router of BGPPeer upstream")]
        {
            let of = |note: &&String| note.contains(&format!("Released IP [\"{address}\"]: {why}"));
            ensure!(told.iter().filter(of).count() == 1, "{address}: {told:?}");
        }
        Ok(())
    })
    .await?;
    lab.check_daemons()
}

async fn set_pool(lab: &Lab, name: &str, spec: &str) -> Result<()> {
    lab.cluster().apply(&pool(name, spec)).await.map(drop)
}

async fn set_router(lab: &Lab, address: &str) -> Result<()> {
    let peer = format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: upstream, namespace: {HERALD_NAMESPACE}}}\n\
         spec: {{myASN: 64500, peerASN: 64501, peerAddress: {address}}}\n"
    );
    lab.cluster().apply(&peer).await.map(drop)
}

/// A Service with one of MetalLB's annotations.
async fn create(lab: &Lab, name: &str, annotation: &str, value: &str) -> Result<Service> {
    let annotations = vec![(format!("metallb.io/{annotation}"), value.to_owned())];
    Service::create(lab.cluster().client(), name, &ServicePlan { annotations, ..ServicePlan::default() })
        .await
}

async fn shows(service: &Service, expected: &str) -> Result<()> {
    let expected: IpAddr = expected.parse()?;
    eventually(SOON, &format!("{} to show {expected}", service.name()), async || {
        let now = service.addresses().await?;
        if now == [expected] { Ok(()) } else { bail!("it shows {now:?}") }
    })
    .await
    .map(drop)
}

/// Status and reason of the condition, and a part of its sentence.
async fn service_says(lab: &Lab, name: &str, expected: &str, part: &str) -> Result<()> {
    eventually(SOON, &format!("{name} to say {expected}"), async || {
        let (status, reason, message) = condition(lab, name).await?;
        ensure!(
            format!("{status} {reason}") == expected && message.contains(part),
            "{status} {reason}: {message}"
        );
        Ok(())
    })
    .await
    .map(drop)
}

async fn pool_says(lab: &Lab, name: &str, condition: &str, status: &str, part: &str) -> Result<()> {
    eventually(SOON, &format!("pool {name} to say {condition}={status}"), async || {
        let path = format!(
            "jsonpath={{range .status.conditions[?(@.type==\"{condition}\")]}}{{.status}} {{.message}}{{end}}"
        );
        let arguments = ["get", "ipaddresspool", name, "-n", HERALD_NAMESPACE, "-o", &path];
        let said = lab.cluster().kubectl(&arguments).await?.text;
        ensure!(said.starts_with(&format!("{status} ")) && said.contains(part), "{said}");
        Ok(())
    })
    .await
    .map(drop)
}
