//! Things restart: the router, a speaker in order, a speaker that was killed; and Herald is removed.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::chronicle;
use testbed::door::Passage;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::process::output;

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;
use crate::session::{patch_peer, wait_for_hold_time};
use crate::upgrade::ledger;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "a_router_that_restarts_gets_its_routes_again",
        plan: two_nodes,
        story: |lab| Box::pin(router_restarts(lab)),
    },
    Test {
        name: "a_router_that_restarts_without_a_word_is_dialled_long_before_the_hold_time",
        plan: two_nodes,
        story: |lab| Box::pin(router_loses_power(lab)),
    },
    Test {
        name: "a_speaker_that_restarts_in_order_loses_no_route",
        plan: two_nodes,
        story: |lab| Box::pin(speaker_restarts(lab, End::Ordered)),
    },
    Test {
        name: "a_speaker_that_is_killed_and_started_again_loses_no_route",
        plan: two_nodes,
        story: |lab| Box::pin(speaker_restarts(lab, End::Killed)),
    },
    Test {
        name: "a_speaker_whose_node_leaves_the_cluster_withdraws_its_routes",
        plan: two_nodes,
        story: |lab| Box::pin(node_leaves(lab)),
    },
    Test {
        name: "removing_herald_leaves_no_route_behind",
        plan: two_nodes,
        story: |lab| Box::pin(herald_is_removed(lab)),
    },
    Test {
        name: "a_speaker_whose_node_is_no_longer_wanted_withdraws_and_another_one_restarts",
        plan: two_nodes,
        story: |lab| Box::pin(node_is_no_longer_wanted(lab)),
    },
    Test {
        name: "a_speaker_that_is_killed_while_the_api_server_is_away_announces_again_and_loses_no_request",
        plan: || LabPlan { nodes: vec![1, 2], ..LabPlan::default() },
        story: |lab| Box::pin(starts_without_api_server(lab)),
    },
    Test {
        name: "a_controller_that_is_replaced_moves_no_address",
        plan: two_nodes,
        story: |lab| Box::pin(controller_is_replaced(lab)),
    },
];

/// What a withdrawal may take on a busy machine; the router waits 30 s for a restart (RFC 4724).
const AT_ONCE: Duration = Duration::from_secs(5);

/// Watches come back within their longest pause of 30 s.
const WATCHES_BACK: Duration = Duration::from_secs(60);

/// A connection is probed after 10 s of silence; then the speaker dials.
const PROBED: Duration = Duration::from_secs(25);

fn two_nodes() -> LabPlan {
    LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() }
}

enum End {
    Ordered,
    Killed,
}

async fn router_restarts(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.router_mut().power_off().await?;
    lab.check_paths(FIRST, &[]).await?;
    lab.router_mut().power_on().await?;
    let took = lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    let outcome = "all paths come back, counted from FRR's first answer on";
    chronicle::tell(
        chronicle::Chapter::Routers,
        "the router restarts",
        outcome,
        took,
        chronicle::Cost::NotMeasured,
    );
    lab.check_daemons()
}

/// Nothing of the router's end is left, and no packet said so: only who asks finds out.
async fn router_loses_power(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let fields = r#"{"spec":{"holdTime":"180s","keepaliveTime":"60s","enableGracefulRestart":false}}"#;
    patch_peer(lab, fields).await?;
    wait_for_hold_time(lab, 180).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    // What is still on its way would be sent again, and find out before a probe does.
    tokio::time::sleep(Duration::from_secs(2)).await;

    // The kernel's last words do not get through, and it gives them up soon.
    let mut brief = lab.router().namespace().command("sysctl");
    output(brief.args(["-q", "-w", "net.ipv4.tcp_orphan_retries=1"])).await?;
    for node in ["n1", "n2"] {
        lab.router().set_cable(node, false).await?;
    }
    lab.router_mut().power_off().await?;
    eventually(SOON, "the router's kernel to forget the connections", async || {
        let mut sockets = lab.router().namespace().command("ss");
        // What waits is left of the sessions before the hold time was changed.
        let filter = ["-Htan", "exclude", "time-wait", "( sport = :179 or dport = :179 )"];
        let left = output(sockets.args(filter)).await?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    })
    .await?;
    lab.router_mut().power_on().await?;
    for node in ["n1", "n2"] {
        lab.router().set_cable(node, true).await?;
    }
    let took = lab.wait_for_paths(FIRST, &["n1", "n2"], PROBED).await?;
    chronicle::tell(
        chronicle::Chapter::Routers,
        "the router loses its power and is back at once, hold time 180 s",
        "nothing said so; the nodes' kernels find out (a probe each 10 s), and all paths come back",
        took,
        chronicle::Cost::NotMeasured,
    );
    lab.check_daemons()
}

