//! The life of Herald in a cluster, from `kubectl apply` to `kubectl delete`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::HERALD_NAMESPACE;
use testbed::eventually::{eventually, throughout};
use testbed::kubelet::RealCluster;
use testbed::machine::repository;
use testbed::run::Run;

use crate::figure::{Figures, megabytes, seconds};
use crate::traffic::Traffic;
use crate::trouble;

/// For whatever has no timer of its own, on a machine with much else to do.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// A rolling update waits `minReadySeconds` for each node.
const ROLLOUT: Duration = Duration::from_secs(180);
/// The garbage collector of Pods looks every 20 s and gives a node 40 s to come back.
const NODE_GONE: Duration = Duration::from_secs(150);
/// What an idle speaker may have in memory, in octets.
const MOST_IDLE: u64 = 8_000_000;
/// The first address of the sample's pool.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 4, 1);

pub(crate) async fn tell(run: &Arc<Run>, cluster: &mut RealCluster, figures: &mut Figures) -> Result<()> {
    start_server(cluster).await.context("the server behind the Service")?;
    install(cluster, figures).await.context("installing")?;
    open_the_page(cluster).await.context("the page through router and kube-proxy")?;
    look_at_memory(cluster, figures).await.context("memory")?;
    lose_the_pods(cluster, figures).await.context("deleting the Pods")?;
    {
        let mut traffic = Traffic::start(run, cluster, &ADDRESS.to_string())?;
        roll_the_speakers(cluster, figures, &mut traffic).await.context("the rolling update")?;
        drain(cluster, figures, &mut traffic).await.context("draining a node")?;
        remove_node(cluster, figures, &mut traffic).await.context("removing a node")?;
    }
    uninstall(cluster, figures).await.context("uninstalling")?;
    trouble::tell(cluster).await
}

/// A file of the repository that users apply.
pub(crate) fn manifest(name: &str) -> String {
    let path: PathBuf = repository().join("manifests").join(name);
    path.to_string_lossy().into_owned()
}

async fn start_server(cluster: &RealCluster) -> Result<()> {
    chapter("A Deployment with two Pods");
    let image = format!("--image={}", testbed::kubelet::image::SERVER);
    cluster.control_plane().do_kubectl(&["create", "deployment", "nginx", &image, "--replicas=2"]).await?;
    cluster.rollout("default", "deployment/nginx", SOON).await
}

async fn install(cluster: &RealCluster, figures: &mut Figures) -> Result<()> {
    chapter("kubectl apply -f manifests/herald.yaml, and the sample of the home network at once");
    let start = Instant::now();
    let (herald, sample) = (manifest("herald.yaml"), manifest("samples/home-network.yaml"));
    cluster.control_plane().do_kubectl(&["apply", "-f", &herald]).await?;
    figures.span("`kubectl apply` of herald.yaml itself", start.elapsed());
    // The sample follows at once. A CRD that is not served yet makes kubectl say so, and asking again is all it takes.
    let (refusals, _) = {
        let mut refusals = 0;
        eventually(SOON, "the sample to be accepted", async || {
            let answer = cluster.control_plane().kubectl(&["apply", "-f", &sample]).await?;
            if !answer.accepted {
                refusals += 1;
            }
            ensure!(answer.accepted, "{}", answer.text.trim());
            Ok(())
        })
        .await?;
        (refusals, ())
    };
    figures.note("applies of the sample before the CRDs were served", &refusals.to_string(), "");
    let (first, _) = eventually(SOON, "the first route to 10.0.4.1", async || {
        let hops = cluster.router().next_hops(ADDRESS.into()).await?;
        ensure!(!hops.is_empty(), "there is none");
        Ok(start.elapsed())
    })
    .await?;
    figures.note(
        "`kubectl apply` to the first announced address (images present)",
        &seconds(first),
        "≤ 10 s",
    );
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    figures.span("… to both nodes in the router's route", start.elapsed());
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", ROLLOUT).await?;
    cluster.rollout(HERALD_NAMESPACE, "deployment/controller", ROLLOUT).await?;
    figures.span("… to a finished rollout (`minReadySeconds` is 10)", start.elapsed());
    let before = generations(cluster, &herald).await?;
    cluster.control_plane().do_kubectl(&["apply", "-f", &herald]).await?;
    let after = generations(cluster, &herald).await?;
    ensure!(before == after, "a second apply changes something: {before:?} before, {after:?} after");
    Ok(())
}

