//! `cargo demo`: plays the home network on this machine, from nothing to a page through the router.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use testbed::demo::{self, Screen};
use testbed::lab::{Lab, LabPlan};
use testbed::machine;
use testbed::run::Run;
use testbed::stage::{self, Stop};

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
    /// Only install and build what is missing, and play nothing
    #[arg(long, conflicts_with = "keep")]
    prepare: bool,
}

fn main() -> ExitCode {
    // `cargo demo -- --keep` and `cargo demo --keep` mean the same: the alias ends with a `--` of its own.
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "--") {
        words.remove(1);
    }
    let arguments = Arguments::parse_from(words);
    // The exit status of a demo that was to stay and was ended by hand is that of success.
    let ended = |stop: Stop| {
        println!("\nstopped; everything is taken away");
        if arguments.keep { ExitCode::SUCCESS } else { ExitCode::from(stop.code()) }
    };
    match stage::play(play(&arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(stop)) => ended(stop),
        Err(why) => {
            eprintln!("\ndemo: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(arguments: &Arguments) -> Result<()> {
    let machine = machine::prepare(&|line| println!("{line}")).await?;
    if arguments.prepare {
        println!("this machine has everything for the demo and the system tests");
        return Ok(());
    }
    let run = Arc::new(Run::begin()?);
    let screen = Screen::terminal();
    screen
        .chapter("Start etcd, kube-apiserver, kube-controller-manager, FRR and three nodes with kube-proxy");
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
    screen.chapter(&format!(
        "That was all, in {seconds:.0} s. `cargo demo -- --keep` leaves it running to look around."
    ));
    Ok(())
}
