//! FRR's bgpd alone: no zebra, so that nothing touches the machine's routes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Result;
use yardstick::router::ROUTER_ASN;

use super::{Process, SPEAKER_ADDRESS, SPEAKER_ASN, addresses, free_port, process};

pub(super) fn start(sink: SocketAddr, routes: usize) -> Result<Process> {
    let (peer, remote_port) = (sink.ip(), sink.port());
    let mut text = format!(
        "router bgp {SPEAKER_ASN}\n bgp router-id 192.0.2.7\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n neighbor {peer} remote-as {ROUTER_ASN}\n neighbor {peer} port {remote_port}\n \
         neighbor {peer} ebgp-multihop 3\n neighbor {peer} update-source {SPEAKER_ADDRESS}\n \
         neighbor {peer} timers connect 1\n neighbor {peer} advertisement-interval 0\n \
         address-family ipv4 unicast\n"
    );
    for address in addresses(routes) {
        writeln!(text, "  network {address}/32")?;
    }
    text.push_str(" exit-address-family\n");
    let folder = process::folder("frr")?;
    std::fs::write(folder.join("bgpd.conf"), text)?;
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (file, pid, port) = (path("bgpd.conf"), path("bgpd.pid"), free_port()?.to_string());
    let vty = folder.to_string_lossy().into_owned();
    let arguments = [
        "-f",
        &file,
        "-i",
        &pid,
        "-p",
        &port,
        "-l",
        SPEAKER_ADDRESS,
        "-Z",
        "-S",
        "-n",
        "-P",
        "0",
        "--vty_socket",
        &vty,
    ]
    .map(str::to_owned);
    Process::start(folder, "/usr/lib/frr/bgpd", &arguments)
}
