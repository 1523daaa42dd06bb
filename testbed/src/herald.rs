//! Herald in a lab: its manifests applied, its daemons as real processes in the nodes' namespaces.
//! Each runs as the manifests run it: user 65532, no capability, and a token of its own service account,
//! so that a permission that is missing in `manifests/` fails here.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::PodSpec;
use kube::Api;
use kube::api::ListParams;
use rustix::process::Signal;
use tokio::process::Command;

use crate::cluster::{Answer, Kubeconfig};
use crate::door::API_ADDRESS;
use crate::eventually::eventually;
use crate::lab::Lab;
use crate::process::{Process, output, run_to_end};

/// The part of a lab's folder that holds the programs that its daemons run.
pub(crate) const PROGRAM_FOLDER: &str = "bin";

/// The user of the images.
const USER: &str = "65532";
/// A speaker says goodbye to its routers before it ends; the pod's grace period is 30 s.
const ORDERLY_END: Duration = Duration::from_secs(30);

/// How long a start may take; the startup probe of the manifests gives 60 s.
const ALIVE: Duration = Duration::from_secs(60);

/// The two kinds of daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// Gives addresses.
    Controller,
    /// Announces them.
    Speaker,
}

impl Daemon {
    /// Where the program answers for its health, on the loopback of its node.
    #[must_use]
    pub const fn admin_port(self) -> u16 {
        match self {
            Self::Controller => 7472,
            Self::Speaker => 7473,
        }
    }

    /// The program's name.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Speaker => "speaker",
        }
    }
}

/// What `setpriv` is told about capabilities: none, or this one, which a user other than root keeps as an ambient one.
fn capabilities(granted: Option<&str>) -> Vec<String> {
    match granted {
        None => vec!["--bounding-set=-all".to_owned()],
        Some(one) => {
            ["bounding-set", "inh-caps", "ambient-caps"].map(|set| format!("--{set}=-all,+{one}")).to_vec()
        }
    }
}

/// What starts a program that sees the clock of a file.
fn wrong_clock(file: &Path) -> Result<Vec<String>> {
    let places = fs::read_dir("/usr/lib").context("looking for libfaketime")?;
    let library = places
        .flatten()
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
        .context("the package faketime has no library in /usr/lib")?;
    Ok(vec![
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ])
}

/// The daemons that run, by node and kind.
#[derive(Debug, Default)]
pub struct Herald {
    running: BTreeMap<(String, Daemon), Process>,
    /// Capabilities beyond those of the manifests, which are none.
    granted: BTreeMap<(String, Daemon), &'static str>,
    /// Files that say how far a clock is off.
    clocks: BTreeMap<(String, Daemon), PathBuf>,
    /// Arguments beyond those of the manifests.
    arguments: BTreeMap<(String, Daemon), Vec<&'static str>>,
    /// The story takes rights away.
    pub(crate) rights_missing: bool,
    successors: usize,
    /// Whether they log as the manifests have it, and not everything.
    terse: bool,
}

impl Herald {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A daemon that runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn process(&self, node: &str, daemon: Daemon) -> Result<&Process> {
        let process = self.running.get(&(node.to_owned(), daemon));
        process.with_context(|| format!("no {} runs on {node}", daemon.program()))
    }

    pub(crate) async fn forget_node(&mut self, node: &str) -> Result<()> {
        for daemon in [Daemon::Controller, Daemon::Speaker] {
            if let Some(process) = self.running.remove(&(node.to_owned(), daemon)) {
                process.kill().await?;
            }
        }
        Ok(())
    }

    fn next_name(&mut self, node: &str) -> String {
        self.successors += 1;
        format!("{node}-speaker-{}", self.successors + 1)
    }

    fn take(&mut self, node: &str, daemon: Daemon) -> Result<Process> {
        let process = self.running.remove(&(node.to_owned(), daemon));
        process.with_context(|| format!("no {} runs on {node}", daemon.program()))
    }
}

