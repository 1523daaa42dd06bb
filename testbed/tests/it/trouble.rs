//! What is missing when the daemons start: each is said in words, none ends a process, and each heals when it comes.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::repository;
use testbed::process::run_to_end;

use crate::home::{FIRST, SOON, apply_sample};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "daemons_that_start_before_the_definitions_wait_for_them_and_go_on_by_themselves",
        plan: one_node,
        story: |lab| Box::pin(no_definitions(lab)),
    },
    Test {
        name: "a_speaker_without_a_node_object_says_so_and_announces_when_it_comes",
        plan: one_node,
        story: |lab| Box::pin(no_node(lab)),
    },
    Test {
        name: "a_speaker_whose_clock_is_far_off_at_boot_waits_for_the_right_time",
        plan: one_node,
        story: |lab| Box::pin(wrong_clock(lab)),
    },
];

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

async fn no_definitions(lab: &mut Lab) -> Result<()> {
    let definitions = repository().join("manifests/crds").display().to_string();
    lab.cluster().apply_manifests().await?;
    kubectl(lab, &["delete", "-f", &definitions]).await?;
    lab.start_daemons().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        says(lab, daemon, "could not find the requested resource").await?;
    }
    let waits = readiness(lab, Daemon::Speaker).await?;
    ensure!(waits.contains("bgppeers"), "readiness does not name what it waits for: {waits}");
    lab.check_daemons()?;
    lab.cluster().apply_manifests().await?;
    eventually(SOON, "the sample to be accepted", async || apply_sample(lab, "home-network.yaml").await)
        .await?;
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

async fn no_node(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    apply_sample(lab, "home-network.yaml").await?;
    let mut node: Value = serde_json::from_str(&kubectl(lab, &["get", "node", "n1", "-o", "json"]).await?)
        .context("reading the Node object")?;
    let metadata = node["metadata"].as_object_mut().context("it has metadata")?;
    metadata.retain(|key, _| key == "name" || key == "labels");
    kubectl(lab, &["delete", "node", "n1"]).await?;
    lab.start_daemons().await?;
    says(lab, Daemon::Speaker, "there is no Node object of this name").await?;
    let waits = readiness(lab, Daemon::Speaker).await?;
    ensure!(waits.contains("there is no Node object named \"n1\""), "readiness says {waits}");
    lab.cluster().apply(&node.to_string()).await?;
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

/// A board without a battery starts in the past, where no certificate is valid yet, and NTP takes its time.
async fn wrong_clock(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    apply_sample(lab, "home-network.yaml").await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.set_clock("n1", daemon, "-900d")?;
    }
    lab.start_daemons().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        says(lab, daemon, "not valid yet").await?;
    }
    lab.check_daemons()?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.set_clock("n1", daemon, "+0")?;
    }
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

async fn says(lab: &Lab, daemon: Daemon, words: &str) -> Result<()> {
    eventually(SOON, &format!("the {} to say {words:?}", daemon.program()), async || {
        let log = lab.herald().process("n1", daemon)?.tail(200);
        ensure!(log.contains(words), "it says\n{log}");
        Ok(())
    })
    .await
    .map(drop)
}

/// What `/readyz?verbose` answers on the node.
async fn readiness(lab: &Lab, daemon: Daemon) -> Result<String> {
    let url = format!("http://127.0.0.1:{}/readyz?verbose", daemon.admin_port());
    let mut ask = lab.node("n1")?.namespace().command("curl");
    let answer = run_to_end(ask.args(["--silent", "--max-time", "2", &url])).await?;
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

async fn kubectl(lab: &Lab, words: &[&str]) -> Result<String> {
    let answer = lab.cluster().kubectl(words).await?;
    ensure!(answer.accepted, "kubectl {}: {}", words.join(" "), answer.text.trim());
    Ok(answer.text)
}
