//! A lab: cluster, router, client and nodes put together, and the verbs of the stories that are told with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::cluster::{Cluster, ClusterPlan, STORE_FOLDER};
use crate::door::Passage;
use crate::eventually::eventually;
use crate::herald::{Herald, PROGRAM_FOLDER};
use crate::machine::Machine;
use crate::network::NodePlan;
use crate::network::client::ClientHost;
use crate::network::node::Node;
use crate::network::pod::Pod;
use crate::network::router::{Router, RouterPlan};
use crate::run::Run;
use crate::service::{Service, ServicePlan};

/// What a lab has.
#[derive(Clone, Debug)]
pub struct LabPlan {
    /// The nodes, by number (see `NodePlan::number`).
    pub nodes: Vec<u8>,
    /// The router's set-up.
    pub router: RouterPlan,
    /// The control plane's kind.
    pub cluster: ClusterPlan,
    /// Whether packets must reach pods; without kube-proxy a lab starts faster.
    pub data_path: bool,
}

impl Default for LabPlan {
    fn default() -> Self {
        Self {
            nodes: vec![1, 2, 3],
            router: RouterPlan::default(),
            cluster: ClusterPlan::default(),
            data_path: true,
        }
    }
}

/// A running lab. Dropping it ends everything in it; its logs stay until the run ends.
pub struct Lab {
    run: Arc<Run>,
    machine: Machine,
    prefix: String,
    folder: PathBuf,
    logs: PathBuf,
    // Fields are dropped from top to bottom: first what uses the others.
    herald: Herald,
    pods: Vec<Pod>,
    next_pod: u8,
    nodes: BTreeMap<String, Node>,
    client: ClientHost,
    router: Router,
    cluster: Cluster,
    _bulk: Bulk,
}

/// What is large in a lab's folder: a quarter of a gigabyte, of which a run with ninety labs would fill a disk.
struct Bulk(PathBuf);

impl Drop for Bulk {
    fn drop(&mut self) {
        // What is left here, because somebody had not quite ended, goes with the run.
        for part in [STORE_FOLDER, PROGRAM_FOLDER] {
            let _ = fs::remove_dir_all(self.0.join(part));
        }
    }
}

impl Lab {
    /// Starts everything but Herald.
    ///
    /// # Errors
    /// When a part does not come up; the end of its log is in the error.
    pub async fn start(run: &Arc<Run>, machine: &Machine, plan: &LabPlan) -> Result<Self> {
        let (folder, prefix) = run.next_lab();
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        let places: Vec<NodePlan> = plan.nodes.iter().copied().map(NodePlan::number).collect();

        let (cluster, network) =
            tokio::join!(Cluster::start(run, machine, &folder, &logs, plan.cluster), async {
                let router = Router::start(run, &prefix, &folder, &logs, &plan.router, &places).await?;
                let client = ClientHost::create(run, &prefix, router.namespace()).await?;
                anyhow::Ok((router, client))
            });
        let (cluster, (router, client)) = (cluster?, network?);
        let mut nodes = BTreeMap::new();
        for place in &places {
            let lan = router.namespace();
            let mut node =
                Node::create(run, &prefix, &folder, place, &places, lan, cluster.address()).await?;
            node.register(cluster.client()).await?;
            if plan.data_path {
                node.start_kube_proxy(run, machine, &cluster, &logs)?;
            }
            nodes.insert(place.name.clone(), node);
        }
        Ok(Self {
            run: Arc::clone(run),
            machine: machine.clone(),
            prefix,
            herald: Herald::new(),
            pods: Vec::new(),
            next_pod: 2,
            _bulk: Bulk(folder.clone()),
            folder,
            logs,
            nodes,
            client,
            router,
            cluster,
        })
    }

