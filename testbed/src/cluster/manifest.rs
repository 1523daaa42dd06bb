//! Manifests: the product's own folder, and YAML of a test.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Answer, Cluster};
use crate::eventually::eventually;
use crate::machine::Tool;

/// `kubectl apply -f -`, with a kubectl that knows its cluster; gives its answer, also when it is no.
pub(crate) async fn apply_with(mut kubectl: Command, yaml: &str) -> Result<Answer> {
    let mut child = kubectl
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting kubectl")?;
    let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
    stdin.write_all(yaml.as_bytes()).await.context("writing to kubectl")?;
    drop(stdin);
    let done = child.wait_with_output().await.context("waiting for kubectl")?;
    Ok(Answer::of(&done))
}

impl Cluster {
    /// `kubectl apply -f -` with the given YAML; gives kubectl's answer, also when it is no.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub async fn try_apply(&self, yaml: &str) -> Result<Answer> {
        let mut kubectl = Command::new(self.site.machine.tools.path(Tool::Kubectl));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig().path());
        apply_with(kubectl, yaml).await
    }

    /// Applies YAML that the API server must accept.
    ///
    /// # Errors
    /// When it does not.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        let answer = self.try_apply(yaml).await?;
        if !answer.accepted {
            bail!("kubectl apply: {}\n{yaml}", answer.text.trim());
        }
        Ok(answer.text)
    }

    /// `kubectl apply -k manifests/`, as a user does it, and waits until the API server serves the new kinds.
    ///
    /// # Errors
    /// When something in the manifests is refused.
    pub async fn apply_manifests(&self) -> Result<String> {
        let folder = crate::machine::repository().join("manifests");
        let folder = folder.to_str().context("a path that is text")?;
        let answer = self.kubectl(&["apply", "-k", folder]).await?;
        if !answer.accepted {
            bail!("kubectl apply -k {folder}: {}", answer.text.trim());
        }
        eventually(Duration::from_secs(20), "the CRDs to be established", async || {
            let kinds = ["wait", "--for=condition=Established", "--timeout=10s", "crd", "--all"];
            let answer = self.kubectl(&kinds).await?;
            if answer.accepted { Ok(()) } else { bail!("{}", answer.text) }
        })
        .await?;
        Ok(answer.text)
    }
}
