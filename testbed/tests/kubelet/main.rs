//! Herald on real kubelets, from the files that users get: the built image and the YAML. One cluster and one story in
//! chapters, because a cluster takes longer to come up than most chapters. `cargo xtask kubelet` runs it.

mod figure;
mod story;
mod traffic;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::kubelet::{RealCluster, RealPlan};
use testbed::machine;
use testbed::network::router::RouterPlan;
use testbed::process::output;
use testbed::run::Run;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use figure::Figures;

/// The archive with Herald's image. Without it there is nothing to test: the image is built by `cargo xtask kubelet`.
const IMAGE: &str = "HERALD_KUBELET_IMAGE";
/// Where the figures go, or the reason why this machine cannot run the test.
const REPORT: &str = "HERALD_KUBELET_REPORT";
/// All chapters together.
const LONGEST: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) else {
        println!(
            "\ntest the_whole_life_of_herald_on_real_kubelets ... ignored, `cargo xtask kubelet` builds its image and runs it\n"
        );
        return ExitCode::SUCCESS;
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    let outcome = runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
        let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        tokio::select! {
            outcome = tokio::time::timeout(LONGEST, run(&image)) => outcome.context("the story took too long")?,
            _ = interrupted.recv() => anyhow::bail!("interrupted"),
            _ = terminated.recv() => anyhow::bail!("terminated"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("\ntest the_whole_life_of_herald_on_real_kubelets ... FAILED\n  {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(image: &Path) -> Result<()> {
    let report =
        std::env::var_os(REPORT).map(PathBuf::from).with_context(|| format!("{REPORT} is not set"))?;
    if let Some(lack) = machine::probe_kubelet().first() {
        println!("not run: {lack}");
        return std::fs::write(&report, format!("not run: {lack}\n")).context("writing the report");
    }
    let tools = machine::prepare_kubelet(&|line| println!("{line}")).await?;
    let run = Arc::new(Run::begin()?);
    let start = Instant::now();
    let plan = RealPlan {
        nodes: vec![1, 2],
        router: RouterPlan::default(),
        images: vec![image.to_owned()],
        bounded_runc: PathBuf::from(env!("CARGO_BIN_EXE_runc-bounded")),
    };
    let mut cluster = RealCluster::start(&run, &tools, &plan).await?;
    let mut figures = Figures::default();
    for remark in cluster.remarks() {
        println!("  note: {remark}");
    }
    figures.span("two nodes Ready after nothing", start.elapsed());
    if let Err(why) = story::tell(&run, &mut cluster, &mut figures).await {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failed/kubelet");
        collect_evidence(&cluster, &folder).await?;
        return Err(why.context(format!("logs and state are in {}", folder.display())));
    }
    let before = Instant::now();
    drop(cluster);
    figures.span("everything of the cluster gone", before.elapsed());
    println!(
        "\n{}\ntest the_whole_life_of_herald_on_real_kubelets ... ok ({:.0} s)",
        figures.table(),
        start.elapsed().as_secs_f64()
    );
    std::fs::write(&report, figures.table()).context("writing the report")
}

/// What the parts said, for the person who looks.
async fn collect_evidence(cluster: &RealCluster, folder: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let questions = [
        "get pods,daemonsets,deployments,services,nodes -A -o wide",
        "describe pods -A",
        "get events -A",
        "get speakerstates,configurationstates -A -o yaml",
        "logs -n metallb-system -l component=speaker --tail=300 --prefix",
        "logs -n metallb-system -l component=controller --tail=300 --prefix",
    ];
    for (number, question) in questions.iter().enumerate() {
        let words: Vec<&str> = question.split(' ').collect();
        let answer = match cluster.control_plane().kubectl(&words).await {
            Ok(answer) => answer.text,
            Err(why) => format!("no answer: {why:#}"),
        };
        let text = format!("kubectl {question}\n{answer}");
        std::fs::write(folder.join(format!("{number}.txt")), text).context("writing evidence")?;
    }
    let router = cluster.router().vtysh("show bgp summary").await.unwrap_or_else(|why| format!("{why:#}"));
    std::fs::write(folder.join("router.txt"), router).context("writing evidence")?;
    output(Command::new("cp").arg("-r").arg(cluster.logs()).arg(folder.join("logs"))).await.map(drop)
}
