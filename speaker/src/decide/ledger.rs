//! Who contributes to which prefix, counted, and the route sets that follow for the peers.
//!
//! Several Services may ask for one prefix (a shared address, an aggregate), so a prefix goes only when its last
//! contribution does. Counts are kept by advertisement terms and not by Service, which keeps an aggregate over a
//! thousand Services as small as one. Peers that are told the same things share one route set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::community::CommunityValue;
use bgp_proto::{Community, LargeCommunity, PathAttrs, Prefix, RouteSet};

use super::rules::Rules;
use super::verdict::{Announcement, Terms};
use crate::plan::PeerPlan;

/// From this share of touched prefixes on (one in so many), building a route set anew is cheaper than patching it.
const REBUILD_SHARE: usize = 4;

/// Contributions by prefix, and the route sets made of them.
#[derive(Debug, Default)]
pub struct Ledger {
    contributions: BTreeMap<Prefix, BTreeMap<Arc<Terms>, u32>>,
    /// Prefixes whose contributions changed since the route sets were last brought up to date.
    touched: BTreeSet<Prefix>,
    routes: BTreeMap<Audience, Arc<RouteSet>>,
    attrs: AttrsPool,
}

/// The advertisements that name a peer; peers named by the same ones are told the same routes.
pub type Audience = BTreeSet<String>;

impl Ledger {
    /// One Service contributes this announcement.
    pub fn add(&mut self, announcement: &Announcement) {
        let terms = self.contributions.entry(announcement.prefix).or_default();
        let count = terms.entry(Arc::clone(&announcement.terms)).or_insert(0);
        *count = count.saturating_add(1);
        if *count == 1 {
            self.touched.insert(announcement.prefix);
        }
    }

    /// That Service does so no longer.
    pub fn remove(&mut self, announcement: &Announcement) {
        let Some(terms) = self.contributions.get_mut(&announcement.prefix) else { return };
        let Some(count) = terms.get_mut(&announcement.terms) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            terms.remove(&announcement.terms);
            self.touched.insert(announcement.prefix);
        }
        if terms.is_empty() {
            self.contributions.remove(&announcement.prefix);
        }
    }

    /// Whether some prefix has to be looked at again.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Brings the routes of this node's peers up to date with the contributions. What did not change keeps its
    /// `Arc`: whole sets, and inside a set all parts that were not touched.
    pub fn settle(
        &mut self,
        rules: &Rules,
        before: &BTreeMap<String, PeerPlan>,
    ) -> BTreeMap<String, PeerPlan> {
        let touched = std::mem::take(&mut self.touched);
        let known = std::mem::take(&mut self.routes);
        let mut plans = BTreeMap::new();
        for (name, peer) in rules.peers() {
            let audience = rules.audience(name);
            let routes = match (self.routes.get(&audience), known.get(&audience)) {
                (Some(shared), _) => Arc::clone(shared),
                (None, Some(routes)) => self.patch(name, routes, &touched),
                (None, None) => self.rebuild(name, before.get(name).map(|plan| &plan.routes)),
            };
            self.routes.insert(audience, Arc::clone(&routes));
            plans.insert(name.clone(), PeerPlan { peer: Arc::clone(peer), routes });
        }
        self.attrs.forget_unused();
        plans
    }

    /// The route set after another look at the touched prefixes.
    fn patch(&mut self, peer: &str, routes: &Arc<RouteSet>, touched: &BTreeSet<Prefix>) -> Arc<RouteSet> {
        if touched.len() * REBUILD_SHARE > self.contributions.len() {
            return self.rebuild(peer, Some(routes));
        }
        let mut patched = Arc::clone(routes);
        for prefix in touched {
            match (patched.get(prefix), self.route(prefix, peer)) {
                (None, None) => {}
                (Some(_), None) => patched = Arc::new(patched.without(prefix)),
                (Some(had), Some(wanted)) if **had == *wanted => {}
                (_, Some(wanted)) => patched = Arc::new(patched.with(*prefix, wanted)),
            }
        }
        patched
    }

    /// The route set made anew; the former one if they turn out equal.
    fn rebuild(&mut self, peer: &str, before: Option<&Arc<RouteSet>>) -> Arc<RouteSet> {
        let attrs = &mut self.attrs;
        let routes = self.contributions.iter().filter_map(|(prefix, terms)| {
            merged(terms.keys(), peer).map(|merged| (*prefix, attrs.share(merged)))
        });
        let rebuilt = RouteSet::from_iter(routes);
        match before {
            Some(before) if RouteSet::diff(before, &rebuilt).next().is_none() => Arc::clone(before),
            Some(_) | None => Arc::new(rebuilt),
        }
    }

    fn route(&mut self, prefix: &Prefix, peer: &str) -> Option<Arc<PathAttrs>> {
        let merged = merged(self.contributions.get(prefix)?.keys(), peer)?;
        Some(self.attrs.share(merged))
    }
}

/// One route out of all contributions to a prefix that reach the peer: communities united, the highest LOCAL_PREF.
/// `None` when none of them reaches it. The order of the contributions does not matter.
pub(super) fn merged<'a>(
    contributions: impl Iterator<Item = &'a Arc<Terms>>,
    peer: &str,
) -> Option<PathAttrs> {
    let mut communities = BTreeSet::new();
    let mut highest: Option<(u32, Option<u32>)> = None;
    for terms in contributions.filter(|terms| terms.reaches(peer)) {
        communities.extend(terms.communities.iter().copied());
        highest = highest.max(Some((terms.effective_local_pref(), terms.local_pref)));
    }
    let (_, local_pref) = highest?;
    let mut attrs = PathAttrs { local_pref, ..PathAttrs::default() };
    for community in communities {
        match community {
            CommunityValue::Standard(value) => attrs.communities.push(Community(value)),
            CommunityValue::Large(global, local1, local2) => {
                attrs.large_communities.push(LargeCommunity { global, local1, local2 });
            }
        }
    }
    Some(attrs)
}

/// Attributes in use, so that equal ones are one allocation and compare by pointer on the way to the wire.
#[derive(Debug, Default)]
struct AttrsPool(BTreeSet<Arc<PathAttrs>>);

impl AttrsPool {
    fn share(&mut self, attrs: PathAttrs) -> Arc<PathAttrs> {
        if let Some(shared) = self.0.get(&attrs) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(attrs);
        self.0.insert(Arc::clone(&shared));
        shared
    }

    fn forget_unused(&mut self) {
        self.0.retain(|attrs| Arc::strong_count(attrs) > 1);
    }
}
