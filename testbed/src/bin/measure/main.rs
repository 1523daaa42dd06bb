//! `cargo xtask measure`: how fast a lost endpoint is off the wire, and what a speaker weighs, on the real parts.
//!
//! Prints Markdown. The latency is that of the speaker beyond a bare watch client of the same run, which makes it
//! comparable between machines; memory and sizes are those of the programs that the caller names (a release build).

mod latency;
mod memory;
mod scene;
mod sink;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::machine;
use testbed::run::Run;

/// Measures Herald on the real parts and prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "measure")]
struct Arguments {
    /// How often the endpoint is lost.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// How many Services there are in the second part.
    #[arg(long, default_value_t = 1000)]
    services: u32,
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

async fn measure(arguments: &Arguments) -> Result<()> {
    let machine = machine::prepare(&|line| eprintln!("{line}")).await?;
    let run = std::sync::Arc::new(Run::begin()?);
    let mut scene = scene::Scene::set(&run, &machine).await.context("setting the scene")?;

    let idle = scene.speaker_memory()?;
    scene.create_services(1).await?;
    let one = latency::measure(&mut scene, arguments.rounds).await.context("with one Service")?;
    scene.create_services(arguments.services).await?;
    let loaded = scene.speaker_memory()?;
    let many = latency::measure(&mut scene, arguments.rounds).await.context("with many Services")?;

    println!("| what | p50 | p99 | max |\n|---|--:|--:|--:|");
    println!("| endpoint lost: bare watch client sees it → withdrawal read by the peer, 1 Service | {one} |");
    println!("| the same, {} Services | {many} |", arguments.services);
    println!("\n| memory of the speaker | resident | peak |\n|---|--:|--:|");
    println!("| idle, one session | {idle} |");
    println!("| {} Services, each with an EndpointSlice | {loaded} |", arguments.services);
    println!("\n| program | size |\n|---|--:|");
    for name in ["controller", "speaker", "speakerctl"] {
        let program = machine.daemons.program(name);
        let size = std::fs::metadata(&program).with_context(|| format!("looking at {program}"))?.len();
        println!("| `{name}` | {} |", memory::megabytes(size));
    }
    Ok(())
}
