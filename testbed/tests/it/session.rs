//! What a single session must bear: a password, a cable that is pulled, a speaker that hangs.

use std::net::IpAddr;
use std::time::{Duration, Instant};

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
    let with_password = r#"{"spec":{"passwordSecret":{"name":"router"}}}"#;
    let patch = [
        "patch",
        "bgppeers.metallb.io",
        "router",
        "-n",
        testbed::HERALD_NAMESPACE,
        "--type=merge",
        "-p",
        with_password,
    ];
    let answer = lab.cluster().kubectl(&patch).await?;
    ensure!(answer.accepted, "{}", answer.text);
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

/// A new password: both sides end the session for it, so its price is the time between the two.
async fn rotate(lab: &Lab) -> Result<()> {
    let at_the_router = "configure terminal\nrouter bgp 65530\nneighbor NODES password sesame-open";
    lab.router().vtysh(at_the_router).await?;
    let began = Instant::now();
    eventually(SOON, "the router to end the session of the old password", async || {
        let up = lab.router().established().await?;
        if up.is_empty() { Ok(()) } else { bail!("established: {up:?}") }
    })
    .await?;
    set_password(lab, "sesame-open").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let outcome = "the session ends and begins anew with the new key; the path is back";
    let event = "the MD5 password is changed, at the router first and then in the Secret";
    tell(Chapter::Routers, event, outcome, began.elapsed(), Cost::NotMeasured);
    let sessions = lab.router().established().await?;
    ensure!(sessions.len() == 1, "{sessions:?}");
    Ok(())
}

async fn set_password(lab: &Lab, password: &str) -> Result<()> {
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
