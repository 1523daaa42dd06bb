//! Herald's BGP core against a floor, the published crates and the daemons of Debian: measured here, written down in
//! `docs/performance.md`.
//!
//! The comparison is `benches/rivals`, a package outside the workspace, so that its dependencies cost the gate
//! nothing. This step builds it and Herald's driver, runs both halves and puts text around the tables. What the figures
//! are to be is said there, beside the measuring.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, workspace};

const DOCUMENT: &str = "docs/performance.md";

/// Builds, measures, prints and writes the document.
pub(crate) fn run() -> Result<()> {
    build_release("announcer")?;
    let program = build_rivals()?;
    // Before the work: afterwards it is our own load.
    let machine = machine()?;
    let announcer = driver_folder().join("announcer").to_string_lossy().into_owned();
    let (codec, codec_goals) = printed(&program, &["codec"])?;
    let (daemons, daemon_goals) = printed(&program, &["daemons", &announcer])?;
    let text =
        [HEAD, &machine, GOALS, &codec_goals, &daemon_goals, CODEC, &codec, DAEMONS, &daemons].concat();
    let text = format!("{}\n", text.trim_end());
    print!("{text}");
    fs::write(workspace::root().join(DOCUMENT), text).with_context(|| format!("writing {DOCUMENT}"))
}

const HEAD: &str = "\
# Performance

`cargo xtask performance` measures all of this in one run and writes this file: Herald's BGP core beside a floor, the
published BGP crates and the routing daemons of Debian. It needs root only where a daemon has to be installed first.

This is the BGP core. The parts around it have figures of their own: [on real kubelets](performance-kubelet.md) (install, memory in
the Pod, rolling update, change-over from MetalLB), [the controller](performance-ipam.md),
[the speaker in a cluster](performance-cluster.md), [the image](performance-image.md), and
[what each failure costs](failures.md).

Read the ratios: both sides of each were measured in the same run, in turns, best round of each. Columns with a `*`
are this machine's, and another one's will differ. The **floor** is a yardstick, not a library (`benches/yardstick`):
the least work that the task can be, with lengths checked and nothing else, in plain loops; where Herald's loops wait
less for what they have just read, a figure is below 1. A published crate is called as its own
documentation shows. All are built with `opt-level = 3` and fat LTO, except Herald's driver beside the daemons, which
is built as it ships (`opt-level = \"s\"`). Real streams come from the folder that `HERALD_BGP_VECTORS` names
(RIPE RIS data); without it a generated stream takes their place and the text says so.

";

const GOALS: &str = "\
## Goals

| work | target | measured | |
|---|---|---|---|
";

const CODEC: &str = "
## Reading and writing UPDATEs

`parse` is the entry point for a received message; for Herald: frame, lengths, and the RFC 7606 verdict on every
attribute (`Inspect`). `walk` also reads every prefix, AS number and standard community. The last rows of each table
are whole Herald sessions in memory that are fed the stream; their ratio is to the floor's
`parse`.

";

const DAEMONS: &str = "\
## Speakers on a socket

Every speaker is its own process on loopback, with one attribute set on all routes, and has loaded everything before
the sink says its first word. Times count from the KEEPALIVE that makes the session Established. `CPU to send` lies
between the sink's OPEN and the last route. BIRD holds its last, partly filled message back for about 3 s; FRR
gathers for about 1 s before it begins.

";

/// One sentence about where the figures were taken.
pub(crate) fn machine() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let processors = text.lines().filter(|line| line.starts_with("processor")).count();
    let model = if model.is_empty() { "an unnamed processor" } else { model };
    let load = fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!(
        "This machine: {processors} virtual processors of {model}, shared with other work (load average {load} when the \
         run began), Linux.\n\n"
    ))
}

/// Builds one of Herald's driver programs as Herald ships.
pub(crate) fn build_release(program: &str) -> Result<()> {
    eprintln!("building Herald's driver ({program}) as it ships");
    cargo::run(&["build", "--release", "--package", "benches", "--bin", program])
}

/// Where those programs are.
pub(crate) fn driver_folder() -> PathBuf {
    cargo::target().join("release")
}

/// Builds `benches/rivals`; returns its program.
pub(crate) fn build_rivals() -> Result<PathBuf> {
    eprintln!("building the comparison (published crates; the first time takes minutes)");
    let manifest = workspace::root().join("benches/rivals/Cargo.toml");
    let folder = cargo::target().join("rivals");
    let (manifest, text) = (manifest.to_string_lossy(), folder.to_string_lossy());
    cargo::run(&["build", "--release", "--manifest-path", &manifest, "--target-dir", &text])?;
    Ok(folder.join("release/rivals"))
}

/// Tables and rows of goals that a program prints.
fn printed(program: &Path, arguments: &[&str]) -> Result<(String, String)> {
    let text = output(program, arguments)?;
    let (tables, goals) = text.split_once("<!-- goals -->\n").context("it says nothing about the goals")?;
    Ok((tables.to_owned(), goals.to_owned()))
}

/// What a program says on standard output; its progress goes to the terminal.
pub(crate) fn output(program: &Path, arguments: &[&str]) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut text = String::new();
    child.stdout.take().context("its standard output is ours")?.read_to_string(&mut text)?;
    let status = child.wait()?;
    if status.success() {
        Ok(text)
    } else {
        bail!("{} {} ended with {status}", program.display(), arguments.join(" "))
    }
}
