//! What a failed test leaves for the person who looks: all logs, and the state of every part at that moment.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::lab::Lab;
use crate::process::{output, tail};

/// Lines of each log that go to the terminal; the rest is in the folder.
const TAIL: usize = 6;

const HERALD_KINDS: &str = "ipaddresspools.metallb.io,bgppeers.metallb.io,bgpadvertisements.metallb.io,\
    communities.metallb.io,configurationstates.metallb.io,speakerstates.herald-lb.io,leases";

impl Lab {
    /// Copies the logs into a folder and writes the state of the parts beside them. A part that does not answer says so in its file.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub async fn collect_evidence(&self, folder: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let write = |name: String, content: Result<String>| {
            let text = content.unwrap_or_else(|why| format!("no answer: {why:#}\n"));
            fs::write(folder.join(&name), text).with_context(|| format!("writing {name}"))
        };
        for command in [
            "show bgp summary",
            "show bgp ipv4 unicast",
            "show bgp ipv6 unicast",
            "show ip route",
            "show ipv6 route",
        ] {
            write(format!("router {command}.txt"), self.router().vtysh(command).await)?;
        }
        for node in self.nodes() {
            write(format!("{} nft.txt", node.name()), node.rules().await)?;
            let mut routes = Command::new("ip");
            routes.args(["-netns", node.namespace().name(), "route", "show", "table", "all"]);
            write(format!("{} routes.txt", node.name()), output(&mut routes).await)?;
        }
        for kinds in ["services,endpointslices,nodes,pods,events", HERALD_KINDS] {
            let answer = self
                .cluster()
                .kubectl(&["get", kinds, "--all-namespaces", "--output=yaml", "--request-timeout=5s"])
                .await;
            write(
                format!("kubectl get {}.yaml", kinds.split(',').next().unwrap_or_default()),
                answer.map(|answer| answer.text),
            )?;
        }
        for log in fs::read_dir(self.logs()).context("reading the logs")?.flatten() {
            fs::copy(log.path(), folder.join(log.file_name())).context("copying a log")?;
        }
        Ok(())
    }

    /// A line in a daemon's log that says that the API server forbade something; the manifests then lack a permission.
    #[must_use]
    pub fn forbidden_requests(&self) -> Option<String> {
        if self.herald().rights_missing {
            return None;
        }
        let logs = fs::read_dir(self.logs()).ok()?.flatten().map(|log| log.path());
        let daemons = logs.filter(|path| {
            let name = path.file_stem().map(|name| name.to_string_lossy()).unwrap_or_default();
            name.ends_with("-speaker") || name.ends_with("-controller")
        });
        daemons.filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| {
            // "Forbidden" is also the API server's word for a field that does not fit the rest of the object (422): the
            // Service has just stopped being a load balancer, and the watch has not said so yet.
            let lacks =
                |line: &&str| line.to_lowercase().contains("forbidden") && !line.contains("(422 Invalid)");
            text.lines().find(lacks).map(str::to_owned)
        })
    }

    /// The last lines of Herald's and FRR's logs.
    #[must_use]
    pub fn tails(&self) -> String {
        let Ok(logs) = fs::read_dir(self.logs()) else { return String::new() };
        let mut paths: Vec<_> = logs.flatten().map(|log| log.path()).collect();
        paths.sort();
        let mut text = String::new();
        for path in paths {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if ["controller", "speaker", "bgpd"].iter().any(|part| name.ends_with(part)) {
                text.push_str(&format!("--- {name}\n{}\n", tail(&path, TAIL)));
            }
        }
        text
    }
}
