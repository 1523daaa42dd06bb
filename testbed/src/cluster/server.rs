//! The processes of the control plane and their flags.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use tokio::process::Command;

use super::credential::Credentials;
use super::{ClusterPlan, Kubeconfig};
use crate::eventually::eventually;
use crate::machine::{Machine, Tool};
use crate::process::Process;
use crate::run::Run;

/// The part of a lab's folder that holds etcd's data.
pub(crate) const STORE_FOLDER: &str = "etcd";

/// How long a start of any of the programs may take, on a machine with much else to do.
const START: Duration = Duration::from_secs(60);

/// Where a control plane runs.
pub(super) struct Site {
    run: Arc<Run>,
    pub(super) machine: Machine,
    folder: PathBuf,
    logs: PathBuf,
    plan: ClusterPlan,
    pub(super) etcd_port: u16,
    peer_port: u16,
    pub(super) api_port: u16,
}

/// What a stop of the API server takes away; the store stays.
pub(super) struct Servers {
    controller_manager: Process,
    api_server: Process,
}

impl Servers {
    pub(super) async fn kill(self) -> Result<()> {
        self.controller_manager.kill().await?;
        self.api_server.kill().await
    }
}

impl Site {
    pub(super) fn choose(
        run: &Arc<Run>,
        machine: &Machine,
        folder: &Path,
        logs: &Path,
        plan: ClusterPlan,
    ) -> Result<Self> {
        Ok(Self {
            run: Arc::clone(run),
            machine: machine.clone(),
            folder: folder.to_owned(),
            logs: logs.to_owned(),
            plan,
            etcd_port: free_port()?,
            peer_port: free_port()?,
            api_port: free_port()?,
        })
    }

    pub(super) fn certificates(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// Where etcd keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(STORE_FOLDER)
    }

    pub(super) fn start_etcd(&self) -> Result<Process> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client_url, peer_url) = (url(self.etcd_port), url(self.peer_port));
        let mut command = Command::new(self.machine.tools.path(Tool::Etcd));
        command
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            // Nothing here outlives the run, so nothing needs to survive a power cut.
            .arg("--unsafe-no-fsync");
        Process::start(&self.run, "etcd", &self.logs, command)
    }

    /// Starts the API server and the controller manager and waits until the former is ready.
    pub(super) async fn start_servers(&self, credentials: &Credentials) -> Result<(Servers, Client)> {
        let mut api_server = self.start_api_server()?;
        let client = self.wait_until_ready(&mut api_server, credentials).await?;
        let controller_manager = self.start_controller_manager(&credentials.admin())?;
        Ok((Servers { controller_manager, api_server }, client))
    }

    fn start_api_server(&self) -> Result<Process> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(self.machine.tools.path(Tool::ApiServer));
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg(format!("--cert-dir={}", file("certs")))
            .arg(format!("--secure-port={}", self.api_port))
            // The certificate is made for the address of the binding; the other one only has to be there.
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=192.0.2.1",
                "--endpoint-reconciler-type=none",
            ])
            .arg("--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112")
            .arg(format!("--service-account-key-file={}", file("sa.pub")))
            .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--token-auth-file={}", file("tokens.csv")))
            .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
            .arg(format!("--feature-gates=WatchList={}", self.plan.streaming_lists))
            // No kubelet: pods need no token volume, and nobody would take the not-ready taint away.
            .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition");
        Process::start(&self.run, "kube-apiserver", &self.logs, command)
    }

    fn start_controller_manager(&self, admin: &Kubeconfig) -> Result<Process> {
        let mut command = Command::new(self.machine.tools.path(Tool::ControllerManager));
        command
            .arg("--kubeconfig")
            .arg(admin.path())
            .arg(
                "--controllers=endpointslice-controller,namespace-controller,garbage-collector-controller,\
                 serviceaccount-controller",
            )
            .args(["--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=1000"]);
        Process::start(&self.run, "kube-controller-manager", &self.logs, command)
    }

    async fn wait_until_ready(&self, server: &mut Process, credentials: &Credentials) -> Result<Client> {
        let ready = eventually(START, "kube-apiserver to be ready", async || {
            server.check_running()?;
            let client = credentials.client(self.api_port)?;
            let request = http::Request::get("/readyz").body(Vec::new()).context("building a request")?;
            let answer = client.request_text(request).await?;
            if answer == "ok" { Ok(client) } else { bail!("{answer}") }
        });
        Ok(ready.await?.0)
    }
}

/// A port that is free now and that the kernel gives to no outgoing connection meanwhile (those begin at 32768).
fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = 10_000;
    // Runs side by side begin at different places.
    let start = u16::try_from(std::process::id() % u32::from(span)).unwrap_or(0);
    for _ in 0..span {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free between 20000 and 30000")
}
