//! The person who installs: a shell in the folder of the repository, on a machine in the nodes' network, with kubectl, helm
//! and curl as everybody has them. curl alone is called on the computer behind the router.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::kubelet::RealCluster;
use testbed::machine::{Tool, Tools, repository};

/// The program of the image, which is `kubectl herald` under that name.
const PROGRAM: &str = "HERALD_KUBELET_PROGRAM";
/// A Python with Helm's library.
const HELM: &str = "HERALD_KUBELET_HELM";
/// A command of the documents may take as long as the removal of a namespace takes.
const COMMAND: Duration = Duration::from_secs(120);

pub(crate) struct Administrator<'a> {
    cluster: &'a RealCluster,
    /// Where the programs are.
    programs: PathBuf,
    /// Where commands are run.
    place: PathBuf,
}

impl<'a> Administrator<'a> {
    /// Lays the programs out.
    pub(crate) fn prepare(tools: &Tools, cluster: &'a RealCluster) -> Result<Self> {
        let programs = cluster.folder().join("programs");
        fs::create_dir(&programs).context("making the folder of the administrator's programs")?;
        let given = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set; `cargo xtask kubelet` sets it"))
        };
        symlink(tools.path(Tool::Kubectl), programs.join("kubectl")).context("laying kubectl out")?;
        symlink(given(PROGRAM)?, programs.join("kubectl-herald")).context("laying the plugin out")?;
        let helm = format!("exec {} {}/testbed/helm/helm.py", given(HELM)?, repository().display());
        let client = cluster.client().namespace().path();
        let curl = format!(
            "exec nsenter --net={} -- curl --silent --show-error --fail --max-time 5",
            client.display()
        );
        for (name, command) in [("helm", helm), ("curl", curl)] {
            let file = programs.join(name);
            let path = std::env::var("PATH").unwrap_or_default();
            fs::write(&file, format!("#!/bin/sh\nPATH={path}\n{command} \"$@\"\n"))
                .with_context(|| format!("laying {name} out"))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).context("making it runnable")?;
        }
        Ok(Self { cluster, programs, place: repository() })
    }

    /// The same person in another folder.
    pub(crate) fn at(&self, place: &Path) -> Self {
        Self { cluster: self.cluster, programs: self.programs.clone(), place: place.to_owned() }
    }

    /// Types the lines, which must succeed, and gives what they print.
    pub(crate) async fn does(&self, lines: &str) -> Result<String> {
        println!("  $ {}", lines.trim_end().replace('\n', "\n    "));
        self.tries(lines).await
    }

    /// The same without a word about it, for what is tried again and again.
    pub(crate) async fn tries(&self, lines: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = self.cluster.control_plane().namespace().command("sh");
        shell
            .args(["-euc", lines])
            .current_dir(&self.place)
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .env("KUBECONFIG", self.cluster.control_plane().kubeconfig().path())
            .env("KUBECACHEDIR", self.cluster.folder().join("cache"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let done = tokio::time::timeout(COMMAND, shell.output())
            .await
            .with_context(|| format!("{lines:?} took longer than {COMMAND:?}"))?
            .with_context(|| format!("starting a shell for {lines:?}"))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{lines:?} ended with {}: {said}{}", done.status, complaint.trim());
        Ok(said)
    }
}

/// A line of a document without the remark behind it.
pub(crate) fn without_remark(line: &str) -> &str {
    line.split_once(" #").map_or(line, |(command, _)| command).trim_end()
}
