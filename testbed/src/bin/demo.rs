//! `cargo demo`: plays the home network on this machine, from nothing to a page through the router.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::demo::{self, Screen};
use testbed::lab::{Lab, LabPlan};
use testbed::machine;
use testbed::run::Run;
use tokio::signal::unix::{SignalKind, signal};

/// Plays Herald's home network with real parts: a Kubernetes control plane, kube-proxy, an FRR router, nginx.
///
/// Needs root. Installs what is missing with apt-get and builds the Kubernetes programs once; makes network
/// namespaces, and takes everything away at the end.
#[derive(Debug, Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// Leave everything running after the story, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(play_until_stopped(&arguments));
    match outcome {
        Ok(code) => code,
        Err(why) => {
            eprintln!("\ndemo: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// A signal drops the story where it is; what it holds is taken away on the way out.
async fn play_until_stopped(arguments: &Arguments) -> Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        outcome = play(arguments) => outcome.map(|()| ExitCode::SUCCESS),
        _ = interrupted.recv() => Ok(stopped(arguments, 130)),
        _ = terminated.recv() => Ok(stopped(arguments, 143)),
    }
}

fn stopped(arguments: &Arguments, code: u8) -> ExitCode {
    println!("\nstopped; everything is taken away");
    if arguments.keep { ExitCode::SUCCESS } else { ExitCode::from(code) }
}

async fn play(arguments: &Arguments) -> Result<()> {
    let machine = machine::prepare(&|line| println!("{line}")).await?;
    let run = Arc::new(Run::begin()?);
    let screen = Screen::terminal();
    screen.chapter("Start etcd, kube-apiserver, kube-controller-manager, FRR and three nodes with kube-proxy");
    let mut lab = Lab::start(&run, &machine, &LabPlan::default()).await?;
    if let Err(why) = demo::tell(&mut lab, &screen).await {
        screen.output(&lab.tails());
        return Err(why);
    }
    let seconds = screen.elapsed().as_secs_f64();
    if arguments.keep {
        demo::look_around(&lab, &screen);
        std::future::pending::<()>().await;
    }
    screen.chapter(&format!("That was all, in {seconds:.0} s. `cargo demo -- --keep` leaves it running to look around."));
    Ok(())
}
