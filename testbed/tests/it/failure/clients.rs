//! Pods and speakers come and go while a client is being served.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::Lab;
use testbed::traffic::{Loss, Traffic};

use super::{afterwards, quiet, settle_with_traffic};
use crate::home::{FIRST, SOON};

/// Downloads that run beside the requests.
const DOWNLOADS: usize = 4;
/// How long a speaker stays away in a restart; routers wait 30 s.
const AWAY: Duration = Duration::from_secs(5);
/// Between the change of the Pod's status and the router's table lie the controllers of Kubernetes, a process that looks,
/// and a machine with much else to do.
const PROMPT: Duration = Duration::from_secs(5);

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    let traffic = settle_with_traffic(lab, DOWNLOADS).await?;
    unready(lab, &traffic).await?;
    rolling_update(lab, &traffic).await?;
    restart(lab, &traffic, "planned restart of a speaker (5 s)", End::Ordered).await?;
    restart(lab, &traffic, "speaker is killed (kill -9) and started 5 s later", End::Killed).await?;
    without_graceful_restart(lab, &traffic).await?;
    deleted(lab, &traffic).await?;
    drop(traffic);
    last_pod(lab).await?;
    lab.check_daemons()
}

/// A readiness probe fails: the pod itself still answers, so nothing is lost on the way.
async fn unready(lab: &mut Lab, traffic: &Traffic) -> Result<()> {
    quiet(traffic, DOWNLOADS).await?;
    set_ready(lab, "n2", false).await?;
    let took = lab.wait_for_paths(FIRST, &["n1"], PROMPT).await?;
    afterwards().await;
    let loss = traffic.lap();
    tell(
        Chapter::Pods,
        "a pod becomes unready (ETP Local)",
        "the path by its node goes",
        took,
        Cost::Measured(loss),
    );
    set_ready(lab, "n2", true).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    quiet(traffic, DOWNLOADS).await
}

/// As a Deployment does it: the new pod is ready before the old one is asked to end, and the old one serves on for a
/// while as its `preStop` hook wishes.
async fn rolling_update(lab: &mut Lab, traffic: &Traffic) -> Result<()> {
    let start = Instant::now();
    for node in ["n1", "n2"] {
        let old = lab.pods().iter().position(|pod| pod.node() == node).context("a pod on each node")?;
        let old = lab.pods()[old].name().to_owned();
        lab.start_pod("nginx", node).await?;
        afterwards().await;
        let (host, client) = (lab.node(node)?, lab.cluster().client());
        let pod = lab.pods().iter().find(|pod| pod.name() == old).context("the old pod")?;
        ensure!(pod.is_target(host).await?, "nothing was sent to {old}");
        pod.terminate(client).await?;
        // As long as a `preStop` hook has to wait: how long that is depends on what else the machine does.
        eventually(SOON, "kube-proxy to send nothing new to the old pod", async || {
            if pod.is_target(host).await? { bail!("{old} is in its rules") } else { Ok(()) }
        })
        .await?;
        afterwards().await;
        lab.delete_pod(&old).await?;
        lab.check_paths(FIRST, &["n1", "n2"]).await?;
    }
    let took = start.elapsed();
    afterwards().await;
    let loss = traffic.lap();
    tell(Chapter::Pods, "rolling update of two pods", "all paths stay", took, Cost::Measured(loss));
    // The downloads from pods that end do break; requests must not.
    ensure!(loss.lost == 0, "{loss}");
    quiet(traffic, DOWNLOADS).await
}

enum End {
    Ordered,
    Killed,
}

async fn restart(lab: &mut Lab, traffic: &Traffic, event: &str, end: End) -> Result<()> {
    quiet(traffic, DOWNLOADS).await?;
    let loss = restart_with(lab, traffic, &end).await?;
    tell(Chapter::Speaker, event, "all paths stay", Duration::ZERO, Cost::Measured(loss));
    ensure!(loss.lost == 0 && loss.broken == 0, "{event}: {loss}");
    Ok(())
}

