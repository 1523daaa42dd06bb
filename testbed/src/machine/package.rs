//! The programs that come from the distribution, and their installation with apt.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tokio::process::Command;

use super::Say;

/// A program a lab runs, where it comes from and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Name on the path, or an absolute path.
    pub name: &'static str,
    /// Debian package.
    pub package: &'static str,
    /// What it does in a lab.
    pub purpose: &'static str,
}

const fn program(name: &'static str, package: &'static str, purpose: &'static str) -> Program {
    Program { name, package, purpose }
}

/// All programs of the distribution that a lab runs.
pub const PROGRAMS: &[Program] = &[
    program("ip", "iproute2", "network namespaces, addresses and routes"),
    program("nsenter", "util-linux", "starting a program inside a namespace"),
    program("nft", "nftables", "kube-proxy writes its rules with it"),
    program("conntrack", "conntrack", "kube-proxy cleans up connections with it"),
    program("openssl", "openssl", "the key that signs service account tokens"),
    program("/usr/lib/frr/zebra", "frr", "the router"),
    program("/usr/lib/frr/bgpd", "frr", "the router's BGP"),
    program("/usr/lib/frr/bfdd", "frr", "the router's BFD"),
    program("vtysh", "frr", "asking the router"),
    program("bird", "bird2", "another maker's router"),
    program("nginx", "nginx-light", "the server behind the Service"),
    program("curl", "curl", "the client"),
    program("faketime", "faketime", "a node whose clock is wrong"),
];

/// What a cluster with real kubelets runs besides.
const KUBELET: &[Program] = &[
    program("containerd", "containerd", "runs the containers of each node"),
    program("ctr", "containerd", "puts images into containerd without a registry"),
    program("runc", "runc", "starts one container"),
    program("/usr/lib/cni/bridge", "containernetworking-plugins", "the network of the Pods"),
    program("/usr/lib/cni/host-local", "containernetworking-plugins", "the addresses of the Pods"),
    program("cc", "gcc libc6-dev", "links the pause program and its static C library"),
    program("sha256sum", "coreutils", "names the parts of an image"),
];

/// What containerlab runs on.
const DOCKER: &[Program] = &[
    program("dockerd", "docker.io", "runs the containers of a lab"),
    program("docker", "docker.io", "asks it"),
    program("busybox", "busybox-static", "the shell in the image of the routers"),
];

const BUILDERS: &[Program] = &[program(
    "go",
    "golang, 1.26 or newer, or from https://go.dev/dl",
    "building etcd and the Kubernetes programs",
)];

/// A thing without which no lab can run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Not root.
    Root,
    /// A program is not installed.
    Program(Program),
    /// The programs of the control plane are not built yet.
    Tools,
    /// The kernel refuses to make a network namespace.
    Namespaces(String),
    /// The kernel or its set-up cannot run containers.
    Containers(String),
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => write!(f, "root is needed to make network namespaces"),
            Self::Program(Program { name, package, purpose }) => {
                write!(f, "{name} is missing ({purpose}); it comes with the package {package}")
            }
            Self::Tools => {
                write!(f, "etcd and the Kubernetes programs are not built yet, which takes some minutes once")
            }
            Self::Namespaces(why) => write!(f, "this machine makes no network namespaces: {why}"),
            Self::Containers(why) => write!(f, "this machine runs no containers: {why}"),
        }
    }
}

/// Whether this process may make network namespaces.
///
/// # Errors
/// The right that is missing.
pub(super) fn check_rights() -> Result<(), Lack> {
    if !rustix::process::geteuid().is_root() {
        return Err(Lack::Root);
    }
    match std::process::Command::new("unshare").args(["--net", "true"]).output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(Lack::Namespaces(String::from_utf8_lossy(&done.stderr).trim().to_owned())),
        Err(error) => Err(Lack::Namespaces(format!("unshare: {error}"))),
    }
}

/// The programs of the distribution that are not installed.
#[must_use]
pub(super) fn missing() -> Vec<Lack> {
    missing_of(PROGRAMS)
}

/// What real kubelets need besides and what is not installed.
#[must_use]
pub(super) fn missing_for_kubelet() -> Vec<Lack> {
    missing_of(KUBELET)
}

/// The compilers that are not installed.
#[must_use]
pub(super) fn missing_builders() -> Vec<Lack> {
    missing_of(BUILDERS)
}

/// Installs what is missing with apt-get.
///
/// # Errors
/// When apt-get fails, or a program is still missing afterwards.
pub(super) async fn install(say: Say<'_>) -> Result<()> {
    install_of(PROGRAMS, say).await
}

/// Installs what real kubelets need besides.
///
/// # Errors
/// When apt-get fails, or a program is still missing afterwards.
pub(super) async fn install_for_kubelet(say: Say<'_>) -> Result<()> {
    install_of(KUBELET, say).await
}

/// Installs what containerlab runs on.
///
/// # Errors
/// When apt-get fails, or a program is still missing afterwards.
pub(super) async fn install_docker(say: Say<'_>) -> Result<()> {
    install_of(DOCKER, say).await
}

async fn install_of(programs: &[Program], say: Say<'_>) -> Result<()> {
    let mut packages: Vec<&str> = programs
        .iter()
        .filter(|program| find(program.name).is_none())
        .flat_map(|program| program.package.split(' '))
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    say(&format!("installing {} with apt-get: the lab runs them; only the first time", packages.join(" ")));
    if find("apt-get").is_none() {
        bail!("there is no apt-get here; install by hand: {}", packages.join(" "));
    }
    let _quiet = NoServices::declare();
    apt(&["update", "-qq"]).await?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&arguments).await?;
    match missing_of(programs).first() {
        None => Ok(()),
        Some(lack) => bail!("apt-get went well, and still {lack}"),
    }
}

async fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").kill_on_drop(true);
    let done = command.output().await?;
    if !done.status.success() {
        bail!("apt-get {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// While this exists, Debian starts no service of a freshly installed package: the machine's own etcd, nginx and frr
/// would take ports, and the lab starts its own. A policy that is there already stays as it is.
struct NoServices {
    made: bool,
}

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn declare() -> Self {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(Self::POLICY);
        let made =
            file.is_ok_and(|mut file| std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n").is_ok());
        Self { made }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(Self::POLICY);
        }
    }
}

/// Where a program is; the folders of the administrator count even when they are not on the path.
#[must_use]
pub(super) fn find(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn missing_of(programs: &[Program]) -> Vec<Lack> {
    programs
        .iter()
        .filter(|program| find(program.name).is_none())
        .map(|program| Lack::Program(*program))
        .collect()
}
