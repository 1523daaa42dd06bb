//! Processes of a lab: started with a log file, noted in the ledger, stopped by their id.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::run::Run;

/// No helper command of ours (ip, vtysh, kubectl) may take longer.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// A program that had to run has ended. Waiting longer for it is of no use.
#[derive(Debug)]
pub struct Ended {
    name: String,
    status: ExitStatus,
    tail: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended ({}):\n{}", self.name, self.status, self.tail)
    }
}

impl std::error::Error for Ended {}

/// A running program with its log. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Process {
    /// Starts the command in its own process group (Ctrl-C is ours to handle), output appended to `LOGS/NAME.log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(run: &Run, name: &str, logs: &Path, mut command: Command) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let twin = file.try_clone().context("sharing the log file")?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let id = child.id().context("a process that was just started has an id")?;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id fits")?;
        let process = Self { name: name.to_owned(), pid, child, log, started };
        run.note_process(id).with_context(|| process.tail(5))?;
        Ok(process)
    }

    /// Its name in this lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id; ours to use until the process is waited for.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The moment right before it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Fails, with the end of the log, when the program has ended.
    ///
    /// # Errors
    /// [`Ended`] when it no longer runs.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait().context("asking for the state of a process")? {
            None => Ok(()),
            Some(status) => Err(Ended { name: self.name.clone(), status, tail: self.tail(20) }.into()),
        }
    }

    /// SIGKILL, and waits until it is gone: what a power cut or the out-of-memory killer does.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// SIGTERM, and waits at most `limit` for the orderly end.
    ///
    /// # Errors
    /// When it has not ended in time (it is killed then).
    pub async fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match timeout(limit, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("waiting for {}", self.name)),
            Err(_) => {
                let tail = self.tail(20);
                self.child.kill().await.context("killing")?;
                bail!("{} did not end {limit:?} after SIGTERM:\n{tail}", self.name);
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("signal {signal:?} to {}", self.name))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

/// The last lines of a file; a word about it when it cannot be read.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<&str> = text.lines().collect();
            all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
        }
        Err(error) => format!("({}: {error})", path.display()),
    }
}

/// Runs a command to its end and gives its output, whatever its exit status.
///
/// # Errors
/// When it cannot be started or takes longer than a minute.
pub async fn run_to_end(command: &mut Command) -> Result<Output> {
    let words = describe(command);
    let done = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match timeout(COMMAND_LIMIT, done).await {
        Ok(output) => output.with_context(|| format!("starting {words}")),
        Err(_) => bail!("{words} took longer than {COMMAND_LIMIT:?}"),
    }
}

/// Runs a command that must succeed and gives its standard output.
///
/// # Errors
/// When it fails; what it wrote is in the error.
pub async fn output(command: &mut Command) -> Result<String> {
    let done = run_to_end(command).await?;
    if !done.status.success() {
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        bail!("{} failed ({}): {}{}", describe(command), done.status, out.trim(), err.trim());
    }
    String::from_utf8(done.stdout).context("output that is not text")
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
