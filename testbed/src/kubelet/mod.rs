//! A cluster whose nodes are run by real kubelets: control plane, scheduler, containerd, CNI, kube-proxy, and the home
//! network around it with its router and client. What is installed here is installed as users do it: images and YAML.
//!
//! Left out: separate kernels and pulls from a registry. The nodes share this machine's kernel and its files, and each
//! has a network namespace and its own view of the mounts; images come as archives. One such cluster at a time runs on a
//! machine, because a kubelet changes settings of the whole machine.

pub mod cgroup;
pub mod control_plane;
pub mod image;
pub mod node;
pub mod residue;
pub mod rootfs;
pub mod runtime;
pub mod sysctl;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::eventually::eventually;
use crate::machine::Tools;
use crate::network::NodePlan;
use crate::network::client::ClientHost;
use crate::network::router::{Router, RouterPlan};
use crate::run::Run;

use cgroup::Hierarchy;
use control_plane::ControlPlane;
use node::{RealNode, Surroundings};
use runtime::Runtime;

/// From nothing to all nodes Ready, on a machine with much else to do.
const READY: Duration = Duration::from_secs(120);

/// What a cluster has.
#[derive(Clone, Debug)]
pub struct RealPlan {
    /// The nodes, by number (see `NodePlan::number`).
    pub nodes: Vec<u8>,
    /// The router's set-up.
    pub router: RouterPlan,
    /// Archives of images that every node gets.
    pub images: Vec<PathBuf>,
    /// The program of this crate that starts runc where the machine's own rights are bounded.
    pub bounded_runc: PathBuf,
}

/// A running cluster. Dropping it takes everything away, containers included.
pub struct RealCluster {
    // Fields are dropped from top to bottom: first what uses the others.
    nodes: BTreeMap<String, RealNode>,
    control_plane: ControlPlane,
    client: ClientHost,
    router: Router,
    groups: Hierarchy,
    runtime: Runtime,
    prefix: String,
    folder: PathBuf,
    logs: PathBuf,
    _alone: File,
}

impl RealCluster {
    /// Starts the cluster and returns when every node is Ready.
    ///
    /// # Errors
    /// When a part does not come up; the end of its log is in the error.
    pub async fn start(run: &Arc<Run>, tools: &Tools, plan: &RealPlan) -> Result<Self> {
        let alone = alone(run).await?;
        let groups = Hierarchy::find().map_err(anyhow::Error::msg)?;
        let (folder, prefix) = run.next_lab();
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        let runtime = Runtime::find(&plan.bounded_runc, &folder)?;
        run.note_containers(&prefix)?;
        sysctl::note(run)?;

        let places: Vec<NodePlan> = plan.nodes.iter().copied().map(NodePlan::number).collect();
        let router = Router::start(run, &prefix, &folder, &logs, &plan.router, &places).await?;
        let client = ClientHost::create(run, &prefix, router.namespace()).await?;
        let lan = router.namespace();
        let around = Surroundings {
            run,
            tools,
            prefix: &prefix,
            folder: &folder,
            logs: &logs,
            lan,
            places: &places,
            runtime: &runtime,
            groups: &groups,
        };
        let (control_plane, nodes) =
            tokio::join!(ControlPlane::start(run, tools, &prefix, &folder, &logs, lan, &places), async {
                let own = [image::pause(&folder).await?, image::server(&folder).await?];
                let mut nodes = BTreeMap::new();
                for place in &places {
                    let node = RealNode::create(&around, place).await?;
                    for archive in own.iter().chain(&plan.images) {
                        node.import(archive)
                            .await
                            .with_context(|| format!("importing {}", archive.display()))?;
                    }
                    nodes.insert(place.name.clone(), node);
                }
                anyhow::Ok(nodes)
            });
        let (control_plane, mut nodes) = (control_plane?, nodes?);
        for node in nodes.values_mut() {
            node.join(&around, &control_plane.kubeconfig())?;
        }
        let mut this = Self {
            nodes,
            control_plane,
            client,
            router,
            groups,
            runtime,
            prefix,
            folder,
            logs,
            _alone: alone,
        };
        this.wait_until_ready().await?;
        Ok(this)
    }

    /// The control plane, and kubectl.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The router, to switch it off and on.
    pub fn router_mut(&mut self) -> &mut Router {
        &mut self.router
    }

    /// The computer behind the router.
    #[must_use]
    pub fn client(&self) -> &ClientHost {
        &self.client
    }

    /// A node by its name, e.g. `n1`.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&self, name: &str) -> Result<&RealNode> {
        self.nodes.get(name).with_context(|| format!("there is no node {name}"))
    }

    /// A node by its name, to stop its programs.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut RealNode> {
        self.nodes.get_mut(name).with_context(|| format!("there is no node {name}"))
    }

    /// All nodes, sorted by name.
    pub fn nodes(&self) -> impl Iterator<Item = &RealNode> {
        self.nodes.values()
    }

    /// The logs of all processes; those of containers are asked for with kubectl.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The lab's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is unusual on this machine, for the person who looks.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        self.runtime.remarks()
    }

    /// Waits until a Deployment or DaemonSet has what it wants, e.g. `daemonset/speaker`.
    ///
    /// # Errors
    /// When that takes longer than `limit`; kubectl's last words are in the error.
    pub async fn rollout(&self, namespace: &str, workload: &str, limit: Duration) -> Result<()> {
        eventually(limit, &format!("the rollout of {workload}"), async || {
            let words = ["rollout", "status", "--namespace", namespace, workload, "--timeout=20s"];
            self.control_plane.do_kubectl(&words).await
        })
        .await
        .map(drop)
    }

    /// The Pods of a namespace that a selector fits and that are not being deleted.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<serde_json::Value>> {
        let list =
            self.control_plane.read(&["pods", "--namespace", namespace, "--selector", selector]).await?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        Ok(pods.into_iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()).collect())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let (nodes, control_plane) = (&mut self.nodes, &self.control_plane);
        eventually(READY, "all nodes to be Ready", async || {
            nodes.values_mut().try_for_each(RealNode::check_running)?;
            let seen = control_plane.read(&["nodes"]).await?;
            let ready = seen["items"].as_array().into_iter().flatten().filter(|node| is_ready(node)).count();
            ensure!(ready == nodes.len(), "{ready} of {} are", nodes.len());
            Ok(())
        })
        .await
        .map(drop)
    }
}

impl Drop for RealCluster {
    fn drop(&mut self) {
        // kubelets first, so that none starts again what ends; then whatever still is in the groups.
        self.nodes.clear();
        if let Err(why) = self.groups.remove(&self.prefix) {
            eprintln!("testbed: {why:#}");
        }
        residue::remove(&self.folder, &self.prefix);
    }
}

fn is_ready(object: &serde_json::Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(serde_json::Value::as_array);
    conditions.into_iter().flatten().any(|row| row["type"] == "Ready" && row["status"] == "True")
}

/// Held while the cluster lives. Another run waits until it is gone.
async fn alone(run: &Run) -> Result<File> {
    let place = run.folder().parent().context("a run's folder is in another")?.join("kubelet.lock");
    let lock = File::create(&place).with_context(|| format!("making {}", place.display()))?;
    let (found, _) =
        eventually(Duration::from_secs(1200), "the other run with kubelets to end", async || {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => Ok(()),
                Err(error) => bail!("{}: {error}", place.display()),
            }
        })
        .await
        .map(|(_, took)| ((), took))?;
    let () = found;
    Ok(lock)
}
