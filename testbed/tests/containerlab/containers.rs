//! The driver with the real containerlab, on a Docker of its own in a network namespace of its own: in the machine's own
//! one, Docker would set forwarding and a packet filter that cut every other bridge there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::eventually::eventually;
use testbed::kubelet::cgroup::Hierarchy;
use testbed::kubelet::residue;
use testbed::kubelet::runtime::Runtime;
use testbed::namespace::Namespace;
use testbed::process::{Process, output, run_to_end};
use tokio::process::Command;

use crate::engine::Site;
use crate::topology::HERALD_IMAGE;

/// What the driver takes from outside.
pub(crate) struct Parts {
    /// containerlab's program.
    pub(crate) program: PathBuf,
    /// The archives of FRR and Herald.
    pub(crate) archives: Vec<PathBuf>,
    /// The program of the test bed that starts runc where the machine's own rights are bounded.
    pub(crate) bounded_runc: PathBuf,
}

/// A lab of containers.
pub(crate) struct Containers {
    places: BTreeMap<String, Namespace>,
    lab: String,
    prefix: String,
    folder: PathBuf,
    work: PathBuf,
    program: PathBuf,
    docker: Docker,
    groups: Hierarchy,
}

impl Containers {
    pub(crate) async fn deploy(site: &Site<'_>, parts: &Parts) -> Result<Self> {
        let groups = Hierarchy::find().map_err(anyhow::Error::msg)?;
        site.run.note_containers(site.prefix)?;
        let lab = site.prefix.trim_end_matches('-').to_owned();
        rename(&site.work.join("topology.clab.yml"), &lab)?;
        let docker = Docker::start(site, parts, &groups).await?;
        for archive in &parts.archives {
            let said = output(docker.command().args(["load", "--input"]).arg(archive)).await?;
            let name = said.lines().find_map(|line| line.strip_prefix("Loaded image: "));
            let name = name.with_context(|| format!("Docker names no image: {said}"))?;
            if name.contains("/herald:") {
                output(docker.command().args(["tag", name, HERALD_IMAGE])).await?;
            }
        }
        for bridge in site.topology.bridges() {
            docker.place.ip(&format!("link add {bridge} type bridge\nlink set {bridge} up\n")).await?;
        }
        // containerlab names a namespace after each container, and takes the name away when it destroys the lab.
        for node in site.topology.nodes.keys() {
            site.run.note_namespace(&format!("clab-{lab}-{node}"))?;
        }
        let mut this = Self {
            places: BTreeMap::new(),
            lab,
            prefix: site.prefix.to_owned(),
            folder: site.folder.to_owned(),
            work: site.work.to_owned(),
            program: parts.program.clone(),
            docker,
            groups,
        };
        let said = this.containerlab("deploy", &[]).await?;
        fs::write(site.logs.join("containerlab.log"), &said).context("keeping containerlab's words")?;
        // A link that fails is only logged; the exit status says nothing of it.
        if let Some(line) = said.lines().find(|line| line.contains("level=error")) {
            bail!("containerlab: {line}");
        }
        for (node, row) in &site.topology.nodes {
            let place = if row.kind == "bridge" {
                Namespace::existing(this.docker.place.name().to_owned())
            } else {
                Namespace::existing(format!("clab-{}-{node}", this.lab))
            };
            this.places.insert(node.clone(), place);
        }
        Ok(this)
    }

    pub(crate) fn namespace(&self, node: &str) -> Option<&Namespace> {
        self.places.get(node)
    }

    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    pub(crate) async fn switch_off(&self, router: &str) -> Result<()> {
        self.signal(router, "USR1").await
    }

    pub(crate) async fn switch_on(&self, router: &str) -> Result<()> {
        self.signal(router, "USR2").await
    }

    /// Destroys the lab, as a user does, and sees that nothing is left of it.
    pub(crate) async fn destroy(&mut self) -> Result<()> {
        let said = self.containerlab("destroy", &["--cleanup"]).await?;
        let left = output(self.docker.command().args(["ps", "--all", "--quiet"])).await?;
        ensure!(left.trim().is_empty(), "containers are left after the destroy: {left}\n{said}");
        Ok(())
    }

    /// What a container wrote, for the person who looks.
    pub(crate) async fn words_of(&self, node: &str) -> String {
        match run_to_end(self.docker.command().args(["logs", "--tail", "40", &self.container(node)])).await {
            Ok(done) => [done.stdout, done.stderr]
                .iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
            Err(why) => format!("{why:#}"),
        }
    }

