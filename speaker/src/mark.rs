//! The mark that one start leaves for the next: "a speaker of this node ran since the machine was booted".
//!
//! It tells a restart from a first start, so that a restarted speaker does not report every Service as newly
//! announced. A folder that is missing or not writable costs just that, never the start. Nothing that is announced
//! depends on it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::folder;

/// Changes with each boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const FILE: &str = "started";

/// What the mark says about this start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No speaker ran on this node since it was booted.
    First,
    /// One did, and ended without being removed.
    Again,
}

/// The mark in the state folder.
#[derive(Clone, Debug)]
pub struct Mark {
    file: PathBuf,
}

impl Mark {
    /// Reads what an earlier start left in the folder and leaves the mark of this one.
    #[must_use]
    pub fn leave(state_dir: &Path) -> (Self, Start) {
        Self::leave_for_boot(state_dir, &boot_id())
    }

    fn leave_for_boot(state_dir: &Path, boot: &str) -> (Self, Start) {
        let file = state_dir.join(FILE);
        let start = match fs::read_to_string(&file) {
            Ok(left) if left.trim() == boot => Start::Again,
            Ok(_) | Err(_) => Start::First,
        };
        // One of a speaker of another user cannot be written, but replaced.
        let _ = fs::remove_file(&file);
        let written = folder::make(state_dir).and_then(|()| fs::write(&file, boot));
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "state folder cannot be written: restarts look like first starts");
        }
        (Self { file }, start)
    }

    /// Takes the mark away: this speaker was removed, the next start is a first one.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::debug!(file = %self.file.display(), %error, "mark not removed");
        }
    }
}

/// Which boot of the machine this is; empty where the kernel does not say.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_start_after_a_boot_is_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("not/there/yet");
        let start = |boot: &str| Mark::leave_for_boot(&state_dir, boot).1;
        assert_eq!(start("boot-1"), Start::First);
        assert_eq!(start("boot-1"), Start::Again);
        assert_eq!(start("boot-2"), Start::First, "after a boot no kernel state is left to keep");
    }

    #[test]
    fn a_removed_speaker_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        Mark::leave_for_boot(dir.path(), "boot").0.remove();
        assert_eq!(Mark::leave_for_boot(dir.path(), "boot").1, Start::First);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_first_start_and_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a-file");
        fs::write(&file, "").unwrap();
        assert_eq!(Mark::leave_for_boot(&file, "boot").1, Start::First);
        assert_eq!(Mark::leave_for_boot(&file, "boot").1, Start::First);
    }
}
