//! GoBGP: a neighbour in TOML, the routes from an archive file of our own making.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use yardstick::router::ROUTER_ASN;

use super::{PATIENCE, Process, SPEAKER_ADDRESS, SPEAKER_ASN, addresses, free_port, process};

use crate::pause;

/// Its loader loses the last records of a file, some hundreds: they are a route that is there already.
const PADDING: usize = 3_000;
/// Holds the port of its API.
const API: &str = "api.port";

pub(super) fn start(sink: SocketAddr, routes: usize) -> Result<Process> {
    let (port, api) = (free_port()?, free_port()?);
    let text = format!(
        "[global.config]\n as = {SPEAKER_ASN}\n router-id = \"192.0.2.7\"\n port = {port}\n \
         local-address-list = [\"{SPEAKER_ADDRESS}\"]\n[[neighbors]]\n [neighbors.config]\n  \
         neighbor-address = \"{}\"\n  peer-as = {ROUTER_ASN}\n [neighbors.transport.config]\n  remote-port = {}\n  \
         local-address = \"{SPEAKER_ADDRESS}\"\n [neighbors.ebgp-multihop.config]\n  enabled = true\n  \
         multihop-ttl = 3\n [neighbors.timers.config]\n  connect-retry = 1\n",
        sink.ip(),
        sink.port(),
    );
    let folder = process::folder("gobgp")?;
    std::fs::write(folder.join("gobgpd.toml"), text)?;
    std::fs::write(folder.join(API), api.to_string())?;
    std::fs::write(folder.join("hosts.mrt"), archive(routes))?;
    let hosts = format!("--api-hosts={SPEAKER_ADDRESS}:{api}");
    let process = Process::start(folder, "gobgpd", &["-f", "gobgpd.toml", "--pprof-disable", &hosts])?;
    wait_for_api(&process)?;
    ask(&process, &["mrt", "inject", "global", "hosts.mrt"])?;
    wait_for_routes(&process, routes)?;
    Ok(process)
}

/// Waits until all routes are in its table.
fn wait_for_routes(process: &Process, routes: usize) -> Result<()> {
    let start = Instant::now();
    loop {
        let summary = ask(process, &["global", "rib", "summary"])?;
        let count = summary.split("Destination:").nth(1).and_then(|rest| rest.split([',', '\n']).next());
        let count: usize = count.context("no count in the summary")?.trim().parse()?;
        if count == routes {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{count} of {routes} routes are in the table");
        pause(Duration::from_millis(100));
    }
}

fn wait_for_api(process: &Process) -> Result<()> {
    let start = Instant::now();
    while let Err(fault) = ask(process, &["global"]) {
        if start.elapsed() > PATIENCE {
            bail!(fault);
        }
        pause(Duration::from_millis(100));
    }
    Ok(())
}

fn ask(process: &Process, words: &[&str]) -> Result<String> {
    let port = std::fs::read_to_string(process.folder().join(API))?;
    let done = Command::new("gobgp")
        .args(["-u", SPEAKER_ADDRESS, "-p", &port])
        .args(words)
        .current_dir(process.folder())
        .output()
        .context("starting gobgp")?;
    ensure!(done.status.success(), "gobgp {words:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A TABLE_DUMP_V2 file (RFC 6396 §4.3): one peer, one host route a record.
fn archive(routes: usize) -> Vec<u8> {
    const ATTRIBUTES: [u8; 14] = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 7];
    let mut file = Vec::new();
    let [a, b, c, d] = SPEAKER_ASN.to_be_bytes();
    // Collector, no view name, one IPv4 peer with a four-octet AS number.
    put_record(&mut file, 1, &[192, 0, 2, 7, 0, 0, 0, 1, 2, 192, 0, 2, 7, 192, 0, 2, 7, a, b, c, d]);
    let padding = std::iter::repeat_n([10, 0, 0, 0].into(), PADDING);
    for (number, address) in (0_u32..).zip(addresses(routes).chain(padding)) {
        let mut body = number.to_be_bytes().to_vec();
        body.push(32);
        body.extend(address.octets());
        body.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, ATTRIBUTES.len() as u8]);
        body.extend(ATTRIBUTES);
        put_record(&mut file, 2, &body);
    }
    file
}

fn put_record(file: &mut Vec<u8>, subtype: u16, body: &[u8]) {
    file.extend([0, 0, 0, 0, 0, 13]);
    file.extend(subtype.to_be_bytes());
    file.extend((body.len() as u32).to_be_bytes());
    file.extend(body);
}
