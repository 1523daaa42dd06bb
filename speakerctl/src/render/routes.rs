//! The columns of `speakerctl routes`.

use api::herald::Told;

use super::{Column, Listed, Tone, column};
use crate::row::RouteRow;

impl Listed for RouteRow {
    const LIST_KIND: &'static str = "RouteList";

    fn columns(wide: bool) -> Vec<Column<Self>> {
        let mut columns: Vec<Column<Self>> = vec![
            column("NODE", |row, _| Some(row.node.clone())),
            column("PREFIX", |row, _| Some(row.route.prefix.clone())),
            Column { tone, ..column("PEERS", |row, _| Some(peers(row))) },
            column("SERVICES", |row, _| Some(services(row))),
            column("ATTRIBUTES", |row, _| Some(attributes(row))),
        ];
        if wide {
            columns.push(column("WRITTEN", |row, now| {
                row.last_written.map(|then| crate::span::since(then, now))
            }));
        }
        columns
    }

    fn name(&self) -> String {
        format!("{}/{}", self.node, self.route.prefix)
    }
}

/// `router sent`; peers at the same point are named together.
fn peers(row: &RouteRow) -> String {
    let at = |told| {
        let peers = row.route.peers.iter().filter(|peer| peer.told == told).map(|peer| peer.peer.as_str());
        let peers: Vec<&str> = peers.collect();
        (!peers.is_empty()).then(|| format!("{} {}", peers.join(","), told.word()))
    };
    let all = [Told::Acknowledged, Told::Sent, Told::Pending, Told::SessionDown].into_iter().filter_map(at);
    let all = all.collect::<Vec<_>>();
    if all.is_empty() { "carried by no session".to_owned() } else { all.join("; ") }
}

fn tone(row: &RouteRow) -> Tone {
    if row.route.is_told() { Tone::Good } else { Tone::Bad }
}

fn services(row: &RouteRow) -> String {
    let listed = row.route.services.join(",");
    let more = usize::try_from(row.route.services_total).unwrap_or(usize::MAX);
    match more.saturating_sub(row.route.services.len()) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

fn attributes(row: &RouteRow) -> String {
    let route = &row.route;
    let mut parts = Vec::new();
    parts.extend(route.local_pref.map(|value| format!("localPref={value}")));
    parts.extend(route.med.map(|value| format!("med={value}")));
    if route.prepend > 0 {
        parts.push(format!("prepend={}", route.prepend));
    }
    if !route.communities.is_empty() {
        parts.push(format!("communities={}", route.communities.join(",")));
    }
    parts.join(" ")
}
