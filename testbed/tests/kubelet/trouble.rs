//! Mistakes that people make, on real Pods: none makes a Pod start again and again, each is said in words, and each heals
//! when it is mended, without anybody's help. One node is left at this point of the story.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::{eventually, throughout};
use testbed::kubelet::RealCluster;

use crate::story::{SOON, chapter, manifest, wait_for_paths};

const SPEAKER: &str = "component=speaker";
const DESCRIBE: [&str; 6] = ["describe", "pods", "--namespace", HERALD_NAMESPACE, "-l", SPEAKER];
/// Long enough to see a Pod that ends and starts again.
const CALM: Duration = Duration::from_secs(8);

pub(crate) async fn tell(cluster: &RealCluster) -> Result<()> {
    reinstall(cluster).await.context("installing again")?;
    missing_right(cluster).await.context("a missing right")?;
    read_only_state(cluster).await.context("a state folder that cannot be written")?;
    old_kernel(cluster).await.context("an old kernel")?;
    wrong_node_name(cluster).await.context("a wrong node name")
}

async fn reinstall(cluster: &RealCluster) -> Result<()> {
    chapter("Installed again: the Service kept its address and is announced again");
    cluster.control_plane().do_kubectl(&["apply", "-f", &manifest("herald.yaml")]).await?;
    eventually(SOON, "the sample to be accepted", async || {
        cluster.control_plane().do_kubectl(&["apply", "-f", &manifest("samples/home-network.yaml")]).await
    })
    .await?;
    wait_for_paths(cluster, &["n1"], SOON).await
}

async fn wrong_node_name(cluster: &RealCluster) -> Result<()> {
    chapter("The speaker is told a node name that does not exist");
    change(cluster, r#"[{"op": "replace", "path": "/spec/template/spec/containers/0/env/0", "value": {"name": "NODE_NAME", "value": "nowhere"}}]"#).await?;
    let logs = ["logs", "--namespace", HERALD_NAMESPACE, "-l", SPEAKER, "--tail=200"];
    said(cluster, &logs, "there is no Node object of this name").await?;
    said(cluster, &DESCRIBE, "Readiness probe failed").await?;
    // The kubelet tells a number; the sentence is the speaker's own.
    said(cluster, &DESCRIBE, "there is no Node object named").await?;
    stays_calm(cluster).await?;
    undo(cluster).await
}

async fn missing_right(cluster: &RealCluster) -> Result<()> {
    chapter("The speaker may not read EndpointSlices");
    let role = "clusterrole/metallb-system:speaker";
    let rules = cluster.control_plane().read(&[role]).await?;
    let rules = rules["rules"].as_array().context("a role has rules")?;
    let place = rules.iter().position(|rule| rule["resources"][0] == "endpointslices");
    let place = place.context("a rule about EndpointSlices")?;
    let cut = format!(r#"[{{"op": "replace", "path": "/rules/{place}/verbs", "value": ["get"]}}]"#);
    let patch = ["patch", role, "--type=json", "--patch", &cut];
    cluster.control_plane().do_kubectl(&patch).await?;
    cluster
        .control_plane()
        .do_kubectl(&["delete", "pod", "--namespace", HERALD_NAMESPACE, "-l", SPEAKER])
        .await?;
    let logs = ["logs", "--namespace", HERALD_NAMESPACE, "-l", SPEAKER, "--tail=200"];
    // The verb and the object, in the API server's own words. A streaming list is asked for as a watch.
    said(cluster, &logs, "cannot watch resource").await?;
    said(cluster, &logs, "endpointslices").await?;
    said(cluster, &DESCRIBE, "cannot watch resource").await?;
    stays_calm(cluster).await?;
    cluster.control_plane().do_kubectl(&["apply", "-f", &manifest("herald.yaml")]).await?;
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", Duration::from_secs(120)).await?;
    stays_calm(cluster).await?;
    wait_for_paths(cluster, &["n1"], SOON).await
}

async fn read_only_state(cluster: &RealCluster) -> Result<()> {
    chapter("The speaker's folder for state is read-only");
    let speaker =
        cluster.control_plane().read(&["--namespace", HERALD_NAMESPACE, "daemonset/speaker"]).await?;
    let mounts = speaker.pointer("/spec/template/spec/containers/0/volumeMounts");
    let mounts = mounts.and_then(serde_json::Value::as_array).context("the speaker has mounts")?;
    // Its state has a mount of its own, or is in the folder that the speakers of a node share.
    let place =
        ["state", "run"].iter().find_map(|name| mounts.iter().position(|mount| mount["name"] == *name));
    let place = place.context("the speaker has a mount for its state")?;
    let patch = format!(
        r#"[{{"op": "add", "path": "/spec/template/spec/containers/0/volumeMounts/{place}/readOnly", "value": true}}]"#
    );
    change(cluster, &patch).await?;
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", Duration::from_secs(120)).await?;
    let logs = ["logs", "--namespace", HERALD_NAMESPACE, "-l", SPEAKER, "--tail=200"];
    said(cluster, &logs, "state folder cannot be written").await?;
    stays_calm(cluster).await?;
    wait_for_paths(cluster, &["n1"], SOON).await?;
    undo(cluster).await
}

/// What a kernel without TCP_USER_TIMEOUT (before 2.6.37, and some sandboxes today) answers to it: ENOPROTOOPT.
const OLD_KERNEL: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{
    "names": ["setsockopt"], "action": "SCMP_ACT_ERRNO", "errnoRet": 92,
    "args": [{"index": 1, "value": 6, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 18, "op": "SCMP_CMP_EQ"}]
  }]
}"#;

