//! Somebody who runs MetalLB and follows `docs/from-metallb.md`: a look at Herald beside it, the change-over under requests
//! without a pause, and the way back. MetalLB is the real one, from its own manifest.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testbed::eventually::{eventually, throughout};
use testbed::kubelet::{RealCluster, image};
use testbed::machine::{Tools, repository};
use testbed::network::NODE_AS;
use testbed::process::{Process, output};
use testbed::run::Run;
use tokio::process::Command;

use crate::administrator::Administrator;
use crate::document::Document;
use crate::figure::{Figures, seconds};
use crate::metallb;
use crate::story::{SOON, chapter, manifest, wait_for_paths};
use crate::traffic::Traffic;

/// Rolling updates, one node after the other, of Pods that are ready after 10 s at the earliest.
const ROLLOUT: Duration = Duration::from_secs(180);
/// The port of the second router, which is on the same machine as the first.
const BESIDE_PORT: u16 = 1790;

pub(crate) async fn tell(
    run: &Arc<Run>,
    tools: &Tools,
    cluster: &RealCluster,
    figures: &mut Figures,
) -> Result<()> {
    let guide = Document::read("from-metallb.md")?;
    // Step 1 writes a file, so this is not the repository itself.
    let place = cluster.folder().join("change-over");
    fs::create_dir(&place).context("making the administrator's folder")?;
    symlink(repository().join("manifests"), place.join("manifests"))
        .context("putting the manifests there")?;
    let person = Administrator::prepare(tools, cluster)?.at(&place);
    let rival = metallb::manifest().await?;
    let rival = rival.to_str().context("a path that is text")?;
    run_metallb(cluster, rival).await.context("MetalLB itself")?;
    look_beside(run, cluster, &person, &guide).await.context("Herald beside MetalLB")?;
    let mut traffic = Traffic::start(run, cluster, "10.0.4.1")?;
    eventually(SOON, "requests without loss before the change", async || traffic.check_calm()).await?;
    take_over(cluster, &person, &guide, figures, &mut traffic).await.context("taking over")?;
    go_back(cluster, &person, &guide, rival, figures, &mut traffic).await.context("going back")?;
    guide.ensure_used(&[])
}

async fn run_metallb(cluster: &RealCluster, rival: &str) -> Result<()> {
    chapter("MetalLB v0.16 from its own manifest, with the sample of the home network");
    let image = format!("--image={}", image::SERVER);
    let control = cluster.control_plane();
    control.do_kubectl(&["create", "deployment", "nginx", &image, "--replicas=2"]).await?;
    control.do_kubectl(&["apply", "-f", rival]).await?;
    // Its webhook answers when its controller has made certificates and the kubelet has brought them into the Pod.
    eventually(ROLLOUT, "MetalLB to take the sample", async || {
        control.do_kubectl(&["apply", "-f", &manifest("samples/home-network.yaml")]).await
    })
    .await?;
    wait_for_paths(cluster, &["n1", "n2"], ROLLOUT).await?;
    cluster.rollout("metallb-system", "daemonset/speaker", ROLLOUT).await
}

async fn look_beside(
    run: &Arc<Run>,
    cluster: &RealCluster,
    person: &Administrator<'_>,
    guide: &Document,
) -> Result<()> {
    chapter("Herald beside it, with a class, pools and a router of its own");
    let router = second_router(run, cluster).await?;
    person
        .does(guide.block("helm install herald manifests/charts/herald --namespace herald-system")?)
        .await?;
    person.does(guide.command("kubectl apply -f manifests/crds/")?).await?;
    person.does(guide.command("kubectl delete validatingwebhookconfiguration")?).await?;
    cluster.control_plane().apply(BESIDE).await?;
    eventually(ROLLOUT, "the second router to hear of Herald's Service from both nodes", async || {
        let text = router.vtysh("show bgp ipv4 unicast json").await?;
        let table: serde_json::Value = serde_json::from_str(&text).context("reading the second router")?;
        let paths = table.pointer("/routes/10.0.6.1~132").and_then(serde_json::Value::as_array);
        ensure!(paths.is_some_and(|paths| paths.len() == 2), "it knows {text}");
        Ok(())
    })
    .await?;
    // Neither touches what is the other's.
    throughout(Duration::from_secs(3), "MetalLB's Service as it was", async || {
        let said = person.tries("kubectl get services").await?;
        ensure!(said.contains("10.0.4.1 ") && said.contains("10.0.6.1 "), "{said}");
        Ok(())
    })
    .await?;
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    person.does("kubectl delete service beside").await?;
    person.does(guide.command("helm uninstall herald --namespace herald-system")?).await?;
    router.daemon.kill().await
}

/// The steps of the document, in its order. Of its alternatives those for a MetalLB from the manifest.
async fn take_over(
    cluster: &RealCluster,
    person: &Administrator<'_>,
    guide: &Document,
    figures: &mut Figures,
    traffic: &mut Traffic,
) -> Result<()> {
    chapter("Taking over, under requests without a pause");
    traffic.tally()?;
    person.does(guide.command("kubectl get ipaddresspools,bgppeers")?).await?;
    person.does(guide.command("kubectl -n metallb-system scale deployment controller")?).await?;
    let start = Instant::now();
    person.does(guide.command("sed 's/maxSurge: 1/maxSurge: 0/")?).await?;
    cluster.rollout("metallb-system", "daemonset/speaker", ROLLOUT).await?;
    cluster.rollout("metallb-system", "deployment/controller", ROLLOUT).await?;
    figures.span("MetalLB's speakers on two nodes replaced by Herald's", start.elapsed());
    for command in
        ["kubectl apply -f manifests/herald.yaml", "kubectl herald peers", "kubectl get services -A"]
    {
        let said = person.does(guide.command(command)?).await?;
        println!("{}", said.trim_end());
    }
    for component in ["speaker", "controller"] {
        for pod in cluster.pods("metallb-system", &format!("component={component}")).await? {
            let image = pod.pointer("/spec/containers/0/image").and_then(serde_json::Value::as_str);
            ensure!(
                image.is_some_and(|image| image.starts_with("localhost/herald:")),
                "a Pod runs {image:?}"
            );
        }
    }
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    let tally = traffic.tally()?;
    figures.note("requests lost meanwhile, with two nodes in the router's route", &tally.words(), "");
    keeps_its_address(person).await
}

