//! `cargo xtask measure`: how fast a change is on the wire, how long a start takes, and what a speaker weighs, on the real
//! parts; and the same of MetalLB's native speaker, in the same run, on the same node, with the same objects and peer.
//!
//! Prints Markdown. The latency is that of the speaker beyond a bare watch client of the same run, which makes it
//! comparable between machines; memory and sizes are those of the programs that the caller names (a release build).

mod goal;
mod latency;
mod memory;
mod neighbour;
mod objects;
mod row;
mod scene;
mod sink;
mod witness;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::machine::{self, Machine, Tool, Tools};
use testbed::run::Run;

use goal::{cell, line, micros};
use memory::Memory;
use neighbour::Trouble;
use row::{Pace, Row, SURROUNDINGS, Share};
use scene::Scene;

/// Measures Herald on the real parts and prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "measure")]
struct Arguments {
    /// How often the endpoint is lost, in each surrounding.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// Numbers of Services, rising; a cluster has a tenth as many Nodes. Goals stand beside the first (latency), the second
    /// (memory), the third (all at once) and the last (latency, memory, start).
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 2_000, 10_000])]
    services: Vec<u32>,
    /// Up to how many Services MetalLB's speaker is measured beside ours: its start takes minutes with more.
    #[arg(long, default_value_t = 2_000)]
    rival_services: u32,
    /// Leave MetalLB out.
    #[arg(long)]
    without_rival: bool,
    /// Seconds for which the API server is away.
    #[arg(long, default_value_t = 30)]
    outage: u64,
    /// A trial of the whole in a few minutes: few Services, few rounds. Its figures mean nothing.
    #[arg(long, conflicts_with_all = ["rounds", "services", "rival_services", "outage"])]
    small: bool,
}

const HERALD: &str = "Herald";
const METALLB: &str = "MetalLB v0.16.1, native";
/// How long a speaker is watched that has nothing to do: the kernel counts in steps of 10 ms.
const IDLE: Duration = Duration::from_secs(60);

