//! The API server comes back with the data of a backup: versions are lower than those that everybody has seen, some
//! Services are missing, some are there again, and one has the address that it had. What holds then is what the data say.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use testbed::HERALD_NAMESPACE;
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::door::Passage;
use testbed::eventually::eventually;
use testbed::lab::Lab;
use testbed::service::{Service, ServicePlan};

use super::begin_traffic_by;
use crate::home::{FIRST, SOON, settle};
use crate::upgrade::ledger;
use crate::witness::Witness;

/// From the server's readiness to tables that are right. The longest wait in it is that of two seconds between two tries.
const RIGHT_AGAIN: Duration = Duration::from_secs(10);
/// So many versions are lost with what is put back: more than the cluster writes by itself within a story.
const LOST_VERSIONS: u64 = 1_000;

/// Services beside the sample's one, and where they are: in the backup, and after it was made.
const EARLY: &str = "10.0.4.2";
const MOVED: [&str; 2] = ["10.0.4.3", "10.0.4.40"];
const LATE: &str = "10.0.4.4";

const ALL: [&str; 3] = ["n1", "n2", "n3"];

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let early = make(lab, "early", EARLY, &ALL).await?;
    let moved = make(lab, "moved", MOVED[0], &ALL).await?;
    reports(lab, "n3").await?;
    // What this speaker says of itself is not in the backup.
    lab.node("n3")?.door().set(Passage::Refused);
    let delete = ["delete", "speakerstates.herald-lb.io", "n3", "-n", HERALD_NAMESPACE];
    let answer = lab.cluster().kubectl(&delete).await?;
    ensure!(answer.accepted, "{}", answer.text);
    lab.back_up().await?;
    reports(lab, "n3").await?;

    early.delete().await?;
    paths(lab, EARLY, &[]).await?;
    moved.change(&json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": MOVED[1]}}})).await?;
    paths(lab, MOVED[1], &ALL).await?;
    paths(lab, MOVED[0], &[]).await?;
    make(lab, "late", LATE, &ALL).await?;
    let lost = lab.cluster().version().await? + LOST_VERSIONS;
    lab.cluster().age_beyond(lost).await?;
    lab.check_daemons()?;

    let mut before = Vec::new();
    for node in ALL {
        before.push(ledger(lab, node).await?);
    }
    lab.router().vtysh("debug bgp updates in").await?;
    let traffic = begin_traffic_by(lab, FIRST, 2).await?;
    lab.restore_unnoticed_by("n2").await?;
    lab.start_unreached_api_server().await?;
    let version = lab.cluster().version().await?;
    ensure!(version < lost - LOST_VERSIONS, "versions went back from {lost} to {version} only");
    let witness = Witness::start(lab.cluster().client());

    // It waits for an address that was free before, and that the data give to somebody else.
    lab.create_service("wish", &wishing(MOVED[0])).await?;

    // The first node is back while the server is still behind what it knows.
    lab.node("n1")?.door().set(Passage::Open);
    let start = Instant::now();
    right(lab, &["n1"]).await?;
    let took = start.elapsed();
    // The second one has not noticed that the server was away. Its connections break now, and it is there again at once.
    lab.node("n2")?.door().cut();
    let start = Instant::now();
    right(lab, &["n1", "n2"]).await?;
    let unaware = start.elapsed();
    let version = lab.cluster().version().await?;
    ensure!(version < lost - LOST_VERSIONS, "the server is at {version} already");

    // The third one only when the server has handed out those versions again, for other changes.
    lab.cluster().age_beyond(lost + LOST_VERSIONS).await?;
    let answer = lab.speakerctl(&["peers", "n3"]).await?;
    ensure!(!answer.accepted && answer.text.contains("no speaker reports from n3"), "{}", answer.text);
    lab.node("n3")?.door().set(Passage::Open);
    let start = Instant::now();
    right(lab, &ALL).await?;
    let later = start.elapsed();

    let loss = traffic.lap();
    drop(traffic);
    let outcome = "what the data lack is withdrawn, what they hold is announced, what both have stays";
    let event = "the API server comes back with the data of a backup";
    tell(Chapter::Api, event, outcome, took, Cost::Measured(loss));
    let event = "a node notices that only when its connections break, and reaches that server at once";
    tell(Chapter::Api, event, outcome, unaware, Cost::NotMeasured);
    let event = "a node reaches that server only when it has given out the versions anew that were lost";
    tell(Chapter::Api, event, outcome, later, Cost::NotMeasured);
    ensure!(loss.lost == 0 && loss.broken == 0, "{loss}");
    ensure!(took.max(unaware).max(later) < RIGHT_AGAIN, "{took:?}, {unaware:?} and {later:?}");
    for (node, before) in ALL.iter().zip(&before) {
        ledger(lab, node).await?.ensure_same_session(before)?;
    }
    ensure!(withdrawn(lab, EARLY)? == 0 && withdrawn(lab, LATE)? == 3, "the router's log cannot be read");
    ensure!(withdrawn(lab, &FIRST.to_string())? == 0, "the address that is in both was withdrawn");

    addresses(lab, &witness).await?;
    reports(lab, "n3").await?;
    lab.check_daemons()
}

