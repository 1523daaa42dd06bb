//! GoBGP as a router.

use anyhow::{Context as _, Result};

use super::network::{ROUTER_V4, ROUTER_V6};
use super::router::{Family, HERALD_ASN, Router, Setup};
use crate::daemon::{Process, folder};

pub(super) fn start(namespace: &str, setup: &Setup) -> Result<Process> {
    let password =
        setup.password.map_or_else(String::new, |password| format!("  auth-password = \"{password}\"\n"));
    let passive = !setup.dials;
    let mut text = format!(
        "[global.config]\n as = {}\n router-id = \"192.0.2.1\"\n port = 179\n \
         local-address-list = [\"{ROUTER_V4}\", \"{ROUTER_V6}\"]\n[[neighbors]]\n [neighbors.config]\n  \
         neighbor-address = \"{}\"\n  peer-as = {HERALD_ASN}\n{password} [neighbors.transport.config]\n  \
         passive-mode = {passive}\n [neighbors.timers.config]\n  hold-time = 9\n  keepalive-interval = 3\n \
         [neighbors.graceful-restart.config]\n  enabled = true\n  restart-time = 60\n",
        setup.router_asn(),
        setup.herald(),
    );
    for family in ["ipv4-unicast", "ipv6-unicast"] {
        text += &format!(
            " [[neighbors.afi-safis]]\n  [neighbors.afi-safis.config]\n   afi-safi-name = \"{family}\"\n  \
             [neighbors.afi-safis.mp-graceful-restart.config]\n   enabled = true\n"
        );
    }
    if setup.near_only {
        text += " [neighbors.ttl-security.config]\n  enabled = true\n  ttl-min = 255\n";
    }
    let folder = folder("gobgp")?;
    std::fs::write(folder.join("gobgpd.toml"), text)?;
    let words = ["gobgpd", "-f", "gobgpd.toml", "--pprof-disable", "--api-hosts=127.0.0.1:50051"];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Process::start_in(namespace, folder, &words)
}

pub(super) fn count(router: &Router, family: Family) -> Result<usize> {
    let name = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let summary = router.ask(&["gobgp", "global", "rib", "-a", name, "summary"])?;
    let count = summary.split("Destination:").nth(1).and_then(|rest| rest.split([',', '\n']).next());
    Ok(count.context("no count in the summary")?.trim().parse()?)
}

pub(super) fn shut_down(router: &Router, text: &str) -> Result<()> {
    router.ask(&["gobgp", "neighbor", router.setup().herald(), "disable", "--reason", text]).map(|_| ())
}
