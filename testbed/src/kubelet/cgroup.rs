//! Control groups of the nodes, version 1 or 2, whichever this machine has. What they hold is found, killed and measured here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::ledger::{Identity, kill_all};

/// Where control groups are, on every Linux.
const ROOT: &str = "/sys/fs/cgroup";
/// What a kubelet accounts for. Without one of them it does not start.
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
/// Killed processes leave their group within moments.
const EMPTY: Duration = Duration::from_secs(10);

/// How the control groups of this machine are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 1: one tree for each controller, named in the list.
    Many(Vec<PathBuf>),
    /// Version 2: one tree for all.
    One(PathBuf),
}

impl Hierarchy {
    /// Looks at the machine.
    ///
    /// # Errors
    /// In words, what is missing for a kubelet.
    pub fn find() -> Result<Self, String> {
        Self::find_under(Path::new(ROOT))
    }

    fn find_under(root: &Path) -> Result<Self, String> {
        if let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) {
            let has = |name: &&str| controllers.split_whitespace().any(|controller| controller == *name);
            return match NEEDED.iter().find(|name| !has(name)) {
                None => Ok(Self::One(root.to_owned())),
                Some(name) => {
                    Err(format!("the control group controller {name} is not to be had in {}", root.display()))
                }
            };
        }
        let entries = fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
        let mut trees: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // A tree has this file in its root, that of version 2 which some machines mount beside as well. A link such as
        // `cpu,cpuacct` is another name of a tree.
        trees.retain(|tree| !tree.is_symlink() && tree.join("cgroup.procs").exists());
        trees.sort();
        match NEEDED.iter().find(|name| !root.join(name).join("cgroup.procs").exists()) {
            None => Ok(Self::Many(trees)),
            Some(name) => {
                Err(format!("no control group hierarchy for {name} is mounted under {}", root.display()))
            }
        }
    }

    /// Makes a group in every tree. In version 2 the controllers are handed down to it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self, name: &str) -> Result<()> {
        if let Self::One(root) = self {
            let all = NEEDED.map(|controller| format!("+{controller}")).join(" ");
            fs::write(root.join("cgroup.subtree_control"), all)
                .context("handing the controllers down to the groups of the nodes")?;
        }
        for tree in self.trees() {
            let group = tree.join(name);
            fs::create_dir(&group).with_context(|| format!("making {}", group.display()))?;
            // A group of `cpuset` is born without processors in version 1 unless its parent says otherwise.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if matches!(self, Self::Many(_)) && group.join(file).exists() {
                    let whole = fs::read_to_string(tree.join(file)).context("reading the root's cpuset")?;
                    fs::write(group.join(file), whole.trim()).context("giving the group its processors")?;
                }
            }
        }
        Ok(())
    }

    /// Puts a process into a group; its children are born there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, name: &str, pid: u32) -> Result<()> {
        let file = self.account().join(name).join("cgroup.procs");
        fs::write(&file, pid.to_string()).with_context(|| format!("putting {pid} into {name}"))
    }

    /// Kills everything in the groups whose names begin with `prefix`, waits until they are empty, and removes them.
    ///
    /// # Errors
    /// When a process does not go, which is named.
    pub fn remove(&self, prefix: &str) -> Result<()> {
        let start = Instant::now();
        // Again and again, because what is killed may have started another just before.
        loop {
            let held: Vec<u32> =
                groups(&self.account(), prefix).iter().flat_map(|group| processes(group)).collect();
            if held.is_empty() {
                break;
            }
            if start.elapsed() > EMPTY {
                bail!("processes {held:?} of {prefix} do not end");
            }
            let held: Vec<Identity> = held.into_iter().filter_map(Identity::of).collect();
            kill_all(&held);
        }
        for tree in self.trees() {
            // Deepest first, because only an empty group can go.
            for group in groups(&tree, prefix) {
                let _ = fs::remove_dir(group);
            }
        }
        Ok(())
    }

    /// Memory of the group below `name` whose path ends in a folder with `part` in its name, e.g. a Pod's UID.
    ///
    /// # Errors
    /// When there is no such group, or the kernel's file is not as expected.
    pub fn memory(&self, name: &str, part: &str) -> Result<Memory> {
        let account = self.account();
        let named =
            |path: &PathBuf| path.file_name().is_some_and(|last| last.to_string_lossy().contains(part));
        let group = groups(&account, name).into_iter().find(named);
        let group = group.with_context(|| format!("no control group of {part} in {name}"))?;
        let read =
            |file: &str| fs::read_to_string(group.join(file)).with_context(|| format!("reading {file}"));
        let (usage, stat) = match self {
            Self::Many(_) => (read("memory.usage_in_bytes")?, read("memory.stat")?),
            Self::One(_) => (read("memory.current")?, read("memory.stat")?),
        };
        let row = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| {
                stat.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
            });
            value.with_context(|| format!("memory.stat without {names:?}"))
        };
        let usage: u64 = usage.trim().parse().context("the usage is a number")?;
        Ok(Memory {
            anonymous: row(["total_rss", "anon"])?,
            resident: groups(&group, "").iter().flat_map(|group| processes(group)).map(resident).sum(),
            working_set: usage.saturating_sub(row(["total_inactive_file", "inactive_file"])?),
        })
    }

    fn trees(&self) -> Vec<PathBuf> {
        match self {
            Self::Many(trees) => trees.clone(),
            Self::One(root) => vec![root.clone()],
        }
    }

    /// The tree in which processes are counted and memory is measured.
    fn account(&self) -> PathBuf {
        match self {
            Self::Many(_) => Path::new(ROOT).join("memory"),
            Self::One(root) => root.clone(),
        }
    }
}

