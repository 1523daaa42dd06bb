//! The API server goes away, comes back, and forgets its history: nothing is withdrawn by that, and nothing is missed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::cluster::ClusterPlan;
use testbed::door::Passage;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;
use testbed::traffic::Traffic;

use crate::home::{FIRST, SOON, apply_sample, settle};
use crate::runner::Test;
use crate::witness::Witness;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "an_api_server_that_is_away_for_a_minute_withdraws_nothing",
        plan: || LabPlan { nodes: vec![1, 2], ..LabPlan::default() },
        story: |lab| Box::pin(away_for_a_minute(lab)),
    },
    Test {
        name: "an_api_server_that_restarts_without_its_history_is_followed_again",
        plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(restarts_without_history(lab)),
    },
    Test {
        name: "an_api_server_without_streaming_lists_is_followed_as_well",
        plan: || LabPlan {
            nodes: vec![1, 2],
            cluster: ClusterPlan { streaming_lists: false },
            data_path: false,
            ..LabPlan::default()
        },
        story: |lab| Box::pin(restarts_without_history(lab)),
    },
    Test {
        name: "a_speaker_whose_api_server_is_away_at_start_waits_and_then_announces",
        plan: || LabPlan { nodes: vec![1, 2, 3], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(away_at_start(lab)),
    },
    Test {
        name: "a_leader_that_has_to_read_services_anew_forgets_what_it_knew_and_moves_nothing",
        plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(away_for_less_than_a_lease(lab)),
    },
];

/// Longer than anything waits that has to come back.
const WATCHES_BACK: Duration = Duration::from_secs(60);

async fn away_for_a_minute(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    // Many calls spread over both paths, and kube-proxy may be ready on one node before the other.
    eventually(SOON, "the page by both paths", async || {
        for _ in 0..16 {
            lab.client().curl("http://10.0.4.1").await?;
        }
        Ok(())
    })
    .await?;
    let traffic = Traffic::begin(lab.client(), std::net::SocketAddr::new(FIRST, 80), 2).await?;
    lab.stop_api_server().await?;
    let away = Duration::from_secs(60);
    throughout(away, "the announcement", async || {
        lab.check_paths(FIRST, &["n1", "n2"]).await?;
        lab.client().curl("http://10.0.4.1").await.map(drop)
    })
    .await?;
    lab.check_daemons()?;
    lab.start_api_server().await?;
    // The loss of the last endpoint is seen again, and nothing was withdrawn before.
    lab.check_paths(FIRST, &["n1", "n2"]).await?;
    let loss = traffic.lap();
    drop(traffic);
    let outcome = "all paths stay";
    tell(Chapter::Api, "the API server is away for 60 s", outcome, Duration::ZERO, Cost::Measured(loss));
    ensure!(loss.lost == 0 && loss.broken == 0, "{loss}");
    lab.delete_pods("nginx", "n1").await?;
    let took = lab.wait_for_paths(FIRST, &[], WATCHES_BACK).await?;
    // The watches themselves are back within 3 s; the controllers that write the slice start with the API server.
    ensure!(took < Duration::from_secs(15), "{took:?}");
    let event = "the last pod goes right after that outage";
    tell(Chapter::Api, event, "all paths go", took, Cost::NotMeasured);
    lab.start_pod("nginx", "n2").await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    Ok(())
}

async fn restarts_without_history(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.stop_api_server().await?;
    lab.start_api_server().await?;
    lab.cluster().compact_history().await?;
    let second = lab.create_service("second", &ServicePlan::default()).await?;
    lab.start_pod("second", "n2").await?;
    let (addresses, _) = second.wait_for_addresses(1, WATCHES_BACK).await?;
    ensure!(addresses == ["10.0.4.2".parse::<std::net::IpAddr>()?], "{addresses:?}");
    let start = std::time::Instant::now();
    for address in addresses {
        lab.wait_for_paths(address, &["n1", "n2"], WATCHES_BACK).await?;
    }
    let event = "the API server comes back without its history (410 Gone)";
    let outcome = "a Service made meanwhile is announced, counted from its address on";
    tell(Chapter::Api, event, outcome, start.elapsed(), Cost::NotMeasured);
    // What was deleted around the restart is gone: Restarted must not leave ghosts.
    for node in ["n1", "n2"] {
        lab.node(node)?.door().cut();
    }
    second.delete().await?;
    lab.wait_for_paths("10.0.4.2".parse()?, &[], WATCHES_BACK).await?;
    lab.check_paths(FIRST, &["n1", "n2"]).await?;
    lab.check_daemons()
}

async fn away_at_start(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    apply_sample(lab, "home-network.yaml").await?;
    lab.node("n2")?.door().set(Passage::Refused);
    lab.node("n3")?.door().set(Passage::Held);
    lab.start_daemons().await?;
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    // Neither dies of it, and neither speaks before it knows what to say.
    throughout(Duration::from_secs(5), "silence of n2 and n3", async || {
        lab.check_paths(FIRST, &["n1"]).await
    })
    .await?;
    lab.check_daemons()?;
    lab.node("n2")?.door().set(Passage::Open);
    lab.node("n3")?.door().set(Passage::Open);
    lab.wait_for_paths(FIRST, &["n1", "n2", "n3"], WATCHES_BACK).await?;
    // Even a speaker that meets an absent server ends in order when it is told to.
    lab.kill_daemon("n3", Daemon::Speaker).await?;
    lab.node("n3")?.door().set(Passage::Held);
    lab.start_daemon("n3", Daemon::Speaker).await?;
    let status = lab.stop_daemon("n3", Daemon::Speaker).await?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// The server is away for too long to be resumed, and for less than a lease: it may have other data all the same.
async fn away_for_less_than_a_lease(lab: &mut Lab) -> Result<()> {
    let service = settle(lab, "n1").await?;
    let witness = Witness::start(lab.cluster().client());
    let log = lab.herald().process("n1", Daemon::Controller)?.log().to_owned();
    let terms = || -> Result<usize> {
        let text = std::fs::read_to_string(&log).context("reading the controller's log")?;
        Ok(text.matches("everything is read: giving addresses").count())
    };
    ensure!(terms()? == 1, "it begins with one term");
    lab.node("n1")?.door().set(Passage::Refused);
    throughout(Duration::from_secs(2), "the announcement", async || lab.check_paths(FIRST, &["n1"]).await)
        .await?;
    lab.node("n1")?.door().set(Passage::Open);
    eventually(SOON, "a new term", async || {
        let terms = terms()?;
        ensure!(terms == 2, "{terms} terms");
        Ok(())
    })
    .await?;
    // It has adopted what was there, and goes on giving.
    let second = lab.create_service("second", &ServicePlan::default()).await?;
    let (addresses, _) = second.wait_for_addresses(1, SOON).await?;
    ensure!(addresses == ["10.0.4.2".parse::<std::net::IpAddr>()?], "{addresses:?}");
    ensure!(service.addresses().await? == [FIRST], "the address was moved");
    witness.check()?;
    lab.check_daemons()
}
