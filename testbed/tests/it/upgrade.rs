//! A new speaker follows a running one: with the sessions handed over, and with whatever can come between.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::door::Passage;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::network::router::RouterPlan;
use testbed::service::ServicePlan;

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "an_upgrade_hands_the_sessions_over_and_a_router_without_graceful_restart_notices_nothing",
        plan: strict_router,
        story: |lab| Box::pin(sessions_change_hands(lab)),
    },
    Test {
        name: "an_upgrade_while_services_come_and_go_tells_the_difference_only",
        plan: strict_router,
        story: |lab| Box::pin(services_change_meanwhile(lab)),
    },
    Test {
        name: "an_upgrade_of_which_one_side_dies_half_way_loses_no_request",
        plan: || LabPlan { nodes: vec![1, 2], ..LabPlan::default() },
        story: |lab| Box::pin(one_side_dies(lab)),
    },
];

/// A router that forgets the routes of a session with the session.
fn strict_router() -> LabPlan {
    let extra = vec!["bgp graceful-restart-disable".to_owned()];
    LabPlan { nodes: vec![1, 2], router: RouterPlan { extra, ..RouterPlan::default() }, ..LabPlan::default() }
}

/// What a router counts about a session.
#[derive(Debug)]
pub(crate) struct Ledger {
    established: u64,
    dropped: u64,
    up_since: u64,
    updates: u64,
}

impl Ledger {
    /// Fails unless the session is the one that the router counted before.
    pub(crate) fn ensure_same_session(&self, before: &Self) -> Result<()> {
        let counts = |ledger: &Self| (ledger.established, ledger.dropped);
        let same = counts(self) == counts(before) && self.up_since.abs_diff(before.up_since) <= 1;
        ensure!(same, "the router counted {before:?} before and {self:?} after");
        Ok(())
    }

    /// Fails unless the router saw one session and no UPDATE since. When a session came up is worked out from two clocks
    /// anew each time, so that it may be a second off.
    pub(crate) fn ensure_same(&self, before: &Self) -> Result<()> {
        let counts = |ledger: &Self| (ledger.established, ledger.dropped, ledger.updates);
        let same = counts(self) == counts(before) && self.up_since.abs_diff(before.up_since) <= 1;
        ensure!(same, "the router counted {before:?} before and {self:?} after");
        Ok(())
    }
}

pub(crate) async fn ledger(lab: &Lab, node: &str) -> Result<Ledger> {
    let neighbour = lab.node(node)?.plan().v4.to_string();
    let text = lab.router().vtysh(&format!("show bgp neighbors {neighbour} json")).await?;
    let all: serde_json::Value = serde_json::from_str(&text).context("reading FRR's neighbour")?;
    let number = |path: &str| {
        all[&neighbour]
            .pointer(path)
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("{path} in {text}"))
    };
    Ok(Ledger {
        established: number("/connectionsEstablished")?,
        dropped: number("/connectionsDropped")?,
        up_since: number("/bgpTimerUpEstablishedEpoch")?,
        updates: number("/messageStats/updatesRecv")?,
    })
}

