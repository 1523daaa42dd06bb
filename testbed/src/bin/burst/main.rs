//! `cargo xtask burst`: the controller on the real API server, beside a bare loop of the same writes and beside
//! MetalLB's controller, in one run. Prints Markdown.
//!
//! Times are ratios or differences to the bare loop, taken in turns; requests are counted by the API server, CPU time and
//! memory by the kernel.

mod contestant;
mod load;
mod round;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::door::ApiDoor;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::{self, Machine, Tool, Tools};
use testbed::run::Run;

use contestant::{Contestant, Running};
use load::{Load, POOLS};

/// Measures the controller on the real parts and prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "burst")]
struct Arguments {
    /// Services that come at once.
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// Turns of the burst; the median counts.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Single Services, one after the other.
    #[arg(long, default_value_t = 200)]
    singles: usize,
    /// Services in the last part.
    #[arg(long, default_value_t = 10_000)]
    many: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("burst: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(measure(&arguments)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("burst: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<String> {
    let machine = machine::prepare(&|line| eprintln!("{line}")).await?;
    let rival = Tools::rival(Tool::MetallbController, &|line| eprintln!("{line}")).await?;
    let run = Arc::new(Run::begin()?);
    let plan = LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() };
    let mut lab = Lab::start(&run, &machine, &plan).await?;
    lab.log_as_shipped();
    lab.cluster().apply_manifests().await?;
    // The contestants' requests go through the door of their node, and so do the bare ones.
    let (_door, port) = ApiDoor::on_host(lab.cluster().address()).await?;
    let load = Load::new(lab.cluster().client(), lab.cluster().client_through(port)?);
    contestant::prepare(&load).await?;

    let mut text = String::new();
    bursts(arguments, &mut lab, &load, &rival, &mut text).await?;
    many(arguments, &mut lab, &load, &rival, &mut text).await?;
    sizes(&machine, &mut text)?;
    Ok(text)
}

async fn bursts(
    arguments: &Arguments,
    lab: &mut Lab,
    load: &Load,
    rival: &std::path::Path,
    text: &mut String,
) -> Result<()> {
    writeln!(text, "## A burst, and one at a time\n")?;
    writeln!(text, "| | bare loop | Herald | MetalLB v0.16.1 |\n|---|--:|--:|--:|")?;
    let services = arguments.services;
    let mut columns = Vec::new();
    for (which, turns, singles) in [
        (Contestant::Herald, arguments.turns, arguments.singles),
        (Contestant::Metallb, 1, arguments.singles.min(50)),
    ] {
        eprintln!("{which:?}: {turns} burst(s) of {services}, then {singles} single Services");
        let running = Running::start(lab, which, rival).await?;
        let bursts = round::bursts(load, services, turns).await.with_context(|| format!("{which:?}"))?;
        let singles = round::singles(load, singles).await.with_context(|| format!("{which:?}"))?;
        let memory = running.memory(lab)?;
        running.stop(lab).await?;
        columns.push((bursts, singles, memory));
    }
    let [(ours, ours_single, our_memory), (theirs, their_single, their_memory)] = columns.as_slice() else {
        anyhow::bail!("there are two contestants");
    };
    let seconds = |span: Duration| format!("{:.2} s", span.as_secs_f64());
    writeln!(
        text,
        "| {services} Services wait, the pool comes: last address | {} | {} | {} |",
        seconds(ours.bare),
        seconds(ours.last),
        seconds(theirs.last)
    )?;
    writeln!(
        text,
        "| the same as a multiple of the bare loop of its own turn (goal: at most 1.2) | 1 | **{:.2}** ({:.2} to {:.2}) | {:.1} |",
        ours.ratio, ours.spread.0, ours.spread.1, theirs.ratio
    )?;
    writeln!(
        text,
        "| requests to write a Service's status while there is no pool, each Service | | {:.2} | {:.2} |",
        ours.waiting, theirs.waiting
    )?;
    writeln!(
        text,
        "| the same from the pool on (goal: 1) | 1 | **{:.3}** | {:.2} |",
        ours.writes, theirs.writes
    )?;
    writeln!(
        text,
        "| the same over 10 s afterwards, all Services (goal: 0) | | **{}** | {} |",
        ours.idle, theirs.idle
    )?;
    let millis = |span: Duration| format!("{:.1} ms", span.as_secs_f64() * 1e3);
    for (name, pick) in [("p50", 50), ("p99", 99)] {
        writeln!(
            text,
            "| one Service at a time, {name} | {} | {} | {} |",
            millis(ours_single.bare(pick)),
            millis(ours_single.given(pick)),
            millis(their_single.given(pick))
        )?;
    }
    writeln!(
        text,
        "| p99 beyond the bare apply (goal: at most 5 ms) | 0 | **{:.1} ms** | {:.1} ms |",
        ours_single.beyond(99),
        their_single.beyond(99)
    )?;
    writeln!(text, "| memory afterwards, resident | | {our_memory} | {their_memory} |")?;
    Ok(())
}

async fn many(
    arguments: &Arguments,
    lab: &mut Lab,
    load: &Load,
    rival: &std::path::Path,
    text: &mut String,
) -> Result<()> {
    let many = arguments.many;
    eprintln!("{many} Services in {POOLS} pools");
    load.create_pools().await?;
    let running = Running::start(lab, Contestant::Herald, rival).await?;
    let before = load.status_writes().await?;
    load.create("m", 0..many, None).await?;
    load.wait_for_addresses(many, Duration::from_secs(300)).await?;
    // Events and counters of pools come after the addresses.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let writes = load.status_writes().await? - before;
    let memory = running.memory(lab)?;
    running.stop(lab).await?;
    writeln!(text, "\n## {many} Services in {POOLS} pools\n")?;
    writeln!(text, "| | Herald | MetalLB v0.16.1 |\n|---|--:|--:|")?;
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let each = writes as f64 / many as f64;
    writeln!(
        text,
        "| requests to write a Service's status while they come, each Service (goal: 1) | **{each:.3}** | |"
    )?;
    writeln!(text, "| memory after that, resident (goal: at most 30 MB) | **{memory}** | |")?;
    let mut columns = Vec::new();
    for which in [Contestant::Herald, Contestant::Metallb] {
        eprintln!("{which:?}: a restart");
        let before = load.status_writes().await?;
        let running = Running::start(lab, which, rival).await?;
        let span = Duration::from_secs(45);
        tokio::time::sleep(span).await;
        let adopted = running.adoption(lab)?;
        let (cpu, memory) = (running.cpu(lab)?, running.memory(lab)?);
        let writes = load.status_writes().await? - before;
        running.stop(lab).await?;
        columns.push((adopted, cpu, memory, writes));
    }
    let [(adopted, cpu, memory, writes), (_, their_cpu, their_memory, their_writes)] = columns.as_slice()
    else {
        anyhow::bail!("there are two contestants");
    };
    let adopted = adopted.context("the controller's log does not say what the adoption took")?;
    writeln!(
        text,
        "| CPU time of a restart, from the list to the last look at a Service (goal: at most 100 ms) | **{:.0} ms** | |",
        adopted.as_secs_f64() * 1e3
    )?;
    writeln!(
        text,
        "| CPU time of the whole process, 45 s after a restart | {:.2} s | {:.2} s |",
        cpu.as_secs_f64(),
        their_cpu.as_secs_f64()
    )?;
    writeln!(
        text,
        "| requests to write a Service's status in that time (goal: 0) | **{writes}** | {their_writes} |"
    )?;
    writeln!(text, "| memory after that, resident | {memory} | {their_memory} |")?;
    Ok(())
}

fn sizes(machine: &Machine, text: &mut String) -> Result<()> {
    let program = machine.daemons.program("controller");
    let size = std::fs::metadata(&program).with_context(|| format!("looking at {program}"))?.len();
    writeln!(text, "\nThe controller's program has {:.1} MB.", contestant::megabytes(size))?;
    Ok(())
}