async fn go_back(
    cluster: &RealCluster,
    person: &Administrator<'_>,
    guide: &Document,
    rival: &str,
    figures: &mut Figures,
    traffic: &mut Traffic,
) -> Result<()> {
    chapter("Back to MetalLB, under requests without a pause");
    let start = Instant::now();
    // Nothing can be fetched here; the file is the one of that address.
    let lines = guide.block("kubectl apply -f https://")?;
    let (first, rest) = lines.split_once('\n').unwrap_or((lines, ""));
    let first: Vec<&str> =
        first.split(' ').map(|word| if word.starts_with("https://") { rival } else { word }).collect();
    person.does(&first.join(" ")).await?;
    cluster.rollout("metallb-system", "daemonset/speaker", ROLLOUT).await?;
    cluster.rollout("metallb-system", "deployment/controller", ROLLOUT).await?;
    wait_for_paths(cluster, &["n1", "n2"], SOON).await?;
    figures.note("back to MetalLB on both nodes", &seconds(start.elapsed()), "");
    person.does(rest).await?;
    for pod in cluster.pods("metallb-system", "component=speaker").await? {
        let image = pod.pointer("/spec/containers/0/image").and_then(serde_json::Value::as_str);
        ensure!(image.is_some_and(|image| image.starts_with("quay.io/metallb/")), "a Pod runs {image:?}");
    }
    let tally = traffic.tally()?;
    figures.note("requests lost on the way back", &tally.words(), "");
    keeps_its_address(person).await?;
    // Its controller works, and gives the next address.
    person.does("kubectl expose deployment nginx --name=next --port=80 --type=LoadBalancer").await?;
    eventually(SOON, "an address by MetalLB's controller", async || {
        let said = person.tries("kubectl get service next").await?;
        ensure!(said.contains("10.0.4.2"), "{said}");
        Ok(())
    })
    .await?;
    for kind in ["customresourcedefinitions", "poddisruptionbudgets -A"] {
        let left = person.tries(&format!("kubectl get {kind} --output=name")).await?;
        ensure!(!left.contains("herald") && !left.contains("budget"), "left of Herald: {left}");
    }
    Ok(())
}

async fn keeps_its_address(person: &Administrator<'_>) -> Result<()> {
    let said = person.tries("kubectl get service nginx").await?;
    ensure!(said.contains("10.0.4.1 "), "the Service has another address: {said}");
    Ok(())
}

/// Another BGP daemon of the router's machine, on a port of its own. It learns, and forwards nothing.
struct SecondRouter {
    daemon: Process,
    sockets: String,
}

impl SecondRouter {
    async fn vtysh(&self, question: &str) -> Result<String> {
        let mut command = Command::new("vtysh");
        output(command.args(["--vty_socket", &self.sockets, "-d", "bgpd", "-c", question])).await
    }
}

async fn second_router(run: &Arc<Run>, cluster: &RealCluster) -> Result<SecondRouter> {
    let folder = cluster.folder().join("second-router");
    fs::create_dir(&folder).context("making the second router's folder")?;
    let mut text = format!(
        "hostname second\nrouter bgp 65531\n bgp router-id 10.0.2.2\n no bgp ebgp-requires-policy\n \
         neighbor NODES peer-group\n neighbor NODES remote-as {NODE_AS}\n neighbor NODES passive\n"
    );
    for node in cluster.nodes() {
        text.push_str(&format!(" neighbor {} peer-group NODES\n", node.plan().v4));
    }
    fs::write(folder.join("bgpd.conf"), text).context("writing its configuration")?;
    output(Command::new("chown").args(["-R", "frr:frr"]).arg(&folder)).await?;
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = cluster.router().namespace().command("/usr/lib/frr/bgpd");
    command
        .args(["--config_file", &file("bgpd.conf"), "--pid_file", &file("bgpd.pid")])
        .args(["--vty_socket", &folder.display().to_string(), "--vty_port", "0", "--log", "stdout"])
        .args(["--no_zebra", "--bgp_port", &BESIDE_PORT.to_string()]);
    let daemon = Process::start(run, "second-bgpd", cluster.logs(), command)?;
    Ok(SecondRouter { daemon, sockets: folder.display().to_string() })
}

/// What only Herald reads: it is in Herald's namespace, and of its class.
const BESIDE: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: beside, namespace: herald-system}
spec: {addresses: [10.0.6.0/24], avoidBuggyIPs: true}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: second, namespace: herald-system}
spec: {myASN: 64500, peerASN: 65531, peerAddress: 10.0.2.1, peerPort: 1790}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: beside, namespace: herald-system}
---
apiVersion: v1
kind: Service
metadata: {name: beside, namespace: default}
spec:
  type: LoadBalancer
  loadBalancerClass: herald-lb.io/bgp
  selector: {app: nginx}
  ports: [{port: 80}]
";
