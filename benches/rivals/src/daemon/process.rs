//! A child process: its files, what it uses, its end.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::PATIENCE;

use crate::pause;

/// A running program with a folder of its own. Dropping it kills and reaps the program and removes the folder.
pub(crate) struct Process {
    child: Child,
    folder: PathBuf,
}

/// What a program has used since its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time on a processor, of all its threads.
    pub(crate) cpu: Duration,
    /// Memory in RAM at the moment, in KiB.
    pub(crate) rss: u64,
    /// The most it ever was, in KiB.
    pub(crate) peak: u64,
}

impl Process {
    /// Starts `program`; what it prints goes into its folder.
    pub(super) fn start<S: AsRef<OsStr>>(
        folder: PathBuf,
        program: impl AsRef<Path>,
        arguments: &[S],
    ) -> Result<Self> {
        let log = File::create(folder.join("log"))?;
        // The kernel kills it when this program dies without a chance to clean up.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program.as_ref())
            .args(arguments)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.as_ref().display()))?;
        Ok(Self { child, folder })
    }

    /// Starts a program, named by its first word, inside a network namespace.
    pub(crate) fn start_in(namespace: &str, folder: PathBuf, words: &[String]) -> Result<Self> {
        let all: Vec<&str> =
            ["netns", "exec", namespace].into_iter().chain(words.iter().map(String::as_str)).collect();
        Self::start(folder, "ip", &all)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it reads from.
    pub(crate) fn input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Stops it where it is, or lets it go on. Its kernel goes on answering for its sockets.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(done.success(), "kill {signal} ended with {done}");
        Ok(())
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let root = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut nanoseconds = 0;
        for thread in std::fs::read_dir(root.join("task")).context("the program has ended")? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        }
        let status = std::fs::read_to_string(root.join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        Ok(Usage {
            cpu: Duration::from_nanos(nanoseconds),
            rss: field("VmRSS:").unwrap_or(0),
            peak: field("VmHWM:").unwrap_or(0),
        })
    }

    /// Waits until it has done what it does at its start: until it uses no processor for a moment.
    pub(crate) fn settle(&self) -> Result<()> {
        let start = Instant::now();
        let mut quiet = 0;
        let mut before = self.usage()?.cpu;
        while quiet < 3 {
            pause(Duration::from_millis(150));
            let now = self.usage()?.cpu;
            quiet = if now - before < Duration::from_millis(8) { quiet + 1 } else { 0 };
            before = now;
            if start.elapsed() > PATIENCE {
                bail!("still busy after {PATIENCE:?}");
            }
        }
        Ok(())
    }

    /// All that it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The last lines that it printed, for a message.
    pub(crate) fn last_words(&self) -> String {
        let text = self.log();
        let from = text.len().saturating_sub(600);
        text.get(from..).unwrap_or(&text).to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever of this fails has happened already: the program is gone, or its folder is.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// A new folder that any user may read, because FRR's bgpd is not root any more when it reads its file.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("herald-rivals-{}-{name}-{number}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}