/// The generation of each object of a file: it goes up with every change of what is wanted. kubectl's own word is no
/// measure: it says `configured` of a disruption budget whose selector it replaces by the same one.
async fn generations(cluster: &RealCluster, file: &str) -> Result<Vec<(String, Value)>> {
    let list = cluster.control_plane().read(&["-f", file]).await?;
    let objects = list["items"].as_array().context("a file with objects")?;
    ensure!(!objects.is_empty(), "there is nothing of {file}");
    let row = |object: &Value| {
        let name = format!("{} {}", text(object, "/kind")?, text(object, "/metadata/name")?);
        Ok((name, object["metadata"]["generation"].clone()))
    };
    objects.iter().map(row).collect()
}

async fn open_the_page(cluster: &RealCluster) -> Result<()> {
    chapter("A computer behind the router opens the page");
    let url = format!("http://{ADDRESS}");
    let mut pods = BTreeSet::new();
    eventually(SOON, "a page of each Pod", async || {
        let page = cluster.client().curl(&url).await?;
        ensure!(page.starts_with("hello from nginx-"), "that is not our page: {page:?}");
        pods.insert(page.split([' ', ',']).nth(2).map(str::to_owned));
        ensure!(pods.len() == 2, "only {pods:?} answered");
        Ok(())
    })
    .await
    .map(drop)
}

async fn look_at_memory(cluster: &RealCluster, figures: &mut Figures) -> Result<()> {
    chapter("Memory of the Pods, as their control groups have it");
    for component in ["speaker", "controller"] {
        let pods = cluster.pods(HERALD_NAMESPACE, &format!("component={component}")).await?;
        ensure!(pods.len() == 2, "{} Pods of the {component}", pods.len());
        let (mut anonymous, mut resident, mut working_set) = (0, 0, 0);
        for pod in &pods {
            let (node, uid) = (text(pod, "/spec/nodeName")?, text(pod, "/metadata/uid")?);
            let memory = cluster.node(node)?.pod_memory(uid)?;
            anonymous = anonymous.max(memory.anonymous);
            resident = resident.max(memory.resident);
            working_set = working_set.max(memory.working_set);
        }
        let goal = if component == "speaker" { "≤ 8 MB" } else { "" };
        let own = format!("{} (anonymous: {})", megabytes(working_set), megabytes(anonymous));
        figures.note(&format!("{component}: memory of its idle Pod, by its control group"), &own, goal);
        ensure!(
            goal.is_empty() || working_set <= MOST_IDLE,
            "the idle {component} has {}",
            megabytes(working_set)
        );
        let name =
            format!("{component}: the same with the pages of the program's file that are in memory anyway");
        figures.note(&name, &megabytes(resident), "");
    }
    Ok(())
}

async fn lose_the_pods(cluster: &RealCluster, figures: &mut Figures) -> Result<()> {
    chapter("All Pods of the Service go, and come again");
    let start = Instant::now();
    cluster.control_plane().do_kubectl(&["scale", "deployment/nginx", "--replicas=0"]).await?;
    wait_for_paths(cluster, &[], SOON).await?;
    figures.span("`kubectl scale --replicas=0` to no route", start.elapsed());
    cluster.control_plane().do_kubectl(&["scale", "deployment/nginx", "--replicas=2"]).await?;
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    cluster.rollout("default", "deployment/nginx", SOON).await
}

async fn roll_the_speakers(
    cluster: &RealCluster,
    figures: &mut Figures,
    traffic: &mut Traffic,
) -> Result<()> {
    chapter("A rolling update of the speakers to another image, under requests without a pause");
    let old = cluster.pods(HERALD_NAMESPACE, "component=speaker").await?;
    let image = text(old.first().context("a speaker")?, "/spec/containers/0/image")?.to_owned();
    let (repository, _) = image.rsplit_once(':').context("an image with a tag")?;
    let next = format!("{repository}:next");
    for node in cluster.nodes() {
        node.tag_image(&image, &next).await?;
    }
    // kube-proxy needs a moment after the Pods came back, which is not the update's fault.
    eventually(SOON, "requests without loss before the update", async || traffic.check_calm()).await?;
    traffic.tally()?;
    let start = Instant::now();
    let change = format!("speaker={next}");
    cluster
        .control_plane()
        .do_kubectl(&["set", "image", "--namespace", HERALD_NAMESPACE, "daemonset/speaker", &change])
        .await?;
    cluster.rollout(HERALD_NAMESPACE, "daemonset/speaker", ROLLOUT).await?;
    figures.span("rolling update of the speakers on two nodes", start.elapsed());
    let new = cluster.pods(HERALD_NAMESPACE, "component=speaker").await?;
    for pod in &new {
        ensure!(text(pod, "/spec/containers/0/image")? == next, "a Pod still has the old image");
    }
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    let tally = traffic.tally()?;
    figures.note("requests lost during the rolling update", &tally.words(), "0");
    ensure!(tally.lost == 0, "the rolling update lost {} requests", tally.words());
    Ok(())
}

