//! What failures cost, on real parts: each is made, timed at the router's forwarding table, and counted by a client whose
//! requests go through router and kube-proxy. Each prints a line for `docs/failures.md`; the limits asserted here are
//! what is promised, with room for a busy machine only where nothing is promised.

mod backup;
mod bulk;
mod clients;
mod farewell;
mod neighbour;
mod pair;
mod power;
mod secret;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::network::router::RouterPlan;
use testbed::process::output;
use testbed::service::Service;
use testbed::traffic::{PATIENCE, Traffic};

use crate::home::{FIRST, SOON, install};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "failure_of_power_and_cables",
        plan: || LabPlan { nodes: vec![1, 2, 3, 4], ..LabPlan::default() },
        story: |lab| Box::pin(power::story(lab)),
    },
    Test {
        name: "failure_of_pods_and_speakers_under_load",
        plan: LabPlan::default,
        story: |lab| Box::pin(clients::story(lab)),
    },
    Test {
        name: "failure_of_one_neighbour_is_not_felt_by_another",
        plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(neighbour::story(lab)),
    },
    Test {
        name: "failure_of_a_node_that_is_drained_and_of_its_clock",
        plan: || LabPlan { nodes: vec![1, 2], ..LabPlan::default() },
        story: |lab| Box::pin(farewell::story(lab)),
    },
    Test {
        name: "failure_of_one_of_two_routers",
        plan: || LabPlan { nodes: vec![1, 2], ..LabPlan::default() },
        story: |lab| Box::pin(pair::story(lab)),
    },
    Test {
        name: "failure_of_a_password_that_is_changed",
        plan: || LabPlan {
            router: RouterPlan {
                extra: vec![format!("neighbor NODES password {}", secret::FIRST_PASSWORD)],
                ..RouterPlan::default()
            },
            ..LabPlan::default()
        },
        story: |lab| Box::pin(secret::story(lab)),
    },
    Test {
        name: "failure_of_the_store_that_is_put_back_from_a_backup",
        plan: LabPlan::default,
        story: |lab| Box::pin(backup::story(lab)),
    },
];

/// The long ones, which `cargo xtask soak` runs (it sets `HERALD_SOAK`).
pub(crate) const SOAK: &[Test] = &[Test {
    name: "soak_of_two_thousand_services",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(bulk::story(lab)),
}];

/// How long the client's requests go on after a change, so that what comes late is counted, too.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The sample's Service with policy Local and a pod on n1 and n2, requests running, and the router spreading connections
/// and not just clients.
async fn settle_with_traffic(lab: &mut Lab, downloads: usize) -> Result<Traffic> {
    install(lab).await?;
    begin_traffic(lab, downloads).await
}

/// The same where Herald is installed already.
async fn begin_traffic(lab: &mut Lab, downloads: usize) -> Result<Traffic> {
    let service = Service::existing(lab.cluster().client(), "nginx");
    for node in ["n1", "n2"] {
        lab.start_pod("nginx", node).await?;
    }
    let (addresses, _) = service.wait_for_addresses(1, SOON).await?;
    ensure!(addresses == [FIRST], "the Service got {addresses:?}");
    service.change(&json!({"spec": {"externalTrafficPolicy": "Local"}})).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    begin_traffic_by(lab, FIRST, downloads).await
}

/// Requests to an address that answers already, spread over all its paths.
async fn begin_traffic_by(lab: &Lab, address: IpAddr, downloads: usize) -> Result<Traffic> {
    let mut spread = lab.router().namespace().command("sysctl");
    output(spread.args(["-q", "-w", "net.ipv4.fib_multipath_hash_policy=1"])).await?;
    let traffic = Traffic::begin(lab.client(), SocketAddr::new(address, 80), downloads).await?;
    quiet(&traffic, downloads).await?;
    Ok(traffic)
}

/// Waits until nothing is lost any more, and begins to count anew.
async fn quiet(traffic: &Traffic, downloads: usize) -> Result<()> {
    traffic.lap();
    eventually(SOON, "a while without a lost request", async || {
        // A request that waits in vain is counted when it ends.
        tokio::time::sleep(2 * PATIENCE).await;
        let loss = traffic.lap();
        let running = usize::try_from(loss.downloads)? == downloads;
        ensure!(loss.requests > 10 && loss.lost == 0 && running, "{loss}");
        Ok(())
    })
    .await?;
    traffic.lap();
    Ok(())
}

/// Lets the consequences of a change come out.
async fn afterwards() {
    tokio::time::sleep(AFTERWARDS).await;
}
