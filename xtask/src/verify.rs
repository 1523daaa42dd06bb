//! The gate: every step in order, each with its time; the first that fails ends it.
//!
//! Nothing is skipped: tests that need root, namespaces or a package that cannot be installed say so and fail here.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{cargo, chart, generated, kubelet, tidy, tools, workspace};

/// What the shipped daemons must not contain, as `cargo tree` names it, and why.
const BANNED_IN_SPEAKER: [(&str, &str); 3] = [
    ("openssl", "one TLS stack, with no C library to find at run time"),
    ("native-tls", "one TLS stack, with no C library to find at run time"),
    ("tokio feature \"rt-multi-thread\"", "the speaker is single-threaded: one owner per piece of state"),
];

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 11] = [
    ("format", || cargo::run(&["fmt", "--all", "--check"])),
    ("repository rules", tidy::run),
    ("generated files", generated::check),
    ("the chart", chart::check),
    ("lints", || cargo::run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ("what the speaker pulls in", speaker_tree),
    ("licences, bans, sources", licences),
    ("documents", documents),
    ("parts of the test bed", || {
        cargo::run(&["run", "--package", "testbed", "--bin", "demo", "--", "--prepare"])
    }),
    ("tests, system tests and benches at test size", tests),
    ("the image and the YAML on real kubelets", kubelet::verify),
];

/// Runs all steps.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    for (number, (name, step)) in STEPS.iter().enumerate() {
        println!("\n=== verify {}/{}: {name}", number + 1, STEPS.len());
        let began = Instant::now();
        step().with_context(|| format!("verify: the step `{name}` failed"))?;
        println!("=== {name}: {} s", began.elapsed().as_secs());
    }
    println!("\nverify: all {} steps passed in {} s", STEPS.len(), start.elapsed().as_secs());
    Ok(())
}

fn tests() -> Result<()> {
    cargo::finish(
        cargo::command(&["test", "--workspace", "--all-targets"]).env("HERALD_REQUIRE_SYSTEM_TESTS", "1"),
        "cargo test",
    )?;
    cargo::run(&["test", "--workspace", "--doc"])
}

fn documents() -> Result<()> {
    cargo::finish(
        cargo::command(&["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
        "cargo doc",
    )
}

fn licences() -> Result<()> {
    let deny = tools::cargo_deny()?;
    let mut check = Command::new(deny);
    check.args(["--locked", "check", "bans", "licenses", "sources"]).current_dir(workspace::root());
    cargo::finish(&mut check, "cargo deny")
}

fn speaker_tree() -> Result<()> {
    let output =
        cargo::command(&["tree", "--package", "speaker", "--edges", "normal,features", "--prefix", "none"])
            .output()
            .context("running cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    for (banned, why) in BANNED_IN_SPEAKER {
        if tree.lines().any(|line| line.starts_with(banned)) {
            bail!("the speaker depends on {banned}: {why}");
        }
    }
    Ok(())
}
