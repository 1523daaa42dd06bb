//! The lab itself, without Herald: what the other tests stand on.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::door::Passage;
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "packets_reach_pods_by_a_load_balancer_address",
        plan: || LabPlan { nodes: vec![1, 4], ..LabPlan::default() },
        story: |lab| Box::pin(packets_reach_pods(lab)),
    },
    Test {
        name: "the_door_to_the_api_server_opens_and_shuts",
        plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(the_door(lab)),
    },
];

const SOON: Duration = Duration::from_secs(20);

/// A static route and a status written by hand stand in for Herald.
async fn packets_reach_pods(lab: &mut Lab) -> Result<()> {
    let (v4, v6): (IpAddr, IpAddr) = ("10.0.4.1".parse()?, "fd00:10:4::1".parse()?);
    let web = lab.create_service("web", &ServicePlan { dual_stack: true, ..ServicePlan::default() }).await?;
    lab.start_pod("web", "n4").await?;
    web.write_addresses(&[v4, v6]).await?;
    eventually(SOON, "the endpoint slice", async || {
        let nodes = web.ready_nodes().await?;
        if nodes == ["n4"] { Ok(()) } else { bail!("ready on {nodes:?}") }
    })
    .await?;
    // By node 1, where no pod is: kube-proxy sends it on to node 4.
    let n1 = lab.node("n1")?.plan().clone();
    lab.router().add_static_route("10.0.4.1/32", n1.v4.into()).await?;
    lab.router().add_static_route("fd00:10:4::1/128", n1.v6.into()).await?;
    for (url, seen) in [("http://10.0.4.1", n1.v4.to_string()), ("http://[fd00:10:4::1]", n1.v6.to_string())] {
        let (page, _) = eventually(SOON, "the page", async || lab.client().curl(url).await).await?;
        ensure!(page.contains("hello from web-"), "{page}");
        // Cluster policy: the pod sees the node that passed it on (by its pod-side or LAN address).
        ensure!(!page.contains("192.168.88.10") && !page.contains("fd00:10:0:88::10"), "{url} from {seen}: {page}");
    }
    // Local policy, straight to the pod's node: the pod sees the client.
    web.change(&serde_json::json!({"spec": {"externalTrafficPolicy": "Local"}})).await?;
    let n4 = lab.node("n4")?.plan().clone();
    lab.router().namespace().ip(&format!("route replace 10.0.4.1/32 via {}\n", n4.v4)).await?;
    lab.router().namespace().ip(&format!("route replace fd00:10:4::1/128 via {}\n", n4.v6)).await?;
    for (url, client) in [("http://10.0.4.1", "192.168.88.10"), ("http://[fd00:10:4::1]", "fd00:10:0:88::10")] {
        eventually(SOON, "the page with the client's address", async || {
            let page = lab.client().curl(url).await?;
            if page.contains(client) { Ok(()) } else { bail!("{page}") }
        })
        .await?;
    }
    Ok(())
}

async fn the_door(lab: &mut Lab) -> Result<()> {
    let node = lab.node("n1")?;
    let ask = async || {
        let mut curl = node.namespace().command("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--max-time", "1", "https://127.0.0.1:6443/livez"]);
        testbed::process::output(&mut curl).await
    };
    ensure!(ask().await? == "ok");
    for shut in [Passage::Refused, Passage::Held] {
        node.door().set(shut);
        ensure!(ask().await.is_err(), "{shut:?} lets a request through");
        node.door().set(Passage::Open);
        ensure!(ask().await? == "ok", "after {shut:?}");
    }
    node.door().cut();
    eventually(SOON, "the door to be open again", async || ask().await.map(drop)).await?;
    Ok(())
}
