//! The control plane on a machine of its own in the LAN: nodes and Pods reach it as in any cluster, by `kubernetes.default`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::cluster::{Answer, Credentials, Kubeconfig, apply_with};
use crate::eventually::eventually;
use crate::machine::{Tool, Tools};
use crate::namespace::Namespace;
use crate::network::{LAN_BITS_V4, NodePlan, ROUTER_V4};
use crate::process::{Process, run_to_end};
use crate::run::Run;

/// Its place in the LAN.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 5);
const PORT: u16 = 6443;
/// How long a start may take, on a machine with much else to do.
const START: Duration = Duration::from_secs(90);

/// etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Dropping it ends them.
#[derive(Debug)]
pub struct ControlPlane {
    tools: Tools,
    credentials: Credentials,
    _programs: Vec<Process>,
    namespace: Arc<Namespace>,
}

impl ControlPlane {
    /// Starts it and returns when the API server is ready.
    ///
    /// # Errors
    /// When one of the programs does not come up.
    pub(super) async fn start(
        run: &Arc<Run>,
        tools: &Tools,
        prefix: &str,
        folder: &Path,
        logs: &Path,
        lan: &Namespace,
        nodes: &[NodePlan],
    ) -> Result<Self> {
        let namespace = Arc::new(Namespace::create(run, format!("{prefix}cp")).await?);
        lan.ip(&format!(
            "link add cp type veth peer name eth0 netns {}\nlink set cp master lan\nlink set cp up\n",
            namespace.name()
        ))
        .await?;
        let mut wires = format!(
            "address add {ADDRESS}/{LAN_BITS_V4} dev eth0\nlink set eth0 up\nroute add default via {ROUTER_V4}\n"
        );
        for node in nodes {
            wires.push_str(&format!("route add {} via {}\n", node.pod_prefix_v4(), node.v4));
        }
        namespace.ip(&wires).await?;
        let server = format!("https://{ADDRESS}:{PORT}");
        let credentials = Credentials::create_for(folder, &server).await?;
        let start = Starter { run, tools, folder, logs, namespace: &namespace };
        let mut programs = vec![start.etcd()?, start.api_server()?];
        let mut this = Self {
            tools: tools.clone(),
            credentials,
            _programs: Vec::new(),
            namespace: Arc::clone(&namespace),
        };
        eventually(START, "kube-apiserver to be ready", async || {
            programs.iter_mut().try_for_each(Process::check_running)?;
            let answer = this.kubectl(&["get", "--raw=/readyz"]).await?;
            if answer.accepted { Ok(()) } else { bail!("{}", answer.text.trim()) }
        })
        .await?;
        programs.push(start.controller_manager(&this.credentials)?);
        programs.push(start.scheduler(&this.credentials)?);
        this._programs = programs;
        Ok(this)
    }

    /// The administrator's kubeconfig, for use in the LAN.
    #[must_use]
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.credentials.admin()
    }

    /// Its namespace, from which the administrator works.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When kubectl cannot be started or hangs.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Answer> {
        let done = run_to_end(self.command().args(arguments)).await?;
        Ok(Answer::of(&done))
    }

    /// Runs kubectl, which must succeed, and gives its output.
    ///
    /// # Errors
    /// When it does not succeed.
    pub async fn do_kubectl(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.kubectl(arguments).await?;
        ensure!(answer.accepted, "kubectl {}: {}", arguments.join(" "), answer.text.trim());
        Ok(answer.text)
    }

    /// An object or a list of them, e.g. `["pods", "-A"]`.
    ///
    /// # Errors
    /// When kubectl says no.
    pub async fn read(&self, what: &[&str]) -> Result<Value> {
        let done = run_to_end(self.command().arg("get").args(what).arg("--output=json")).await?;
        ensure!(
            done.status.success(),
            "kubectl get {what:?}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        serde_json::from_slice(&done.stdout).context("reading kubectl's answer")
    }

    /// `kubectl apply -f -`; gives kubectl's answer, also when it is no.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub async fn try_apply(&self, yaml: &str) -> Result<Answer> {
        apply_with(self.command(), yaml).await
    }

    /// Applies YAML that the API server must accept.
    ///
    /// # Errors
    /// When it does not.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        let answer = self.try_apply(yaml).await?;
        ensure!(answer.accepted, "kubectl apply: {}\n{yaml}", answer.text.trim());
        Ok(answer.text)
    }

    fn command(&self) -> Command {
        let mut command = self.namespace.command(&self.tools.program(Tool::Kubectl));
        command.arg("--kubeconfig").arg(self.kubeconfig().path());
        // What kubectl learns about an API server stays with the cluster.
        command.env("KUBECACHEDIR", self.kubeconfig().path().with_extension("cache"));
        command
    }
}

/// The programs and their flags.
struct Starter<'a> {
    run: &'a Run,
    tools: &'a Tools,
    folder: &'a Path,
    logs: &'a Path,
    namespace: &'a Namespace,
}

impl Starter<'_> {
    fn etcd(&self) -> Result<Process> {
        let mut command = self.command(Tool::Etcd);
        command
            .arg("--data-dir")
            .arg(self.folder.join("etcd"))
            // Nothing here outlives the run, so nothing needs to survive a power cut.
            .arg("--unsafe-no-fsync");
        self.start(Tool::Etcd, command)
    }

    fn api_server(&self) -> Result<Process> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut command = self.command(Tool::ApiServer);
        command
            .arg("--etcd-servers=http://127.0.0.1:2379")
            .arg(format!("--cert-dir={}", file("certs")))
            .arg(format!("--secure-port={PORT}"))
            .arg(format!("--bind-address={ADDRESS}"))
            .arg("--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112")
            .arg(format!("--service-account-key-file={}", file("sa.pub")))
            .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
            .arg("--kubelet-preferred-address-types=InternalIP")
            // No kube-proxy runs beside it: webhooks are called at their Pods, not at the address of their Service.
            .arg("--enable-aggregator-routing=true");
        self.start(Tool::ApiServer, command)
    }

    fn controller_manager(&self, credentials: &Credentials) -> Result<Process> {
        let mut command = self.command(Tool::ControllerManager);
        command
            .arg("--kubeconfig")
            .arg(credentials.admin().path())
            .arg(format!("--root-ca-file={}", credentials.authority().display()))
            .arg(format!("--service-account-private-key-file={}", self.folder.join("sa.key").display()))
            .arg(format!("--flex-volume-plugin-dir={}", self.folder.join("plugins").display()))
            .args([
                "--leader-elect=false",
                "--use-service-account-credentials=false",
                "--bind-address=127.0.0.1",
            ]);
        self.start(Tool::ControllerManager, command)
    }

    fn scheduler(&self, credentials: &Credentials) -> Result<Process> {
        let mut command = self.command(Tool::Scheduler);
        command
            .arg("--kubeconfig")
            .arg(credentials.admin().path())
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        self.start(Tool::Scheduler, command)
    }

    fn command(&self, tool: Tool) -> Command {
        self.namespace.command(&self.tools.program(tool))
    }

    fn start(&self, tool: Tool, command: Command) -> Result<Process> {
        Process::start(self.run, tool.name(), self.logs, command)
    }
}