async fn speaker_restarts(lab: &mut Lab, end: End) -> Result<()> {
    settle(lab, "n1").await?;
    let session = lab.node("n2")?.plan().v4;
    match end {
        End::Ordered => {
            let status = lab.stop_daemon("n2", Daemon::Speaker).await?;
            ensure!(status.success(), "it ended with {status}");
        }
        End::Killed => lab.kill_daemon("n2", Daemon::Speaker).await?,
    }
    eventually(SOON, "the router to lose the session", async || {
        let up = lab.router().established().await?;
        if up.contains(&session.into()) { bail!("{up:?}") } else { Ok(()) }
    })
    .await?;
    lab.check_paths(FIRST, &["n1", "n2"]).await?;
    lab.start_daemon("n2", Daemon::Speaker).await?;
    eventually(SOON, "the session to be back", async || {
        lab.check_paths(FIRST, &["n1", "n2"]).await?;
        let up = lab.router().established().await?;
        if up.contains(&session.into()) { Ok(()) } else { bail!("{up:?}") }
    })
    .await?;
    // End-of-RIB ends the router's patience with stale routes; what was announced again must stay.
    throughout(Duration::from_secs(5), "the route by n2", async || {
        lab.check_paths(FIRST, &["n1", "n2"]).await
    })
    .await
}

