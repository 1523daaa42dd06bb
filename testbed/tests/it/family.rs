//! Internal and external BGP, IPv4 and IPv6, both traffic policies.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::network::NODE_AS;
use testbed::network::router::RouterPlan;
use testbed::service::{Service, ServicePlan};

use crate::home::{FIRST, SOON, apply_sample, settle};
use crate::runner::Test;
use crate::why::by_socket;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "external_bgp_announces_both_families_of_the_sample",
        plan: || LabPlan { nodes: vec![1, 4], ..LabPlan::default() },
        story: |lab| Box::pin(both_families(lab)),
    },
    Test {
        name: "internal_bgp_with_local_policy_follows_the_pods",
        plan: || LabPlan {
            nodes: vec![1, 2],
            router: RouterPlan { asn: NODE_AS, ..RouterPlan::default() },
            ..LabPlan::default()
        },
        story: |lab| Box::pin(internal_and_local(lab)),
    },
];

const INTERNAL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: both, namespace: metallb-system}
spec: {addresses: [10.0.4.0/23, 'fd00:10:0:4::/112'], avoidBuggyIPs: true}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router-v4, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64500, peerAddress: 10.0.2.1}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router-v6, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 64500, peerAddress: 'fd00:10:0:2::1'}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: everything, namespace: metallb-system}
spec: {localPref: 150, communities: ['64500:7']}
";

async fn both_families(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    apply_sample(lab, "dual-stack.yaml").await?;
    let service = Service::existing(lab.cluster().client(), "nginx-dual-stack");
    let (addresses, _) = service.wait_for_addresses(2, SOON).await?;
    ensure!(addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6), "{addresses:?}");
    for address in addresses {
        lab.wait_for_paths(address, &["n1", "n4"], SOON).await?;
        let url = url(address);
        let (page, _) = eventually(SOON, "the page", async || lab.client().curl(&url).await).await?;
        ensure!(page.contains("hello from nginx-"), "{url}: {page}");
    }
    // Each session carries one family, and that is all that there is to be told.
    by_socket(lab, "nginx-dual-stack", true, &["10.0.6.1/32 is sent", "fd00:10:0:6::/128 is sent"]).await?;
    let answer = lab.speakerctl_on("n1", &["routes", "--check"]).await?;
    ensure!(answer.accepted && !answer.text.contains("pending"), "{}", answer.text);
    lab.check_paths(FIRST, &["n1", "n4"]).await
}

async fn internal_and_local(lab: &mut Lab) -> Result<()> {
    lab.install_herald().await?;
    lab.cluster().apply(INTERNAL).await?;
    let plan = ServicePlan { local: true, dual_stack: true, ..ServicePlan::default() };
    let service = lab.create_service("web", &plan).await?;
    lab.start_pod("web", "n2").await?;
    let (addresses, _) = service.wait_for_addresses(2, SOON).await?;
    expect_local(lab, &addresses, "n2").await?;
    for address in &addresses {
        let paths =
            lab.router().paths(&format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })).await?;
        let path = &paths["paths"][0];
        ensure!(path["locPrf"] == 150 && path["aspath"]["string"] == "Local", "{address}: {path:#}");
        ensure!(path["community"]["string"] == "64500:7", "{address}: {path:#}");
    }
    // The pods move: first there is one on each node, then only the other.
    lab.start_pod("web", "n1").await?;
    for address in &addresses {
        lab.wait_for_paths(*address, &["n1", "n2"], SOON).await?;
    }
    lab.delete_pods("web", "n2").await?;
    expect_local(lab, &addresses, "n1").await?;
    // With policy Cluster every node announces, because each can pass it on.
    service.change(&json!({"spec": {"externalTrafficPolicy": "Cluster"}})).await?;
    for address in &addresses {
        lab.wait_for_paths(*address, &["n1", "n2"], SOON).await?;
    }
    Ok(())
}

/// Only this node is in the route, and the pod sees the client's own address.
async fn expect_local(lab: &Lab, addresses: &[IpAddr], node: &str) -> Result<()> {
    for address in addresses {
        lab.wait_for_paths(*address, &[node], SOON).await?;
        let client: IpAddr = if address.is_ipv4() {
            testbed::network::CLIENT_V4.into()
        } else {
            testbed::network::CLIENT_V6.into()
        };
        let url = url(*address);
        eventually(SOON, "the page with the client's address", async || {
            let page = lab.client().curl(&url).await?;
            if page.trim().ends_with(&format!("you are {client}")) { Ok(()) } else { bail!("{url}: {page}") }
        })
        .await?;
    }
    Ok(())
}

fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("http://{address}"),
        IpAddr::V6(address) => format!("http://[{address}]"),
    }
}
