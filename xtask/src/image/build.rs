//! Static programs for each platform, with their standard library built along, and with zig as C compiler and, where rustup
//! does not know the target, as linker: no cross gcc is needed.
//!
//! Paths of this machine do not come into the programs, so that two builds of one commit give the same bytes.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::platform::Platform;
use crate::{cargo, tools, workspace};

/// The package whose program is in the image, and the profile that it is built with.
const PACKAGE: &str = "herald";
const PROFILE: &str = "image";

/// What the linker drops.
const TABLES: &str = "xtask/src/image/tables.ld";

/// Where a build happens and leaves its results.
pub(super) struct Place {
    /// The sources.
    pub(super) root: PathBuf,
    /// What `CARGO_TARGET_DIR` is set to.
    pub(super) target: PathBuf,
}

impl Place {
    /// This repository, with a target folder of its own: other flags there would build everything anew by turns.
    pub(super) fn here() -> Self {
        Self { root: workspace::root(), target: cargo::target().join("image-build") }
    }
}

/// Installs what the platforms need and this machine lacks, saying why.
pub(super) fn prepare(platforms: &[Platform]) -> Result<()> {
    let installed = rustup(&["target", "list", "--installed"])?;
    let installed: BTreeSet<&str> = installed.lines().collect();
    for platform in platforms {
        let target = platform.target();
        if platform.is_with_rustup() && !installed.contains(target) {
            println!("image: rustup target add {target} (what begins and ends a program of {platform})");
            rustup(&["target", "add", target])?;
        }
    }
    let components = rustup(&["component", "list", "--installed"])?;
    if !components.lines().any(|line| line == "rust-src") {
        println!("image: rustup component add rust-src (the standard library is built along)");
        rustup(&["component", "add", "rust-src"])?;
    }
    tools::zig().map(drop)
}

/// Builds the program of a platform and gives its bytes.
pub(super) fn program(platform: Platform, place: &Place) -> Result<Vec<u8>> {
    println!("image: building {PACKAGE} for {platform} (minutes, the first time)");
    let mut build = Command::new(tools::zig()?.join("cargo-zigbuild"));
    build.arg("rustc").current_dir(&place.root);
    build.args(["--locked", "--profile", PROFILE, "--package", PACKAGE, "--target", platform.target()]);
    // The standard library is built along: for size, its sorts included, of which there is one for each type that is sorted, and
    // without the reader of debug tables, which finds none here. The compiler is a stable one, for which that is not stable yet.
    build
        .args(["-Z", "build-std=std,panic_abort", "-Z", "build-std-features=optimize_for_size"])
        .env("RUSTC_BOOTSTRAP", "1");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        build.env_remove(name);
    }
    build.env("CARGO_TARGET_DIR", &place.target).env("PATH", path_with_zig()?);
    build.env(format!("CARGO_TARGET_{}_RUSTFLAGS", screaming(platform.target())), flags(platform)?);
    if platform.is_with_rustup() {
        // The compiler's own linker, which makes a position-independent program and reads the script.
        let script = place.root.join(TABLES);
        build.args(["--", "-Clinker=rust-lld", "-Clink-arg=--no-eh-frame-hdr"]);
        // What a program that may lie anywhere has to mend when it starts is one bit each instead of 24 octets.
        build.arg("-Clink-arg=--pack-dyn-relocs=relr");
        // Functions that came out the same are there once. Rust promises nothing about their addresses, and of
        // what is C in the program (the C library, the ciphers) nothing is known that compares them.
        build.arg("-Clink-arg=--icf=all");
        // A panic within a panic would walk the stack, for which there are no tables: it ends the process without that.
        for walker in ["_Unwind_Backtrace", "_Unwind_GetIP"] {
            build.arg(format!("-Clink-arg=--defsym={walker}=abort"));
        }
        build.arg(format!("-Clink-arg=-T{}", script.display()));
    }
    cargo::finish(&mut build, "cargo-zigbuild rustc")?;
    let file = place.target.join(platform.target()).join(PROFILE).join(PACKAGE);
    let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    ensure_static(&bytes).with_context(|| format!("{}", file.display()))?;
    Ok(bytes)
}

fn flags(platform: Platform) -> Result<String> {
    let home = match env::var_os("CARGO_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    let sysroot = sysroot()?;
    // A panic ends the process with its message, so nothing ever walks the stack: no tables for that.
    let mut flags = format!("-Cforce-unwind-tables=no --remap-path-prefix={sysroot}=/rust");
    // What is derived for `Debug` says the name alone. People read sentences, which are `Display` (`xtask tidy`: log fields).
    flags.push_str(" -Zfmt-debug=shallow");
    // Where a library was fetched from and to matters to nobody. The longest prefix comes last, and the last one counts.
    for (folder, name) in [(home.clone(), "/cargo")].into_iter().chain(sources(&home)?) {
        flags.push_str(&format!(" --remap-path-prefix={}={name}", folder.display()));
    }
    if !platform.is_with_rustup() {
        // The objects that start a program come from zig, as rustup brings none.
        flags.push_str(" -Clink-self-contained=no");
    }
    Ok(flags)
}

/// The folders that hold the sources of libraries, one for each place that they were fetched from.
fn sources(home: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let root = home.join("registry").join("src");
    // Whoever keeps the sources elsewhere (`cargo vendor`) has no such folder.
    let folders = if root.is_dir() { Some(fs::read_dir(&root)?) } else { None };
    let mut sources = folders
        .into_iter()
        .flatten()
        .map(|folder| Ok((folder?.path(), "/crate")))
        .collect::<Result<Vec<_>>>()?;
    sources.sort();
    Ok(sources)
}

/// A program that asks for no interpreter needs no library: the image has none.
fn ensure_static(elf: &[u8]) -> Result<()> {
    ensure!(elf.starts_with(b"\x7fELF"), "this is no ELF file");
    ensure!(
        !elf.windows(8).any(|window| window == b"/lib/ld-"),
        "the program asks for a dynamic linker, and the image has none"
    );
    Ok(())
}

fn path_with_zig() -> Result<OsString> {
    let old = env::var_os("PATH").unwrap_or_default();
    let folders = [tools::zig()?].into_iter().chain(env::split_paths(&old));
    env::join_paths(folders).context("a PATH with zig")
}

fn sysroot() -> Result<String> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(workspace::root())
        .output()
        .context("starting rustc")?;
    Ok(String::from_utf8(output.stdout).context("the path of the compiler")?.trim().to_owned())
}

fn rustup(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustup")
        .args(arguments)
        .current_dir(workspace::root())
        .output()
        .context("starting rustup, which brings the libraries of other platforms")?;
    if !output.status.success() {
        bail!("rustup {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn screaming(target: &str) -> String {
    target.to_uppercase().replace('-', "_")
}
