//! Routes of the router, read from where packets are forwarded: the kernel's table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use serde::Deserialize;

/// Each prefix with its next hops.
pub type RouteTable = BTreeMap<IpNet, BTreeSet<IpAddr>>;

/// Reads what `ip -json route show` says.
///
/// # Errors
/// When the text is not that.
pub fn from_json(text: &str) -> Result<RouteTable> {
    if text.trim().is_empty() {
        return Ok(RouteTable::new());
    }
    let rows: Vec<Row> = serde_json::from_str(text).context("reading the kernel's routes")?;
    let mut table = RouteTable::new();
    for row in rows {
        let hops = row.nexthops.iter().filter_map(|hop| hop.gateway);
        table.entry(prefix(&row.dst)?).or_default().extend(hops.chain(row.gateway));
    }
    Ok(table)
}

#[derive(Deserialize)]
struct Row {
    dst: String,
    gateway: Option<IpAddr>,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

#[derive(Deserialize)]
struct Hop {
    gateway: Option<IpAddr>,
}

/// `ip` leaves out the length of a host route.
fn prefix(text: &str) -> Result<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => text.parse().with_context(|| format!("{text} is no prefix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &[(&str, &[&str])]) {
        let expected: RouteTable = expected
            .iter()
            .map(|(dst, hops)| (dst.parse().unwrap(), hops.iter().map(|hop| hop.parse().unwrap()).collect()))
            .collect();
        assert_eq!(from_json(json).unwrap(), expected);
    }

    #[test]
    fn one_and_many_next_hops_of_both_families_are_read() {
        check("", &[]);
        check("[ ]", &[]);
        check(
            r#"[{"dst":"10.0.4.1","nhid":11,"gateway":"10.0.2.11","dev":"lan","protocol":"bgp","metric":20,"flags":[]}]"#,
            &[("10.0.4.1/32", &["10.0.2.11"])],
        );
        check(
            r#"[{"dst":"fd00:10:4::/112","protocol":"bgp","nexthops":[{"gateway":"fe80::1","dev":"lan","weight":1},{"gateway":"fe80::2","dev":"lan"}]}]"#,
            &[("fd00:10:4::/112", &["fe80::1", "fe80::2"])],
        );
    }
}
