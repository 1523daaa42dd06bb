//! Herald on real kubelets, from the files that users get: the built image, the YAML, the chart and the documents. Each story
//! has a cluster of its own and goes on in chapters, because a cluster takes longer to come up than most chapters.
//! `cargo xtask kubelet` runs this.

mod administrator;
mod document;
mod figure;
mod from_metallb;
mod metallb;
mod newcomer;
mod story;
mod traffic;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::kubelet::{RealCluster, RealPlan};
use testbed::machine::{self, Tool, Tools};
use testbed::network::router::RouterPlan;
use testbed::process::output;
use testbed::run::Run;
use testbed::stage;
use tokio::process::Command;

use figure::Figures;

/// The archive with Herald's image. Without it there is nothing to test: the image is built by `cargo xtask kubelet`.
const IMAGE: &str = "HERALD_KUBELET_IMAGE";
/// Where the figures go, or the reason why this machine cannot run the test.
const REPORT: &str = "HERALD_KUBELET_REPORT";
/// Set: no story is told, the cluster stays until it is ended by a signal.
const KEEP: &str = "HERALD_KUBELET_KEEP";
/// All chapters of a story together.
const LONGEST: Duration = Duration::from_secs(900);

/// What is told on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// From the installation through updates, drains and mistakes to the removal, with its figures.
    Life,
    /// Somebody who has only `docs/install.md`.
    Newcomer,
    /// Somebody who has MetalLB and `docs/from-metallb.md`.
    FromMetallb,
}

impl Story {
    const ALL: [Self; 3] = [Self::Life, Self::Newcomer, Self::FromMetallb];

    const fn name(self) -> &'static str {
        match self {
            Self::Life => "the_whole_life_of_herald_on_real_kubelets",
            Self::Newcomer => "a_newcomer_follows_the_guide_to_install",
            Self::FromMetallb => "a_cluster_changes_over_from_metallb_and_back",
        }
    }

    /// The stories whose names have one of the words in them; all, if there is no word.
    fn chosen() -> Vec<Self> {
        let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
        let fits =
            |story: &Self| words.is_empty() || words.iter().any(|word| story.name().contains(word.as_str()));
        Self::ALL.into_iter().filter(fits).collect()
    }
}

fn main() -> ExitCode {
    let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) else {
        for story in Story::ALL {
            println!("test {} ... ignored, `cargo xtask kubelet` builds its image and runs it", story.name());
        }
        return ExitCode::SUCCESS;
    };
    match stage::play(play(&image)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(stop)) => {
            println!("\n{stop}; everything is taken away");
            ExitCode::from(stop.code())
        }
        Err(why) => {
            println!("\nkubelet: {why:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(image: &Path) -> Result<()> {
    let report =
        std::env::var_os(REPORT).map(PathBuf::from).with_context(|| format!("{REPORT} is not set"))?;
    if let Some(lack) = machine::probe_kubelet().first() {
        println!("not run: {lack}");
        return std::fs::write(&report, format!("not run: {lack}\n")).context("writing the report");
    }
    let tools = machine::prepare_kubelet(&|line| println!("{line}")).await?;
    let run = Arc::new(Run::begin()?);
    if std::env::var_os(KEEP).is_some() {
        return keep(&run, &tools, image).await;
    }
    let mut figures = Figures::default();
    for story in Story::chosen() {
        println!("\n=== {}", story.name());
        let start = Instant::now();
        let told = tokio::time::timeout(LONGEST, tell(story, &run, &tools, image, &mut figures)).await;
        told.context("it took too long")
            .and_then(|told| told)
            .with_context(|| format!("test {} ... FAILED", story.name()))?;
        println!("\ntest {} ... ok ({:.0} s)", story.name(), start.elapsed().as_secs_f64());
    }
    println!("\n{}", figures.table());
    std::fs::write(&report, figures.table()).context("writing the report")
}

async fn tell(
    story: Story,
    run: &Arc<Run>,
    tools: &Tools,
    image: &Path,
    figures: &mut Figures,
) -> Result<()> {
    let mut images = vec![image.to_owned()];
    if story == Story::FromMetallb {
        images.extend(metallb::images(run).await.context("MetalLB's images")?);
    }
    let start = Instant::now();
    let mut cluster = RealCluster::start(run, tools, &plan(images)).await?;
    for remark in cluster.remarks() {
        println!("  note: {remark}");
    }
    let ready = start.elapsed();
    let told = match story {
        Story::Life => {
            figures.span("two nodes Ready after nothing", ready);
            story::tell(run, &mut cluster, figures).await
        }
        Story::Newcomer => newcomer::tell(tools, &cluster, figures).await,
        Story::FromMetallb => from_metallb::tell(run, tools, &cluster, figures).await,
    };
    if let Err(why) = told {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failed/kubelet").join(story.name());
        collect_evidence(&cluster, &folder).await?;
        return Err(why.context(format!("logs and state are in {}", folder.display())));
    }
    let before = Instant::now();
    drop(cluster);
    if story == Story::Life {
        figures.span("everything of the cluster gone", before.elapsed());
    }
    Ok(())
}

fn plan(images: Vec<PathBuf>) -> RealPlan {
    RealPlan {
        nodes: vec![1, 2],
        router: RouterPlan::default(),
        images,
        bounded_runc: PathBuf::from(env!("CARGO_BIN_EXE_runc-bounded")),
    }
}

/// A cluster with the image and nothing installed, for whoever wants to follow the documents by hand.
async fn keep(run: &Arc<Run>, tools: &Tools, image: &Path) -> Result<()> {
    let cluster = RealCluster::start(run, tools, &plan(vec![image.to_owned()])).await?;
    let (inside, client) = (cluster.control_plane().namespace(), cluster.client().namespace());
    println!(
        "\nTwo nodes are Ready, Herald's image is on them, and nothing is installed. It stays until Ctrl-C."
    );
    println!("In another terminal, as root, from the folder of the repository:\n");
    println!("    ip netns exec {} bash        # a machine in the LAN of the nodes", inside.name());
    println!("    export KUBECONFIG={}", cluster.control_plane().kubeconfig().text());
    println!("    alias kubectl={}", tools.program(Tool::Kubectl));
    println!("    kubectl get nodes\n");
    println!(
        "    vtysh --vty_socket {}        # the router, 10.0.2.1 in AS 65530",
        cluster.router().sockets().display()
    );
    println!("    ip netns exec {} curl http://10.0.4.1/        # a computer behind it", client.name());
    println!("    ls {}        # the logs", cluster.logs().display());
    std::future::pending().await
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
