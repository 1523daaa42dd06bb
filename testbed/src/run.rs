//! One run of the testbed: its folder, its short name, and the ledger of everything it made.
//! The ledger is what makes a crash harmless: the next run reads it and takes away what is still there.
//! Left out: how processes and namespaces are made (`process`, `namespace`).

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::ledger::{self, Entry, Identity};

/// Where every run keeps its folder. On disk, not in /run: etcd and the logs would eat memory there.
const HOME: &str = "/tmp/herald-testbed";

/// A run: alive as long as this value. Dropping it ends what is left of the run and removes its folder.
#[derive(Debug)]
pub struct Run {
    id: String,
    folder: PathBuf,
    ledger: Mutex<File>,
    labs: AtomicU32,
}

impl Run {
    /// Starts a run, after it has cleaned up behind runs that died.
    ///
    /// # Errors
    /// When the folder cannot be made, or belongs to somebody else.
    pub fn begin() -> Result<Self> {
        own_folder(Path::new(HOME))?;
        sweep_dead_runs(Path::new(HOME));
        let id = base36(std::process::id());
        let folder = Path::new(HOME).join(&id);
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&folder)
            .with_context(|| format!("making {}", folder.display()))?;
        let path = folder.join(ledger::FILE);
        let mut file =
            OpenOptions::new().create_new(true).append(true).open(&path).context("making the ledger")?;
        let owner = Identity::of(std::process::id()).context("reading our own start time")?;
        writeln!(file, "{}", Entry::Owner(owner)).context("writing the ledger")?;
        Ok(Self { id, folder, ledger: Mutex::new(file), labs: AtomicU32::new(0) })
    }

    /// The run's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder for the next lab, and a prefix for its network namespaces that no other lab on this machine has, e.g.
    /// `hl9ix0-`. The folder's name is short, because unix sockets in it may not have long paths.
    #[must_use]
    pub fn next_lab(&self) -> (PathBuf, String) {
        let number = base36(self.labs.fetch_add(1, Ordering::Relaxed));
        (self.folder.join(format!("lab{number}")), format!("hl{}{number}-", self.id))
    }

    /// Writes down a process that must not outlive the run.
    ///
    /// # Errors
    /// When the process is gone already or the ledger cannot be written.
    pub fn note_process(&self, pid: u32) -> Result<()> {
        let identity = Identity::of(pid).with_context(|| format!("process {pid} ended at once"))?;
        self.note(&Entry::Process(identity))
    }

    /// Writes down a network namespace, before it is made.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_namespace(&self, name: &str) -> Result<()> {
        self.note(&Entry::Namespace(name.to_owned()))
    }

    /// Writes down that container runtimes will work in the run's folder, under names that begin with `prefix`.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_containers(&self, prefix: &str) -> Result<()> {
        self.note(&Entry::Containers(prefix.to_owned()))
    }

    /// Writes down a setting of the whole machine with the value to restore.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_setting(&self, key: &str, value: &str) -> Result<()> {
        self.note(&Entry::Setting(key.to_owned(), value.to_owned()))
    }

    fn note(&self, entry: &Entry) -> Result<()> {
        let mut file = self.ledger.lock().map_err(|_| anyhow::anyhow!("a writer of the ledger panicked"))?;
        writeln!(file, "{entry}").context("writing the ledger")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        ledger::settle(&self.folder);
    }
}

/// Makes the folder, or checks that nobody else made it: the names in it are predictable.
fn own_folder(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found =
                fs::symlink_metadata(path).with_context(|| format!("looking at {}", path.display()))?;
            if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
                bail!("{} belongs to somebody else; remove it first", path.display());
            }
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

fn sweep_dead_runs(home: &Path) {
    let Ok(runs) = fs::read_dir(home) else { return };
    for run in runs.flatten() {
        if !ledger::owner_is_alive(&run.path()) {
            ledger::settle(&run.path());
        }
    }
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}
