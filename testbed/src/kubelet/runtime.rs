//! containerd's configuration, with what this machine makes necessary and nothing else: each work-around is for something
//! that was looked at.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::image::PAUSE;

/// The bit of CAP_SYS_RESOURCE in a capability set (linux/capability.h).
const SYS_RESOURCE: u32 = 24;
/// What `statfs` says of an overlay file system (linux/magic.h).
const OVERLAYFS: u64 = 0x794c_7630;

/// How containers are started on this machine.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: PathBuf,
    snapshotter: &'static str,
    /// In words, for the person who looks.
    remarks: Vec<String>,
}

impl Runtime {
    /// Looks at this machine. `bounded` is the program of this crate that starts runc with fewer wishes.
    ///
    /// # Errors
    /// When the machine cannot be looked at.
    pub fn find(bounded: &Path, folder: &Path) -> Result<Self> {
        let mut remarks = Vec::new();
        let status = fs::read_to_string("/proc/self/status").context("reading our own capabilities")?;
        let program = if lacks_sys_resource(&status) {
            remarks.push(
                "CAP_SYS_RESOURCE is not in the bounding set here: runc is started without it, \
                 and without a negative oom_score_adj"
                    .to_owned(),
            );
            bounded.to_owned()
        } else {
            PathBuf::from("runc")
        };
        let magic = rustix::fs::statfs(folder).context("looking at the file system of the lab")?.f_type;
        let snapshotter = if u64::try_from(magic).is_ok_and(|magic| magic == OVERLAYFS) {
            remarks.push(
                "the lab's folder is on an overlay itself: containers are copied, not overlaid".to_owned(),
            );
            "native"
        } else {
            "overlayfs"
        };
        Ok(Self { program, snapshotter, remarks })
    }

    /// What is unusual on this machine, for the person who looks.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The runc to configure, for other engines than containerd.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// containerd's configuration for a node; everything that it makes lies in the node's folder.
    pub(super) fn configuration(&self, folder: &Path) -> Result<String> {
        let folder = folder.to_str().context("a folder whose name is text")?;
        let program = self.program.to_str().context("a program whose name is text")?;
        let snapshotter = self.snapshotter;
        let cri = "io.containerd.grpc.v1.cri";
        Ok(format!(
            "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/containerd\"\n\
             [grpc]\naddress = \"{folder}/containerd.sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{folder}/opt\"\n\
             [plugins.\"{cri}\"]\nsandbox_image = \"{PAUSE}\"\nrestrict_oom_score_adj = true\n\
             netns_mounts_under_state_dir = true\n\
             [plugins.\"{cri}\".cni]\nbin_dir = \"/usr/lib/cni\"\nconf_dir = \"{folder}/cni\"\n\
             [plugins.\"{cri}\".containerd]\nsnapshotter = \"{snapshotter}\"\n\
             [plugins.\"{cri}\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"{cri}\".containerd.runtimes.runc.options]\nBinaryName = \"{program}\"\n\
             Root = \"{folder}/runc\"\nSystemdCgroup = false\n"
        ))
    }
}

fn lacks_sys_resource(status: &str) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let set = set.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << SYS_RESOURCE) == 0)
}

#[cfg(test)]
mod tests {
    use super::lacks_sys_resource;

    #[test]
    fn the_bounding_set_says_whether_a_capability_can_be_had() {
        assert!(!lacks_sys_resource("Name:\tx\nCapBnd:\t000001ffffffffff\n"));
        assert!(lacks_sys_resource("Name:\tx\nCapBnd:\t000001fffeffffff\n"));
        assert!(!lacks_sys_resource("Name:\tx\n"));
    }
}
