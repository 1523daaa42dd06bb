//! The answer to `GET /routes`: every wanted route, who is told, and the Services behind it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::herald::answer::MAX_SERVICES_LISTED;
use api::herald::{RoutePeer, RouteState, RoutesReport, Told};
use api::service::ServiceKey;
use bgp_proto::wire::community::LinkBandwidth;
use bgp_proto::{PathAttrs, Prefix};

use crate::plan::{Plan, SessionPhase, SessionRow, SessionTable};

/// All routes of the plan. Made on demand, in one pass over plan and verdicts.
#[must_use]
pub fn report(node: &str, plan: &Plan, table: &SessionTable) -> RoutesReport {
    RoutesReport { node: node.to_owned(), synced: plan.synced, routes: first(plan, table, usize::MAX) }
}

/// The routes of the first so many prefixes.
#[must_use]
pub fn first(plan: &Plan, table: &SessionTable, prefixes: usize) -> Vec<RouteState> {
    let mut routes: BTreeMap<Prefix, BTreeMap<Arc<PathAttrs>, Vec<RoutePeer>>> = BTreeMap::new();
    for (name, peer) in &plan.peers {
        let rows: Vec<(&str, &SessionRow)> = table.rows_of(name).collect();
        for (prefix, attrs) in peer.routes.iter().take(prefixes) {
            let peers = routes.entry(prefix).or_default().entry(Arc::clone(attrs)).or_default();
            let told = rows.iter().filter_map(|(row, session)| {
                Some(RoutePeer { peer: (*row).to_owned(), told: told(session, prefix, attrs)? })
            });
            peers.extend(told);
            if rows.is_empty() {
                peers.push(RoutePeer { peer: name.clone(), told: Told::SessionDown });
            }
        }
    }
    while routes.len() > prefixes {
        routes.pop_last();
    }
    let mut behind: BTreeMap<Prefix, Behind<'_>> = BTreeMap::new();
    for (service, verdict) in plan.verdicts.iter() {
        for announcement in verdict.announcements() {
            if routes.contains_key(&announcement.prefix) {
                behind.entry(announcement.prefix).or_default().add(service);
            }
        }
    }
    let state = |prefix: Prefix, attrs: &PathAttrs, peers| {
        let behind = behind.get(&prefix);
        RouteState {
            prefix: prefix.to_string(),
            local_pref: attrs.local_pref,
            med: attrs.med,
            prepend: attrs.prepend,
            communities: communities(attrs),
            peers,
            services: behind.into_iter().flat_map(|behind| &behind.listed).map(ToString::to_string).collect(),
            services_total: behind.map_or(0, |behind| behind.total),
        }
    };
    let of_prefix = |(prefix, told): (Prefix, BTreeMap<Arc<PathAttrs>, Vec<RoutePeer>>)| {
        told.into_iter().map(move |(attrs, peers)| (prefix, attrs, peers))
    };
    routes
        .into_iter()
        .flat_map(of_prefix)
        .map(|(prefix, attrs, peers)| state(prefix, &attrs, peers))
        .collect()
}

/// The Services behind a prefix.
#[derive(Default)]
struct Behind<'a> {
    listed: Vec<&'a ServiceKey>,
    last: Option<&'a ServiceKey>,
    total: u32,
}

impl<'a> Behind<'a> {
    /// Services come in order, and one may make the same prefix several times.
    fn add(&mut self, service: &'a ServiceKey) {
        if self.last.replace(service) == Some(service) {
            return;
        }
        self.total = self.total.saturating_add(1);
        if self.listed.len() < MAX_SERVICES_LISTED {
            self.listed.push(service);
        }
    }
}

/// How far a route is on one session; `None` where the session does not carry its address family. A session tells its
/// table as a whole, so while something is not written yet, each of its routes may be the one.
#[must_use]
pub(super) fn told(row: &SessionRow, prefix: Prefix, attrs: &Arc<PathAttrs>) -> Option<Told> {
    if !row.carries.contains(prefix.family()) {
        return None;
    }
    let is_written =
        || row.written.as_ref().and_then(|written| written.get(&prefix)).is_some_and(|told| told == attrs);
    Some(if row.phase != SessionPhase::Established {
        Told::SessionDown
    } else if !is_written() {
        Told::Pending
    } else if row.unacknowledged == Some(0) {
        Told::Acknowledged
    } else {
        Told::Sent
    })
}

fn communities(attrs: &PathAttrs) -> Vec<String> {
    let standard = attrs.communities.iter().map(ToString::to_string);
    let large = attrs.large_communities.iter().map(|community| format!("large:{community}"));
    let extended = attrs.ext_communities.iter().map(|octets| match LinkBandwidth::from_octets(*octets) {
        Some(share) => format!("link-bandwidth:{}:{}", share.asn, share.octets_per_second),
        None => octets.iter().map(|octet| format!("{octet:02x}")).collect(),
    });
    standard.chain(large).chain(extended).collect()
}
