//! At most so many nodes announce an address: which ones, who takes a place that gets free, and that traffic never stops.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::{FIRST, SOON, settle, speaker_is_ready};
use crate::runner::Test;
use crate::why::advertise;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "at_most_so_many_nodes_announce_an_address_and_a_free_place_is_taken",
    plan: || LabPlan { nodes: vec![1, 2, 3], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(bounded(lab)),
}];

/// The scores of the nodes for the first address, from the best to the least: which, is part of the contract.
const BY_SCORE: [&str; 3] = ["n1", "n3", "n2"];

async fn bounded(lab: &mut Lab) -> Result<()> {
    settle(lab, "n2").await?;
    for node in BY_SCORE {
        speaker_is_ready(lab, node, true).await?;
    }
    advertise(lab, r#"{"spec":{"maxNodes":2}}"#).await?;
    lab.wait_for_paths(FIRST, &["n1", "n3"], SOON).await?;
    let told = ["NO  width", "this node is not among the 2 chosen of 3: n1, n3 (notChosen)"];
    says(lab, "n2", &told).await?;
    says(lab, "n1", &["ok  width", "is among the 2 chosen of 3: n1, n3"]).await?;

    // One of them goes: the third takes its place, and the other keeps its own throughout.
    lab.stop_daemon("n3", Daemon::Speaker).await?;
    speaker_is_ready(lab, "n3", false).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], HOLD).await?;

    // It comes back: its place is its own again, and at no moment are there fewer than two paths.
    lab.start_daemon("n3", Daemon::Speaker).await?;
    speaker_is_ready(lab, "n3", true).await?;
    let least = watch_until(lab, FIRST, &["n1", "n3"]).await?;
    ensure!(least.used >= 2, "there were moments with {least:?}");

    // A drain: whoever comes next announces before the node withdraws. The router turns away from the one that leaves as soon
    // as that one asks it to (RFC 8326), so for a moment it uses one path less than it knows.
    let taint = ["taint", "node", "n1", "ToBeDeletedByClusterAutoscaler=x:NoSchedule"];
    let answer = lab.cluster().kubectl(&taint).await?;
    ensure!(answer.accepted, "{}", answer.text);
    let least = watch_until(lab, FIRST, &["n2", "n3"]).await?;
    ensure!(least.used >= 1 && least.known >= 2, "there were moments with {least:?}");
    let answer = lab.cluster().kubectl(&["taint", "node", "n1", "ToBeDeletedByClusterAutoscaler-"]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    let least = watch_until(lab, FIRST, &["n1", "n3"]).await?;
    ensure!(least.used >= 2, "there were moments with {least:?}");

    // With policy Local only nodes with a ready endpoint count, and only those announce.
    let local = lab.create_service("local", &ServicePlan { local: true, ..ServicePlan::default() }).await?;
    lab.start_pod("local", "n2").await?;
    let (addresses, _) = local.wait_for_addresses(1, SOON).await?;
    let address = *addresses.first().context("one address")?;
    lab.wait_for_paths(address, &["n2"], SOON).await?;

    advertise(lab, r#"{"spec":{"maxNodes":null}}"#).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2", "n3"], SOON).await?;
    lab.check_daemons()
}

/// A speaker that was stopped for a restart leaves its routes to graceful restart, and these to the restart time.
const HOLD: Duration = Duration::from_secs(60);

/// The fewest paths of a time.
#[derive(Debug)]
struct Fewest {
    /// Over which the router forwards.
    used: usize,
    /// Which it has been told.
    known: usize,
}

/// Waits for these paths and says what the fewest were meanwhile.
async fn watch_until(lab: &Lab, address: IpAddr, nodes: &[&str]) -> Result<Fewest> {
    let mut least = Fewest { used: usize::MAX, known: usize::MAX };
    let found = eventually(SOON, "the paths to change hands", async || {
        least.used = least.used.min(lab.router().next_hops(address).await?.len());
        let told = lab.router().paths(&format!("{address}/32")).await?;
        let known = told["paths"].as_array().context("FRR lists paths")?.len();
        least.known = least.known.min(known);
        lab.check_paths(address, nodes).await
    })
    .await;
    found.map(|_| least)
}

async fn says(lab: &Lab, node: &str, words: &[&str]) -> Result<()> {
    eventually(SOON, "the speaker to say it", async || {
        let answer = lab.speakerctl_on(node, &["why", "nginx"]).await?;
        let missing: Vec<_> = words.iter().filter(|words| !answer.text.contains(**words)).collect();
        if missing.is_empty() { Ok(()) } else { bail!("without {missing:?}: {}", answer.text) }
    })
    .await
    .map(drop)
}
