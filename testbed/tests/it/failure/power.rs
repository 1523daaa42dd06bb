//! Nodes lose their power, and cables are cut: noticed by the hold timer, or by BFD.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::eventually;
use testbed::lab::Lab;
use testbed::traffic::Traffic;

use super::{afterwards, quiet, settle_with_traffic};
use crate::bfd::{profile, start_bfdd};
use crate::home::{FIRST, SOON};
use crate::session::{patch_peer, wait_for_hold_time};

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    let mut bfdd = start_bfdd(lab).await?;
    let traffic = settle_with_traffic(lab, 0).await?;
    for node in ["n3", "n4"] {
        lab.start_pod("nginx", node).await?;
    }
    let mut nodes = vec!["n1", "n2", "n3", "n4"];

    for (hold, promised) in [(9, 9_500), (15, 15_500)] {
        let fields = format!(r#""holdTime":"{hold}s","keepaliveTime":"{}s""#, hold / 3);
        set_peer(lab, &fields, hold, &nodes).await?;
        quiet(&traffic, 0).await?;
        lab.router().set_cable("n2", false).await?;
        let event = format!("the cable of a node is cut, hold time {hold} s");
        let promised = Duration::from_millis(promised) + LOOKING;
        let others: Vec<&str> = nodes.iter().copied().filter(|node| *node != "n2").collect();
        gone(lab, &traffic, &event, &others, promised).await?;
        lab.router().set_cable("n2", true).await?;
        let back = lab.wait_for_paths(FIRST, &nodes, SOON).await?;
        tell(Chapter::Nodes, "the cable is back", "the path comes back", back, Cost::NotMeasured);

        quiet(&traffic, 0).await?;
        lab.cut_power(nodes.pop().context("a node that is not needed any more")?).await?;
        let event = format!("a node loses its power, hold time {hold} s");
        gone(lab, &traffic, &event, &nodes, promised).await?;
    }

    lab.cluster().apply(&profile(300)).await?;
    set_peer(lab, r#""bfdProfile":"fast""#, 15, &nodes).await?;
    eventually(SOON, "BFD to be up at the router", async || {
        let peers = lab.router().vtysh("show bfd peers brief").await?;
        let up = peers.lines().filter(|line| line.contains(" up")).count();
        ensure!(up >= nodes.len(), "{peers}");
        Ok(())
    })
    .await?;
    quiet(&traffic, 0).await?;
    lab.cut_power("n2").await?;
    gone(
        lab,
        &traffic,
        "a node loses its power, BFD at 300 ms × 3",
        &["n1"],
        Duration::from_secs(1) + LOOKING,
    )
    .await?;
    bfdd.check_running()?;
    lab.check_daemons()
}

/// The router is to use the ways by these nodes alone, within that time: so long it took, and so much was lost.
async fn gone(lab: &Lab, traffic: &Traffic, event: &str, left: &[&str], promised: Duration) -> Result<()> {
    let took = lab.wait_for_paths(FIRST, left, SOON).await?;
    afterwards().await;
    let loss = traffic.lap();
    tell(Chapter::Nodes, event, "the path by it goes", took, Cost::Measured(loss));
    ensure!(took < promised, "{event}: {took:?}");
    Ok(())
}

/// Looking at the router takes a process each time.
const LOOKING: Duration = Duration::from_millis(700);

async fn set_peer(lab: &Lab, fields: &str, hold: u32, nodes: &[&str]) -> Result<()> {
    patch_peer(lab, &format!(r#"{{"spec":{{{fields}}}}}"#)).await?;
    wait_for_hold_time(lab, hold).await?;
    lab.wait_for_paths(FIRST, nodes, SOON).await?;
    Ok(())
}
