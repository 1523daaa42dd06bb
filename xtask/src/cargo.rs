//! Cargo, started from a program that cargo itself started.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Runs a step of cargo in the repository's root, e.g. `["build", "--release"]`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    finish(&mut command(arguments), &format!("cargo {}", arguments.first().unwrap_or(&"")))
}

/// The same, not started yet. The lock file must already be right wherever it is read.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let (step, rest) = arguments.split_first().expect("every call names its cargo step");
    command.arg(step).current_dir(workspace::root());
    if *step != "fmt" {
        command.arg("--locked");
    }
    command.args(rest);
    // What `cargo run` says about this program is not about those: build scripts that look would run again.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_about_this_package(name)) {
        command.env_remove(name);
    }
    command
}

/// Waits for a command and fails unless it succeeds.
pub(crate) fn finish(command: &mut Command, name: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {name}"))?;
    if status.success() { Ok(()) } else { bail!("{name} ended with {status}") }
}

/// What a command says on standard output; it must succeed, and its progress goes to the terminal.
pub(crate) fn printed(command: &mut Command, name: &str) -> Result<String> {
    let done = command.stderr(Stdio::inherit()).output().with_context(|| format!("starting {name}"))?;
    if !done.status.success() {
        bail!("{name} ended with {}", done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("{name} prints no text"))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from)
}

fn is_about_this_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}
