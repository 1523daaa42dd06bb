//! What builds a lab out of a topology: network namespaces, or containerlab. The rest of the test sees no difference.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use testbed::machine::Machine;
use testbed::namespace::Namespace;
use testbed::process::{output, tail};
use testbed::run::Run;
use tokio::process::Command;

use crate::containers::{Containers, Parts};
use crate::spaces::Spaces;
use crate::topology::Topology;
use crate::world::INSIDE;

/// Which of the two.
pub(crate) enum Driver {
    Namespaces,
    Containerlab(Parts),
}

/// Where a lab is built.
pub(crate) struct Site<'a> {
    pub(crate) run: &'a Arc<Run>,
    pub(crate) machine: &'a Machine,
    pub(crate) prefix: &'a str,
    pub(crate) folder: &'a Path,
    /// A copy of the lab's folder, with the speakers' folders in it.
    pub(crate) work: &'a Path,
    pub(crate) logs: &'a Path,
    pub(crate) topology: &'a Topology,
}

/// A lab that was built.
pub(crate) enum Engine {
    Namespaces(Spaces),
    Containerlab(Box<Containers>),
}

impl Driver {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Containerlab(_) => "containerlab",
        }
    }

    /// Where a speaker sees its folder.
    pub(crate) fn seen_as(&self, home: &Path) -> PathBuf {
        match self {
            Self::Namespaces => home.to_owned(),
            Self::Containerlab(_) => PathBuf::from(INSIDE),
        }
    }

    pub(crate) async fn deploy(&self, site: &Site<'_>) -> Result<Engine> {
        for router in site.topology.routers() {
            // FRR's daemons run as the user frr and put their sockets here, for our vtysh.
            std::fs::create_dir_all(site.work.join(router)).context("making a router's folder")?;
            output(Command::new("chown").args(["-R", "frr:frr"]).arg(site.work.join(router))).await?;
        }
        match self {
            Self::Namespaces => Ok(Engine::Namespaces(Spaces::deploy(site).await?)),
            Self::Containerlab(parts) => {
                Ok(Engine::Containerlab(Box::new(Containers::deploy(site, parts).await?)))
            }
        }
    }
}

impl Engine {
    /// The network namespace of a node.
    pub(crate) fn namespace(&self, node: &str) -> Result<&Namespace> {
        let found = match self {
            Self::Namespaces(spaces) => spaces.namespace(node),
            Self::Containerlab(containers) => containers.namespace(node),
        };
        found.with_context(|| format!("the lab has no node {node}"))
    }

    /// The last words of a container.
    pub(crate) async fn words_of(&self, node: &str, logs: &Path) -> String {
        match self {
            Self::Namespaces(_) => tail(&logs.join(format!("{node}-speaker.log")), 20),
            Self::Containerlab(containers) => containers.words_of(node).await,
        }
    }

    /// Asks a router.
    pub(crate) async fn vtysh(&self, router: &str, command: &str) -> Result<String> {
        let work = match self {
            Self::Namespaces(spaces) => spaces.work(),
            Self::Containerlab(containers) => containers.work(),
        };
        output(Command::new("vtysh").arg("--vty_socket").arg(work.join(router)).args(["-c", command])).await
    }

    /// A router's daemons die, and its kernel forgets what they knew.
    pub(crate) async fn switch_off(&mut self, router: &str) -> Result<()> {
        match self {
            Self::Namespaces(spaces) => spaces.switch_off(router).await?,
            Self::Containerlab(containers) => containers.switch_off(router).await?,
        }
        // zebra's routes hang on its next hop objects (protocol 11, RTPROT_ZEBRA), and go with them.
        let name = self.namespace(router)?.name();
        output(Command::new("ip").args(["-netns", name, "nexthop", "flush", "proto", "11"])).await.map(drop)
    }

    /// A router starts again with the same configuration.
    pub(crate) async fn switch_on(&mut self, router: &str) -> Result<()> {
        match self {
            Self::Namespaces(spaces) => spaces.switch_on(router).await,
            Self::Containerlab(containers) => containers.switch_on(router).await,
        }
    }

    /// Pulls a cable at a bridge, or plugs it in.
    pub(crate) async fn plug(&self, bridge: &str, port: &str, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.namespace(bridge)?.ip(&format!("link set {port} {state}\n")).await
    }

    /// Some engines switch IPv6 off in a container without a network of theirs.
    pub(crate) async fn allow_ipv6(&self, node: &str) -> Result<()> {
        let mut command = self.namespace(node)?.command("sysctl");
        command.args([
            "--quiet",
            "--write",
            "net.ipv6.conf.all.disable_ipv6=0",
            "net.ipv6.conf.default.accept_dad=0",
        ]);
        output(&mut command).await.map(drop)
    }
}
