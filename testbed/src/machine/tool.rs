//! The programs that are built from Go modules of ours, `testbed/kubernetes`, `testbed/etcd` and `testbed/metallb`, and
//! kept in the user's cache folder, so that a fresh clone on the same machine starts in seconds. etcd is among them
//! because that of the distribution is too old for streaming lists, and so for the way that today's clusters serve watches.

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use fnv::FnvHasher;
use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;

use super::{Say, package};
use crate::process::output;

/// A program of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// Makes endpoint slices, among other things.
    ControllerManager,
    /// Writes the nodes' packet rules.
    KubeProxy,
    /// What people use.
    Kubectl,
    /// Gives addresses in the place of Herald, for comparison. Built only where it is asked for.
    MetallbController,
    /// Announces them in the place of Herald, likewise.
    MetallbSpeaker,
    /// Chooses a node for each Pod; only where kubelets are real.
    Scheduler,
    /// Runs Pods; only where kubelets are real.
    Kubelet,
}

/// What every lab runs.
const LAB: [Tool; 5] = [Tool::Etcd, Tool::ApiServer, Tool::ControllerManager, Tool::KubeProxy, Tool::Kubectl];
/// What a cluster with real kubelets runs besides.
const NODE: [Tool; 2] = [Tool::Scheduler, Tool::Kubelet];
/// What only a measurement needs.
const RIVALS: [Tool; 2] = [Tool::MetallbController, Tool::MetallbSpeaker];

impl Tool {
    /// The program's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::KubeProxy => "kube-proxy",
            Self::Kubectl => "kubectl",
            Self::MetallbController => "controller",
            Self::MetallbSpeaker => "speaker",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
        }
    }

    /// The folder under `testbed` with the module that requires it.
    const fn module(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MetallbController | Self::MetallbSpeaker => "metallb",
            Self::ApiServer
            | Self::ControllerManager
            | Self::KubeProxy
            | Self::Kubectl
            | Self::Scheduler
            | Self::Kubelet => "kubernetes",
        }
    }

    /// Its Go package.
    fn package(self) -> String {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3".to_owned(),
            Self::ApiServer
            | Self::ControllerManager
            | Self::KubeProxy
            | Self::Kubectl
            | Self::Scheduler
            | Self::Kubelet => {
                format!("k8s.io/kubernetes/cmd/{}", self.name())
            }
            Self::MetallbController | Self::MetallbSpeaker => {
                format!("go.universe.tf/metallb/{}", self.name())
            }
        }
    }

    fn module_folder(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.module())
    }

    /// `$XDG_CACHE_HOME/herald-testbed/KEY/NAME`; the key changes with any version in the module.
    fn place(self) -> Result<PathBuf> {
        let sums = self.module_folder().join("go.sum");
        let sums = fs::read(&sums).with_context(|| format!("reading {}", sums.display()))?;
        Ok(cache()?.join(format!("{:016x}", short_key(&sums))).join(self.name()))
    }

    fn is_built(self) -> bool {
        self.place().is_ok_and(|place| place.is_file())
    }
}

/// All programs of the control plane, built.
#[derive(Clone, Debug)]
pub struct Tools {
    places: Vec<PathBuf>,
}

impl Tools {
    /// Whether all programs of a lab are in the cache.
    #[must_use]
    pub fn are_built() -> bool {
        LAB.into_iter().all(Tool::is_built)
    }

    /// Builds the programs that the cache lacks. Of two runs at the same time the second waits for the first.
    ///
    /// # Errors
    /// When there is no home for the cache, no Go, or the build fails.
    pub async fn ensure(say: Say<'_>) -> Result<Self> {
        let places: Vec<PathBuf> = all().map(Tool::place).collect::<Result<_>>()?;
        for tool in LAB.into_iter().filter(|tool| !tool.is_built()) {
            build(tool, say).await?;
        }
        Ok(Self { places })
    }

    /// Builds what a cluster with real kubelets runs besides: kubelet and scheduler.
    ///
    /// # Errors
    /// When there is no Go, or a build fails.
    pub async fn ensure_kubelet(&self, say: Say<'_>) -> Result<()> {
        for tool in NODE.into_iter().filter(|tool| !tool.is_built()) {
            build(tool, say).await?;
        }
        Ok(())
    }