async fn old_kernel(cluster: &RealCluster) -> Result<()> {
    chapter("The kernel does not know one of the speaker's socket options");
    for node in cluster.nodes() {
        node.add_system_call_filter("old-kernel.json", OLD_KERNEL)?;
    }
    let patch = r#"[{"op": "replace", "path": "/spec/template/spec/securityContext/seccompProfile", "value": {"type": "Localhost", "localhostProfile": "old-kernel.json"}}]"#;
    // One after the other, so that the new speaker dials: it sets no option on a connection that it takes over.
    change(cluster, r#"[{"op": "replace", "path": "/spec/updateStrategy/rollingUpdate", "value": {"maxSurge": 0, "maxUnavailable": 1}}]"#).await?;
    change(cluster, patch).await?;
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", Duration::from_secs(120)).await?;
    let logs = ["logs", "--namespace", HERALD_NAMESPACE, "-l", SPEAKER, "--tail=200"];
    said(cluster, &logs, "the kernel does not know a socket option").await?;
    stays_calm(cluster).await?;
    wait_for_paths(cluster, &["n1"], SOON).await?;
    // `apply` alone would leave the name of the filter, which the file does not mention.
    change(cluster, r#"[{"op": "replace", "path": "/spec/template/spec/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}}]"#).await?;
    cluster.control_plane().do_kubectl(&["apply", "-f", &manifest("herald.yaml")]).await?;
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", Duration::from_secs(120)).await?;
    wait_for_paths(cluster, &["n1"], SOON).await
}

async fn change(cluster: &RealCluster, patch: &str) -> Result<()> {
    let words =
        ["patch", "--namespace", HERALD_NAMESPACE, "daemonset/speaker", "--type=json", "--patch", patch];
    cluster.control_plane().do_kubectl(&words).await.map(drop)
}

async fn undo(cluster: &RealCluster) -> Result<()> {
    let words = ["rollout", "undo", "--namespace", HERALD_NAMESPACE, "daemonset/speaker"];
    cluster.control_plane().do_kubectl(&words).await?;
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", Duration::from_secs(120)).await?;
    wait_for_paths(cluster, &["n1"], SOON).await
}

async fn said(cluster: &RealCluster, question: &[&str], words: &str) -> Result<()> {
    eventually(SOON, &format!("{words:?} in kubectl {}", question.join(" ")), async || {
        let answer = cluster.control_plane().kubectl(question).await?;
        ensure!(
            answer.text.contains(words),
            "{}",
            answer.text.lines().rev().take(12).collect::<Vec<_>>().join("\n")
        );
        Ok(())
    })
    .await
    .map(drop)
}

/// No container of Herald has ended and been started again.
async fn stays_calm(cluster: &RealCluster) -> Result<()> {
    throughout(CALM, "no container to start again", async || {
        for pod in cluster.pods(HERALD_NAMESPACE, SPEAKER).await? {
            let count =
                pod.pointer("/status/containerStatuses/0/restartCount").and_then(serde_json::Value::as_u64);
            ensure!(count.unwrap_or(0) == 0, "the speaker was started {count:?} times again");
        }
        Ok(())
    })
    .await
}
