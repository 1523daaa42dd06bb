//! The store behind the API server: its history forgotten, its data copied and put back, as after a restored backup.
//!
//! Leaves out the API server, which must be stopped while data are put back: it keeps in memory what it has read.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::process::Command;

use super::Cluster;
use crate::process::output;

/// etcd ends in order within this time.
const ORDERLY_END: Duration = Duration::from_secs(20);
/// What is written again and again to make the store older.
const FILLER: &str = "filler";

impl Cluster {
    /// Forgets the history of the store up to now: a watch that resumes from an older version gets 410 Gone.
    ///
    /// # Errors
    /// When etcd refuses.
    pub async fn compact_history(&self) -> Result<()> {
        // etcd's JSON gateway: its own command line tool is another package.
        let ask = async |path: &str, body: &str| -> Result<Value> {
            let url = format!("http://127.0.0.1:{}/v3/{path}", self.site.etcd_port);
            let mut command = Command::new("curl");
            command.args(["--silent", "--fail", "--max-time", "10", "--data", body, &url]);
            serde_json::from_str(&output(&mut command).await?).context("reading etcd's answer")
        };
        let status = ask("maintenance/status", "{}").await?;
        let revision = status.pointer("/header/revision").and_then(Value::as_str);
        let revision = revision.context("etcd's status has no revision")?;
        ask("kv/compaction", &format!(r#"{{"revision":"{revision}"}}"#)).await.map(drop)
    }

    /// Copies the store's data as they are now. The API server must be stopped; etcd is for the time of the copy.
    ///
    /// # Errors
    /// When the API server runs, or the copy cannot be made.
    pub(crate) async fn copy_store(&mut self) -> Result<()> {
        self.end_store().await?;
        let (data, copy) = (self.site.data(), self.copy());
        output(Command::new("cp").arg("-a").arg(&data).arg(&copy)).await?;
        self.etcd = Some(self.site.start_etcd()?);
        Ok(())
    }

    /// Puts the copied data in the place of the present ones, as an administrator restores a backup: versions are lower
    /// again than those that were handed out since. The API server must be stopped.
    ///
    /// # Errors
    /// When the API server runs, or there is no copy.
    pub(crate) async fn put_store_back(&mut self) -> Result<()> {
        let (data, copy) = (self.site.data(), self.copy());
        ensure!(copy.is_dir(), "the store was never copied");
        self.end_store().await?;
        fs::remove_dir_all(&data).context("removing the store's data")?;
        output(Command::new("cp").arg("-a").arg(&copy).arg(&data)).await?;
        self.etcd = Some(self.site.start_etcd()?);
        Ok(())
    }

    /// The newest version of the store (`resourceVersion`).
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn version(&self) -> Result<u64> {
        let list =
            self.fillers().list(&ListParams::default().limit(1)).await.context("asking for a version")?;
        let version = list.metadata.resource_version.context("a list has a version")?;
        version.parse().with_context(|| format!("{version} is no number"))
    }

    /// Writes something that concerns nobody until the store's version is above this one.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn age_beyond(&self, version: u64) -> Result<()> {
        let params = PatchParams::apply("testbed");
        let mut now = self.version().await?;
        while now <= version {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": FILLER},
                "data": {"version": now.to_string()}});
            let written = self.fillers().patch(FILLER, &params, &Patch::Apply(&object)).await;
            let written = written.context("writing a ConfigMap")?.metadata.resource_version;
            now = written.context("an object has a version")?.parse().context("a version is a number")?;
        }
        Ok(())
    }

    async fn end_store(&mut self) -> Result<()> {
        ensure!(self.servers.is_none(), "the API server still runs");
        let etcd = self.etcd.take().context("etcd does not run")?;
        etcd.stop(ORDERLY_END).await.map(drop)
    }

    fn copy(&self) -> PathBuf {
        self.site.data().with_extension("copy")
    }

    fn fillers(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client())
    }
}