    /// The path of one program. Those of MetalLB are there only after [`Self::rival`], those of real nodes only after
    /// [`Self::ensure_kubelet`].
    #[must_use]
    pub fn path(&self, tool: Tool) -> &Path {
        let place = all().zip(&self.places).find(|(known, _)| *known == tool);
        place.map(|(_, path)| path.as_path()).expect("every tool is among all tools")
    }

    /// MetalLB's program, built from its published module where the cache lacks it: the rival of a measurement. Labs do
    /// without.
    ///
    /// # Errors
    /// When there is no Go or the build fails.
    pub async fn rival(tool: Tool, say: Say<'_>) -> Result<PathBuf> {
        if !tool.is_built() {
            build(tool, say).await?;
        }
        tool.place()
    }

    /// The folder with the sources that a program was built from, as its module was published.
    ///
    /// # Errors
    /// When there is no Go, or the module cannot be had.
    pub async fn sources(tool: Tool) -> Result<PathBuf> {
        let Some(go) = package::find("go") else {
            bail!("Go is missing; it knows where {} is", tool.package())
        };
        let mut list = Command::new(go);
        list.current_dir(tool.module_folder())
            .args(["list", "-mod=readonly", "-f", "{{.Module.Dir}}"])
            .arg(tool.package());
        Ok(PathBuf::from(output(&mut list).await?.trim()))
    }

    /// The path of one program as text.
    #[must_use]
    pub fn program(&self, tool: Tool) -> String {
        self.path(tool).to_string_lossy().into_owned()
    }
}

/// `$XDG_CACHE_HOME/herald-testbed`.
pub(super) fn cache() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME says where the cache is")?.join("herald-testbed"))
}

fn all() -> impl Iterator<Item = Tool> {
    LAB.into_iter().chain(NODE).chain(RIVALS)
}

/// A key for a cache, not a defence.
fn short_key(bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

async fn build(tool: Tool, say: Say<'_>) -> Result<()> {
    let (name, place) = (tool.name(), tool.place()?);
    let folder = place.parent().context("a program is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let _lock = lock(folder, say).await?;
    if tool.is_built() {
        return Ok(());
    }
    let Some(go) = package::find("go") else {
        bail!("Go is missing; it builds {name} (https://go.dev/dl, version 1.26 or newer)");
    };
    say(&format!(
        "building {name} from its Go sources (minutes the first time, then kept in {})",
        folder.display()
    ));
    let start = Instant::now();
    let unfinished = folder.join(format!("{name}.{}", std::process::id()));
    let mut run = Command::new(go);
    run.current_dir(tool.module_folder())
        .args(["build", "-mod=readonly", "-o"])
        .arg(&unfinished)
        .arg(format!("-ldflags=-s -w{}", version_flag(tool)?))
        .arg(tool.package())
        .kill_on_drop(true);
    let done = run.output().await.context("starting go build")?;
    if !done.status.success() {
        let _ = fs::remove_file(&unfinished);
        bail!("go build of {name}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    // Whoever sees the final name sees the whole program.
    fs::rename(&unfinished, &place).with_context(|| format!("keeping {name}"))?;
    say(&format!("  {name} built in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// Held while one run builds in a folder.
async fn lock(folder: &Path, say: Say<'_>) -> Result<File> {
    let lock = File::create(folder.join("lock")).context("making the lock of the cache")?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        say("another run builds the same program; waiting for it");
        let waiting = lock.try_clone().context("sharing the lock")?;
        tokio::task::spawn_blocking(move || flock(&waiting, FlockOperation::LockExclusive)).await??;
    }
    Ok(lock)
}

/// The version of Kubernetes goes into its programs at link time; without it, they call themselves v0.0.0.
fn version_flag(tool: Tool) -> Result<String> {
    if tool.module() != "kubernetes" {
        return Ok(String::new());
    }
    let module = fs::read_to_string(tool.module_folder().join("go.mod"))
        .context("reading testbed/kubernetes/go.mod")?;
    let line = module.lines().map(str::trim).find(|line| line.starts_with("k8s.io/kubernetes v"));
    let version = line.and_then(|line| line.split_whitespace().nth(1));
    let version = version.context("testbed/kubernetes/go.mod requires no k8s.io/kubernetes")?;
    Ok(format!(" -X k8s.io/component-base/version.gitVersion={version}"))
}
