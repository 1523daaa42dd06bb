//! Programs that the gate needs and that are built once per machine, in the user's cache folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

const CARGO_DENY: &str = "0.20.2";
const ZIG: &str = "0.17.1";
const ZIGBUILD: &str = "0.24.0";

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

/// The folder with `cargo-zigbuild` and `python-zig`, installed on first use: zig comes as a Python package.
pub(crate) fn zig() -> Result<PathBuf> {
    let folder = cache()?.join(format!("herald-tools/zig-{ZIG}"));
    let programs = folder.join("bin");
    if programs.join("cargo-zigbuild").is_file() {
        return Ok(programs);
    }
    println!("installing zig {ZIG} (C compiler and linker for every platform) into {}", folder.display());
    let run = |command: &mut Command, what: &str| match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("{what} ended with {status}"),
        Err(error) => Err(error).with_context(|| format!("starting {what}")),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder), "python3 -m venv")?;
    let mut install = Command::new(programs.join("pip"));
    install.args(["install", "--quiet", &format!("ziglang=={ZIG}"), &format!("cargo-zigbuild=={ZIGBUILD}")]);
    run(&mut install, "pip install ziglang cargo-zigbuild")?;
    Ok(programs)
}

fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let home =
        std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set: where may a cache be?")?;
    Ok(PathBuf::from(home).join(".cache"))
}
