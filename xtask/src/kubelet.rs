//! Herald on real kubelets: builds the image for this machine's platform and lets the test bed tell its stories: Herald's whole
//! life, a newcomer with the guide to install, and a change-over from MetalLB and back. Or leaves the cluster to a person.
//!
//! A machine on which containers cannot run is named with its reason; nothing passes in silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, image, tools, workspace};

const DOCUMENT: &str = "docs/performance-kubelet.md";

const HEAD: &str = "\
# Herald on real kubelets

`cargo xtask kubelet` measures all of this in one run and writes this file: etcd, kube-apiserver,
kube-controller-manager, kube-scheduler, and two nodes with containerd, kubelet and kube-proxy of their own, on one
machine that is shared with other work. The image is the one that `cargo xtask image` builds, `manifests/herald.yaml` is applied as it is,
FRR is the router, and every request comes from a computer behind it. Times are this machine's; another one's will differ.
A request is lost if it has no page after 0.9 s. The last rows are of two more clusters: the one on which docs/install.md is typed as it
stands, and the one that changes over from MetalLB v0.16.1 and back by docs/from-metallb.md.

";

const USAGE: &str = "usage: cargo xtask kubelet [--keep | PART_OF_A_STORY'S_NAME...]";

/// What became of the story.
pub(crate) enum Outcome {
    /// It was told; the table of its figures.
    Told(String),
    /// Why this machine cannot run it.
    NotRun(String),
}

/// Tells all stories and writes the figures down; with words, only the stories whose names have one of them. With
/// `--keep`, starts a cluster with nothing installed and leaves it until Ctrl-C.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(flag) = arguments.iter().find(|word| word.starts_with('-') && *word != "--keep") {
        bail!("there is no {flag}\n{USAGE}");
    }
    let keep = arguments.iter().any(|word| word == "--keep");
    if keep && arguments.len() > 1 {
        bail!("a cluster that is kept tells no story\n{USAGE}");
    }
    if keep || !arguments.is_empty() {
        return tell_some(arguments, keep);
    }
    match tell()? {
        Outcome::Told(table) => fs::write(workspace::root().join(DOCUMENT), format!("{HEAD}{table}"))
            .with_context(|| format!("writing {DOCUMENT}")),
        Outcome::NotRun(why) => bail!("the story on real kubelets was not told: {why}"),
    }
}

/// The step of the gate: what this machine cannot do is said, and is no fault of the change that is looked at.
pub(crate) fn verify() -> Result<()> {
    match tell()? {
        Outcome::Told(_) => {}
        Outcome::NotRun(why) => {
            println!("NOT RUN on this machine, so nothing is known about real kubelets: {why}")
        }
    }
    Ok(())
}

fn tell_some(words: &[String], keep: bool) -> Result<()> {
    let (mut test, _) = stories()?;
    if keep {
        test.env("HERALD_KUBELET_KEEP", "1");
    } else {
        test.arg("--").args(words);
    }
    cargo::finish(&mut test, "the test bed")
}

fn tell() -> Result<Outcome> {
    let (mut test, report) = stories()?;
    let _ = fs::remove_file(&report);
    cargo::finish(&mut test, "the stories on real kubelets")?;
    let said = fs::read_to_string(&report).context("reading what the story says of itself")?;
    Ok(match said.strip_prefix("not run: ") {
        Some(why) => Outcome::NotRun(why.trim().to_owned()),
        None => Outcome::Told(said),
    })
}

/// The test, with all that it needs, and the place of its report.
fn stories() -> Result<(Command, PathBuf)> {
    let (archive, program) = build_image()?;
    let report = archive.with_file_name("report.md");
    let mut test = cargo::command(&["test", "--package", "testbed", "--test", "kubelet"]);
    test.env("HERALD_KUBELET_IMAGE", &archive).env("HERALD_KUBELET_REPORT", &report);
    test.env("HERALD_KUBELET_PROGRAM", program).env("HERALD_KUBELET_HELM", tools::chart_python()?);
    Ok((test, report))
}

/// Builds the image for this machine's platform; gives its archive and the program in it.
pub(crate) fn build_image() -> Result<(PathBuf, PathBuf)> {
    let (platform, target) = match std::env::consts::ARCH {
        "x86_64" => ("linux/amd64", "x86_64-unknown-linux-musl"),
        "aarch64" => ("linux/arm64", "aarch64-unknown-linux-musl"),
        other => bail!("no image is built for {other}"),
    };
    let folder = cargo::target().join("kubelet");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let archive = folder.join("herald.tar");
    image::run(&["--platform".to_owned(), platform.to_owned(), "--output".to_owned(), text(&archive)?])?;
    Ok((archive, cargo::target().join("image-build").join(target).join("image/herald")))
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is no text", path.display()))
}
