//! The file: what it says of itself, and when that is not believed.
//!
//! One line of head, then the plan. The head has the form's number, the node, the boot of the machine and a checksum. Its
//! age is the age of the file: a running speaker touches it, so that it tells how long none has run. Written under another
//! name and renamed. Nothing is synced to the disk: a file that was torn by a power cut is of another boot anyway.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::statfs;
use serde::{Deserialize, Serialize};

use super::record::PlanRecord;
use crate::folder;
use crate::hash::fnv;
use crate::mark::boot_id;
use crate::plan::Plan;

const FILE: &str = "plan";
const NEW_FILE: &str = "plan.new";

/// The form of the file.
const FORM: u32 = 1;

/// What a file begins with.
const MAGIC: &str = "herald-plan";

/// The longest file, in octets: room for a million routes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// For its owner only: it may hold passwords.
const MODE: u32 = 0o600;

/// How often the file is touched, as a part of the age that makes it useless.
const TOUCHES: u32 = 4;

/// The file system that is in memory.
const TMPFS_MAGIC: i128 = 0x0102_1994;

/// Why there is no plan to go on with.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// There is no file.
    #[error("there is none")]
    None,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Somebody else wrote it.
    #[error("it belongs to user {0}")]
    Owner(u32),
    /// It is no file of this kind, or of another version.
    #[error("it is not of the form that this version writes")]
    Form,
    /// It is of another node.
    #[error("it is of node {0:?}")]
    Node(String),
    /// The machine was started since.
    #[error("the machine was started since it was written")]
    Boot,
    /// Its contents are not what was written.
    #[error("it is damaged")]
    Damaged,
    /// No speaker has run for too long.
    #[error("no speaker has run on this node for {} s, and {} s is the limit", .age.as_secs(), .limit.as_secs())]
    TooOld {
        /// How long.
        age: Duration,
        /// The setting.
        limit: Duration,
    },
    /// It is from the future: the clock was set back.
    #[error("it is from the future: the clock was set back")]
    Future,
}

#[derive(Serialize, Deserialize)]
struct Head {
    magic: String,
    form: u32,
    node: String,
    boot: String,
    octets: usize,
    checksum: u64,
}

/// Where the plan of a node is kept.
#[derive(Clone, Debug)]
pub struct StateFile {
    folder: PathBuf,
    node: String,
    boot: String,
    max_age: Duration,
}

impl StateFile {
    /// In this folder. A plan is believed up to `max_age` after the last speaker ran; zero is never.
    #[must_use]
    pub fn new(folder: &Path, node: &str, max_age: Duration) -> Self {
        Self { folder: folder.to_owned(), node: node.to_owned(), boot: boot_id(), max_age }
    }

    #[cfg(test)]
    pub(super) fn of_boot(self, boot: &str) -> Self {
        Self { boot: boot.to_owned(), ..self }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// How often [`Self::touch`] is due.
    #[must_use]
    pub fn touch_every(&self) -> Duration {
        (self.max_age / TOUCHES).max(Duration::from_secs(1))
    }

    /// Replaces what is on file.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, plan: &Plan) -> io::Result<()> {
        folder::make(&self.folder)?;
        let body = serde_json::to_vec(&PlanRecord::of(plan, self.is_in_memory()))?;
        let head = Head {
            magic: MAGIC.to_owned(),
            form: FORM,
            node: self.node.clone(),
            boot: self.boot.clone(),
            octets: body.len(),
            checksum: checksum(&body),
        };
        let new = self.folder.join(NEW_FILE);
        // A left-over of an earlier process may have other rights than the ones that are asked for here.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
        serde_json::to_writer(&mut file, &head)?;
        file.write_all(b"\n")?;
        file.write_all(&body)?;
        drop(file);
        fs::rename(new, self.path())
    }

    /// The plan on file.
    ///
    /// # Errors
    /// [`StateFault`] when there is none that is to be believed.
    pub fn read(&self, now: SystemTime) -> Result<Plan, StateFault> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StateFault::None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(StateFault::Owner(metadata.uid()));
        }
        let mut octets = Vec::new();
        file.take(LONGEST).read_to_end(&mut octets)?;
        let end = octets.iter().position(|octet| *octet == b'\n').ok_or(StateFault::Form)?;
        let (head, body) = octets.split_at_checked(end).ok_or(StateFault::Form)?;
        let body = body.get(1..).unwrap_or_default();
        let head: Head = api::json::from_octets(head).map_err(|_| StateFault::Form)?;
        if (head.magic.as_str(), head.form) != (MAGIC, FORM) {
            return Err(StateFault::Form);
        }
        if head.node != self.node {
            return Err(StateFault::Node(head.node));
        }
        if head.boot != self.boot {
            return Err(StateFault::Boot);
        }
        if (head.octets, head.checksum) != (body.len(), checksum(body)) {
            return Err(StateFault::Damaged);
        }
        let age = now.duration_since(metadata.modified()?).map_err(|_| StateFault::Future)?;
        if age > self.max_age {
            return Err(StateFault::TooOld { age, limit: self.max_age });
        }
        let record: PlanRecord = api::json::from_octets(body).map_err(|_| StateFault::Form)?;
        record.to_plan().map_err(|_| StateFault::Damaged)
    }

    /// A speaker still runs with what is on file.
    pub fn touch(&self, now: SystemTime) {
        // A file that is gone or not ours is written anew with the next plan.
        let _ = File::options().append(true).open(self.path()).and_then(|file| file.set_modified(now));
    }

    /// What is on file does not hold any more.
    pub fn remove(&self) {
        let _ = fs::remove_file(self.path());
    }

    fn is_in_memory(&self) -> bool {
        statfs(&self.folder).is_ok_and(|found| i128::from(found.f_type) == TMPFS_MAGIC)
    }
}

/// Finds torn and rotten files, and is not meant against anybody who may write here.
fn checksum(octets: &[u8]) -> u64 {
    fnv([octets])
}
