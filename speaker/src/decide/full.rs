//! The whole plan made from scratch: the definition of what [`super::Announcer`] keeps up to date.

use std::collections::BTreeMap;
use std::sync::Arc;

use bgp_proto::{Prefix, RouteSet};

use super::decide;
use super::ledger::{Share, merged, share};
use super::rules::Rules;
use super::snapshot::Snapshot;
use super::verdicts::Verdicts;
use crate::plan::{PeerPlan, Plan};

/// The plan for a snapshot in which nobody lingers. Its `version` is 0, since a version counts what was published.
#[must_use]
pub fn announcements(snapshot: &Snapshot) -> Plan {
    let rules = Rules::new(&snapshot.surroundings, None);
    let mut verdicts = Verdicts::default();
    let mut contributions: BTreeMap<Prefix, Vec<Share>> = BTreeMap::new();
    for (key, service) in &snapshot.services {
        let verdict = decide(service, &snapshot.circumstances(key), &rules);
        for announcement in verdict.announcements() {
            contributions.entry(announcement.prefix).or_default().push(share(announcement));
        }
        verdicts.set(key.clone(), verdict);
    }
    let peers = rules.peers().iter().map(|(name, peer)| {
        let routes = contributions.iter().filter_map(|(prefix, shares)| {
            let shares = shares.iter().map(|share| (share, 1));
            merged(shares, peer).map(|attrs| (*prefix, Arc::new(attrs)))
        });
        (name.clone(), PeerPlan { peer: Arc::clone(peer), routes: Arc::new(RouteSet::from_iter(routes)) })
    });
    let able = Arc::new(rules.able());
    Plan { peers: peers.collect(), verdicts: Arc::new(verdicts), able, synced: true, ..Plan::unsynced() }
}
