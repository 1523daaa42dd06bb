//! The router of the home network: FRR's zebra and bgpd in a namespace of their own, in the place of a box like a MikroTik RB4011.
//! It is the LAN's switch, too: each node hangs on a port of its bridge.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use tokio::process::Command;

use super::route::{self, RouteTable};
use super::{LAN_BITS_V4, NODE_AS, NodePlan, ROUTER_AS, ROUTER_V4, ROUTER_V6};
use crate::eventually::eventually;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::run::Run;

const START: Duration = Duration::from_secs(20);
const FRR: &str = "/usr/lib/frr";

/// How the router is set up.
#[derive(Clone, Debug)]
pub struct RouterPlan {
    /// The router's AS; the nodes' AS makes the sessions internal.
    pub asn: u32,
    /// More lines under `router bgp`.
    pub extra: Vec<String>,
}

impl Default for RouterPlan {
    fn default() -> Self {
        Self { asn: ROUTER_AS, extra: Vec::new() }
    }
}

/// The router. Dropping it ends it.
#[derive(Debug)]
pub struct Router {
    run: Arc<Run>,
    namespace: Arc<Namespace>,
    folder: PathBuf,
    logs: PathBuf,
    daemons: Option<[Process; 2]>,
}

impl Router {
    /// Makes the LAN and starts FRR with one neighbour for each node.
    ///
    /// # Errors
    /// When the namespace or FRR does not come up.
    pub async fn start(
        run: &Arc<Run>,
        prefix: &str,
        folder: &Path,
        logs: &Path,
        plan: &RouterPlan,
        nodes: &[NodePlan],
    ) -> Result<Self> {
        let namespace = Arc::new(Namespace::create(run, format!("{prefix}router")).await?);
        let lan = format!(
            "link add lan type bridge\n\
             address add {ROUTER_V4}/{LAN_BITS_V4} dev lan\n\
             address add {ROUTER_V6}/64 dev lan nodad\n\
             link set lan up\n"
        );
        namespace.ip(&lan).await?;
        let folder = folder.join("router");
        fs::create_dir(&folder).context("making the router's folder")?;
        fs::write(folder.join("zebra.conf"), "hostname router\n").context("writing zebra.conf")?;
        fs::write(folder.join("bgpd.conf"), configuration(plan, nodes)).context("writing bgpd.conf")?;
        // FRR's daemons run as the user frr and put their sockets here.
        output(Command::new("chown").args(["-R", "frr:frr"]).arg(&folder)).await?;
        let mut router = Self { run: Arc::clone(run), namespace, folder, logs: logs.to_owned(), daemons: None };
        router.start_daemons().await?;
        Ok(router)
    }

