//! Two namespaces and a cable between them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Herald's IPv4 address.
pub(super) const HERALD_V4: &str = "192.0.2.7";
/// Herald's IPv6 address.
pub(super) const HERALD_V6: &str = "2001:db8::7";
/// The router's IPv4 address.
pub(super) const ROUTER_V4: &str = "192.0.2.1";
/// The router's IPv6 address.
pub(super) const ROUTER_V6: &str = "2001:db8::1";

/// How the namespaces are named, before the number of the process that made them.
const PREFIXES: [&str; 2] = ["herald-interop-a-", "herald-interop-b-"];

/// Both ends; they go away with the value.
pub(super) struct Network {
    /// The namespace of Herald.
    pub(super) herald: String,
    /// The namespace of the router.
    pub(super) router: String,
}

impl Network {
    /// Makes them. Needs root.
    pub(super) fn make() -> Result<Self> {
        sweep();
        let number = std::process::id();
        let [herald, router] = PREFIXES.map(|prefix| format!("{prefix}{number}"));
        let network = Self { herald, router };
        for namespace in [&network.herald, &network.router] {
            ip(&["netns", "add", namespace])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        let (a, b) = (network.herald.as_str(), network.router.as_str());
        ip(&["-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b])?;
        for (namespace, v4, v6) in [(a, HERALD_V4, HERALD_V6), (b, ROUTER_V4, ROUTER_V6)] {
            ip(&["-n", namespace, "address", "add", &format!("{v4}/24"), "dev", "cable"])?;
            ip(&["-n", namespace, "address", "add", &format!("{v6}/64"), "dev", "cable", "nodad"])?;
            ip(&["-n", namespace, "link", "set", "cable", "up"])?;
        }
        Ok(network)
    }
}

/// While it lives, Herald's IPv4 address is not there: what the router sends to it is lost without a word.
pub(super) struct WithoutHerald<'a>(&'a Network);

impl Network {
    /// Takes Herald's IPv4 address away for a while. The router keeps the card's address, so that its packets leave.
    pub(super) fn without_herald(&self) -> Result<WithoutHerald<'_>> {
        let (a, b) = (self.herald.as_str(), self.router.as_str());
        let card = Command::new("ip")
            .args(["netns", "exec", a, "cat", "/sys/class/net/cable/address"])
            .output()
            .context("starting ip netns exec")?;
        let card = String::from_utf8_lossy(&card.stdout).trim().to_owned();
        let address = format!("{HERALD_V4}/24");
        ip(&[
            "-n",
            b,
            "neighbour",
            "replace",
            HERALD_V4,
            "lladdr",
            &card,
            "dev",
            "cable",
            "nud",
            "permanent",
        ])?;
        ip(&["-n", a, "address", "delete", &address, "dev", "cable"])?;
        Ok(WithoutHerald(self))
    }
}

impl Drop for WithoutHerald<'_> {
    fn drop(&mut self) {
        let (a, b) = (self.0.herald.as_str(), self.0.router.as_str());
        // The case that misses one of these says so: nothing arrives then.
        let _back = ip(&["-n", a, "address", "add", &format!("{HERALD_V4}/24"), "dev", "cable"]);
        let _forgotten = ip(&["-n", b, "neighbour", "delete", HERALD_V4, "dev", "cable"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.herald, &self.router] {
            // Gone already is as good.
            let _gone = ip(&["netns", "delete", namespace]);
        }
    }
}

/// Removes what a run left behind that was killed.
fn sweep() {
    let listed = Command::new("ip").args(["netns", "list"]).output();
    let text = listed.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    for name in text.lines().filter_map(|line| line.split(' ').next()) {
        let owner = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            // Somebody else may have been faster.
            let _gone = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(words).output().context("starting ip")?;
    ensure!(
        done.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}
