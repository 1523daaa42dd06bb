//! What is missing when the daemons start: each is said in words, none ends a process, and each heals when it comes. A node name
//! that no Node object has is told on real kubelets (`tests/kubelet`), because the tokens here are bound to the Node.

use anyhow::{Result, ensure};
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
        name: "a_speaker_whose_clock_is_far_off_at_boot_waits_for_the_right_time",
        plan: one_node,
        story: |lab| Box::pin(wrong_clock(lab)),
    },
];

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

async fn no_definitions(lab: &mut Lab) -> Result<()> {
    for name in ["namespace.yaml", "rbac.yaml", "controller.yaml", "speaker.yaml"] {
        let file = repository().join("manifests").join(name).display().to_string();
        kubectl(lab, &["apply", "-f", &file]).await?;
    }
    lab.start_daemons().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        // The API server's own words for a group that it has never heard of; the line names the kind.
        says(lab, daemon, "404 page not found").await?;
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
