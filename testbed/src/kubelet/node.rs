//! A node that is real but for its kernel: a network namespace with a containerd, a kubelet and a kube-proxy of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::json;
use tokio::process::Command;

use super::cgroup::{Hierarchy, Memory};
use super::runtime::Runtime;
use crate::cluster::Kubeconfig;
use crate::eventually::eventually;
use crate::machine::{Tool, Tools};
use crate::namespace::Namespace;
use crate::network::NodePlan;
use crate::network::node::network;
use crate::process::{Process, output};
use crate::run::Run;

const START: Duration = Duration::from_secs(60);

/// The folder of the host that the speakers of one node share. The nodes here are one machine, so each node sees a folder
/// of its own in that place.
const OWN_FOLDER: &str = "mkdir -p /run/herald; mount --bind \"$1\" /run/herald; shift; exec \"$@\"";

/// What all nodes of a cluster share.
pub(super) struct Surroundings<'a> {
    pub(super) run: &'a Arc<Run>,
    pub(super) tools: &'a Tools,
    /// Begins the names of everything outside of the lab's folder.
    pub(super) prefix: &'a str,
    pub(super) folder: &'a Path,
    pub(super) logs: &'a Path,
    pub(super) lan: &'a Namespace,
    pub(super) places: &'a [NodePlan],
    pub(super) runtime: &'a Runtime,
    pub(super) groups: &'a Hierarchy,
}

/// One node. Dropping it ends its programs; its containers end with the cluster.
#[derive(Debug)]
pub struct RealNode {
    plan: NodePlan,
    folder: PathBuf,
    groups: Hierarchy,
    pods_group: String,
    kube_proxy: Option<Process>,
    kubelet: Option<Process>,
    containerd: Process,
    namespace: Arc<Namespace>,
}

impl RealNode {
    /// Makes the namespace, plugs it into the LAN, and starts containerd.
    pub(super) async fn create(around: &Surroundings<'_>, plan: &NodePlan) -> Result<Self> {
        let (prefix, name) = (around.prefix, plan.name.as_str());
        let namespace = Arc::new(Namespace::create(around.run, format!("{prefix}{name}")).await?);
        around
            .lan
            .ip(&format!(
                "link add {name} type veth peer name eth0 netns {}\nlink set {name} master lan\nlink set {name} up\n",
                namespace.name()
            ))
            .await?;
        namespace.ip(&network(plan, around.places)).await?;
        let folder = around.folder.join(name);
        for part in ["cni", "kubelet", "plugins", "herald"] {
            fs::create_dir_all(folder.join(part)).context("making the node's folder")?;
        }
        fs::write(folder.join("cni/10-pods.conflist"), pod_network(prefix, plan, &folder))
            .context("writing the network of the Pods")?;
        fs::write(folder.join("containerd.toml"), around.runtime.configuration(&folder)?)
            .context("writing containerd's configuration")?;

        let (pods_group, host_group) = (format!("{prefix}{name}-pods"), format!("{prefix}{name}-host"));
        around.groups.create(&pods_group)?;
        around.groups.create(&host_group)?;
        let mut command = namespace.command("unshare");
        command
            .args(["--mount", "--propagation=private", "sh", "-ec", OWN_FOLDER, "sh"])
            .arg(folder.join("herald"))
            .args(["containerd", "--config"])
            .arg(folder.join("containerd.toml"));
        let mut containerd = Process::start(around.run, &format!("{name}-containerd"), around.logs, command)?;
        // Before it starts its first shim: whatever it starts is in the group, and is found there.
        around.groups.adopt(&host_group, containerd.pid())?;
        eventually(START, "containerd to answer", async || {
            containerd.check_running()?;
            output(ctr(&folder).arg("version")).await
        })
        .await?;
        Ok(Self {
            plan: plan.clone(),
            folder,
            groups: around.groups.clone(),
            pods_group,
            kube_proxy: None,
            kubelet: None,
            containerd,
            namespace,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its place in the network.
    #[must_use]
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Puts the images of an archive into its containerd, as `ctr images import` does.
    ///
    /// # Errors
    /// When containerd refuses the archive.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        output(ctr(&self.folder).args(["images", "import"]).arg(archive)).await.map(drop)
    }

    /// Gives an image another name besides.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn tag_image(&self, image: &str, another: &str) -> Result<()> {
        output(ctr(&self.folder).args(["images", "tag", "--force", image, another])).await.map(drop)
    }

    /// Puts a filter of system calls where Pods may name it (`seccompProfile` of the type `Localhost`).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_system_call_filter(&self, name: &str, filter: &str) -> Result<()> {
        let folder = self.folder.join("kubelet/seccomp");
        fs::create_dir_all(&folder).context("making the folder of filters")?;
        fs::write(folder.join(name), filter).with_context(|| format!("writing the filter {name}"))
    }

