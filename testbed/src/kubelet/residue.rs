//! What kubelets and container runtimes leave outside of processes and namespaces, taken away by the ledger: control
//! groups with everything in them, mounts, sockets of shims, results of CNI plugins, links to logs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

use super::cgroup::Hierarchy;

/// Links that a kubelet makes for people who look for logs; the logs themselves lie in the run's folder.
const LOG_LINKS: &str = "/var/log/containers";
/// Where each shim listens.
const SHIM_SOCKETS: &str = "/run/containerd/s";
/// Folders whose place no setting changes, the inner ones first.
const FIXED: [&str; 14] = [
    "/run/herald",
    LOG_LINKS,
    CNI_RESULTS,
    "/var/lib/cni",
    SHIM_SOCKETS,
    "/run/containerd/fifo",
    "/run/containerd/runc/moby",
    "/run/containerd/runc",
    "/run/containerd",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
    "/opt/containerd",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
];
/// The one thing in them, which a kubelet leaves behind. A machine with a kubelet of its own runs none of ours.
const DEVICE_SOCKET: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";
/// What only a machine has that is a Kubernetes node itself.
const OWN_PODS: &str = "/var/lib/kubelet/pods";
/// Where the CNI library remembers what each plugin answered.
const CNI_RESULTS: &str = "/var/lib/cni/results";

/// Whether this machine is a Kubernetes node itself. Another kubelet would take its device plugins from it.
#[must_use]
pub fn is_node_itself() -> bool {
    Path::new(OWN_PODS).exists()
}

/// Removes what the runtimes of one lab made; `folder` is the run's, `prefix` begins the names of its groups and networks.
/// What cannot be removed is said on standard error: the next run tries again only if the ledger is still there.
pub fn remove(folder: &Path, prefix: &str) {
    match Hierarchy::find().map(|hierarchy| hierarchy.remove(prefix)) {
        Ok(Ok(())) => {}
        Ok(Err(why)) => eprintln!("testbed: {why:#}"),
        Err(why) => eprintln!("testbed: control groups of {prefix} stay: {why}"),
    }
    remove_dead_sockets();
    unmount_below(folder);
    remove_links(folder);
    remove_results(prefix);
    let _ = fs::remove_file(DEVICE_SOCKET);
    // Only empty folders go.
    for empty in FIXED {
        let _ = fs::remove_dir(empty);
    }
}

/// The mounts below a folder, the latest first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = text.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = places.filter(|place| place.starts_with(folder)).collect();
    below.reverse();
    below
}

fn unmount_below(folder: &Path) {
    for place in mounts_below(folder) {
        let _ = unmount(&place, UnmountFlags::DETACH);
    }
}

/// A shim that was killed leaves its socket. Nobody listens there any more, which tells it from any other's.
fn remove_dead_sockets() {
    for socket in fs::read_dir(SHIM_SOCKETS).into_iter().flatten().flatten() {
        let answer = UnixStream::connect(socket.path());
        if answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            let _ = fs::remove_file(socket.path());
        }
    }
}

fn remove_links(folder: &Path) {
    for link in fs::read_dir(LOG_LINKS).into_iter().flatten().flatten() {
        if fs::read_link(link.path()).is_ok_and(|target| target.starts_with(folder)) {
            let _ = fs::remove_file(link.path());
        }
    }
}

/// A result is called NETWORK-CONTAINER-INTERFACE. The loopback's has no network of ours, but the same container.
fn remove_results(prefix: &str) {
    let names: Vec<String> = fs::read_dir(CNI_RESULTS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    for ours in names.iter().filter(|name| name.starts_with(prefix)) {
        let Some(container) = ours.rsplit('-').nth(1) else { continue };
        for name in names.iter().filter(|name| name.contains(container)) {
            let _ = fs::remove_file(Path::new(CNI_RESULTS).join(name));
        }
    }
}