/// A Service for the sample's pods that asks for this address and gets it. While the server was away for its backup the
/// controller hears of no deletion, and would not let that address rest.
async fn make(lab: &Lab, name: &str, address: &str, nodes: &[&str]) -> Result<Service> {
    let service = lab.create_service(name, &wishing(address)).await?;
    service.change(&json!({"spec": {"selector": {"app": "nginx"}}})).await?;
    let (given, _) = service.wait_for_addresses(1, SOON).await?;
    ensure!(given == [address.parse::<IpAddr>()?], "{name} got {given:?}");
    paths(lab, address, nodes).await?;
    Ok(service)
}

fn wishing(address: &str) -> ServicePlan {
    let wish = ("metallb.io/loadBalancerIPs".to_owned(), address.to_owned());
    ServicePlan { annotations: vec![wish], ..ServicePlan::default() }
}

async fn paths(lab: &Lab, address: &str, nodes: &[&str]) -> Result<()> {
    lab.wait_for_paths(address.parse()?, nodes, SOON).await.map(drop)
}

/// The router's table is what the data say for the nodes that can know, and all that time the sample's Service stays.
async fn right(lab: &Lab, nodes: &[&str]) -> Result<()> {
    let others: Vec<&str> = ALL.iter().filter(|node| !nodes.contains(node)).copied().collect();
    let wanted = [(EARLY, nodes), (MOVED[0], nodes), (MOVED[1], &others), (LATE, &others)];
    let what = format!("the router's table to be right for {nodes:?}");
    let done = eventually(SOON, &what, async || {
        lab.check_paths(FIRST, &ALL).await?;
        for (address, nodes) in wanted {
            lab.check_paths(address.parse()?, nodes).await?;
        }
        Ok(())
    });
    done.await.map(drop)
}

/// The API server has what the speaker of this node says of its sessions.
async fn reports(lab: &Lab, node: &str) -> Result<()> {
    let what = format!("the report of {node}");
    let done = eventually(SOON, &what, async || {
        let answer = lab.speakerctl(&["peers", node, "--check"]).await?;
        ensure!(answer.accepted, "{}", answer.text);
        Ok(())
    });
    done.await.map(drop)
}

/// How many withdrawals of this address the router has noted.
fn withdrawn(lab: &Lab, address: &str) -> Result<usize> {
    let log = fs::read_to_string(lab.logs().join("bgpd.log")).context("reading the router's log")?;
    let told = format!(" {address}/32 ");
    let about = |line: &&str| line.contains("withdrawn") && format!("{line} ").contains(&told);
    Ok(log.lines().filter(about).count())
}

/// Nobody was moved from what the data say, and a new Service gets what nobody has.
async fn addresses(lab: &Lab, witness: &Witness) -> Result<()> {
    let client = lab.cluster().client();
    let fresh = lab.create_service("fresh", &ServicePlan::default()).await?;
    fresh.wait_for_addresses(1, SOON).await?;
    let held = [("nginx", "10.0.4.1"), ("early", EARLY), ("moved", MOVED[0])];
    for (name, address) in held {
        let now = Service::existing(client.clone(), name).addresses().await?;
        ensure!(now == [address.parse::<IpAddr>()?], "{name} has {now:?} in place of {address}");
    }
    let given = fresh.addresses().await?;
    let taken = |address: &IpAddr| held.iter().any(|(_, held)| address.to_string() == *held);
    ensure!(given.len() == 1 && !given.iter().any(taken), "{given:?} was given twice");
    let given = Service::existing(client.clone(), "wish").addresses().await?;
    ensure!(given.is_empty(), "{given:?} belongs to another Service");
    if Service::existing(client, "late").addresses().await.is_ok() {
        bail!("the Service that is not in the backup is there");
    }
    witness.check()
}
