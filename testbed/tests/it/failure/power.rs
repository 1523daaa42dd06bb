//! Nodes lose their power, and cables are cut: noticed by the hold timer, or by BFD.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::eventually;
use testbed::lab::Lab;

use super::{afterwards, quiet, settle_with_traffic};
use crate::bfd::{profile, start_bfdd};
use crate::home::{FIRST, SOON};

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    let mut bfdd = start_bfdd(lab).await?;
    let traffic = settle_with_traffic(lab, 0).await?;

    for (hold, promised) in [(9, 9_500), (15, 15_500)] {
        set_peer(lab, &format!(r#""holdTime":"{hold}s","keepaliveTime":"{}s""#, hold / 3), hold).await?;
        quiet(&traffic, 0).await?;
        lab.router().set_cable("n2", false).await?;
        let took = lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
        afterwards().await;
        let loss = traffic.lap();
        let event = format!("the cable of a node is cut, hold time {hold} s");
        tell(Chapter::Nodes, &event, "the path by it goes", took, Cost::Measured(loss));
        ensure!(took < Duration::from_millis(promised) + LOOKING, "{event}: {took:?}");
        lab.router().set_cable("n2", true).await?;
        let back = lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
        tell(Chapter::Nodes, "the cable is back", "the path comes back", back, Cost::NotMeasured);
    }

    lab.cluster().apply(&profile(300)).await?;
    set_peer(lab, r#""bfdProfile":"fast""#, 15).await?;
    eventually(SOON, "BFD to be up at the router", async || {
        let peers = lab.router().vtysh("show bfd peers brief").await?;
        let up = peers.lines().filter(|line| line.contains(" up")).count();
        ensure!(up >= 3, "{peers}");
        Ok(())
    })
    .await?;
    quiet(&traffic, 0).await?;
    let start = Instant::now();
    lab.cut_power("n2").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let took = start.elapsed();
    afterwards().await;
    let loss = traffic.lap();
    let event = "a node loses its power, BFD at 300 ms × 3";
    tell(Chapter::Nodes, event, "the path by it goes", took, Cost::Measured(loss));
    ensure!(took < Duration::from_secs(1) + LOOKING, "{event}: {took:?}");
    bfdd.check_running()?;
    lab.check_daemons()
}

/// Looking at the router takes a process each time.
const LOOKING: Duration = Duration::from_millis(700);

async fn set_peer(lab: &Lab, fields: &str, hold: u32) -> Result<()> {
    let patch = format!(r#"{{"spec":{{{fields}}}}}"#);
    let words = [
        "patch",
        "bgppeers.metallb.io",
        "router",
        "-n",
        testbed::HERALD_NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    let answer = lab.cluster().kubectl(&words).await?;
    ensure!(answer.accepted, "{}", answer.text);
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
    .await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    Ok(())
}
