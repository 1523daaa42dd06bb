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
