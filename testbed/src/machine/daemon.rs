//! The programs under test, built with cargo from this workspace.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::{Say, repository};

/// Names a folder with ready daemons, e.g. of a release build; then nothing is built.
const READY: &str = "HERALD_TESTBED_DAEMONS";

/// The folder that holds controller, speaker and speakerctl.
#[derive(Clone, Debug)]
pub struct Daemons {
    folder: PathBuf,
}

impl Daemons {
    /// Runs `cargo build` for the three; does nothing when they are up to date.
    /// With `HERALD_TESTBED_DAEMONS=FOLDER` the daemons of that folder are taken as they are.
    ///
    /// # Errors
    /// When the build fails; cargo's own words go to standard error.
    pub async fn build(say: Say<'_>) -> Result<Self> {
        if let Some(folder) = std::env::var_os(READY).map(PathBuf::from) {
            say(&format!("taking the daemons of {} ({READY})", folder.display()));
            return Ok(Self { folder });
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let start = Instant::now();
        say("building controller, speaker and speakerctl with cargo (a minute or two the first time)");
        let mut command = Command::new(cargo);
        command
            .current_dir(repository())
            .args(["build", "--quiet", "--package", "controller", "--package", "speaker", "--package", "speakerctl"])
            .args(["--bins", "--message-format=json-render-diagnostics"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let done = command.output().await.context("starting cargo build")?;
        if !done.status.success() {
            bail!("cargo build of the daemons failed, see above");
        }
        if start.elapsed() > Duration::from_secs(2) {
            say(&format!("  built in {:.0} s", start.elapsed().as_secs_f64()));
        }
        let folder = executable_folder(&String::from_utf8_lossy(&done.stdout))
            .context("cargo did not say where it put the speaker")?;
        Ok(Self { folder })
    }

    /// The path of `controller`, `speaker` or `speakerctl`, as text.
    #[must_use]
    pub fn program(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }
}

/// Cargo tells where it puts each program, whatever the target folder and profile are called.
fn executable_folder(messages: &str) -> Option<PathBuf> {
    let executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    });
    let mut speakers = executables.filter(|path| path.file_name().is_some_and(|name| name == "speaker"));
    speakers.next()?.parent().map(Path::to_owned)
}
