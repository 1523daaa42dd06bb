//! `cargo xtask measure`: how fast a change is on the wire, how long a start takes, and what a speaker weighs, on the real
//! parts; and the same of MetalLB's native speaker, in the same run, on the same node, with the same objects and peer.
//!
//! Prints Markdown. The latency is that of the speaker beyond a bare watch client of the same run, which makes it
//! comparable between machines; memory and sizes are those of the programs that the caller names (a release build).

mod latency;
mod memory;
mod scene;
mod sink;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::machine::{self, Tool, Tools};
use testbed::run::Run;

use scene::Scene;

/// Measures Herald on the real parts and prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "measure")]
struct Arguments {
    /// How often the endpoint is lost.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Numbers of Services, rising.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 10_000])]
    services: Vec<u32>,
    /// Up to how many Services MetalLB's speaker is measured beside ours: its start takes minutes with more.
    #[arg(long, default_value_t = 1_000)]
    rival_services: u32,
    /// Leave MetalLB out.
    #[arg(long)]
    without_rival: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("measure: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(measure(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("measure: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// How long a speaker is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(20);

async fn measure(arguments: &Arguments) -> Result<()> {
    let machine = machine::prepare(&|line| eprintln!("{line}")).await?;
    let rival = if arguments.without_rival {
        None
    } else {
        Some(Tools::rival(Tool::MetallbSpeaker, &|line| eprintln!("{line}")).await?)
    };
    let run = std::sync::Arc::new(Run::begin()?);
    let mut scene = Scene::set(&run, &machine).await.context("setting the scene")?;
    let idle = idle(&mut scene).await?;

    println!("{HEAD}");
    println!(
        "| Herald | — | | | | | {} | {} | {idle} | | |",
        scene.speaker_memory()?.resident(),
        scene.speaker_memory()?.peak()
    );
    for services in &arguments.services {
        eprintln!("{services} Services: making them");
        scene.create_services(*services).await?;
        row(&mut scene, "Herald", None, *services, arguments.rounds).await.context("Herald")?;
        if let Some(program) = rival.as_deref().filter(|_| *services <= arguments.rival_services) {
            let name = "MetalLB v0.16.1, native";
            row(&mut scene, name, Some(program), *services, arguments.rounds).await.context("MetalLB")?;
        }
    }
    println!("\n| program | size |\n|---|--:|");
    let daemons = ["controller", "speaker", "speakerctl"].map(|name| machine.daemons.program(name));
    let rivals = rival.map(|path| ("MetalLB's", path.to_string_lossy().into_owned()));
    for (whose, program) in daemons.into_iter().map(|program| ("Herald's", program)).chain(rivals) {
        let size = std::fs::metadata(&program).with_context(|| format!("looking at {program}"))?.len();
        let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        println!("| {whose} `{name}` | {} |", memory::megabytes(size));
    }
    Ok(())
}

const HEAD: &str = "\
| speaker | Services | withdrawal p50, p99, max | announcement p50, p99, max | CPU of a change | start → all announced (API's own lists) \
| resident | peak | idle CPU | all withdrawn | all announced again |\n\
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// Starts one speaker anew, measures it, and prints its row.
async fn row(scene: &mut Scene, name: &str, rival: Option<&Path>, services: u32, rounds: u32) -> Result<()> {
    eprintln!("{services} Services: {name}");
    let (start, listed) = scene.start_speaker(rival).await.context("starting")?;
    let latency = latency::measure(scene, rounds).await.context("latency")?;
    let idle = idle(scene).await?;
    // What its start took is in the peak; what stays is looked at after the work.
    let memory = scene.speaker_memory()?;
    let gone = scene.exclude(true).await.context("excluding the node")?;
    let back = scene.exclude(false).await.context("letting the node in again")?;
    println!(
        "| {name} | {services} | {} | {} | {} µs | {} ms ({} ms) | {} | {} | {idle} | {} ms | {} ms |",
        latency.withdrawal,
        latency.announcement,
        latency.cpu,
        start.as_millis(),
        listed.as_millis(),
        memory.resident(),
        memory.peak(),
        gone.as_millis(),
        back.as_millis(),
    );
    Ok(())
}

/// The share of one processor that a speaker takes while nothing changes.
async fn idle(scene: &mut Scene) -> Result<String> {
    // What came before must be over first.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = scene.speaker_cpu()?;
    tokio::time::sleep(IDLE).await;
    let hundredths = (scene.speaker_cpu()? - before).as_micros() * 10_000 / IDLE.as_micros();
    Ok(format!("{}.{:02} %", hundredths / 100, hundredths % 100))
}
