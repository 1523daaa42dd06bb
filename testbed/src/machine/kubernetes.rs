//! The Kubernetes programs, built from the Go module in `testbed/kubernetes` and kept in the user's cache folder,
//! so that a fresh clone on the same machine starts in seconds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;

use super::{Say, package};

/// The commands of the module `k8s.io/kubernetes` that a lab runs.
const COMMANDS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"];

/// The folder of the built programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Whether all programs are in the cache.
    #[must_use]
    pub fn are_built() -> bool {
        cache_folder().is_ok_and(|folder| absent(&folder).is_empty())
    }

    /// Builds the programs that the cache lacks. Of two runs at the same time the second waits for the first.
    ///
    /// # Errors
    /// When there is no home for the cache, no Go, or the build fails.
    pub async fn ensure(say: Say<'_>) -> Result<Self> {
        let folder = cache_folder()?;
        if absent(&folder).is_empty() {
            return Ok(Self { folder });
        }
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let lock = File::create(folder.join("lock")).context("making the lock of the cache")?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            say("another run builds the Kubernetes programs; waiting for it");
            let lock = lock.try_clone().context("sharing the lock")?;
            tokio::task::spawn_blocking(move || flock(&lock, FlockOperation::LockExclusive)).await??;
        }
        for command in absent(&folder) {
            build(command, &folder, say).await?;
        }
        Ok(Self { folder })
    }

    /// The path of one program.
    #[must_use]
    pub fn path(&self, command: &str) -> PathBuf {
        self.folder.join(command)
    }

    /// The path of one program as text.
    #[must_use]
    pub fn program(&self, command: &str) -> String {
        self.path(command).to_string_lossy().into_owned()
    }
}

fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes")
}

/// `$XDG_CACHE_HOME/herald-testbed/KEY`; the key changes with any version in the module.
fn cache_folder() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME says where the cache is")?;
    let sums = fs::read(module().join("go.sum")).context("reading testbed/kubernetes/go.sum")?;
    Ok(cache.join("herald-testbed").join(format!("{:016x}", fnv1a(&sums))))
}

/// FNV-1a, 64 bits: a key for a cache, not a defence.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn absent(folder: &Path) -> Vec<&'static str> {
    COMMANDS.into_iter().filter(|command| !folder.join(command).is_file()).collect()
}

async fn build(command: &str, folder: &Path, say: Say<'_>) -> Result<()> {
    let Some(go) = package::find("go") else {
        bail!("Go is missing; it builds {command} (https://go.dev/dl, version 1.26 or newer)");
    };
    say(&format!("building {command} from its Go sources (minutes the first time, then kept in {})", folder.display()));
    let start = Instant::now();
    let version = version()?;
    let unfinished = folder.join(format!("{command}.{}", std::process::id()));
    let mut run = Command::new(go);
    run.current_dir(module())
        .args(["build", "-mod=readonly", "-o"])
        .arg(&unfinished)
        .arg(format!("-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={version}"))
        .arg(format!("k8s.io/kubernetes/cmd/{command}"))
        .kill_on_drop(true);
    let done = run.output().await.context("starting go build")?;
    if !done.status.success() {
        let _ = fs::remove_file(&unfinished);
        bail!("go build of {command}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    // Whoever sees the final name sees the whole program.
    fs::rename(&unfinished, folder.join(command)).with_context(|| format!("keeping {command}"))?;
    say(&format!("  {command} built in {:.0} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// The Kubernetes version of the module; without it in the program, nodes and clients show nonsense.
fn version() -> Result<String> {
    let module = fs::read_to_string(module().join("go.mod")).context("reading testbed/kubernetes/go.mod")?;
    let line = module.lines().map(str::trim).find(|line| line.starts_with("k8s.io/kubernetes v"));
    let version = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(version.context("testbed/kubernetes/go.mod requires no k8s.io/kubernetes")?.to_owned())
}
