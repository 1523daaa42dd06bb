//! `cargo xtask soak [MINUTES]`: what is too long for the gate: more seeds of the simulation, more histories of addresses,
//! the large system tests.
//!
//! The system tests are bounded by their own limits (four minutes each) and run once; the simulation gets what is left of
//! the time, in rounds of fresh seeds. A seed that fails is named and can be played again.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use crate::{cargo, failures};

/// Without an argument.
const MINUTES: u64 = 30;
/// Seeds of one round: between two rounds the clock is looked at.
const ROUND: u64 = 10_000;
/// Random histories of pools, Services and restarts, each time others; the gate plays 256.
const HISTORIES: u32 = 20_000;

/// Runs for about so many minutes.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let minutes = match arguments {
        [] => MINUTES,
        [number] => number.parse().context("usage: cargo xtask soak [MINUTES]")?,
        _ => bail!("usage: cargo xtask soak [MINUTES]"),
    };
    let start = Instant::now();
    failures::play(&["soak_of_", "failure_of_"], true)?;
    histories()?;
    simulate(start, Duration::from_secs(minutes * 60))?;
    println!("{FUZZ}");
    Ok(())
}

/// Lives of the address pools, and of the allocator beside a naive search. One that fails is made smaller and printed.
fn histories() -> Result<()> {
    let mut test = optimised(&["--package", "controller", "--lib", "--", "histor", "naive"]);
    cargo::finish(test.env("PROPTEST_CASES", HISTORIES.to_string()), "the histories of addresses")?;
    println!("soak: {HISTORIES} histories of addresses");
    Ok(())
}

/// Plays rounds of seeds until the time is up; at least one.
fn simulate(start: Instant, limit: Duration) -> Result<()> {
    // Fresh seeds each time; the test prints the one that fails.
    let mut first = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
    let mut played = 0;
    loop {
        let mut test = optimised(&["--package", "speaker", "--test", "simulation"]);
        test.env("HERALD_FIRST_SEED", first.to_string()).env("HERALD_SEEDS", ROUND.to_string());
        cargo::finish(&mut test, "the simulation")?;
        first += ROUND;
        played += ROUND;
        println!("soak: {played} seeds in {} s", start.elapsed().as_secs());
        if start.elapsed() >= limit {
            return Ok(());
        }
    }
}

/// A test with every check of a debug build, and ten times as fast.
fn optimised(arguments: &[&str]) -> Command {
    cargo::command(&[&["test", "--profile", "soak"], arguments].concat())
}

const FUZZ: &str = "\
soak: done. What receives octets can be fuzzed for as long as you like, with a nightly toolchain and cargo-fuzz:
  cd bgp-proto && cargo +nightly fuzz run session -- -max_total_time=3600     (also: body, open, update, tables)";
