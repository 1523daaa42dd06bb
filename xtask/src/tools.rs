//! Programs that the gate needs and that are built once per machine, in the user's cache folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

const CARGO_DENY: &str = "0.20.2";

/// The `cargo-deny` program, built on first use.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let folder = cache()?.join(format!("herald-tools/cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    println!("building cargo-deny {CARGO_DENY} into {} (once per machine, a few minutes)", folder.display());
    let status = Command::new("cargo")
        .args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY, "--root"])
        .arg(&folder)
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("starting cargo install")?;
    if !status.success() {
        bail!("cargo install cargo-deny ended with {status}");
    }
    Ok(program)
}

fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let home =
        std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set: where may a cache be?")?;
    Ok(PathBuf::from(home).join(".cache"))
}
