//! A node: a namespace on the LAN with kube-proxy in it, a Node object, and a door to the API server.
//! Herald's daemons and the pods are put in by others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::{LAN_BITS_V4, NodePlan, ROUTER_V4, ROUTER_V6};
use crate::cluster::Cluster;
use crate::door::ApiDoor;
use crate::machine::{Machine, Tool};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::run::Run;

/// One node. Dropping it is a power cut.
#[derive(Debug)]
pub struct Node {
    plan: NodePlan,
    folder: PathBuf,
    namespace: Arc<Namespace>,
    door: ApiDoor,
    kube_proxy: Option<Process>,
}

impl Node {
    /// Makes the namespace, plugs it into the LAN and opens the door to the API server.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn create(
        run: &Arc<Run>,
        prefix: &str,
        folder: &Path,
        plan: &NodePlan,
        all: &[NodePlan],
        router: &Namespace,
        cluster_address: std::net::SocketAddr,
    ) -> Result<Self> {
        let namespace = Namespace::create(run, format!("{prefix}{}", plan.name)).await?;
        let port = &plan.name;
        router
            .ip(&format!(
                "link add {port} type veth peer name eth0 netns {}\nlink set {port} master lan\nlink set {port} up\n",
                namespace.name()
            ))
            .await?;
        namespace.ip(&network(plan, all)).await?;
        let folder = folder.join(&plan.name);
        std::fs::create_dir(&folder).context("making the node's folder")?;
        let door = ApiDoor::open(&namespace, cluster_address).await?;
        Ok(Self { plan: plan.clone(), folder, namespace: Arc::new(namespace), door, kube_proxy: None })
    }

    /// Its place in the network.
    #[must_use]
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its folder, for sockets and state.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Its way to the API server.
    #[must_use]
    pub fn door(&self) -> &ApiDoor {
        &self.door
    }

    /// Creates the Node object, Ready and with its addresses, as a kubelet does.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn register(&self, client: Client) -> Result<()> {
        let nodes = Api::<NodeObject>::all(client);
        let plan = &self.plan;
        let object: NodeObject = serde_json::from_value(json!({
            "metadata": {"name": plan.name, "labels": {
                "kubernetes.io/hostname": plan.name, "kubernetes.io/os": "linux",
            }},
            "spec": {"podCIDR": plan.pod_prefix_v4(), "podCIDRs": [plan.pod_prefix_v4(), plan.pod_prefix_v6()]},
        }))?;
        nodes.create(&PostParams::default(), &object).await.context("creating the Node")?;
        let status = json!({"status": {
            "addresses": [
                {"type": "InternalIP", "address": plan.v4}, {"type": "InternalIP", "address": plan.v6},
                {"type": "Hostname", "address": plan.name},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "played by the testbed"}],
        }});
        let patch = Patch::Strategic(&status);
        nodes
            .patch_status(&plan.name, &PatchParams::default(), &patch)
            .await
            .context("patching the Node's status")?;
        Ok(())
    }

    /// Starts kube-proxy in nftables mode.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_kube_proxy(
        &mut self,
        run: &Run,
        machine: &Machine,
        cluster: &Cluster,
        logs: &Path,
    ) -> Result<()> {
        let name = format!("{}-kube-proxy", self.plan.name);
        let server = format!("https://{}", crate::door::API_ADDRESS);
        let kubeconfig = cluster.admin_at(&name, &server)?;
        let configuration = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": kubeconfig.path()},
            "hostnameOverride": self.plan.name,
            "clusterCIDR": "10.244.0.0/16,fd00:10:244::/48",
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            // A lab waits for kube-proxy more often than kube-proxy waits for load.
            "nftables": {"minSyncPeriod": "100ms"},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        });
        let file = self.folder.join("kube-proxy.json");
        std::fs::write(&file, format!("{configuration:#}\n"))
            .context("writing kube-proxy's configuration")?;
        let mut command = self.namespace.command(&machine.tools.program(Tool::KubeProxy));
        command.arg("--config").arg(&file);
        self.kube_proxy = Some(Process::start(run, &name, logs, command)?);
        Ok(())
    }

    /// The rules that kube-proxy wrote, as text.
    ///
    /// # Errors
    /// When nft does not answer.
    pub async fn rules(&self) -> Result<String> {
        crate::process::output(self.namespace.command("nft").args(["list", "ruleset"])).await
    }
}

/// Address, default route, and a route to the pods of each other node: what a CNI plugin's daemon would do.
pub(crate) fn network(plan: &NodePlan, all: &[NodePlan]) -> String {
    let mut lines = format!(
        "address add {}/{LAN_BITS_V4} dev eth0\n\
         address add {}/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via {ROUTER_V4}\n\
         route add default via {ROUTER_V6}\n",
        plan.v4, plan.v6
    );
    for other in all.iter().filter(|other| other.number != plan.number) {
        lines.push_str(&format!("route add {} via {}\n", other.pod_prefix_v4(), other.v4));
        lines.push_str(&format!("route add {} via {}\n", other.pod_prefix_v6(), other.v6));
    }
    lines
}
