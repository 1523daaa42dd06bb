//! A real control plane on the host's loopback: etcd, kube-apiserver, kube-controller-manager.
//! Each lab has its own, so that a lab can stop its API server or compact its history without hurting another.
//! Left out on purpose: kubelet and scheduler (the testbed plays them for its pods), node-lifecycle.

pub(crate) mod client;
mod credential;
mod manifest;
mod server;
mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use kube::Client;
use tokio::process::Command;

use crate::machine::{Machine, Tool};
use crate::process::{Process, run_to_end};
use crate::run::Run;

pub(crate) use credential::Credentials;
pub use credential::Kubeconfig;
pub(crate) use manifest::apply_with;
pub(crate) use server::STORE_FOLDER;
use server::{Servers, Site};

/// What a program such as `kubectl` answered.
#[derive(Debug)]
pub struct Answer {
    /// Whether it exited with 0.
    pub accepted: bool,
    /// What it exited with; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Both outputs together.
    pub text: String,
}

impl Answer {
    /// What a program that has ended said.
    pub(crate) fn of(done: &Output) -> Self {
        let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&done.stderr));
        Self { accepted: done.status.success(), code: done.status.code(), text }
    }
}

/// What kind of control plane it is.
#[derive(Clone, Copy, Debug)]
pub struct ClusterPlan {
    /// Whether the API server serves streaming lists (KEP-3157), as it does by default on an etcd of 3.5.13 or newer.
    pub streaming_lists: bool,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        Self { streaming_lists: true }
    }
}

/// A running control plane. Dropping it ends it.
pub struct Cluster {
    site: Site,
    credentials: Credentials,
    client: Client,
    servers: Option<Servers>,
    /// `None` only if a start has failed.
    etcd: Option<Process>,
}

impl Cluster {
    /// Starts the control plane and returns when the API server is ready.
    ///
    /// # Errors
    /// When one of the programs ends or is not ready in time; the end of its log is in the error.
    pub async fn start(
        run: &Arc<Run>,
        machine: &Machine,
        folder: &Path,
        logs: &Path,
        plan: ClusterPlan,
    ) -> Result<Self> {
        let site = Site::choose(run, machine, folder, logs, plan)?;
        let etcd = site.start_etcd()?;
        let credentials = Credentials::create(folder, site.api_port).await?;
        let (servers, client) = site.start_servers(&credentials).await?;
        Ok(Self { site, credentials, client, servers: Some(servers), etcd: Some(etcd) })
    }

    /// A client with all rights. Its requests fail while the API server is away.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where the API server listens on the host.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.site.api_port))
    }

    /// The folder with the API server's certificate and key, for those who speak in its place.
    pub(crate) fn certificates(&self) -> std::path::PathBuf {
        self.site.certificates()
    }

    /// The kubeconfig of the administrator, for use on the host.
    #[must_use]
    pub fn kubeconfig(&self) -> Kubeconfig {
        self.credentials.admin()
    }

    /// Ends the API server as a crash does, and the controller manager with it: else the pauses of its own watches
    /// would be what a test measures afterwards.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.servers.take().context("the API server is stopped already")?.kill().await
    }

    /// Starts both again, at the same address with the same certificate, and waits until the API server is ready.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        let (servers, _) = self.site.start_servers(&self.credentials).await?;
        self.servers = Some(servers);
        Ok(())
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When kubectl cannot be started or hangs.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(self.site.machine.tools.path(Tool::Kubectl));
        command.arg("--kubeconfig").arg(self.kubeconfig().path()).args(arguments);
        let done = run_to_end(&mut command).await?;
        Ok(Answer::of(&done))
    }
}