impl Arguments {
    fn pace(&self) -> Pace {
        Pace { rounds: self.rounds, idle: IDLE, outage: Duration::from_secs(self.outage) }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    let mut pace = arguments.pace();
    if arguments.small {
        arguments.services = vec![5, 10, 20, 40];
        arguments.rival_services = 10;
        pace = Pace { rounds: 10, idle: Duration::from_secs(1), outage: Duration::from_secs(5) };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("measure: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(measure(&arguments, pace)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("measure: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments, pace: Pace) -> Result<String> {
    let machine = machine::prepare(&|line| eprintln!("{line}")).await?;
    let rival = if arguments.without_rival {
        None
    } else {
        Some(Tools::rival(Tool::MetallbSpeaker, &|line| eprintln!("{line}")).await?)
    };
    let run = std::sync::Arc::new(Run::begin()?);
    let mut scene = Scene::set(&run, &machine).await.context("setting the scene")?;
    let idle = row::idle(&mut scene, pace.idle).await?;
    let empty = (scene.speaker_memory()?, idle);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (turn, services) in arguments.services.iter().enumerate() {
        eprintln!("{services} Services: making them");
        scene.grow(*services, (services / 10).max(1)).await?;
        ours.push(row::measure(&mut scene, HERALD, None, pace, turn == 0).await.context(HERALD)?);
        if let Some(program) = rival.as_deref().filter(|_| *services <= arguments.rival_services) {
            // What goes wrong with it is its own; ours is measured all the same.
            match row::measure(&mut scene, METALLB, Some(program), pace, turn == 0).await {
                Ok(row) => theirs.push(row),
                Err(why) => eprintln!("{METALLB} with {services} Services: {why:#}"),
            }
        }
    }
    let speaker = size(&machine.daemons.program("speaker"))?;
    let goals = goal::table(&ours, empty, speaker);
    let rows: Vec<&Row> = ours.iter().chain(&theirs).collect();
    let (tables, sizes) = (tables(&rows, empty, pace), sizes(&machine, rival.as_deref())?);
    Ok(format!("## Goals\n\n{goals}\n{ELSEWHERE}\n{tables}\n{sizes}"))
}

/// What other programs show; each row there is of a system test that fails when its promise is broken.
const ELSEWHERE: &str = "\
Requests and connections lost in restarts, crashes and takeovers, the time until a dead node is noticed, how often a router is dialled
that refuses, and what a router that does not exist costs the others: see [failures](failures.md).
";

fn tables(rows: &[&Row], (memory, idle): (Memory, Share), pace: Pace) -> String {
    let mut latency = vec![
        "## Latency\n".to_owned(),
        "| speaker | Services | beside | withdrawal p50, p99, max | announcement p50, p99, max | CPU of a change |"
            .to_owned(),
        "|---|--:|---|--:|--:|--:|".to_owned(),
    ];
    let mut weight = vec![
        "\n## Start and weight\n".to_owned(),
        "| speaker | Services | Nodes | start → all announced | API server's own lists | resident | of the program file | peak | idle CPU |"
            .to_owned(),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|".to_owned(),
        line(&[&HERALD, &0, &1, &"—", &"—", &memory.resident(), &memory.of_files(), &memory.peak(), &idle]),
    ];
    let mut bulk = vec![
        "\n## All at once\n".to_owned(),
        "| speaker | Services | node excluded: all withdrawn | all announced again | advertisement deleted: all withdrawn \
         | all announced again |"
            .to_owned(),
        "|---|--:|--:|--:|--:|--:|".to_owned(),
    ];
    let mut outage = vec![
        format!("\n## After {} s without the API server\n", pace.outage.as_secs()),
        "| speaker | a new Service is announced after |".to_owned(),
        "|---|--:|".to_owned(),
    ];
    for row in rows {
        for (part, (trouble, beside)) in row.latency.iter().zip(SURROUNDINGS) {
            let rate = row.poured.as_ref().ok().filter(|_| trouble == Some(Trouble::Pours));
            let rate = rate.map(|rate| format!(" ({rate} prefixes a second)")).unwrap_or_default();
            latency.push(line(&[
                &row.speaker,
                &row.services,
                &format!("{beside}{rate}"),
                &cell(part, |latency| latency.withdrawal.to_string()),
                &cell(part, |latency| latency.announcement.to_string()),
                &cell(part, |latency| format!("{} µs", latency.cpu)),
            ]));
        }
        weight.push(line(&[
            &row.speaker,
            &row.services,
            &row.nodes,
            &format!("{} ms", row.start.announced.as_millis()),
            &format!("{} ms", row.start.listed.as_millis()),
            &row.memory.resident(),
            &row.memory.of_files(),
            &row.memory.peak(),
            &row.idle,
        ]));
        bulk.push(line(&[
            &row.speaker,
            &row.services,
            &cell(&row.label, |(gone, _)| micros(*gone)),
            &cell(&row.label, |(_, back)| micros(*back)),
            &cell(&row.advertisement, |(gone, _)| micros(*gone)),
            &cell(&row.advertisement, |(_, back)| micros(*back)),
        ]));
        if let Some(part) = &row.outage {
            outage.push(line(&[&row.speaker, &cell(part, |took| format!("{} ms", took.as_millis()))]));
        }
    }
    [latency, weight, bulk, outage].concat().join("\n") + "\n"
}

fn sizes(machine: &Machine, rival: Option<&Path>) -> Result<String> {
    let mut text = String::from("## Programs\n\n| program | size |\n|---|--:|\n");
    let daemons = ["controller", "speaker", "speakerctl"].map(|name| machine.daemons.program(name));
    let rivals = rival.map(|path| ("MetalLB's", path.to_string_lossy().into_owned()));
    for (whose, program) in daemons.into_iter().map(|program| ("Herald's", program)).chain(rivals) {
        let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        let size = memory::megabytes(size(&program)?);
        text.push_str(&format!("| {whose} `{name}` | {size} |\n"));
    }
    Ok(text)
}

fn size(program: &str) -> Result<u64> {
    Ok(std::fs::metadata(program).with_context(|| format!("looking at {program}"))?.len())
}