    /// The control plane.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The API server crashes, and its machine refuses connections. The controller manager lives there, too.
    ///
    /// # Errors
    /// When it is stopped already.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        for node in self.nodes.values() {
            node.door().set(Passage::Refused);
        }
        self.cluster.stop().await
    }

    /// The API server starts again. Nodes reach it once it is ready, as by a load balancer that asks for its health.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_api_server(&mut self) -> Result<()> {
        self.start_unreached_api_server().await?;
        for node in self.nodes.values() {
            node.door().set(Passage::Open);
        }
        Ok(())
    }

    /// The API server starts again and is ready, and no node reaches it yet: their doors are for the story to open.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_unreached_api_server(&mut self) -> Result<()> {
        self.cluster.start_again().await
    }

    /// A backup is made of the API server's data, with both the server and its store at rest; they run again afterwards.
    ///
    /// # Errors
    /// When one of them does not stop or start.
    pub async fn back_up(&mut self) -> Result<()> {
        self.stop_api_server().await?;
        self.cluster.copy_store().await?;
        self.start_api_server().await
    }

    /// The API server is stopped, and its data are those of the backup again. It has to be started afterwards. One node does
    /// not notice, because nothing gets through its door meanwhile.
    ///
    /// # Errors
    /// When there is no backup, or the server or its store cannot be stopped.
    pub async fn restore_unnoticed_by(&mut self, unaware: &str) -> Result<()> {
        for node in self.nodes.values() {
            node.door().set(if node.name() == unaware { Passage::Held } else { Passage::Refused });
        }
        self.cluster.stop().await?;
        self.cluster.put_store_back().await
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
    /// When the lab has no such node, or it lost its power.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).with_context(|| format!("there is no node {name}"))
    }

    /// All nodes that have power, sorted by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The logs of all processes.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The lab's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The programs of this machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The run that the lab belongs to.
    #[must_use]
    pub fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Herald's daemons in this lab.
    #[must_use]
    pub fn herald(&self) -> &Herald {
        &self.herald
    }

    /// Herald's daemons together with the lab that they run in.
    pub(crate) fn herald_mut(&mut self) -> &mut Herald {
        &mut self.herald
    }

    /// Creates a Service.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create_service(&self, name: &str, plan: &ServicePlan) -> Result<Service> {
        Service::create(self.cluster.client(), name, plan).await
    }

    /// Starts a pod of a Service on a node: nginx answers, and the Pod object is Ready.
    ///
    /// # Errors
    /// When nginx does not answer or the API server refuses.
    pub async fn start_pod(&mut self, service: &str, node: &str) -> Result<()> {
        let index = self.next_pod;
        self.next_pod = index.checked_add(1).context("a lab has at most 253 pods")?;
        let name = format!("{service}-{index}");
        let pod = Pod::start(&self.run, &self.prefix, &self.logs, self.node(node)?, &name, index).await?;
        pod.register(self.cluster.client(), &json!({"app": service})).await?;
        self.pods.push(pod);
        Ok(())
    }

    /// Waits until the router forwards an address to exactly these nodes, and says how long that took.
    ///
    /// # Errors
    /// When that does not happen in time, or a node's name is unknown.
    pub async fn wait_for_paths(&self, address: IpAddr, nodes: &[&str], limit: Duration) -> Result<Duration> {
        let what = format!("the router to forward {address} to {nodes:?}");
        let ((), took) = eventually(limit, &what, async || self.check_paths(address, nodes).await).await?;
        Ok(took)
    }

    /// Fails when the router does not forward an address to exactly these nodes now.
    ///
    /// # Errors
    /// The paths that there are instead.
    pub async fn check_paths(&self, address: IpAddr, nodes: &[&str]) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for node in nodes {
            let plan = self.node(node)?.plan();
            wanted.insert(if address.is_ipv4() { IpAddr::from(plan.v4) } else { plan.v6.into() });
        }
        let found = self.router().next_hops(address).await?;
        ensure!(found == wanted, "{address} goes to {found:?}");
        Ok(())
    }

    /// The pods that run.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Deletes the pods of a Service that run on a node, at once.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete_pods(&mut self, service: &str, node: &str) -> Result<()> {
        let start = format!("{service}-");
        let (gone, kept) = std::mem::take(&mut self.pods)
            .into_iter()
            .partition(|pod| pod.node() == node && pod.name().starts_with(&start));
        self.pods = kept;
        let gone: Vec<Pod> = gone;
        for pod in gone {
            pod.delete(self.cluster.client()).await?;
        }
        Ok(())
    }

    /// Ends one pod by its name, at once.
    ///
    /// # Errors
    /// When there is no such pod or the API server refuses.
    pub async fn delete_pod(&mut self, name: &str) -> Result<()> {
        let at = self.pods.iter().position(|pod| pod.name() == name);
        let pod = self.pods.remove(at.with_context(|| format!("there is no pod {name}"))?);
        pod.delete(self.cluster.client()).await
    }

    /// A power cut: nothing of the node says goodbye, neither to the router nor to the API server.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn cut_power(&mut self, name: &str) -> Result<()> {
        let node = self.nodes.remove(name).with_context(|| format!("there is no node {name}"))?;
        // First the cable, so that no FIN of a dying process gets out.
        self.router.set_cable(name, false).await?;
        node.door().set(Passage::Held);
        self.herald.forget_node(name).await?;
        self.pods.retain(|pod| pod.node() != name);
        drop(node);
        Ok(())
    }
}