async fn herald_is_removed(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let answer =
        lab.cluster().kubectl(&["delete", "daemonset", "speaker", "-n", testbed::HERALD_NAMESPACE]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    for node in ["n2", "n1"] {
        let status = lab.stop_daemon(node, Daemon::Speaker).await?;
        ensure!(status.success(), "the speaker of {node} ended with {status}");
    }
    // Far below the router's patience for a restart: they asked why they end, and withdrew.
    lab.wait_for_paths(FIRST, &[], AT_ONCE).await?;
    Ok(())
}

async fn node_is_no_longer_wanted(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    for node in ["n1", "n2"] {
        eventually(SOON, "the report of the session", async || {
            let report = speaker_state(lab, node).await?;
            if report.contains("Established") { Ok(()) } else { bail!("{report}") }
        })
        .await?;
    }
    let namespace = ["-n", testbed::HERALD_NAMESPACE];
    let select = r#"{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"n1"}}}}}"#;
    let patch = ["patch", "daemonset", "speaker", "--type=merge", "-p", select];
    let answer = lab.cluster().kubectl(&[&patch[..], &namespace[..]].concat()).await?;
    ensure!(answer.accepted, "{}", answer.text);
    for node in ["n2", "n1"] {
        let status = lab.stop_daemon(node, Daemon::Speaker).await?;
        ensure!(status.success(), "the speaker of {node} ended with {status}");
    }
    lab.wait_for_paths(FIRST, &["n1"], AT_ONCE).await?;
    // Nobody reports for n2 any more, and its last word is not the session that it had. On n1 a next one will report.
    let (left, stays) = (speaker_state(lab, "n2").await?, speaker_state(lab, "n1").await?);
    ensure!(left.contains(r#""removed": true"#) && !left.contains("Established"), "{left}");
    ensure!(!left.contains("10.0.4.1") && stays.contains("Established"), "{left}\n{stays}");
    // On n1 it was a restart, so its route stays while the router waits.
    throughout(Duration::from_secs(5), "the route by n1", async || lab.check_paths(FIRST, &["n1"]).await)
        .await
}

/// What a node's speaker reported last.
async fn speaker_state(lab: &Lab, node: &str) -> Result<String> {
    let get = ["get", "speakerstates.herald-lb.io", node, "-n", testbed::HERALD_NAMESPACE, "-o", "json"];
    let answer = lab.cluster().kubectl(&get).await?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(answer.text)
}

async fn starts_without_api_server(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    eventually(SOON, "the page", async || lab.client().curl("http://10.0.4.1").await).await?;
    let state = lab.node("n2")?.folder().join("speaker/state");
    let file = state.join(testbed::HERALD_NAMESPACE).join("plan");
    eventually(SOON, "the plan on file", async || {
        let text = std::fs::read_to_string(&file)?;
        if text.contains("10.0.4.1") { Ok(()) } else { bail!("{text}") }
    })
    .await?;
    let caller = lab.client().call(FIRST);
    lab.node("n2")?.door().set(Passage::Refused);
    lab.kill_daemon("n2", Daemon::Speaker).await?;
    lab.start_daemon("n2", Daemon::Speaker).await?;
    let session = lab.node("n2")?.plan().v4;
    let (_, took) = eventually(SOON, "the session without an API server", async || {
        lab.check_paths(FIRST, &["n1", "n2"]).await?;
        let up = lab.router().established().await?;
        if up.contains(&session.into()) { Ok(()) } else { bail!("{up:?}") }
    })
    .await?;
    println!("the session was back {took:?} after the start");
    let both = async || lab.check_paths(FIRST, &["n1", "n2"]).await;
    throughout(Duration::from_secs(5), "both paths without an API server", both).await?;
    let before = ledger(lab, "n2").await?;
    lab.node("n2")?.door().set(Passage::Open);
    let url = format!("http://127.0.0.1:{}/readyz", Daemon::Speaker.admin_port());
    eventually(WATCHES_BACK, "the speaker of n2 to be ready", async || {
        let mut ask = lab.node("n2")?.namespace().command("curl");
        output(ask.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "2", &url])).await
    })
    .await?;
    throughout(Duration::from_secs(5), "both paths", both).await?;
    let after = ledger(lab, "n2").await?;
    caller.end().await?.nothing_lost()?;
    after.ensure_same(&before)?;
    // What changed since is seen.
    lab.delete_pods("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    lab.check_daemons()
}

async fn node_leaves(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let answer = lab.cluster().kubectl(&["cordon", "n2"]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    throughout(Duration::from_secs(2), "the route by the cordoned n2", async || {
        lab.check_paths(FIRST, &["n1", "n2"]).await
    })
    .await?;
    let taint = ["taint", "node", "n2", "ToBeDeletedByClusterAutoscaler=now:NoSchedule"];
    let answer = lab.cluster().kubectl(&taint).await?;
    ensure!(answer.accepted, "{}", answer.text);
    // The router honours GRACEFUL_SHUTDOWN: it forwards elsewhere while the marked route is still there.
    let took = lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let (event, outcome) = ("a node is drained (the autoscaler's taint)", "the router forwards elsewhere");
    chronicle::tell(chronicle::Chapter::Nodes, event, outcome, took, chronicle::Cost::NotMeasured);
    eventually(SOON, "the speaker of n2 to withhold the Service", async || {
        let reasons = "jsonpath={.status.withheld[*].reason}";
        let answer = lab
            .cluster()
            .kubectl(&["get", "hss", "n2", "-n", testbed::HERALD_NAMESPACE, "-o", reasons])
            .await?;
        if answer.text == "draining" { Ok(()) } else { bail!("{}", answer.text) }
    })
    .await?;
    let answer = lab.cluster().kubectl(&["taint", "node", "n2", "ToBeDeletedByClusterAutoscaler-"]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    let answer = lab.cluster().kubectl(&taint).await?;
    ensure!(answer.accepted, "{}", answer.text);
    let status = lab.stop_daemon("n2", Daemon::Speaker).await?;
    ensure!(status.success(), "the speaker ended with {status}");
    lab.wait_for_paths(FIRST, &["n1"], Duration::from_secs(3)).await?;
    Ok(())
}

async fn controller_is_replaced(lab: &mut Lab) -> Result<()> {
    let service = settle(lab, "n1").await?;
    lab.start_daemon("n2", Daemon::Controller).await?;
    lab.kill_daemon("n1", Daemon::Controller).await?;
    // The second takes over when the lease of 15 s runs out.
    let second = lab.create_service("second", &testbed::service::ServicePlan::default()).await?;
    let (addresses, _) = second.wait_for_addresses(1, Duration::from_secs(40)).await?;
    ensure!(addresses == ["10.0.4.2".parse::<std::net::IpAddr>()?], "{addresses:?}");
    let kept = service.addresses().await?;
    ensure!(kept == [FIRST], "{kept:?}");
    lab.check_paths(FIRST, &["n1", "n2"]).await
}
