//! `speakerctl peers --check`, a node that died and a speaker that died alone: what they said last is no answer, and the
//! command says so.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testbed::HERALD_NAMESPACE;
use testbed::cluster::Answer;
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};

use crate::home::{SOON, settle, speaker_is_ready};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "the_report_of_a_node_or_speaker_that_died_is_no_answer_to_a_check",
    plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(a_node_dies(lab)),
}];

/// A speaker writes numbers of its SpeakerState once a minute at most.
const REPORTED: Duration = Duration::from_secs(75);
/// The exit code of an answer that is not well.
const NOT_WELL: Option<i32> = Some(3);
const LAST: &str = "what follows is what its speaker said last";

/// Somebody who may read what speakers report, and nothing else.
const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: metallb-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: metallb-system}
rules: [{apiGroups: [herald-lb.io], resources: [speakerstates], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: metallb-system}
subjects: [{kind: ServiceAccount, name: reader, namespace: metallb-system}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
";

async fn a_node_dies(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    for command in ["peers", "routes"] {
        eventually(REPORTED, "both speakers to report", async || {
            let answer = lab.speakerctl(&[command, "--check"]).await?;
            let both = ["n1", "n2"].iter().all(|node| answer.text.contains(node));
            ensure!(answer.accepted && both && !answer.text.contains("warning"), "{}", answer.text);
            Ok(())
        })
        .await?;
    }
    a_speaker_dies(lab).await?;
    lab.cut_power("n2").await?;
    set_ready(lab, "n2", "Unknown").await?;
    for command in ["peers", "routes"] {
        let answer = lab.speakerctl(&[command, "--check"]).await?;
        says(&answer, NOT_WELL, &["node n2 is NotReady since 20", "its kubelet is silent", LAST])?;
        // Its rows are there all the same, and who asks without a check gets an answer.
        says(&lab.speakerctl(&[command]).await?, Some(0), &[LAST, "n2  "])?;
        says(&lab.speakerctl(&[command, "n2", "--check"]).await?, NOT_WELL, &[LAST])?;
        let answer = lab.speakerctl(&[command, "n1", "--check"]).await?;
        says(&answer, Some(0), &["n1  "])?;
        ensure!(!answer.text.contains(LAST), "n1 is well: {}", answer.text);
    }
    says(&lab.speakerctl(&["why", "nginx"]).await?, Some(0), &["node n2 is NotReady since 20", LAST])?;
    without_rights(lab).await?;

    set_ready(lab, "n2", "False").await?;
    says(&lab.speakerctl(&["peers", "--check"]).await?, NOT_WELL, &["node n2 is NotReady since 20"])?;
    set_ready(lab, "n2", "True").await?;
    says(&lab.speakerctl(&["peers", "--check"]).await?, Some(0), &["n2  "])?;

    // The garbage collector takes a report away with its Node; a report without an owner stays.
    let orphan = json!({"metadata": {"ownerReferences": null}}).to_string();
    let state = "speakerstates.herald-lb.io";
    kubectl(lab, &["patch", state, "n2", "-n", HERALD_NAMESPACE, "--type=merge", "-p", &orphan]).await?;
    kubectl(lab, &["delete", "node", "n2"]).await?;
    let answer = lab.speakerctl(&["peers", "--check"]).await?;
    says(&answer, NOT_WELL, &["node n2 has no Node object any more", LAST])
}

/// Its node is well all the time.
async fn a_speaker_dies(lab: &mut Lab) -> Result<()> {
    for node in ["n1", "n2"] {
        speaker_is_ready(lab, node, true).await?;
    }
    checks(lab, Some(0), &["n1  ", "n2  "]).await?;
    lab.kill_daemon("n2", Daemon::Speaker).await?;
    speaker_is_ready(lab, "n2", false).await?;
    let next = "kubectl -n metallb-system get pods -l component=speaker";
    checks(lab, NOT_WELL, &["node n2 has no ready speaker", LAST, next]).await?;
    says(&lab.speakerctl(&["peers", "n1", "--check"]).await?, Some(0), &["n1  "])?;
    says(&lab.speakerctl(&["why", "nginx"]).await?, Some(0), &["node n2 has no ready speaker", LAST])?;
    lab.start_daemon("n2", Daemon::Speaker).await?;
    speaker_is_ready(lab, "n2", true).await?;
    checks(lab, Some(0), &["n1  ", "n2  "]).await
}

/// EndpointSlices follow the Pods after a moment, and reports the sessions.
async fn checks(lab: &Lab, code: Option<i32>, words: &[&str]) -> Result<()> {
    for command in ["peers", "routes"] {
        eventually(SOON, "the check to see it", async || {
            says(&lab.speakerctl(&[command, "--check"]).await?, code, words)
        })
        .await?;
    }
    Ok(())
}

/// Who may list neither Nodes nor EndpointSlices has an answer and is told what it is worth.
async fn without_rights(lab: &Lab) -> Result<()> {
    lab.cluster().apply(READER).await?;
    let server = format!("https://{}", lab.cluster().address());
    let account = (HERALD_NAMESPACE, "reader");
    let reader = lab.cluster().service_account_at("reader", &server, account, "n1").await?;
    for command in ["peers", "routes"] {
        let answer = lab.speakerctl_as(&reader, &[command, "--check"]).await?;
        let told = ["You may not list nodes", "You may not list endpointslices in metallb-system", "n2  "];
        says(&answer, Some(0), &told)?;
    }
    Ok(())
}

/// What the node-lifecycle controller writes when it has not heard of a kubelet, and what a kubelet writes.
async fn set_ready(lab: &Lab, node: &str, status: &str) -> Result<()> {
    let condition = json!({"type": "Ready", "status": status, "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.", "lastTransitionTime": "2026-03-01T10:00:00Z"});
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    kubectl(lab, &["patch", "node", node, "--subresource=status", "--type=strategic", "-p", &patch]).await
}

async fn kubectl(lab: &Lab, words: &[&str]) -> Result<()> {
    let answer = lab.cluster().kubectl(words).await.context("running kubectl")?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(())
}

fn says(answer: &Answer, code: Option<i32>, words: &[&str]) -> Result<()> {
    ensure!(answer.code == code, "{:?}: {}", answer.code, answer.text);
    for word in words {
        ensure!(answer.text.contains(word), "{word:?} is not in: {}", answer.text);
    }
    Ok(())
}
