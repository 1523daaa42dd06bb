//! Speed and memory of the release build on the real parts, printed as Markdown.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Builds the release binaries, then lets the test bed measure them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    cargo(
        &[
            "build",
            "--release",
            "--locked",
            "--package",
            "controller",
            "--package",
            "speaker",
            "--package",
            "speakerctl",
        ],
        &[],
    )?;
    cargo(&["run", "--quiet", "--locked", "--package", "testbed", "--bin", "measure", "--"], arguments)
}

fn cargo(arguments: &[&str], rest: &[String]) -> Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .args(rest)
        .current_dir(workspace::root())
        .status()
        .context("starting cargo")?;
    if status.success() {
        Ok(())
    } else {
        bail!("cargo {} ended with {status}", arguments.first().unwrap_or(&""))
    }
}
