//! Who gives the addresses: Herald's controller as the manifests run it, or MetalLB's, in the same node's namespace and
//! on the same way to the API server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use testbed::HERALD_NAMESPACE;
use testbed::door::API_ADDRESS;
use testbed::herald::Daemon;
use testbed::lab::Lab;
use testbed::process::Process;

use crate::load::Load;

const NODE: &str = "n1";
/// MetalLB asks for its own Pod by this name and ends without it.
const POD: &str = "metallb-controller-0";
/// The kernel counts CPU time in hundredths of a second for programs (USER_HZ).
const TICKS_PER_SECOND: u64 = 100;

/// The two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    Herald,
    Metallb,
}

/// One that runs.
pub(crate) enum Running {
    Herald,
    Metallb(Box<Process>),
}

/// What MetalLB needs of the cluster.
pub(crate) async fn prepare(load: &Load) -> Result<()> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": POD, "namespace": HERALD_NAMESPACE},
        "spec": {"nodeName": NODE, "containers": [{"name": "controller", "image": "none"}]},
    }))?;
    let pods = Api::<Pod>::namespaced(load.client(), HERALD_NAMESPACE);
    pods.create(&PostParams::default(), &pod).await.context("creating MetalLB's Pod object").map(drop)
}

impl Running {
    pub(crate) async fn start(lab: &mut Lab, which: Contestant, rival: &Path) -> Result<Self> {
        match which {
            Contestant::Herald => {
                lab.start_daemon(NODE, Daemon::Controller).await?;
                Ok(Self::Herald)
            }
            Contestant::Metallb => {
                let kubeconfig = lab.cluster().admin_at("metallb", &format!("https://{API_ADDRESS}"))?;
                let program = rival.to_string_lossy().into_owned();
                let mut command = lab.node(NODE)?.namespace().command(&program);
                command
                    .args(["--webhook-mode=disabled", "--disable-cert-rotation", "--log-level=error"])
                    .args(["--port=9120", "--health-probe-port=17472", "--namespace", HERALD_NAMESPACE])
                    .arg("--kubeconfig")
                    .arg(kubeconfig.path())
                    .env("METALLB_NAMESPACE", HERALD_NAMESPACE)
                    .env("METALLB_POD_NAME", POD)
                    .env("METALLB_ML_SECRET_NAME", "memberlist")
                    .env("METALLB_DEPLOYMENT", "controller")
                    .env("METALLB_BGP_TYPE", "native");
                let process = Process::start(lab.run(), "metallb-controller", lab.logs(), command)?;
                Ok(Self::Metallb(Box::new(process)))
            }
        }
    }

    pub(crate) async fn stop(self, lab: &mut Lab) -> Result<()> {
        match self {
            Self::Herald => lab.stop_daemon(NODE, Daemon::Controller).await.map(drop),
            Self::Metallb(mut process) => {
                process.check_running()?;
                // Its orderly end takes as long as its queue is full; nothing is measured there.
                process.kill().await
            }
        }
    }

    /// Resident memory.
    pub(crate) fn memory(&self, lab: &Lab) -> Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid(lab)?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(format!("{:.1} MB", megabytes(kibibytes * 1024)))
    }

    /// CPU time of the process, all threads.
    pub(crate) fn cpu(&self, lab: &Lab) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid(lab)?))?;
        // The name in the second field may hold anything; user and system time are the 12th and 13th after it.
        let (_, rest) = stat.rsplit_once(')').context("an unreadable stat")?;
        let ticks: u64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().context("an unreadable time"))
            .sum::<Result<u64>>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// What the last line of Herald's log about it says: CPU time from the complete list to the last look at a Service.
    pub(crate) fn adoption(&self, lab: &Lab) -> Result<Option<Duration>> {
        let Self::Herald = self else { return Ok(None) };
        let log = std::fs::read_to_string(lab.herald().process(NODE, Daemon::Controller)?.log())?;
        let line = log.lines().rev().find(|line| line.contains("every Service has been looked at"));
        let digits = line.and_then(|line| line.split_once("cpu_us")).map(|(_, rest)| {
            let rest = rest.trim_start_matches(|one: char| !one.is_ascii_digit());
            rest.chars().take_while(char::is_ascii_digit).collect::<String>()
        });
        digits
            .map(|digits| digits.parse().map(Duration::from_micros).context("an unreadable line"))
            .transpose()
    }

    fn pid(&self, lab: &Lab) -> Result<u32> {
        match self {
            Self::Herald => Ok(lab.herald().process(NODE, Daemon::Controller)?.pid()),
            Self::Metallb(process) => Ok(process.pid()),
        }
    }
}

/// Octets in units of 10^6.
#[expect(clippy::cast_precision_loss, reason = "sizes of programs and processes are far below 2^52 octets")]
pub(crate) fn megabytes(octets: u64) -> f64 {
    octets as f64 / 1e6
}