impl Lab {
    /// Applies `manifests/` as they are and starts a controller on the first node and a speaker on every node.
    ///
    /// # Errors
    /// When the manifests are refused or a daemon cannot be started.
    pub async fn install_herald(&mut self) -> Result<()> {
        self.cluster().apply_manifests().await?;
        self.start_daemons().await
    }

    /// Starts a controller on the first node and a speaker on every node; the manifests must be applied.
    ///
    /// # Errors
    /// When a daemon cannot be started.
    pub async fn start_daemons(&mut self) -> Result<()> {
        let nodes: Vec<String> = self.nodes().map(|node| node.name().to_owned()).collect();
        let first = nodes.first().context("a lab has nodes")?;
        self.start_daemon(first, Daemon::Controller).await?;
        for node in &nodes {
            self.start_daemon(node, Daemon::Speaker).await?;
        }
        Ok(())
    }

    /// Starts a daemon on a node and waits until it is alive, as its probe in the manifests asks; the manifests must be
    /// applied.
    ///
    /// # Errors
    /// When it runs already, cannot be started, or ends.
    pub async fn start_daemon(&mut self, node: &str, daemon: Daemon) -> Result<()> {
        self.start_daemon_at(node, daemon, API_ADDRESS).await
    }

    /// The same with another way to the API server, such as a [`crate::gate::Gate`].
    ///
    /// # Errors
    /// When the daemon runs already, cannot be started, or ends.
    pub async fn start_daemon_at(&mut self, node: &str, daemon: Daemon, server: SocketAddr) -> Result<()> {
        if self.herald().process(node, daemon).is_ok() {
            bail!("{} runs already on {node}", daemon.program());
        }
        let command = self.daemon_command(node, daemon, server).await?;
        let name = format!("{node}-{}", daemon.program());
        let mut process = Process::start(self.run(), &name, self.logs(), command)?;
        let namespace = self.node(node)?.namespace();
        eventually(ALIVE, &format!("{name} to be alive"), async || {
            process.check_running()?;
            let url = format!("http://127.0.0.1:{}/livez", daemon.admin_port());
            output(namespace.command("curl").args([
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "2",
                &url,
            ]))
            .await
        })
        .await?;
        self.herald_mut().running.insert((node.to_owned(), daemon), process);
        Ok(())
    }

    /// Gives a daemon a capability from its next start on (`net_raw`, say), as an operator would who needs it.
    pub fn grant(&mut self, node: &str, daemon: Daemon, capability: &'static str) {
        self.herald_mut().granted.insert((node.to_owned(), daemon), capability);
    }

