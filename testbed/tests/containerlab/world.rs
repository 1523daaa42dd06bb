//! What a lab has beside its containers: a control plane, a controller, and the tokens of the speakers.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::HERALD_NAMESPACE;
use testbed::cluster::{Cluster, ClusterPlan, Kubeconfig};
use testbed::door::{API_ADDRESS, ApiDoor};
use testbed::eventually::eventually;
use testbed::machine::Machine;
use testbed::namespace::Namespace;
use testbed::network::route;
use testbed::process::{Process, output};
use testbed::run::Run;
use tokio::process::Command;

use crate::engine::{Driver, Engine, Site};
use crate::topology::Topology;

/// The user of the image.
const USER: &str = "65532";
/// Where a speaker's folder is inside its container.
pub(crate) const INSIDE: &str = "/lab";

/// A lab that runs. Dropping it takes everything away.
pub(crate) struct World {
    // Fields are dropped from top to bottom: first what uses the others.
    _doors: Vec<ApiDoor>,
    _controller: Process,
    pub(crate) engine: Engine,
    _controller_place: Namespace,
    cluster: Cluster,
    containers: Vec<String>,
    logs: PathBuf,
}

impl World {
    /// Builds the lab of a folder with a driver.
    pub(crate) async fn start(
        run: &Arc<Run>,
        machine: &Machine,
        lab: &Path,
        driver: &Driver,
    ) -> Result<Self> {
        let topology = Topology::read(lab)?;
        let (folder, prefix) = run.next_lab();
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        let cluster = Cluster::start(run, machine, &folder, &logs, ClusterPlan::default()).await?;
        cluster.apply_manifests().await?;
        for node in topology.speakers() {
            let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {
                "kubernetes.io/hostname": node, "kubernetes.io/os": "linux",
            }}});
            cluster.apply(&object.to_string()).await?;
        }
        let config = fs::read_to_string(lab.join("herald.yaml")).context("reading herald.yaml of the lab")?;
        cluster.apply(&config).await?;

        let (place, door, controller) =
            start_controller(run, machine, &cluster, &folder, &logs, &prefix, &topology).await?;
        let work = folder.join("lab");
        output(Command::new("cp").arg("-r").arg(lab).arg(&work)).await?;
        for node in topology.speakers() {
            let home = work.join(node);
            let seen_as = driver.seen_as(&home);
            make_home(&cluster, &home, &seen_as, node).await?;
        }
        let site = Site {
            run,
            machine,
            prefix: &prefix,
            folder: &folder,
            work: &work,
            logs: &logs,
            topology: &topology,
        };
        let engine = driver.deploy(&site).await?;
        let mut doors = vec![door];
        for node in topology.speakers() {
            doors.push(ApiDoor::open(engine.namespace(node)?, cluster.address()).await?);
        }
        for (name, node) in &topology.nodes {
            for (interface, addresses) in &node.labels {
                let mut lines = format!("link set {interface} up\n");
                for address in addresses.split_whitespace() {
                    let nodad = if address.contains(':') { " nodad" } else { "" };
                    lines.push_str(&format!("address add {address} dev {interface}{nodad}\n"));
                }
                engine.allow_ipv6(name).await?;
                engine.namespace(name)?.ip(&lines).await?;
            }
        }
        let containers = topology.routers().chain(topology.speakers()).cloned().collect();
        Ok(Self {
            _doors: doors,
            _controller: controller,
            engine,
            _controller_place: place,
            cluster,
            containers,
            logs,
        })
    }

    /// Writes where the Service's endpoints are, in place of the endpoint slice controller: the Service has no selector.
    pub(crate) async fn set_endpoints(&self, nodes: &[String]) -> Result<()> {
        for (family, start) in [("IPv4", "10.244.0."), ("IPv6", "fd00:10:244::")] {
            let rows: Vec<Value> = nodes
                .iter()
                .enumerate()
                .map(|(index, node)| {
                    json!({
                        "addresses": [format!("{start}{}", index + 2)], "nodeName": node,
                        "conditions": {"ready": true, "serving": true, "terminating": false},
                    })
                })
                .collect();
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
                "metadata": {
                    "name": format!("web-{}", family.to_lowercase()), "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "endpoints": rows, "ports": [{"name": "http", "port": 80}],
            });
            self.cluster.apply(&slice.to_string()).await?;
        }
        Ok(())
    }

    /// Keeps all logs in a folder and gives the last words of the speakers.
    pub(crate) async fn keep_logs(&self, folder: &Path) -> Result<String> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        output(Command::new("cp").arg("-r").arg(&self.logs).arg(folder)).await?;
        let mut words = String::new();
        for node in &self.containers {
            words.push_str(&format!("--- {node}\n{}\n", self.engine.words_of(node, &self.logs).await));
        }
        Ok(words)
    }

    /// Sessions that a router has established.
    pub(crate) async fn established(&self, router: &str) -> Result<usize> {
        let text = self.engine.vtysh(router, "show bgp neighbors json").await?;
        let answer: Value = serde_json::from_str(&text).context("reading FRR's neighbours")?;
        let rows = answer.as_object().context("FRR's neighbours are an object")?;
        Ok(rows.values().filter(|row| row["bgpState"] == "Established").count())
    }

    /// BFD sessions that a router has up.
    pub(crate) async fn bfd_up(&self, router: &str) -> Result<usize> {
        let text = self.engine.vtysh(router, "show bfd peers json").await?;
        let answer: Value = serde_json::from_str(&text).context("reading FRR's BFD peers")?;
        let rows = answer.as_array().context("FRR's BFD peers are a list")?;
        Ok(rows.iter().filter(|row| row["status"] == "up").count())
    }

    /// Where a router's kernel forwards an address, by BGP.
    pub(crate) async fn next_hops(&self, router: &str, to: IpAddr) -> Result<BTreeSet<IpAddr>> {
        let family = if to.is_ipv4() { "-4" } else { "-6" };
        let mut command = Command::new("ip");
        command.args([
            "-netns",
            self.engine.namespace(router)?.name(),
            "-json",
            family,
            "route",
            "show",
            "proto",
            "bgp",
        ]);
        let mut table = route::from_json(&output(&mut command).await?)?;
        Ok(table.remove(&to.into()).unwrap_or_default())
    }
}

