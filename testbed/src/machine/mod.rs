//! What this machine must have: rights, packages, the Kubernetes programs and the daemons under test.
//! `probe` only looks; `prepare` installs and builds, and says why each wait is there.

mod daemon;
mod package;
mod tool;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

pub use daemon::Daemons;
pub use package::{Lack, PROGRAMS, Program};
pub use tool::{Tool, Tools};

/// Takes the lines that tell a person what goes on and why it takes time.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Everything a lab starts.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The control plane's programs.
    pub tools: Tools,
    /// controller, speaker, speakerctl.
    pub daemons: Daemons,
}

/// What is missing for a lab on this machine, without changing anything.
#[must_use]
pub fn probe() -> Vec<Lack> {
    let mut lacks = package::missing();
    if let Err(why) = package::check_rights() {
        lacks.insert(0, why);
    }
    if !Tools::are_built() {
        lacks.push(Lack::Tools);
        lacks.extend(package::missing_builders());
    }
    lacks
}

/// Installs the packages that are missing, builds the Kubernetes programs (once per version) and the daemons.
///
/// # Errors
/// When a right is missing or an installation or build fails.
pub async fn prepare(say: Say<'_>) -> Result<Machine> {
    if let Err(why) = package::check_rights() {
        bail!("{why}");
    }
    package::install(say).await?;
    build(say).await
}

/// What is missing on this machine for a cluster with real kubelets and cannot be installed.
#[must_use]
pub fn probe_kubelet() -> Vec<Lack> {
    let mut lacks: Vec<Lack> = package::check_rights().err().into_iter().collect();
    lacks.extend(crate::kubelet::cgroup::Hierarchy::find().err().map(Lack::Containers));
    if crate::kubelet::residue::is_node_itself() {
        let why = "it has a kubelet of its own, which another one beside it would disturb";
        lacks.push(Lack::Containers(why.to_owned()));
    }
    if package::find("apt-get").is_none() {
        lacks.extend(package::missing());
        lacks.extend(package::missing_for_kubelet());
    }
    lacks
}

/// As [`prepare`], and what real kubelets need besides: containerd, runc, CNI plugins, kubelet and scheduler. The daemons
/// are not built: here they come in an image.
///
/// # Errors
/// When a right is missing or an installation or build fails.
pub async fn prepare_kubelet(say: Say<'_>) -> Result<Tools> {
    if let Some(lack) = probe_kubelet().first() {
        bail!("{lack}");
    }
    package::install(say).await?;
    package::install_for_kubelet(say).await?;
    let tools = Tools::ensure(say).await?;
    tools.ensure_kubelet(say).await?;
    Ok(tools)
}

/// Installs the Docker that containerlab runs on, where it is missing.
///
/// # Errors
/// When it cannot be installed.
pub async fn install_docker(say: Say<'_>) -> Result<()> {
    package::install_docker(say).await
}

/// Where a program is, on the path or in the administrator's folders.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    package::find(name)
}

/// The user's cache folder of the test bed.
///
/// # Errors
/// When nothing says where it is.
pub fn cache() -> Result<PathBuf> {
    tool::cache()
}

/// Builds what is not yet built, on a machine that has all packages.
///
/// # Errors
/// When a build fails.
pub async fn build(say: Say<'_>) -> Result<Machine> {
    let tools = Tools::ensure(say).await?;
    let daemons = Daemons::build(say).await?;
    Ok(Machine { tools, daemons })
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
