//! Requests without a pause from the computer behind the router, each on a connection of its own, and how many got no page.

use anyhow::{Context as _, Result, ensure};
use testbed::kubelet::RealCluster;
use testbed::process::Process;
use testbed::run::Run;
use tokio::process::Command;

/// Requests a second. The load is to notice a gap of a few hundredths, not to fill the machine.
const RATE: &str = "40/s";
/// After this a request counts as lost, in seconds. One lost SYN (repeated after 1 s) is therefore a lost request.
const PATIENCE: &str = "0.9";

/// So many requests in a row are a calm start.
const CALM: usize = 40;
const OK: &str = "200";

/// Requests that go on.
pub(crate) struct Traffic {
    client: Process,
    counted: usize,
}

/// What became of the requests of a chapter.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    pub(crate) lost: usize,
}

impl Traffic {
    /// Starts the requests.
    pub(crate) fn start(run: &Run, cluster: &RealCluster, address: &str) -> Result<Self> {
        let mut command: Command = cluster.client().namespace().command("curl");
        command
            // Standard error is written line by line; standard output would be held back.
            .args(["--silent", "--output", "/dev/null", "--write-out", "%{stderr}%{http_code}\\n"])
            .args(["--connect-timeout", PATIENCE, "--max-time", PATIENCE, "--rate", RATE])
            .arg(format!("http://{address}/[1-1000000]"));
        let client = Process::start(run, "traffic", cluster.logs(), command)?;
        Ok(Self { client, counted: 0 })
    }

    /// Fails while one of the last requests was lost.
    pub(crate) fn check_calm(&mut self) -> Result<()> {
        let answers = self.answers()?;
        let last = answers.get(answers.len().saturating_sub(CALM)..).unwrap_or_default();
        let lost = last.iter().filter(|code| *code != OK).count();
        ensure!(last.len() == CALM && lost == 0, "{lost} of the last {} were lost", last.len());
        Ok(())
    }

    /// What became of the requests since the last look. There must have been some.
    pub(crate) fn tally(&mut self) -> Result<Tally> {
        let answers = self.answers()?;
        let news = answers.get(self.counted..).unwrap_or_default();
        self.counted = answers.len();
        let lost = news.iter().filter(|code| *code != OK).count();
        ensure!(!news.is_empty(), "no request came to an end");
        Ok(Tally { answered: news.len() - lost, lost })
    }

    fn answers(&mut self) -> Result<Vec<String>> {
        self.client.check_running()?;
        let text = std::fs::read_to_string(self.client.log()).context("reading the answers")?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole.lines().map(str::to_owned).collect())
    }
}

impl Tally {
    /// `0 of 1234`.
    pub(crate) fn words(&self) -> String {
        format!("{} of {}", self.lost, self.answered + self.lost)
    }
}
