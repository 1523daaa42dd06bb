//! Programs that the gate needs and that are built once per machine, in the user's cache folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

const CARGO_DENY: &str = "0.20.2";
const ZIG: &str = "0.17.1";
const ZIGBUILD: &str = "0.24.0";
/// Helm as a library, and the schemas that Kubernetes publishes, as Python packages.
const HELM: &str = "0.2.2";
const SCHEMAS: &str = "1.37.0";

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
    let packages = [format!("ziglang=={ZIG}"), format!("cargo-zigbuild=={ZIGBUILD}")];
    let why = format!("zig {ZIG} (C compiler for every platform)");
    python_packages(&format!("zig-{ZIG}"), &packages, &why)
}

/// A Python that has Helm and the schemas of Kubernetes, installed on first use.
pub(crate) fn chart_python() -> Result<PathBuf> {
    let packages = [format!("helm-python-sdk=={HELM}"), format!("kubernetes-validate=={SCHEMAS}")];
    let folder =
        python_packages(&format!("charts-{HELM}-{SCHEMAS}"), &packages, "Helm and Kubernetes' schemas")?;
    Ok(folder.join("python"))
}

/// The folder of programs of some Python packages, in an environment of their own.
fn python_packages(name: &str, packages: &[String], why: &str) -> Result<PathBuf> {
    let folder = cache()?.join("herald-tools").join(name);
    let (programs, whole) = (folder.join("bin"), folder.join("installed"));
    if whole.is_file() {
        return Ok(programs);
    }
    println!("installing {why} into {}", folder.display());
    cargo::finish(Command::new("python3").args(["-m", "venv"]).arg(&folder), "python3 -m venv")?;
    let mut install = Command::new(programs.join("pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages);
    cargo::finish(&mut install, &format!("pip install {}", packages.join(" ")))?;
    std::fs::write(whole, "").context("marking the environment as whole")?;
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
