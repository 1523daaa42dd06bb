//! Herald on real kubelets: builds the image for this machine's platform and lets the test bed tell the story of its life.
//!
//! A machine on which containers cannot run is named with its reason; nothing passes in silence.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{cargo, image, workspace};

const DOCUMENT: &str = "docs/performance-kubelet.md";

const HEAD: &str = "\
# Herald on real kubelets

`cargo xtask kubelet` measures all of this in one run and writes this file: etcd, kube-apiserver,
kube-controller-manager, kube-scheduler, and two nodes with containerd, kubelet and kube-proxy of their own, on one
machine that is shared with other work. The image is the one that is published, `manifests/herald.yaml` is applied as it is,
FRR is the router, and every request comes from a computer behind it. Times are this machine's; another one's will differ.
A request is lost if it has no page after 0.9 s.

";

/// What became of the story.
pub(crate) enum Outcome {
    /// It was told; the table of its figures.
    Told(String),
    /// Why this machine cannot run it.
    NotRun(String),
}

/// Tells the story and writes the figures down.
pub(crate) fn run() -> Result<()> {
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

fn tell() -> Result<Outcome> {
    let (archive, _) = build_image()?;
    let report = archive.with_file_name("report.md");
    let _ = fs::remove_file(&report);
    let mut test = cargo::command(&["test", "--package", "testbed", "--test", "kubelet"]);
    test.env("HERALD_KUBELET_IMAGE", &archive).env("HERALD_KUBELET_REPORT", &report);
    cargo::finish(&mut test, "the story on real kubelets")?;
    let said = fs::read_to_string(&report).context("reading what the story says of itself")?;
    Ok(match said.strip_prefix("not run: ") {
        Some(why) => Outcome::NotRun(why.trim().to_owned()),
        None => Outcome::Told(said),
    })
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
