//! The list of what a run made, as lines of text, and how to take it all away again.
//! A process is named by its id together with its start time, so that a reused id is never hit.

use std::fmt;
use std::fs;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The ledger's name in the folder of a run.
pub const FILE: &str = "ledger";

/// A process that can be told from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pid: u32,
    /// Clock ticks since boot, field 22 of /proc/PID/stat.
    started: u64,
}

impl Identity {
    /// The identity of a process that runs now; `None` when there is none (a zombie counts as none).
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name stands in parentheses and may hold anything, so count from its end.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }

    fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The testbed process itself; always the first line.
    Owner(Identity),
    /// A process that the run started.
    Process(Identity),
    /// A network namespace that the run made.
    Namespace(String),
    /// The run holds container runtimes, and the names of what they make outside its folder begin with this.
    Containers(String),
    /// A setting of the whole machine, and the value it had before the run.
    Setting(String, String),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(Identity { pid, started }) => write!(f, "owner {pid} {started}"),
            Self::Process(Identity { pid, started }) => write!(f, "process {pid} {started}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Containers(prefix) => write!(f, "containers {prefix}"),
            Self::Setting(key, value) => write!(f, "setting {key} {value}"),
        }
    }
}

impl Entry {
    /// Reads a line; `None` for a line that a crash cut short.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        match kind {
            "namespace" => return Some(Self::Namespace(words.next()?.to_owned())),
            "containers" => return Some(Self::Containers(words.next()?.to_owned())),
            "setting" => return Some(Self::Setting(words.next()?.to_owned(), words.next()?.to_owned())),
            _ => {}
        }
        let identity = Identity { pid: words.next()?.parse().ok()?, started: words.next()?.parse().ok()? };
        match kind {
            "owner" => Some(Self::Owner(identity)),
            "process" => Some(Self::Process(identity)),
            _ => None,
        }
    }
}

/// Whether the process that made this run folder still runs. A folder without a ledger has no owner.
#[must_use]
pub fn owner_is_alive(folder: &Path) -> bool {
    entries(folder).into_iter().any(|entry| matches!(entry, Entry::Owner(owner) if owner.is_alive()))
}

/// Ends the processes of a run, takes its namespaces away, and removes its folder.
pub fn settle(folder: &Path) {
    let entries = entries(folder);
    let processes: Vec<Identity> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Process(identity) => Some(*identity),
            Entry::Owner(_) | Entry::Namespace(_) | Entry::Containers(_) | Entry::Setting(..) => None,
        })
        .collect();
    kill_all(&processes);
    for entry in &entries {
        match entry {
            Entry::Namespace(name) => remove_namespace(name),
            Entry::Containers(prefix) => crate::kubelet::residue::remove(folder, prefix),
            Entry::Setting(key, value) => crate::kubelet::sysctl::restore(key, value),
            Entry::Owner(_) | Entry::Process(_) => {}
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// Takes the name of a network namespace away; the namespace goes with its last process.
pub fn remove_namespace(name: &str) {
    let place = Path::new("/run/netns").join(name);
    if place.is_symlink() {
        // containerlab's name for a container's namespace, which is gone with the container.
        let _ = fs::remove_file(place);
    } else if place.exists() {
        let _ = std::process::Command::new("ip").args(["netns", "delete", name]).output();
    }
}

fn entries(folder: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    text.lines().filter_map(Entry::from_line).collect()
}

/// Kills them all, and waits until each has let go of its files. A pidfd means the same process from look to kill.
pub(crate) fn kill_all(processes: &[Identity]) {
    let mut killed = Vec::new();
    for process in processes {
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { continue };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if process.is_alive() && pidfd_send_signal(&handle, Signal::KILL).is_ok() {
            killed.push(handle);
        }
    }
    for handle in &killed {
        let limit = Timespec { tv_sec: 3, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_reads_back_as_it_was_written() {
        let identity = Identity { pid: 12, started: 34 };
        for entry in [
            Entry::Owner(identity),
            Entry::Process(identity),
            Entry::Namespace("hl1-n1".into()),
            Entry::Containers("hl1-".into()),
            Entry::Setting("kernel.panic".into(), "0".into()),
        ] {
            assert_eq!(Entry::from_line(&entry.to_string()), Some(entry));
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_skipped() {
        for line in ["", "process", "process 12", "process 12 x", "pro"] {
            assert_eq!(Entry::from_line(line), None, "{line:?}");
        }
    }

    #[test]
    fn we_are_alive_and_a_namesake_with_another_start_is_not_us() {
        let us = Identity::of(std::process::id()).expect("this process runs");
        assert!(us.is_alive());
        assert!(!Identity { started: us.started + 1, ..us }.is_alive());
    }
}