    /// Sets the wall clock that a daemon sees, e.g. `-900d`: from its start on, if it does not run yet, else at once if it
    /// was started with a clock of its own. The monotonic clock is right all the time, as after a boot without a battery.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn set_clock(&mut self, node: &str, daemon: Daemon, offset: &str) -> Result<()> {
        let file = self.node(node)?.folder().join(format!("{}.clock", daemon.program()));
        // Whoever looks sees the whole text.
        let new = file.with_extension("new");
        fs::write(&new, format!("{offset}\n")).context("setting a clock")?;
        fs::rename(&new, &file).context("setting a clock")?;
        self.herald_mut().clocks.insert((node.to_owned(), daemon), file);
        Ok(())
    }

    /// From their next start on the daemons log as the manifests have it: for measurements. Otherwise they log everything.
    pub fn log_as_shipped(&mut self) {
        self.herald_mut().terse = true;
    }

    /// The story takes rights away on purpose: that a daemon was forbidden something is no fault of the manifests.
    pub fn expect_missing_rights(&mut self) {
        self.herald_mut().rights_missing = true;
    }

    /// Gives a daemon one more argument from its next start on.
    pub fn add_argument(&mut self, node: &str, daemon: Daemon, argument: &'static str) {
        self.herald_mut().arguments.entry((node.to_owned(), daemon)).or_default().push(argument);
    }

    /// A new speaker follows the running one of a node, as a DaemonSet with `maxSurge` does it: it starts, gets ready, and
    /// then the old one is told to end. Gives the old one's exit status.
    ///
    /// # Errors
    /// When the new one does not get ready or the old one does not end.
    pub async fn upgrade_speaker(&mut self, node: &str) -> Result<ExitStatus> {
        let successor = self.start_successor(node).await?;
        self.finish_upgrade(node, successor).await
    }

    /// The first half of an upgrade: a second speaker runs on the node and has found the first.
    ///
    /// # Errors
    /// When it cannot be started or does not find the running one.
    pub async fn start_successor(&mut self, node: &str) -> Result<Process> {
        let command = self.daemon_command(node, Daemon::Speaker, API_ADDRESS).await?;
        let name = self.herald_mut().next_name(node);
        let mut process = Process::start(self.run(), &name, self.logs(), command)?;
        let _ = eventually(ALIVE, &format!("{name} to find the running speaker"), async || {
            process.check_running()?;
            let log = fs::read_to_string(process.log()).context("reading the log")?;
            if log.contains("another speaker of this node runs") {
                Ok(())
            } else {
                bail!("{}", process.tail(5))
            }
        })
        .await?;
        Ok(process)
    }

    /// The second half: once the new speaker is ready the old one is told to end.
    ///
    /// # Errors
    /// When the new one does not get ready or the old one does not end.
    pub async fn finish_upgrade(&mut self, node: &str, mut successor: Process) -> Result<ExitStatus> {
        let namespace = std::sync::Arc::clone(self.node(node)?.namespace());
        let url = format!("http://127.0.0.1:{}/readyz", Daemon::Speaker.admin_port());
        let _ = eventually(ALIVE, &format!("{} to be ready", successor.name()), async || {
            successor.check_running()?;
            let mut ask = namespace.command("curl");
            output(ask.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "2", &url])).await
        })
        .await?;
        let status = self.stop_daemon(node, Daemon::Speaker).await?;
        self.adopt_speaker(node, successor);
        Ok(status)
    }

    /// From now on this process is the node's speaker.
    pub fn adopt_speaker(&mut self, node: &str, process: Process) {
        self.herald_mut().running.insert((node.to_owned(), Daemon::Speaker), process);
    }

    /// SIGKILL: the daemon says goodbye to nobody.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill_daemon(&mut self, node: &str, daemon: Daemon) -> Result<()> {
        self.herald_mut().take(node, daemon)?.kill().await
    }

    /// SIGTERM, as the kubelet ends a pod; gives the exit status.
    ///
    /// # Errors
    /// When it does not end within its grace period.
    pub async fn stop_daemon(&mut self, node: &str, daemon: Daemon) -> Result<ExitStatus> {
        self.herald_mut().take(node, daemon)?.stop(ORDERLY_END).await
    }

    /// Stops a daemon in its tracks (SIGSTOP) or lets it go on (SIGCONT): it runs, and does nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze_daemon(&self, node: &str, daemon: Daemon, frozen: bool) -> Result<()> {
        self.herald().process(node, daemon)?.signal(if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// Fails with the end of the log when one of the daemons that were started has ended.
    ///
    /// # Errors
    /// When one has ended.
    pub fn check_daemons(&mut self) -> Result<()> {
        self.herald_mut().running.values_mut().try_for_each(Process::check_running)
    }

    /// Runs `speakerctl` as the administrator, on the host.
    ///
    /// # Errors
    /// When it cannot be started or hangs.
    pub async fn speakerctl(&self, arguments: &[&str]) -> Result<Answer> {
        self.speakerctl_as(&self.cluster().kubeconfig(), arguments).await
    }

    /// Runs `speakerctl` as somebody else, on the host.
    ///
    /// # Errors
    /// When it cannot be started or hangs.
    pub async fn speakerctl_as(&self, who: &Kubeconfig, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(self.machine().daemons.program("speakerctl"));
        command.arg("--kubeconfig").arg(who.path()).args(arguments);
        let done = run_to_end(&mut command).await?;
        Ok(Answer::of(&done))
    }

    /// Runs `speakerctl` on a node, through the socket of its speaker.
    ///
    /// # Errors
    /// When there is no such node, or the program cannot be started or hangs.
    pub async fn speakerctl_on(&self, node: &str, arguments: &[&str]) -> Result<Answer> {
        let socket = self.node(node)?.folder().join(Daemon::Speaker.program()).join("speaker.sock");
        let mut command = Command::new(self.machine().daemons.program("speakerctl"));
        let done = run_to_end(command.arg("--socket").arg(socket).args(arguments)).await?;
        Ok(Answer::of(&done))
    }

    async fn daemon_command(&self, node: &str, daemon: Daemon, server: SocketAddr) -> Result<Command> {
        let account = self.service_account(daemon).await?;
        let name = format!("{node}-{}", daemon.program());
        let server = format!("https://{server}");
        let account = (crate::HERALD_NAMESPACE, account.as_str());
        let kubeconfig = self.cluster().service_account_at(&name, &server, account, node).await?;
        let home = self.node(node)?.folder().join(daemon.program());
        fs::create_dir_all(&home).context("making the daemon's folder")?;
        output(Command::new("chown").arg("-R").arg(USER).arg(&home).arg(kubeconfig.path())).await?;

        let program = self.copied_program(daemon)?;
        let mut command = self.node(node)?.namespace().command("setpriv");
        command
            .args([&format!("--reuid={USER}"), &format!("--regid={USER}")])
            .args(["--clear-groups", "--no-new-privs"])
            .args(capabilities(self.herald().granted.get(&(node.to_owned(), daemon)).copied()))
            .arg("--");
        if let Some(clock) = self.herald().clocks.get(&(node.to_owned(), daemon)) {
            command.args(wrong_clock(clock)?);
        }
        command
            .arg(program)
            .args(["--kubeconfig", &kubeconfig.text()])
            .args(["--namespace", crate::HERALD_NAMESPACE])
            .args(["--pod-name", &name])
            .args(["--log-level", if self.herald().terse { "info" } else { "debug" }]);
        if daemon == Daemon::Controller {
            command.args(["--deployment", "controller"]);
        }
        if daemon == Daemon::Speaker {
            command.args(["--node-name", node]);
            command.arg("--socket").arg(home.join("speaker.sock"));
            command.arg("--state-dir").arg(home.join("state"));
            command.args(["--daemon-set", "speaker"]);
        }
        command.args(self.herald().arguments.get(&(node.to_owned(), daemon)).into_iter().flatten());
        Ok(command)
    }

    /// A copy that user 65532 can reach, wherever the repository is, and that a later build does not change.
    fn copied_program(&self, daemon: Daemon) -> Result<PathBuf> {
        let folder = self.folder().join(PROGRAM_FOLDER);
        fs::create_dir_all(&folder).context("making the folder of the programs")?;
        let copy = folder.join(daemon.program());
        if !copy.exists() {
            let original = self.machine().daemons.program(daemon.program());
            fs::copy(&original, &copy).with_context(|| format!("copying {original}"))?;
        }
        Ok(copy)
    }

    /// The service account that the manifests give to a daemon.
    async fn service_account(&self, daemon: Daemon) -> Result<String> {
        let (client, namespace) = (self.cluster().client(), crate::HERALD_NAMESPACE);
        let everything = ListParams::default();
        let templates: Vec<Option<PodSpec>> = match daemon {
            Daemon::Controller => {
                let list = Api::<Deployment>::namespaced(client, namespace).list(&everything).await?;
                list.items.into_iter().map(|object| object.spec.and_then(|spec| spec.template.spec)).collect()
            }
            Daemon::Speaker => {
                let list = Api::<DaemonSet>::namespaced(client, namespace).list(&everything).await?;
                list.items.into_iter().map(|object| object.spec.and_then(|spec| spec.template.spec)).collect()
            }
        };
        let [Some(template)] = templates.as_slice() else {
            bail!(
                "the manifests must hold exactly one workload for the {}, they hold {}",
                daemon.program(),
                templates.len()
            );
        };
        template.service_account_name.clone().context("the workload names no service account")
    }
}
