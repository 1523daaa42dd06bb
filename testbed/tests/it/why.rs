//! One command says why a Service is not announced: from the API and from a speaker's socket, also while the API is away.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "one_command_says_why_a_service_is_not_announced",
    plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(why(lab)),
}];

/// A speaker writes numbers of its SpeakerState once a minute at most.
const REPORTED: Duration = Duration::from_secs(75);

async fn why(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    by_socket(lab, "nginx", true, &["from n1: announced", "IPAddressPool \"home\" contains it", "is sent"])
        .await?;
    by_api(lab, "nginx", true, &["from n1: announced", "from n2: announced", "10.0.4.1/32 is sent"]).await?;
    let answer = lab.speakerctl_on("n1", &["routes", "--check", "--service", "nginx"]).await?;
    ensure!(answer.accepted && answer.text.contains("10.0.4.1/32"), "{}", answer.text);
    let answer = lab.speakerctl(&["peers", "--check"]).await?;
    ensure!(answer.accepted, "{}", answer.text);

    // Wrong: the Service asks for an address that no pool has.
    let annotations = vec![("metallb.io/loadBalancerIPs".to_owned(), "192.0.2.7".to_owned())];
    lab.create_service("wish", &ServicePlan { annotations, ..ServicePlan::default() }).await?;
    let told = [
        "NO  address",
        "192.0.2.7",
        "not allowed in config",
        "next: kubectl -n default describe service wish",
    ];
    by_socket(lab, "wish", false, &told).await?;
    by_api(lab, "wish", false, &told).await?;

    // Wrong: the advertisement leaves the nodes out.
    let nobody = r#"{"spec":{"nodeSelectors":[{"matchLabels":{"rack":"none"}}]}}"#;
    advertise(lab, nobody).await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    let told = ["NO  advertisement", "no BGPAdvertisement of pool \"home\" selects this node (notOwner)"];
    by_socket(lab, "nginx", false, &told).await?;
    by_api(lab, "nginx", false, &told).await?;
    advertise(lab, r#"{"spec":{"nodeSelectors":null}}"#).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;

    // Wrong: the last endpoint is gone.
    lab.delete_pods("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    let told = ["NO  endpoints", "no IPv4 endpoint of the Service is ready anywhere (noEndpoints)"];
    by_socket(lab, "nginx", false, &told).await?;
    by_api(lab, "nginx", false, &told).await?;
    lab.start_pod("nginx", "n2").await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;

    // Wrong: the node is kept out of load balancing.
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    let answer = lab.cluster().kubectl(&["label", "node", "n1", &format!("{label}=true")]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    lab.wait_for_paths(FIRST, &["n2"], SOON).await?;
    let told = ["NO  node", label, "(nodeLabeledExcludeBalancers)", "next: kubectl describe node n1"];
    by_socket(lab, "nginx", false, &told).await?;
    let answer = lab.cluster().kubectl(&["label", "node", "n1", &format!("{label}-")]).await?;
    ensure!(answer.accepted, "{}", answer.text);
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;

    // Wrong: the peer's password is nowhere.
    password(lab, r#"{"name":"nowhere"}"#).await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    let told = ["ok  endpoints", "NO  session", "is Refused", "nowhere", "(sessionDown)"];
    by_socket(lab, "nginx", false, &told).await?;
    by_api(lab, "nginx", false, &["NO  session", "is Refused", "nowhere"]).await?;
    password(lab, "null").await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;

    // Wrong: both nodes show one router ID. This router does not mind; whoever asks for all nodes is told, and of which.
    identity(lab, r#""10.9.9.9""#).await?;
    let told =
        ["nodes n1, n2 show one router ID, 10.9.9.9, in AS 64500 (BGPPeer router)", "Leave routerID out"];
    check_peers(lab, false, &told).await?;
    identity(lab, "null").await?;
    check_peers(lab, true, &["n1", "n2"]).await?;

    // Wrong: the router is away, and so is the API. The socket still knows.
    lab.stop_api_server().await?;
    lab.router_mut().power_off().await?;
    let told = ["ok  endpoints", "NO  session", "(sessionDown)", "next: speakerctl peers n1"];
    by_socket(lab, "nginx", false, &told).await?;
    let answer = lab.speakerctl(&["why", "nginx", "--request-timeout", "2s"]).await?;
    let hint = "on each node the speaker itself still answers through its socket";
    ensure!(!answer.accepted && answer.text.contains(hint), "{}", answer.text);
    Ok(())
}

/// Changes the advertisements of the sample.
pub(crate) async fn advertise(lab: &Lab, patch: &str) -> Result<()> {
    let (kind, namespace) = ("bgpadvertisements.metallb.io", testbed::HERALD_NAMESPACE);
    let names = lab.cluster().kubectl(&["get", kind, "-n", namespace, "-o", "name"]).await?;
    ensure!(names.accepted && !names.text.is_empty(), "{}", names.text);
    for name in names.text.lines() {
        let arguments = ["patch", name, "-n", namespace, "--type=merge", "-p", patch];
        let answer = lab.cluster().kubectl(&arguments).await?;
        ensure!(answer.accepted, "{}", answer.text);
    }
    Ok(())
}

/// Where the password of the sample's peer is.
async fn password(lab: &Lab, secret: &str) -> Result<()> {
    patch_peer(lab, &format!(r#"{{"spec":{{"passwordSecret":{secret}}}}}"#)).await
}

/// The router ID that the sample's peer sets.
async fn identity(lab: &Lab, router_id: &str) -> Result<()> {
    patch_peer(lab, &format!(r#"{{"spec":{{"routerID":{router_id}}}}}"#)).await
}

async fn check_peers(lab: &Lab, well: bool, words: &[&str]) -> Result<()> {
    eventually(REPORTED, "the check of all peers", async || {
        let answer = lab.speakerctl(&["peers", "--check"]).await?;
        says(&answer, well, words)
    })
    .await
    .map(drop)
}

async fn patch_peer(lab: &Lab, patch: &str) -> Result<()> {
    let namespace = testbed::HERALD_NAMESPACE;
    let arguments = ["patch", "bgppeers.metallb.io", "router", "-n", namespace, "--type=merge", "-p", patch];
    let answer = lab.cluster().kubectl(&arguments).await?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(())
}

/// The speaker of n1 says so.
pub(crate) async fn by_socket(lab: &Lab, service: &str, well: bool, words: &[&str]) -> Result<()> {
    eventually(SOON, "the socket to say why", async || {
        let answer = lab.speakerctl_on("n1", &["why", service]).await?;
        says(&answer, well, words)
    })
    .await
    .map(drop)
}

async fn by_api(lab: &Lab, service: &str, well: bool, words: &[&str]) -> Result<()> {
    eventually(REPORTED, "the API to say why", async || {
        let answer = lab.speakerctl(&["why", service]).await?;
        says(&answer, well, words)
    })
    .await
    .map(drop)
}

fn says(answer: &testbed::cluster::Answer, well: bool, words: &[&str]) -> Result<()> {
    let missing: Vec<&&str> = words.iter().filter(|words| !answer.text.contains(**words)).collect();
    if answer.accepted == well && missing.is_empty() {
        Ok(())
    } else {
        bail!("well: {}, without {missing:?} in:\n{}", answer.accepted, answer.text)
    }
}
