//! BIRD 2 as a router.

use anyhow::{Context as _, Result};

use super::router::{Family, HERALD_ASN, Router, Setup};
use crate::daemon::{Process, folder};

pub(super) fn start(namespace: &str, setup: &Setup) -> Result<Process> {
    let password = setup.password.map_or_else(String::new, |password| format!("password \"{password}\"; "));
    let as4 = if setup.two_octet { "enable as4 off; " } else { "" };
    let near = if setup.near_only { "ttl security on; " } else { "" };
    let opening = if setup.dials { "connect delay time 1; connect retry time 60; " } else { "passive; " };
    let text = format!(
        "router id 192.0.2.1;\nlog stderr all;\nprotocol device {{ }}\nprotocol bgp herald1 {{ local {} as {}; \
         neighbor {} as {HERALD_ASN}; hold time 9; enable extended messages on; {opening}{password}{as4}{near}\
         ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n",
        setup.router(),
        setup.router_asn(),
        setup.herald(),
    );
    let folder = folder("bird")?;
    std::fs::write(folder.join("bird.conf"), text)?;
    let words = ["/usr/sbin/bird", "-c", "bird.conf", "-s", "bird.ctl", "-P", "bird.pid", "-f"];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Process::start_in(namespace, folder, &words)
}

pub(super) fn count(router: &Router, family: Family) -> Result<usize> {
    let table = match family {
        Family::V4 => "master4",
        Family::V6 => "master6",
    };
    let answer = birdc(router, &["show", "route", "table", table, "count"])?;
    let line = answer.lines().find(|line| line.contains(" routes for ")).context("no count in the answer")?;
    Ok(line.split(' ').next().unwrap_or_default().parse()?)
}

pub(super) fn refresh(router: &Router) -> Result<()> {
    birdc(router, &["reload", "in", "herald1"]).map(|_| ())
}

pub(super) fn shut_down(router: &Router, text: &str) -> Result<()> {
    birdc(router, &["disable", "herald1", &format!("\"{text}\"")]).map(|_| ())
}

fn birdc(router: &Router, words: &[&str]) -> Result<String> {
    router.ask(&[&["/usr/sbin/birdc", "-s", "bird.ctl"], words].concat())
}
