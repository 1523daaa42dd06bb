//! A real control plane on the host's loopback: etcd, kube-apiserver, kube-controller-manager.
//! Each lab has its own, so that a lab can stop its API server or compact its history without hurting another.
//! Left out on purpose: kubelet and scheduler (the testbed plays them for its pods), node-lifecycle.

mod client;
mod credential;
mod manifest;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use tokio::process::Command;

use crate::eventually::eventually;
use crate::machine::Machine;
use crate::process::{Process, output, run_to_end};
use crate::run::Run;

pub use credential::Kubeconfig;
use credential::Credentials;

/// How long a start of any of the programs may take, on a machine with much else to do.
const START: Duration = Duration::from_secs(60);

/// What `kubectl` answered.
#[derive(Debug)]
pub struct Answer {
    /// Whether it exited with 0.
    pub accepted: bool,
    /// Both outputs together.
    pub text: String,
}

/// A running control plane. Dropping it ends it.
pub struct Cluster {
    run: Arc<Run>,
    machine: Machine,
    folder: PathBuf,
    logs: PathBuf,
    etcd_port: u16,
    api_port: u16,
    credentials: Credentials,
    client: Client,
    servers: Option<Servers>,
    _etcd: Process,
}

/// What a stop of the API server takes away; the store stays.
struct Servers {
    controller_manager: Process,
    api_server: Process,
}

impl Cluster {
    /// Starts the control plane and returns when the API server is ready.
    ///
    /// # Errors
    /// When one of the programs ends or is not ready in time; the end of its log is in the error.
    pub async fn start(run: &Arc<Run>, machine: &Machine, folder: &Path, logs: &Path) -> Result<Self> {
        let (etcd_port, peer_port, api_port) = (free_port()?, free_port()?, free_port()?);
        let etcd = start_etcd(run, folder, logs, etcd_port, peer_port)?;
        let credentials = Credentials::create(folder, api_port).await?;
        let mut api_server = start_api_server(run, machine, folder, logs, etcd_port, api_port)?;
        let client = wait_until_ready(&mut api_server, &credentials, api_port).await?;
        let admin = credentials.admin();
        let controller_manager = start_controller_manager(run, machine, logs, &admin)?;
        Ok(Self {
            run: Arc::clone(run),
            machine: machine.clone(),
            folder: folder.to_owned(),
            logs: logs.to_owned(),
            etcd_port,
            api_port,
            credentials,
            client,
            servers: Some(Servers { api_server, controller_manager }),
            _etcd: etcd,
        })
    }

    /// A client with all rights. Its requests fail while the API server is away.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where the API server listens on the host.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.api_port))
    }

    /// The kubeconfig of the administrator, for use on the host.
    #[must_use]
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.credentials.admin()
    }

    /// Ends the API server as a crash does, and the controller manager with it: else the pauses of its own watches
    /// would be what a test measures afterwards.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(servers) = self.servers.take() else { bail!("the API server is stopped already") };
        servers.controller_manager.kill().await?;
        servers.api_server.kill().await
    }

    /// Starts both again, at the same address with the same certificate, and waits until the API server is ready.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        let (run, machine) = (&self.run, &self.machine);
        let mut api_server = start_api_server(run, machine, &self.folder, &self.logs, self.etcd_port, self.api_port)?;
        wait_until_ready(&mut api_server, &self.credentials, self.api_port).await?;
        let controller_manager = start_controller_manager(run, machine, &self.logs, &self.credentials.admin())?;
        self.servers = Some(Servers { api_server, controller_manager });
        Ok(())
    }

    /// Forgets the history of the store up to now: a watch that resumes from an older version gets 410 Gone.
    ///
    /// # Errors
    /// When etcd refuses.
    pub async fn compact_history(&self) -> Result<()> {
        // etcd's JSON gateway: its own command line tool is another package.
        let ask = async |path: &str, body: &str| -> Result<serde_json::Value> {
            let url = format!("http://127.0.0.1:{}/v3/{path}", self.etcd_port);
            let mut command = Command::new("curl");
            command.args(["--silent", "--fail", "--max-time", "10", "--data", body, &url]);
            serde_json::from_str(&output(&mut command).await?).context("reading etcd's answer")
        };
        let status = ask("maintenance/status", "{}").await?;
        let revision = status.pointer("/header/revision").and_then(serde_json::Value::as_str);
        let revision = revision.context("etcd's status has no revision")?;
        ask("kv/compaction", &format!(r#"{{"revision":"{revision}"}}"#)).await.map(drop)
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When kubectl cannot be started or hangs.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(self.machine.kubernetes.path("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig().path()).args(arguments);
        let done = run_to_end(&mut command).await?;
        let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&done.stderr));
        Ok(Answer { accepted: done.status.success(), text })
    }
}

fn start_etcd(run: &Run, folder: &Path, logs: &Path, port: u16, peer_port: u16) -> Result<Process> {
    let (client_url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
        .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("default={peer_url}")])
        // Nothing here outlives the run, so nothing needs to survive a power cut.
        .arg("--unsafe-no-fsync");
    Process::start(run, "etcd", logs, command)
}

fn start_api_server(run: &Run, machine: &Machine, folder: &Path, logs: &Path, etcd_port: u16, port: u16) -> Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(machine.kubernetes.path("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--cert-dir={}", file("certs")))
        .arg(format!("--secure-port={port}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"])
        .arg("--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112")
        .arg(format!("--service-account-key-file={}", file("sa.pub")))
        .arg(format!("--service-account-signing-key-file={}", file("sa.key")))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
        // No kubelet: pods need no token volume, and nobody would take the not-ready taint away.
        .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition");
    Process::start(run, "kube-apiserver", logs, command)
}

fn start_controller_manager(run: &Run, machine: &Machine, logs: &Path, admin: &Kubeconfig) -> Result<Process> {
    let mut command = Command::new(machine.kubernetes.path("kube-controller-manager"));
    command.arg("--kubeconfig").arg(admin.path()).args([
        "--leader-elect=false",
        "--secure-port=0",
        "--controllers=endpointslice-controller,namespace-controller,garbage-collector-controller,serviceaccount-controller",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]);
    Process::start(run, "kube-controller-manager", logs, command)
}

async fn wait_until_ready(server: &mut Process, credentials: &Credentials, port: u16) -> Result<Client> {
    let ready = eventually(START, "kube-apiserver to be ready", async || {
        server.check_running()?;
        let client = credentials.client(port)?;
        let request = http::Request::get("/readyz").body(Vec::new()).context("building a request")?;
        let answer = client.request_text(request).await?;
        if answer != "ok" {
            bail!("{answer}");
        }
        Ok(client)
    });
    Ok(ready.await?.0)
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
