//! A collision of connections that happens each time: both sides have dialled, both connections are open, and Herald
//! has said its OPEN on both, before the router may do anything about either.
//!
//! Herald's namespace is without its address while the router dials, so that the router's SYN waits for an answer.
//! The router's process is stopped there. When the address is back, the router's kernel completes both handshakes,
//! its own by sending the SYN again, and only then the router goes on: it finds the answer to its own call and
//! a call of Herald's side by side.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::case::eventually;
use super::network::{HERALD_V4, Network, ROUTER_V4};
use super::router::{Kind, Router, Setup};
use super::spokesman::Spokesman;

/// What a case of it asks.
pub(super) const ASKS: &str = "both sides have dialled and Herald has said OPEN on both connections before the router answers on \
     either; the one that the side with the higher identifier dialled stays (RFC 4271 §6.8), ten routes arrive over \
     it, and it is still the same four seconds later";

/// Identifiers of Herald below and above the router's.
pub(super) const LOWER: &str = "10.0.0.9";
pub(super) const HIGHER: &str = "203.0.113.9";

/// A connection between both, as Herald's kernel names its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    ours: String,
    theirs: String,
}

/// Starts both until they have two open connections.
pub(super) fn stage(
    kind: Kind,
    network: &Network,
    setup: Setup,
    start: impl FnOnce() -> Result<Spokesman>,
) -> Result<(Router, Spokesman)> {
    let deaf = network.without_herald()?;
    let router = kind.start(&network.router, setup)?;
    eventually("the router dials", || {
        Ok(!sockets(&network.router, "syn-sent", &format!("dst {HERALD_V4} and dport = 179"))?.is_empty())
    })
    .map_err(|fault| fault.context(router.process().last_words()))?;
    router.process().freeze(true)?;
    let herald = start()?;
    eventually("Herald listens", || Ok(!sockets(&network.herald, "listening", "sport = 179")?.is_empty()))?;
    drop(deaf);
    eventually("two connections with an OPEN of Herald", || {
        let open = sockets(&network.router, "established", &format!("dst {HERALD_V4}"))?;
        // What has come in and was not read is the first number of the row.
        Ok(open.len() == 2 && open.iter().all(|row| row.first().is_some_and(|octets| octets != "0")))
    })?;
    router.process().freeze(false)?;
    Ok((router, herald))
}

/// The one connection that is open.
pub(super) fn only_one(network: &Network) -> Result<Ends> {
    let open = sockets(&network.herald, "established", &format!("dst {ROUTER_V4}"))?;
    let [row] = open.as_slice() else { bail!("open connections: {open:?}") };
    let [_, _, ours, theirs, ..] = row.as_slice() else { bail!("no such row: {row:?}") };
    Ok(Ends { ours: ours.clone(), theirs: theirs.clone() })
}

/// Whether the side of the higher identifier has dialled it.
pub(super) fn check(stayed: &Ends, herald: &str) -> Result<()> {
    let number = |text: &str| text.parse::<std::net::Ipv4Addr>().context("an identifier");
    let ours_is_higher = number(herald)? > number(ROUTER_V4)?;
    let dialled = if ours_is_higher { &stayed.theirs } else { &stayed.ours };
    ensure!(dialled.ends_with(":179"), "the connection that stayed is the other side's: {stayed:?}");
    Ok(())
}

/// The rows of `ss` in a namespace, by word.
fn sockets(namespace: &str, state: &str, filter: &str) -> Result<Vec<Vec<String>>> {
    let done = Command::new("ip")
        .args(["netns", "exec", namespace, "ss", "-Htn", "state", state, filter])
        .output()
        .context("starting ss")?;
    ensure!(done.status.success(), "ss: {}", String::from_utf8_lossy(&done.stderr).trim());
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    Ok(text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
}
