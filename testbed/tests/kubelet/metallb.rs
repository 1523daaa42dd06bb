//! MetalLB as its users run it: the published manifest as it is, and images under the published names. Their programs are
//! built from the module that the measurements compare with, because no registry can be reached.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::kubelet::image;
use testbed::kubelet::rootfs::Rootfs;
use testbed::machine::{Tool, Tools};
use testbed::run::Run;

/// Archives of both images.
pub(crate) async fn images(run: &Arc<Run>) -> Result<Vec<PathBuf>> {
    let say = |line: &str| println!("{line}");
    let version = version().await?;
    let mut archives = Vec::new();
    for tool in [Tool::MetallbController, Tool::MetallbSpeaker] {
        let program = Tools::rival(tool, &say).await?;
        let program = program.to_str().context("a path that is text")?;
        let rootfs = Rootfs::create(&run.folder().join(format!("metallb-{}", tool.name())))?;
        rootfs.add_libraries(program).await?;
        rootfs.add_program_as(program, tool.name())?;
        let archive = run.folder().join(format!("metallb-{}.tar", tool.name()));
        let name = format!("quay.io/metallb/{}:{version}", tool.name());
        let process = json!({"Entrypoint": [format!("/{}", tool.name())]});
        archives.push(image::write(&archive, &name, &rootfs, &process).await?);
    }
    Ok(archives)
}

/// The manifest of the same version, for BGP without FRR.
pub(crate) async fn manifest() -> Result<PathBuf> {
    let file = Tools::sources(Tool::MetallbSpeaker).await?.join("config/manifests/metallb-native.yaml");
    anyhow::ensure!(file.is_file(), "MetalLB's module has no {}", file.display());
    Ok(file)
}

/// `v0.16.1`: what stands behind the `@` of the module's folder.
async fn version() -> Result<String> {
    let sources = Tools::sources(Tool::MetallbSpeaker).await?;
    let name = sources.file_name().and_then(|name| name.to_str()).context("a folder whose name is text")?;
    name.split_once('@')
        .map(|(_, version)| version.to_owned())
        .with_context(|| format!("no version in {name}"))
}
