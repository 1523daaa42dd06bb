//! ExaBGP: static routes as blocks that it splits itself.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use yardstick::router::ROUTER_ASN;

use super::{Process, SPEAKER_ADDRESS, SPEAKER_ASN, process};

pub(super) fn start(sink: SocketAddr, routes: usize) -> Result<Process> {
    let mut text = format!(
        "neighbor {} {{ router-id 192.0.2.7; local-address {SPEAKER_ADDRESS}; local-as {SPEAKER_ASN}; \
         peer-as {ROUTER_ASN}; connect {}; hold-time 90; family {{ ipv4 unicast; }}\n static {{\n",
        sink.ip(),
        sink.port(),
    );
    for (address, bits) in blocks(u32::try_from(routes)?) {
        writeln!(text, "  route {address}/{bits} next-hop {SPEAKER_ADDRESS} split /32;")?;
    }
    text.push_str(" }\n}\n");
    let folder = process::folder("exabgp")?;
    std::fs::write(folder.join("exabgp.conf"), text)?;
    let arguments = ["exabgp.daemon.user=root", "exabgp.api.cli=false", "exabgp", "exabgp.conf"];
    Process::start(folder, "/usr/bin/env", &arguments)
}

/// `count` addresses from 10.0.0.0 on, as the largest blocks.
fn blocks(mut count: u32) -> Vec<(Ipv4Addr, u32)> {
    let mut blocks = Vec::new();
    let mut at = 0x0A00_0000_u32;
    while count > 0 {
        let size = 1 << count.ilog2();
        blocks.push((Ipv4Addr::from_bits(at), 32 - count.ilog2()));
        at += size;
        count -= size;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_add_up_to_the_count() {
        let sizes = |count| blocks(count).iter().map(|(_, bits)| 1_u32 << (32 - bits)).sum::<u32>();
        for count in [1, 2, 1_000, 10_000, 100_000] {
            assert_eq!(sizes(count), count);
        }
        assert_eq!(blocks(5), [(Ipv4Addr::new(10, 0, 0, 0), 30), (Ipv4Addr::new(10, 0, 0, 4), 32)]);
    }
}
