//! FRR's bgpd as a router: no zebra, so its table stays its own.

use std::fmt::Write as _;

use anyhow::Result;

use super::router::{Family, HERALD_ASN, Router, Setup};
use crate::daemon::{Process, folder};

pub(super) fn start(namespace: &str, setup: &Setup) -> Result<Process> {
    let peer = setup.herald();
    let mut text = format!(
        "router bgp {}\n bgp router-id 192.0.2.1\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n \
         neighbor {peer} remote-as {HERALD_ASN}\n neighbor {peer} timers 3 9\n",
        setup.router_asn()
    );
    let opening = if setup.dials { "timers connect 10" } else { "passive" };
    writeln!(text, " neighbor {peer} {opening}")?;
    if setup.near_only {
        writeln!(text, " neighbor {peer} ttl-security hops 1")?;
    } else if !setup.internal {
        writeln!(text, " neighbor {peer} disable-connected-check")?;
    }
    if let Some(password) = setup.password {
        writeln!(text, " neighbor {peer} password {password}")?;
    }
    for family in ["ipv4", "ipv6"] {
        writeln!(text, " address-family {family} unicast\n  neighbor {peer} activate\n exit-address-family")?;
    }
    let folder = folder("frr")?;
    std::fs::write(folder.join("bgpd.conf"), text)?;
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (file, pid, vty) = (path("bgpd.conf"), path("bgpd.pid"), folder.to_string_lossy().into_owned());
    let words =
        ["/usr/lib/frr/bgpd", "-f", &file, "-i", &pid, "-Z", "-S", "-n", "-P", "0", "--vty_socket", &vty];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Process::start_in(namespace, folder, &words)
}

pub(super) fn count(router: &Router, family: Family) -> Result<usize> {
    let (name, mark) = match family {
        Family::V4 => ("ipv4", "10.0."),
        Family::V6 => ("ipv6", "fd00::"),
    };
    let table = vtysh(router, &[&format!("show bgp {name} unicast")])?;
    Ok(table.lines().filter(|line| line.contains(mark)).count())
}

pub(super) fn refresh(router: &Router) -> Result<()> {
    vtysh(router, &["clear bgp * soft in"]).map(|_| ())
}

pub(super) fn shut_down(router: &Router, text: &str) -> Result<()> {
    let bgp = format!("router bgp {}", router.setup().router_asn());
    let shutdown = format!("neighbor {} shutdown message {text}", router.setup().herald());
    vtysh(router, &["configure terminal", &bgp, &shutdown]).map(|_| ())
}

fn vtysh(router: &Router, commands: &[&str]) -> Result<String> {
    let folder = router.process().folder().to_string_lossy().into_owned();
    let mut words = vec!["vtysh", "--vty_socket", &folder, "-d", "bgpd"];
    for command in commands {
        words.extend(["-c", command]);
    }
    router.ask(&words)
}