    /// The router's namespace, which also holds the LAN's bridge `lan`.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The folder of FRR's sockets, for `vtysh --vty_socket`.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        &self.folder
    }

    /// Asks the router as a person would.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub async fn vtysh(&self, command: &str) -> Result<String> {
        output(Command::new("vtysh").arg("--vty_socket").arg(&self.folder).args(["-c", command])).await
    }

    /// The routes that the router forwards by and that it learned by BGP.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn routes(&self) -> Result<RouteTable> {
        let mut table = self.routes_of("-4").await?;
        table.append(&mut self.routes_of("-6").await?);
        Ok(table)
    }

    /// The next hops of one address, empty when the router knows no way.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub async fn next_hops(&self, address: IpAddr) -> Result<BTreeSet<IpAddr>> {
        let mut table = self.routes_of(if address.is_ipv4() { "-4" } else { "-6" }).await?;
        Ok(table.remove(&IpNet::from(address)).unwrap_or_default())
    }

    /// The neighbours whose session is established.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub async fn established(&self) -> Result<Vec<IpAddr>> {
        let text = self.vtysh("show bgp neighbors json").await?;
        let answer: serde_json::Value = serde_json::from_str(&text).context("reading FRR's neighbours")?;
        let neighbours = answer.as_object().context("FRR's neighbours are an object")?;
        let up = neighbours.iter().filter(|(_, state)| state["bgpState"] == "Established");
        Ok(up.filter_map(|(address, _)| address.parse().ok()).collect())
    }

    /// The BGP path of a prefix with its attributes, as FRR's JSON.
    ///
    /// # Errors
    /// When FRR does not answer.
    pub async fn paths(&self, prefix: &str) -> Result<serde_json::Value> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let text = self.vtysh(&format!("show bgp {family} unicast {prefix} json")).await?;
        serde_json::from_str(&text).context("reading FRR's paths")
    }

    /// A static route in the router, for tests of the data path that need no BGP.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add_static_route(&self, prefix: &str, next_hop: IpAddr) -> Result<()> {
        self.namespace.ip(&format!("route add {prefix} via {next_hop}\n")).await
    }

    /// Pulls or plugs the cable of a node at the switch.
    ///
    /// # Errors
    /// When the node has no port.
    pub async fn set_cable(&self, node: &str, plugged: bool) -> Result<()> {
        self.namespace.ip(&format!("link set {node} {}\n", if plugged { "up" } else { "down" })).await
    }

    /// Power off: both daemons die, and the kernel forgets what they knew.
    ///
    /// # Errors
    /// When the router is off already.
    pub async fn power_off(&mut self) -> Result<()> {
        for daemon in self.daemons.take().context("the router is off already")? {
            daemon.kill().await?;
        }
        // zebra's routes hang on its next hop objects, and go with them.
        output(Command::new("ip").args(["-netns", self.namespace.name(), "nexthop", "flush", "proto", "zebra"])).await?;
        Ok(())
    }

    /// Power on again, with the same configuration.
    ///
    /// # Errors
    /// When FRR does not come up.
    pub async fn power_on(&mut self) -> Result<()> {
        self.start_daemons().await
    }

    async fn start_daemons(&mut self) -> Result<()> {
        let mut daemons = [self.start_daemon("zebra")?, self.start_daemon("bgpd")?];
        drop(std::mem::take(&mut self.daemons));
        eventually(START, "FRR to answer", async || {
            for daemon in &mut daemons {
                daemon.check_running()?;
            }
            let summary = self.vtysh("show bgp summary json").await?;
            if summary.trim_start().starts_with('{') { Ok(()) } else { bail!("{summary}") }
        })
        .await?;
        self.daemons = Some(daemons);
        Ok(())
    }

    fn start_daemon(&self, name: &str) -> Result<Process> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut command = self.namespace.command(&format!("{FRR}/{name}"));
        command
            .args(["--config_file", &file(&format!("{name}.conf"))])
            .args(["--pid_file", &file(&format!("{name}.pid"))])
            .args(["--socket", &file("zserv.api")])
            .args(["--vty_socket", &self.folder.display().to_string()])
            .args(["--vty_port", "0", "--log", "stdout"]);
        Process::start(&self.run, name, &self.logs, command)
    }

    async fn routes_of(&self, family: &str) -> Result<RouteTable> {
        let mut command = Command::new("ip");
        command.args(["-netns", self.namespace.name(), "-json", family, "route", "show", "proto", "bgp"]);
        route::from_json(&output(&mut command).await?)
    }
}

fn configuration(plan: &RouterPlan, nodes: &[NodePlan]) -> String {
    let mut text = format!(
        "hostname router\n\
         router bgp {}\n \
          bgp router-id {ROUTER_V4}\n \
          no bgp ebgp-requires-policy\n \
          bgp bestpath as-path multipath-relax\n \
          neighbor NODES peer-group\n \
          neighbor NODES remote-as {NODE_AS}\n \
          neighbor NODES passive\n",
        plan.asn
    );
    for line in &plan.extra {
        text.push_str(&format!(" {line}\n"));
    }
    for node in nodes {
        text.push_str(&format!(" neighbor {} peer-group NODES\n neighbor {} peer-group NODES\n", node.v4, node.v6));
    }
    for family in ["ipv4", "ipv6"] {
        text.push_str(&format!(
            " address-family {family} unicast\n  neighbor NODES activate\n  maximum-paths 16\n  maximum-paths ibgp 16\n exit-address-family\n"
        ));
    }
    text
}
