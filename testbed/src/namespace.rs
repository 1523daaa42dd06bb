//! Network namespaces: made, filled with `ip` commands, entered, and taken away.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::process::output;
use crate::run::Run;

/// A network namespace of ours. Dropping it takes it away, unless somebody else made it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    ours: bool,
}

impl Namespace {
    /// Makes an empty namespace with a loopback that is up, and with forwarding that a node or router needs.
    ///
    /// # Errors
    /// When the kernel or `ip` says no.
    pub async fn create(run: &Arc<Run>, name: String) -> Result<Self> {
        run.note_namespace(&name)?;
        output(Command::new("ip").args(["netns", "add", &name])).await?;
        let namespace = Self { name, ours: true };
        namespace.ip("link set lo up").await?;
        // Both ways of a connection may take different nodes, so no check of the way back.
        namespace
            .sysctl(&[
                ("net/ipv4/ip_forward", "1"),
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
                ("net/ipv6/conf/all/forwarding", "1"),
                ("net/ipv6/conf/default/accept_dad", "0"),
                ("net/ipv4/fib_multipath_hash_policy", "1"),
                ("net/ipv6/fib_multipath_hash_policy", "1"),
            ])
            .await?;
        Ok(namespace)
    }

    /// A namespace that another program has made and will take away.
    #[must_use]
    pub fn existing(name: String) -> Self {
        Self { name, ours: false }
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, for `nsenter --net=`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `ip` commands in the namespace, one a line, stopping at the first that fails.
    ///
    /// # Errors
    /// When a command fails; the text of `ip` is in the error.
    pub async fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-netns", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting ip")?;
        let mut stdin = child.stdin.take().context("ip has no standard input")?;
        stdin.write_all(lines.as_bytes()).await.context("writing to ip")?;
        drop(stdin);
        let done = child.wait_with_output().await.context("waiting for ip")?;
        if !done.status.success() {
            bail!("ip in {}: {}\n{lines}", self.name, String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }

    /// A program that will run inside the namespace. `nsenter` becomes the program, so its process id is the program's.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Opens a TCP listener inside the namespace; the socket stays there, whoever uses it.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the address is taken.
    pub async fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        let listener = self.inside(move || TcpListener::bind(address)).await?;
        listener.with_context(|| format!("listening on {address} in {}", self.name))
    }

    async fn sysctl(&self, settings: &'static [(&'static str, &'static str)]) -> Result<()> {
        self.inside(move || {
            for (key, value) in settings {
                let path = format!("/proc/sys/{key}");
                // IPv6 can be missing in a kernel; what needs it fails with its own words.
                if std::path::Path::new(&path).exists() {
                    std::fs::write(&path, value).with_context(|| format!("setting {key}"))?;
                }
            }
            Ok(())
        })
        .await?
    }

    async fn inside<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.inside_for_long(work).await
    }

    /// Runs a closure on a thread of its own that has moved into the namespace and ends with the closure. The namespace
    /// may be taken away meanwhile; its network lives as long as the thread.
    pub(crate) fn inside_for_long<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (path, name) = (self.path(), self.name.clone());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let entered = std::fs::File::open(&path).map_err(anyhow::Error::from).and_then(|file| {
                Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
            });
            let _ = sender.send(entered.map(|()| work()));
        });
        async move {
            receiver
                .await
                .context("the thread in the namespace ended")?
                .with_context(|| format!("entering {name}"))
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.ours {
            crate::ledger::remove_namespace(&self.name);
        }
    }
}