    /// The names of the images that it has.
    ///
    /// # Errors
    /// When containerd does not answer.
    pub async fn images(&self) -> Result<Vec<String>> {
        let text = output(ctr(&self.folder).args(["images", "list", "--quiet"])).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Starts the kubelet, which registers the node, and kube-proxy.
    pub(super) fn join(&mut self, around: &Surroundings<'_>, admin: &Kubeconfig) -> Result<()> {
        let (name, folder) = (self.plan.name.clone(), self.folder.clone());
        let configuration = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            // Ignored where the machine has version 2.
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.pods_group),
            "containerRuntimeEndpoint": format!("unix://{}", folder.join("containerd.sock").display()),
            "podLogsDir": folder.join("pods"),
            "volumePluginDir": folder.join("plugins"),
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "address": self.plan.v4,
            "clusterDomain": "cluster.local",
            "failSwapOn": false,
            "oomScoreAdj": 0,
            "nodeStatusUpdateFrequency": "5s",
            "imageGCHighThresholdPercent": 100,
            // The disk is the machine's, and how full it is says nothing about the lab.
            "evictionHard": {"memory.available": "50Mi"},
        });
        let file = folder.join("kubelet.json");
        fs::write(&file, format!("{configuration:#}\n")).context("writing the kubelet's configuration")?;
        // In containerd's view of the mounts, because what the one mounts is used by the other.
        let mut command = self.namespace.command("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.containerd.pid()))
            .args(["--", &around.tools.program(Tool::Kubelet)])
            .arg("--config")
            .arg(&file)
            .arg("--kubeconfig")
            .arg(admin.path())
            .arg(format!("--hostname-override={name}"))
            .arg(format!("--node-ip={},{}", self.plan.v4, self.plan.v6))
            .arg(format!("--root-dir={}", folder.join("kubelet").display()))
            .arg(format!("--cert-dir={}", folder.join("kubelet").display()));
        let kubelet = Process::start(around.run, &format!("{name}-kubelet"), around.logs, command)?;
        self.kubelet = Some(kubelet);

        let configuration = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": admin.path()},
            "hostnameOverride": name,
            "clusterCIDR": "10.244.0.0/16,fd00:10:244::/48",
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            // Counted for the whole machine, which is not the lab's to set.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        });
        let file = folder.join("kube-proxy.json");
        fs::write(&file, format!("{configuration:#}\n")).context("writing kube-proxy's configuration")?;
        let mut command = self.namespace.command(&around.tools.program(Tool::KubeProxy));
        command.arg("--config").arg(&file);
        self.kube_proxy =
            Some(Process::start(around.run, &format!("{name}-kube-proxy"), around.logs, command)?);
        Ok(())
    }

    /// Ends the kubelet, as an administrator does who takes a machine out of service. Its containers go on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn stop_kubelet(&mut self) -> Result<()> {
        let kubelet = self.kubelet.take().context("the kubelet runs")?;
        kubelet.signal(Signal::TERM)?;
        kubelet.stop(Duration::from_secs(20)).await.map(drop)
    }

    /// Fails with the end of the log when one of its programs has ended.
    ///
    /// # Errors
    /// The program that has ended.
    pub fn check_running(&mut self) -> Result<()> {
        self.containerd.check_running()?;
        self.kubelet.iter_mut().chain(&mut self.kube_proxy).try_for_each(Process::check_running)
    }

    /// Memory of a Pod by its UID, as its control group has it.
    ///
    /// # Errors
    /// When the Pod has no group here.
    pub fn pod_memory(&self, uid: &str) -> Result<Memory> {
        self.groups.memory(&self.pods_group, &format!("pod{uid}"))
    }

    /// Containers that run, by containerd's own account: none after everything was deleted but what others own.
    ///
    /// # Errors
    /// When containerd does not answer.
    pub async fn running_containers(&self) -> Result<usize> {
        let text = output(ctr(&self.folder).args(["tasks", "list", "--quiet"])).await?;
        ensure!(text.lines().count() < 1000, "containerd lists too many tasks");
        Ok(text.lines().count())
    }
}

fn ctr(folder: &Path) -> Command {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(folder.join("containerd.sock")).args(["--namespace", "k8s.io"]);
    command
}

/// Each node has its own range and bridge; the routes between nodes are in `network`.
fn pod_network(prefix: &str, plan: &NodePlan, folder: &Path) -> String {
    let ranges = json!([[{"subnet": plan.pod_prefix_v4()}], [{"subnet": plan.pod_prefix_v6()}]]);
    let list = json!({
        "cniVersion": "1.0.0", "name": format!("{prefix}{}", plan.name), "plugins": [
            {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true, "ipam": {
                "type": "host-local", "dataDir": folder.join("addresses"), "ranges": ranges,
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            }},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    list.to_string()
}