async fn sessions_change_hands(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    eventually(SOON, "the page", async || lab.client().curl("http://10.0.4.1").await).await?;
    let before = [ledger(lab, "n1").await?, ledger(lab, "n2").await?];
    let caller = lab.client().call(FIRST);
    for _ in 0..2 {
        for node in ["n2", "n1"] {
            let status = lab.upgrade_speaker(node).await?;
            ensure!(status.success(), "the speaker of {node} ended with {status}");
            lab.check_paths(FIRST, &["n1", "n2"]).await?;
        }
    }
    // Longer than the hold time: the successors keep the sessions alive by themselves.
    throughout(Duration::from_secs(20), "both paths", async || lab.check_paths(FIRST, &["n1", "n2"]).await)
        .await?;
    let tally = caller.end().await?;
    let after = [ledger(lab, "n1").await?, ledger(lab, "n2").await?];
    println!("{} requests answered, longest gap {:?}; {after:?}", tally.answered, tally.longest_gap);
    tally.nothing_lost()?;
    for (before, after) in before.iter().zip(&after) {
        after.ensure_same(before)?;
    }
    // The successor announces and withdraws as its own.
    lab.delete_pods("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    lab.start_pod("nginx", "n2").await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    // And this router does forget: an end without a successor shows at once.
    lab.stop_daemon("n2", Daemon::Speaker).await?;
    lab.wait_for_paths(FIRST, &["n1"], Duration::from_secs(5)).await?;
    Ok(())
}

async fn services_change_meanwhile(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let goes = lab.create_service("goes", &ServicePlan::default()).await?;
    lab.start_pod("goes", "n1").await?;
    goes.wait_for_addresses(1, SOON).await?;
    let second = "10.0.4.2".parse()?;
    lab.wait_for_paths(second, &["n1", "n2"], SOON).await?;
    let before = ledger(lab, "n2").await?;
    let caller = lab.client().call(FIRST);

    // The new one knows nothing yet when the cluster changes, and takes over when it does.
    lab.node("n2")?.door().set(Passage::Held);
    let waiting = lab.start_successor("n2").await?;
    goes.delete().await?;
    lab.wait_for_paths(second, &["n2"], SOON).await?;
    let comes = lab.create_service("comes", &ServicePlan::default()).await?;
    lab.start_pod("comes", "n2").await?;
    let (addresses, _) = comes.wait_for_addresses(1, SOON).await?;
    let [third] = addresses.as_slice() else { bail!("{addresses:?}") };
    lab.wait_for_paths(*third, &["n1"], SOON).await?;
    lab.node("n2")?.door().set(Passage::Open);
    let status = lab.finish_upgrade("n2", waiting).await?;
    ensure!(status.success(), "the old speaker ended with {status}");
    lab.wait_for_paths(*third, &["n1", "n2"], SOON).await?;
    lab.wait_for_paths(second, &[], SOON).await?;
    let after = ledger(lab, "n2").await?;
    caller.end().await?.nothing_lost()?;
    let one_session =
        before.established == after.established && before.up_since.abs_diff(after.up_since) <= 1;
    ensure!(one_session, "{before:?} {after:?}");
    let told = after.updates - before.updates;
    ensure!((1..=2).contains(&told), "{told} UPDATEs for one Service less and one more");
    lab.check_daemons()
}

async fn one_side_dies(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    eventually(SOON, "the page", async || lab.client().curl("http://10.0.4.1").await).await?;
    let before = ledger(lab, "n2").await?;
    let caller = lab.client().call(FIRST);

    // The new one dies while it waits: the old one goes on as if nothing had been.
    lab.node("n2")?.door().set(Passage::Held);
    let waiting = lab.start_successor("n2").await?;
    waiting.kill().await?;
    lab.node("n2")?.door().set(Passage::Open);
    let after = ledger(lab, "n2").await?;
    after.ensure_same(&before)?;

    // The old one dies while the new one waits: graceful restart carries the routes until the new one knows what it wants.
    lab.node("n2")?.door().set(Passage::Held);
    let waiting = lab.start_successor("n2").await?;
    lab.kill_daemon("n2", Daemon::Speaker).await?;
    lab.check_paths(FIRST, &["n1", "n2"]).await?;
    lab.node("n2")?.door().set(Passage::Open);
    lab.adopt_speaker("n2", waiting);
    let session = lab.node("n2")?.plan().v4;
    eventually(SOON, "the session of the new one", async || {
        let up = lab.router().established().await?;
        if up.contains(&session.into()) { Ok(()) } else { bail!("{up:?}") }
    })
    .await?;
    throughout(Duration::from_secs(5), "both paths", async || lab.check_paths(FIRST, &["n1", "n2"]).await)
        .await?;
    caller.end().await?.nothing_lost()?;
    lab.check_daemons()
}