async fn drain(cluster: &RealCluster, figures: &mut Figures, traffic: &mut Traffic) -> Result<()> {
    chapter("kubectl drain n2");
    let start = Instant::now();
    let words = ["drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=50s"];
    cluster.control_plane().do_kubectl(&words).await?;
    figures.span("`kubectl drain` of a node", start.elapsed());
    cluster.rollout("default", "deployment/nginx", SOON).await?;
    // A cordoned node still forwards: it stays in the route.
    throughout(Duration::from_secs(3), "both nodes in the route", async || {
        check_paths(cluster, &["n1", "n2"]).await
    })
    .await?;
    let leader = cluster.pods(HERALD_NAMESPACE, "component=controller").await?;
    ensure!(leader.iter().any(|pod| pod["spec"]["nodeName"] == "n1"), "no controller is left on n1");
    let tally = traffic.tally()?;
    // The web server's own farewell is part of this figure, so it has no goal.
    figures.note("requests lost during the drain (the server's Pods move too)", &tally.words(), "");
    Ok(())
}

async fn remove_node(cluster: &mut RealCluster, figures: &mut Figures, traffic: &mut Traffic) -> Result<()> {
    chapter("kubectl delete node n2");
    let start = Instant::now();
    cluster.control_plane().do_kubectl(&["delete", "node", "n2"]).await?;
    wait_for_paths(cluster, &["n1"], NODE_GONE).await?;
    figures.span(
        "`kubectl delete node` to the route without it (Kubernetes collects its Pods after 40 s)",
        start.elapsed(),
    );
    let tally = traffic.tally()?;
    figures.note("requests lost while the node left", &tally.words(), "0");
    ensure!(tally.lost == 0, "the removal lost {} requests", tally.words());
    cluster.node_mut("n2")?.stop_kubelet().await
}

async fn uninstall(cluster: &RealCluster, figures: &mut Figures) -> Result<()> {
    chapter("kubectl delete -f manifests/herald.yaml");
    let start = Instant::now();
    let words = ["delete", "-f", &manifest("herald.yaml"), "--timeout=50s"];
    let deletion = cluster.control_plane().kubectl(&words);
    let (answer, gone) = tokio::join!(deletion, async {
        wait_for_paths(cluster, &[], Duration::from_secs(120)).await?;
        anyhow::Ok(start.elapsed())
    });
    let answer = answer?;
    figures.span("`kubectl delete -f herald.yaml` to no route", gone?);
    ensure!(answer.accepted, "{}", answer.text.trim());
    figures.span("… to its end", start.elapsed());
    for (kind, filter) in [
        ("namespaces", HERALD_NAMESPACE),
        ("customresourcedefinitions", ".metallb.io"),
        ("customresourcedefinitions", ".herald-lb.io"),
        ("clusterroles", HERALD_NAMESPACE),
        ("clusterrolebindings", HERALD_NAMESPACE),
        ("priorityclasses", "herald"),
    ] {
        let left = cluster.control_plane().do_kubectl(&["get", kind, "--output=name"]).await?;
        let left: Vec<&str> = left.lines().filter(|name| name.contains(filter)).collect();
        ensure!(left.is_empty(), "left after the uninstall: {left:?}");
    }
    Ok(())
}

pub(crate) fn chapter(title: &str) {
    println!("\n{title}");
}

pub(crate) async fn wait_for_paths(cluster: &RealCluster, nodes: &[&str], limit: Duration) -> Result<()> {
    let what = format!("the router to forward {ADDRESS} to {nodes:?}");
    eventually(limit, &what, async || check_paths(cluster, nodes).await).await.map(drop)
}

async fn check_paths(cluster: &RealCluster, nodes: &[&str]) -> Result<()> {
    let mut wanted = BTreeSet::new();
    for node in nodes {
        wanted.insert(IpAddr::from(cluster.node(node)?.plan().v4));
    }
    let found = cluster.router().next_hops(ADDRESS.into()).await?;
    ensure!(found == wanted, "it goes to {found:?}");
    Ok(())
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Result<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no text at {pointer}"))
}