async fn restart_with(lab: &mut Lab, traffic: &Traffic, end: &End) -> Result<Loss> {
    traffic.lap();
    match end {
        End::Ordered => {
            let status = lab.stop_daemon("n2", Daemon::Speaker).await?;
            ensure!(status.success(), "it ended with {status}");
        }
        End::Killed => lab.kill_daemon("n2", Daemon::Speaker).await?,
    }
    tokio::time::sleep(AWAY).await;
    lab.start_daemon("n2", Daemon::Speaker).await?;
    session_is_back(lab).await?;
    afterwards().await;
    let loss = traffic.lap();
    lab.check_paths(FIRST, &["n1", "n2"]).await?;
    Ok(loss)
}

async fn session_is_back(lab: &Lab) -> Result<()> {
    let session = lab.node("n2")?.plan().v4;
    eventually(SOON, "the session to be back", async || {
        let up = lab.router().established().await?;
        if up.contains(&session.into()) { Ok(()) } else { bail!("{up:?}") }
    })
    .await?;
    Ok(())
}

/// The same without the help of the router: what graceful restart is worth.
async fn without_graceful_restart(lab: &mut Lab, traffic: &Traffic) -> Result<()> {
    set_graceful_restart(lab, false).await?;
    quiet(traffic, DOWNLOADS).await?;
    traffic.lap();
    let status = lab.stop_daemon("n2", Daemon::Speaker).await?;
    ensure!(status.success(), "it ended with {status}");
    let took = lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    tokio::time::sleep(AWAY).await;
    lab.start_daemon("n2", Daemon::Speaker).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    afterwards().await;
    let loss = traffic.lap();
    let event = "planned restart of a speaker (5 s), graceful restart switched off";
    tell(
        Chapter::Speaker,
        event,
        "the path goes, and comes back with the speaker",
        took,
        Cost::Measured(loss),
    );
    set_graceful_restart(lab, true).await?;
    quiet(traffic, DOWNLOADS).await
}

/// The field cannot be changed, so the peer is made anew.
async fn set_graceful_restart(lab: &Lab, enabled: bool) -> Result<()> {
    let words = ["delete", "bgppeers.metallb.io", "router", "-n", testbed::HERALD_NAMESPACE];
    let answer = lab.cluster().kubectl(&words).await?;
    ensure!(answer.accepted, "{}", answer.text);
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    let peer = format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\n\
         metadata: {{name: router, namespace: {}}}\n\
         spec: {{myASN: 64500, peerASN: 65530, peerAddress: 10.0.2.1, enableGracefulRestart: {enabled}}}\n",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&peer).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    Ok(())
}

/// `kubectl delete pod --force`: the pod is gone at the moment at which the API server says so.
async fn deleted(lab: &mut Lab, traffic: &Traffic) -> Result<()> {
    quiet(traffic, DOWNLOADS).await?;
    let start = Instant::now();
    lab.delete_pods("nginx", "n2").await?;
    lab.wait_for_paths(FIRST, &["n1"], PROMPT).await?;
    let took = start.elapsed();
    afterwards().await;
    let loss = traffic.lap();
    tell(
        Chapter::Pods,
        "a pod is deleted by force (ETP Local)",
        "the path by its node goes",
        took,
        Cost::Measured(loss),
    );
    Ok(())
}

async fn last_pod(lab: &mut Lab) -> Result<()> {
    let start = Instant::now();
    lab.delete_pods("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &[], PROMPT).await?;
    tell(Chapter::Pods, "the last pod is gone", "all paths go", start.elapsed(), Cost::NotMeasured);
    Ok(())
}

async fn set_ready(lab: &Lab, node: &str, ready: bool) -> Result<()> {
    let pod = lab.pods().iter().find(|pod| pod.node() == node).context("a pod on that node")?;
    pod.set_ready(lab.cluster().client(), ready).await
}
