//! ExaBGP as a router: it keeps no table, so what it hands to its program is counted.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;

use super::router::{Family, HERALD_ASN, Router, Setup};
use crate::daemon::{Process, folder};

/// Where its program writes what came in.
const RECEIVED: &str = "received";

pub(super) fn start(namespace: &str, setup: &Setup) -> Result<Process> {
    let folder = folder("exabgp")?;
    let program = folder.join("watch");
    let received = folder.join(RECEIVED);
    // Its standard output has to stay open, or ExaBGP starts it anew.
    let loop_forever = "while read -r line; do printf '%s\\n' \"$line\" >>";
    std::fs::write(&program, format!("#!/bin/sh\n{loop_forever} {}; done\n", received.display()))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let password =
        setup.password.map_or_else(String::new, |password| format!("md5-password \"{password}\"; "));
    let as4 = if setup.two_octet { "asn4 disable; " } else { "" };
    let near = if setup.near_only { "incoming-ttl 255; " } else { "" };
    let passive = !setup.dials;
    let text = format!(
        "process watch {{ run {}; encoder json; }}\nneighbor {} {{ router-id 192.0.2.1; local-address {}; \
         local-as {}; peer-as {HERALD_ASN}; passive {passive}; hold-time 9; {password}{near}\
         family {{ ipv4 unicast; ipv6 unicast; }} capability {{ {as4}route-refresh enable; }} \
         api {{ processes [ watch ]; receive {{ parsed; update; }} }} }}\n",
        program.display(),
        setup.herald(),
        setup.router(),
        setup.router_asn(),
    );
    std::fs::write(folder.join("exabgp.conf"), text)?;
    let bind = format!("exabgp.tcp.bind={}", setup.router());
    let words = [
        "env",
        "exabgp.daemon.user=root",
        "exabgp.api.cli=false",
        "exabgp.tcp.port=179",
        &bind,
        "exabgp",
        "exabgp.conf",
    ];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Process::start_in(namespace, folder, &words)
}

pub(super) fn count(router: &Router, family: Family) -> Result<usize> {
    let text = std::fs::read_to_string(router.process().folder().join(RECEIVED)).unwrap_or_default();
    let mark = match family {
        Family::V4 => "10.0.",
        Family::V6 => "fd00::",
    };
    let mut present = BTreeSet::new();
    for line in text.lines() {
        let withdrawn = line.find("\"withdraw\"").unwrap_or(usize::MAX);
        let announced = line.find("\"announce\"").unwrap_or(usize::MAX);
        for (at, _) in line.match_indices("\"nlri\": \"") {
            let prefix = line[at..].split('"').nth(3).unwrap_or_default();
            if !prefix.starts_with(mark) {
                continue;
            }
            // The part that begins last before the prefix is the one that it is in.
            let in_withdrawn = withdrawn < at && (announced > at || announced < withdrawn);
            if in_withdrawn {
                present.remove(prefix)
            } else {
                present.insert(prefix)
            };
        }
    }
    Ok(present.len())
}
