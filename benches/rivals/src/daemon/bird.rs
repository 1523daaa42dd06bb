//! BIRD 2: static routes, one BGP protocol.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Result;
use yardstick::router::ROUTER_ASN;

use super::{Process, SPEAKER_ADDRESS, SPEAKER_ASN, addresses, free_port, process};

pub(super) fn start(sink: SocketAddr, routes: usize) -> Result<Process> {
    let port = free_port()?;
    let mut text = format!(
        "router id 192.0.2.7;\nlog stderr {{ error, fatal, bug }};\nprotocol device {{ }}\n\
         protocol bgp sink1 {{ local {SPEAKER_ADDRESS} port {port} as {SPEAKER_ASN}; \
         neighbor {} port {} as {ROUTER_ASN}; multihop; strict bind; connect delay time 1; connect retry time 1; \
         ipv4 {{ import all; export where source = RTS_STATIC; next hop self; }}; }}\nprotocol static hosts {{ ipv4;\n",
        sink.ip(),
        sink.port(),
    );
    for address in addresses(routes) {
        writeln!(text, "route {address}/32 blackhole;")?;
    }
    text.push_str("}\n");
    let folder = process::folder("bird")?;
    std::fs::write(folder.join("bird.conf"), text)?;
    Process::start(folder, "/usr/sbin/bird", &["-c", "bird.conf", "-s", "bird.ctl", "-P", "bird.pid", "-f"])
}