/// A controller in a place of its own that reaches nothing but the API server.
async fn start_controller(
    run: &Arc<Run>,
    machine: &Machine,
    cluster: &Cluster,
    folder: &Path,
    logs: &Path,
    prefix: &str,
    topology: &Topology,
) -> Result<(Namespace, ApiDoor, Process)> {
    let place = Namespace::create(run, format!("{prefix}ctl")).await?;
    let door = ApiDoor::open(&place, cluster.address()).await?;
    let node = topology.speakers().next().context("a topology has a speaker")?;
    let token = token(cluster, "controller", node).await?;
    let home = folder.join("controller");
    fs::create_dir(&home).context("making the controller's folder")?;
    let kubeconfig = keep_token(&token, &home, &home)?;
    output(Command::new("chown").args(["-R", USER]).arg(&home)).await?;
    let mut command = place.command("setpriv");
    command
        .args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"])
        .args(["--bounding-set=-all", "--no-new-privs", "--"])
        .arg(machine.daemons.program("controller"))
        .args(["--kubeconfig", &kubeconfig, "--namespace", HERALD_NAMESPACE, "--pod-name", "controller"]);
    let mut controller = Process::start(run, "controller", logs, command)?;
    eventually(Duration::from_secs(60), "the controller to be alive", async || {
        controller.check_running()?;
        let url = "http://127.0.0.1:7472/livez";
        output(place.command("curl").args(["--silent", "--show-error", "--fail", "--max-time", "2", url]))
            .await
    })
    .await?;
    Ok((place, door, controller))
}

/// A folder with what a speaker needs, readable for its user.
async fn make_home(cluster: &Cluster, home: &Path, seen_as: &Path, node: &str) -> Result<()> {
    fs::create_dir_all(home.join("state")).context("making a speaker's folder")?;
    let token = token(cluster, "speaker", node).await?;
    keep_token(&token, home, seen_as)?;
    output(Command::new("chown").args(["-R", USER]).arg(home)).await.map(drop)
}

async fn token(cluster: &Cluster, account: &str, node: &str) -> Result<Kubeconfig> {
    let (name, server) = (format!("{node}-{account}"), format!("https://{API_ADDRESS}"));
    cluster.service_account_at(&name, &server, (HERALD_NAMESPACE, account), node).await
}

/// Puts a kubeconfig and the API server's certificate into a folder that its reader sees elsewhere; gives the reader's path.
fn keep_token(kubeconfig: &Kubeconfig, home: &Path, seen_as: &Path) -> Result<String> {
    let text = fs::read_to_string(kubeconfig.path()).context("reading a kubeconfig")?;
    let mut content: Value = serde_json::from_str(&text).context("a kubeconfig of ours is JSON")?;
    let authority = &mut content["clusters"][0]["cluster"]["certificate-authority"];
    let original = authority.as_str().context("a kubeconfig names the certificate")?.to_owned();
    fs::copy(&original, home.join("ca.crt")).context("copying the API server's certificate")?;
    *authority = json!(seen_as.join("ca.crt"));
    fs::write(home.join("kubeconfig"), content.to_string()).context("writing a kubeconfig")?;
    Ok(seen_as.join("kubeconfig").to_string_lossy().into_owned())
}