/// Memory of one control group, in octets.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Pages of its own that are in memory.
    pub anonymous: u64,
    /// The resident sets of its processes, the pages of their programs' files included. The group itself counts those
    /// only if it was the first on the machine to read them.
    pub resident: u64,
    /// Everything but cache that can go at once: what `kubectl top` shows, and what a limit is held against.
    pub working_set: u64,
}

/// The groups whose first folder begins with `prefix`, deepest first.
fn groups(tree: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(tree) else { return found };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) && entry.path().is_dir() {
            collect(&entry.path(), &mut found);
        }
    }
    found
}

fn collect(group: &Path, found: &mut Vec<PathBuf>) {
    if let Ok(entries) = fs::read_dir(group) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            collect(&entry.path(), found);
        }
    }
    found.push(group.to_owned());
}

fn processes(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The resident set of a process; nothing when it has just ended.
fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let row = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = row.and_then(|row| row.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, files: &[&str]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("herald-cgroup-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "cpuset cpu io memory pids\n").unwrap();
        }
        root
    }

    #[test]
    fn version_two_is_known_by_its_list_of_controllers() {
        let root = machine("two", &["cgroup.controllers"]);
        assert_eq!(Hierarchy::find_under(&root), Ok(Hierarchy::One(root.clone())));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn version_one_lists_its_trees_and_says_which_is_missing() {
        let mut files = Vec::new();
        for tree in ["cpu", "cpuset", "memory", "systemd"] {
            files.push(format!("{tree}/cgroup.procs"));
        }
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let root = machine("one", &names);
        let why = Hierarchy::find_under(&root).unwrap_err();
        assert!(why.contains("pids"), "{why}");
        fs::create_dir(root.join("pids")).unwrap();
        fs::write(root.join("pids/cgroup.procs"), "").unwrap();
        let trees = ["cpu", "cpuset", "memory", "pids", "systemd"].map(|tree| root.join(tree)).to_vec();
        assert_eq!(Hierarchy::find_under(&root), Ok(Hierarchy::Many(trees)));
        fs::remove_dir_all(root).unwrap();
    }
}
