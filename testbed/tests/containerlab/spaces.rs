//! The driver with network namespaces: every container of the topology is a namespace with processes in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testbed::eventually::eventually;
use testbed::namespace::Namespace;
use testbed::process::{Process, output};
use testbed::run::Run;
use tokio::process::Command;

use crate::engine::Site;
use crate::topology::split;
use crate::world::INSIDE;

const FRR: &str = "/usr/lib/frr";
/// In the order of their start: bgpd tells BFD only what it knows when it meets it.
const DAEMONS: [&str; 3] = ["zebra", "bfdd", "bgpd"];

/// A lab of namespaces.
pub(crate) struct Spaces {
    _speakers: Vec<Process>,
    routers: BTreeMap<String, Vec<Process>>,
    places: BTreeMap<String, Arc<Namespace>>,
    run: Arc<Run>,
    work: PathBuf,
    logs: PathBuf,
}

impl Spaces {
    pub(crate) async fn deploy(site: &Site<'_>) -> Result<Self> {
        let mut places = BTreeMap::new();
        // All bridges live in one place, as in a machine that runs containerlab.
        let hub = Arc::new(Namespace::create(site.run, format!("{}hub", site.prefix)).await?);
        for (name, node) in &site.topology.nodes {
            if node.kind == "bridge" {
                hub.ip(&format!("link add {name} type bridge\nlink set {name} up\n")).await?;
                places.insert(name.clone(), Arc::clone(&hub));
            } else {
                let place = Namespace::create(site.run, format!("{}{name}", site.prefix)).await?;
                places.insert(name.clone(), Arc::new(place));
            }
        }
        for link in &site.topology.links {
            let [(a, a_end), (b, b_end)] = [split(&link.endpoints[0])?, split(&link.endpoints[1])?];
            let (from, to) = (&places[a], &places[b]);
            to.ip(&format!(
                "link add {b_end} type veth peer name {a_end} netns {}\nlink set {b_end} up\n",
                from.name()
            ))
            .await?;
            from.ip(&format!("link set {a_end} up\n")).await?;
            for (node, end) in [(a, a_end), (b, b_end)] {
                if site.topology.bridges().any(|bridge| bridge == node) {
                    places[node].ip(&format!("link set {end} master {node}\n")).await?;
                }
            }
        }
        let mut spaces = Self {
            _speakers: Vec::new(),
            routers: BTreeMap::new(),
            places,
            run: Arc::clone(site.run),
            work: site.work.to_owned(),
            logs: site.logs.to_owned(),
        };
        let routers: Vec<String> = site.topology.routers().cloned().collect();
        for router in routers {
            spaces.switch_on(&router).await?;
        }
        let program = site.folder.join("speaker");
        fs::copy(site.machine.daemons.program("speaker"), &program).context("copying the speaker")?;
        for name in site.topology.speakers() {
            let process = spaces.start_speaker(site, name, &program)?;
            spaces._speakers.push(process);
        }
        Ok(spaces)
    }

    pub(crate) fn namespace(&self, node: &str) -> Option<&Namespace> {
        self.places.get(node).map(AsRef::as_ref)
    }

    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    pub(crate) async fn switch_off(&mut self, router: &str) -> Result<()> {
        for daemon in self.routers.remove(router).with_context(|| format!("{router} is on"))? {
            daemon.kill().await?;
        }
        Ok(())
    }

    pub(crate) async fn switch_on(&mut self, router: &str) -> Result<()> {
        let place = self.places.get(router).with_context(|| format!("there is no {router}"))?;
        let folder = self.work.join(router);
        let file = |name: &str| folder.join(name).display().to_string();
        let mut daemons = Vec::new();
        for name in DAEMONS {
            let configuration =
                if name == "bgpd" { self.work.join(format!("{router}.conf")) } else { folder.join("empty") };
            fs::write(folder.join("empty"), "").context("writing an empty configuration")?;
            let mut command = place.command(&format!("{FRR}/{name}"));
            command.arg("--config_file").arg(configuration);
            command.args(["--pid_file", &file(&format!("{name}.pid")), "--socket", &file("zserv.api")]);
            command.arg("--vty_socket").arg(&folder).args(["--vty_port", "0", "--log", "stdout"]);
            if name == "bfdd" {
                command.args(["--bfdctl", &file("bfdd.sock")]);
            }
            let mut daemon = Process::start(&self.run, &format!("{router}-{name}"), &self.logs, command)?;
            eventually(Duration::from_secs(30), &format!("{name} of {router} to answer"), async || {
                daemon.check_running()?;
                let mut ask = Command::new("vtysh");
                ask.arg("--vty_socket").arg(&folder).args(["-d", name, "-c", "show version"]);
                output(&mut ask).await
            })
            .await?;
            daemons.push(daemon);
        }
        ensure!(self.routers.insert(router.to_owned(), daemons).is_none(), "{router} was on already");
        Ok(())
    }

    /// As in the topology's container: the image's user, no capability, the same settings with the folder's real place.
    fn start_speaker(&self, site: &Site<'_>, name: &str, program: &Path) -> Result<Process> {
        let home = self.work.join(name).display().to_string();
        let mut command = self.places[name].command("setpriv");
        command
            .args([
                "--reuid=65532",
                "--regid=65532",
                "--clear-groups",
                "--bounding-set=-all",
                "--no-new-privs",
                "--",
            ])
            .arg(program);
        for (key, value) in &site.topology.nodes[name].env {
            command.env(key, value.replace(INSIDE, &home));
        }
        Process::start(site.run, &format!("{name}-speaker"), site.logs, command)
    }
}
