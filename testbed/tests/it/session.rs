//! What a single session must bear: a password, a cable that is pulled, a speaker that hangs.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::network::router::RouterPlan;

use crate::home::{FIRST, SOON, install, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "a_session_with_a_password_follows_its_secret",
        plan: || LabPlan {
            nodes: vec![1],
            router: RouterPlan {
                extra: vec!["neighbor NODES password open-sesame".into()],
                ..RouterPlan::default()
            },
            data_path: false,
            ..LabPlan::default()
        },
        story: |lab| Box::pin(password(lab)),
    },
    Test {
        name: "tcp_ao_that_this_kernel_refuses_or_this_router_ignores_is_said_in_words",
        plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(tcp_ao(lab)),
    },
    Test {
        name: "a_cable_that_was_pulled_is_noticed_and_forgiven",
        plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(cable(lab)),
    },
    Test {
        name: "a_speaker_that_hangs_loses_its_routes_until_it_goes_on",
        plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(hanging(lab)),
    },
];

/// Herald proposes a hold time of 15 s; the router needs a moment to act on it.
const HOLD_TIME: Duration = Duration::from_secs(25);

async fn password(lab: &mut Lab) -> Result<()> {
    install(lab).await?;
    lab.start_pod("nginx", "n1").await?;
    set_password(lab, "wrong").await?;
    patch_peer(lab, r#"{"spec":{"passwordSecret":{"name":"router"}}}"#).await?;
    throughout(Duration::from_secs(3), "no session with a wrong password", async || {
        let up = lab.router().established().await?;
        ensure!(up.is_empty(), "established: {up:?}");
        Ok(())
    })
    .await?;
    set_password(lab, "open-sesame").await?;
    let took = lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let outcome = "no session until the Secret is right; then the path comes";
    tell(Chapter::Routers, "a wrong MD5 password is put right", outcome, took, Cost::NotMeasured);
    rotate(lab).await
}

/// A new password at the router, for which FRR ends the session by itself; it is back when the Secret has it, too.
async fn rotate(lab: &Lab) -> Result<()> {
    let at_the_router = "configure terminal\nrouter bgp 65530\nneighbor NODES password sesame-open";
    lab.router().vtysh(at_the_router).await?;
    eventually(SOON, "the router to end the session of the old password", async || {
        let up = lab.router().established().await?;
        if up.is_empty() { Ok(()) } else { bail!("established: {up:?}") }
    })
    .await?;
    set_password(lab, "sesame-open").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let sessions = lab.router().established().await?;
    ensure!(sessions.len() == 1, "{sessions:?}");
    Ok(())
}

/// FRR has no TCP-AO: where the node's kernel has it, nothing that the router says is heard; where it has not, the
/// refusal is seen. Without the key the session comes up again.
async fn tcp_ao(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, type: kubernetes.io/basic-auth, metadata: {{name: ao, namespace: {}}}, \
         stringData: {{password: master, sendID: '1', recvID: '2', algorithm: hmac-sha-1-96}}}}",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&secret).await?;
    patch_peer(lab, r#"{"spec":{"tcpAOSecret":{"name":"ao"}}}"#).await?;
    let refusal = "this node's kernel has no TCP-AO (it needs Linux 6.7 with CONFIG_TCP_AO): run a kernel that has it, or \
                   sign with TCP MD5 (passwordSecret in place of tcpAOSecret)";
    let silence = "(a different TCP-AO key, algorithm, sendID or recvID looks like this)";
    let mut seen = String::new();
    eventually(SOON, "the words of the kernel's answer", async || {
        let answer = lab.speakerctl(&["peers", "-o", "yaml"]).await?;
        // YAML folds long texts.
        seen = answer.text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(seen.contains(refusal) || seen.contains(silence), "{}", answer.text);
        Ok(())
    })
    .await?;
    let has_it = seen.contains(silence);
    println!("this kernel {} TCP-AO, and that is what was checked", if has_it { "has" } else { "has no" });
    if let Some(configured) = kernel_configuration().await? {
        let claimed = configured.lines().any(|line| line == "CONFIG_TCP_AO=y");
        ensure!(claimed == has_it, "the kernel's configuration and its answer differ");
    }
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    let words = if has_it { silence } else { refusal };
    eventually(SOON, "the SpeakerState to say the same", async || {
        let get = ["get", "speakerstates.herald-lb.io", "n1", "-n", testbed::HERALD_NAMESPACE, "-o", "json"];
        let answer = lab.cluster().kubectl(&get).await?;
        ensure!(answer.accepted && answer.text.contains(words), "{}", answer.text);
        Ok(())
    })
    .await?;
    patch_peer(lab, r#"{"spec":{"tcpAOSecret":null}}"#).await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

/// What the kernel was built with, where it says so.
async fn kernel_configuration() -> Result<Option<String>> {
    if !std::path::Path::new("/proc/config.gz").exists() {
        return Ok(None);
    }
    testbed::process::output(tokio::process::Command::new("zcat").arg("/proc/config.gz")).await.map(Some)
}

pub(crate) async fn patch_peer(lab: &Lab, patch: &str) -> Result<()> {
    let namespace = testbed::HERALD_NAMESPACE;
    let words = ["patch", "bgppeers.metallb.io", "router", "-n", namespace, "--type=merge", "-p", patch];
    let answer = lab.cluster().kubectl(&words).await?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(())
}

/// Waits until the router has agreed with every node on a hold time, in seconds.
pub(crate) async fn wait_for_hold_time(lab: &Lab, hold: u32) -> Result<()> {
    eventually(SOON, "all sessions to agree on the hold time", async || {
        let text = lab.router().vtysh("show bgp neighbors json").await?;
        let neighbours: serde_json::Value = serde_json::from_str(&text)?;
        for node in lab.nodes() {
            let state = &neighbours[node.plan().v4.to_string()];
            let agreed = state["bgpTimerHoldTimeMsecs"] == hold * 1_000;
            ensure!(state["bgpState"] == "Established" && agreed, "{}: {state}", node.name());
        }
        Ok(())
    })
    .await
    .map(drop)
}

pub(crate) async fn set_password(lab: &Lab, password: &str) -> Result<()> {
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, type: kubernetes.io/basic-auth, \
         metadata: {{name: router, namespace: {}}}, stringData: {{password: {password}}}}}",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&secret).await.map(drop)
}

async fn cable(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.router().set_cable("n2", false).await?;
    lab.wait_for_paths(FIRST, &["n1"], HOLD_TIME).await?;
    lab.router().set_cable("n2", true).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    lab.check_daemons()
}

async fn hanging(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.freeze_daemon("n2", Daemon::Speaker, true)?;
    let took = lab.wait_for_paths(FIRST, &["n1"], HOLD_TIME).await?;
    let event = "a speaker hangs (SIGSTOP), hold time 15 s";
    tell(Chapter::Speaker, event, "the path by its node goes", took, Cost::NotMeasured);
    lab.freeze_daemon("n2", Daemon::Speaker, false)?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    let session: IpAddr = lab.node("n2")?.plan().v4.into();
    eventually(SOON, "the session to be back", async || {
        let up = lab.router().established().await?;
        if up.contains(&session) { Ok(()) } else { bail!("{up:?}") }
    })
    .await?;
    lab.check_daemons()
}