    async fn signal(&self, router: &str, signal: &str) -> Result<()> {
        output(self.docker.command().args(["kill", "--signal", signal, &self.container(router)])).await?;
        let wanted = signal == "USR2";
        eventually(Duration::from_secs(30), &format!("{router} to hear SIG{signal}"), async || {
            let folder = self.work.join(router);
            let mut ask = Command::new("vtysh");
            ask.arg("--vty_socket").arg(&folder).args(["-d", "bgpd", "-c", "show version"]);
            let answers = run_to_end(&mut ask).await?.status.success();
            ensure!(answers == wanted, "bgpd answers: {answers}");
            Ok(())
        })
        .await
        .map(drop)
    }

    fn container(&self, node: &str) -> String {
        format!("clab-{}-{node}", self.lab)
    }

    /// Runs containerlab in Docker's namespace. What it writes into /etc/hosts and ssh's folder lands in copies of ours.
    async fn containerlab(&self, verb: &str, more: &[&str]) -> Result<String> {
        let hosts = self.folder.join("hosts");
        let ssh = self.folder.join("ssh");
        fs::copy("/etc/hosts", &hosts).context("copying /etc/hosts")?;
        fs::create_dir_all(&ssh).context("making a folder")?;
        let script = "mount --bind \"$1\" /etc/hosts; [ ! -d /etc/ssh/ssh_config.d ] || mount --bind \"$2\" /etc/ssh/ssh_config.d; \
             shift 2; exec \"$@\"";
        let mut command = self.docker.place.command("unshare");
        command
            .args(["--mount", "sh", "-ec", script, "sh"])
            .arg(&hosts)
            .arg(&ssh)
            .arg(&self.program)
            .args([verb, "--topo"])
            .arg(self.work.join("topology.clab.yml"))
            .args(more)
            .env("DOCKER_HOST", &self.docker.socket)
            // The check asks the internet.
            .env("CLAB_VERSION_CHECK", "disable")
            .current_dir(&self.work);
        let done = run_to_end(&mut command).await?;
        let said: String = [&done.stdout, &done.stderr]
            .iter()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        ensure!(done.status.success(), "containerlab {verb}: {said}");
        Ok(said)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if let Err(why) = self.groups.remove(&self.prefix) {
            eprintln!("containerlab: {why:#}");
        }
        for place in self.places.values() {
            testbed::ledger::remove_namespace(place.name());
        }
        residue::remove(&self.folder, &self.prefix);
    }
}

/// Gives the lab a name that no other run has: its containers are called after it.
fn rename(file: &Path, lab: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let line = text.lines().find(|line| line.starts_with("name: ")).context("a topology has a name")?;
    let text = text.replacen(line, &format!("name: {lab}"), 1);
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// A Docker of ours. Its containers end with its control groups.
struct Docker {
    socket: String,
    _daemon: Process,
    place: Namespace,
}

impl Docker {
    async fn start(site: &Site<'_>, parts: &Parts, groups: &Hierarchy) -> Result<Self> {
        let place = Namespace::create(site.run, format!("{}hub", site.prefix)).await?;
        let folder = site.folder.join("docker");
        fs::create_dir(&folder).context("making Docker's folder")?;
        let file = |name: &str| folder.join(name).display().to_string();
        let socket = format!("unix://{}", file("docker.sock"));
        let (host, pods) = (format!("{}docker-host", site.prefix), format!("{}docker-pods", site.prefix));
        groups.create(&host)?;
        groups.create(&pods)?;
        let runtime = Runtime::find(&parts.bounded_runc, &folder)?;
        let mut command = place.command("dockerd");
        command
            .args([
                "--data-root",
                &file("root"),
                "--exec-root",
                &file("exec"),
                "--pidfile",
                &file("docker.pid"),
            ])
            .args(["--host", &socket, "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(["--cgroup-parent", &format!("/{pods}")])
            .arg(format!("--add-runtime=chosen={}", runtime.program().display()))
            .arg("--default-runtime=chosen");
        let mut daemon = Process::start(site.run, "dockerd", site.logs, command)?;
        groups.adopt(&host, daemon.pid())?;
        eventually(Duration::from_secs(60), "dockerd to answer", async || {
            daemon.check_running()?;
            output(Command::new("docker").args(["--host", &socket, "version"])).await
        })
        .await?;
        Ok(Self { socket, _daemon: daemon, place })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.socket]);
        command
    }
}
