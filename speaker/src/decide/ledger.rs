//! Who contributes to which prefix, counted, and the route sets that follow for the peers.
//!
//! Several Services may ask for one prefix (a shared address, an aggregate), so a prefix goes only when its last
//! contribution does. Counts are kept by advertisement terms and not by Service, which keeps an aggregate over a
//! thousand Services as small as one. Peers that are told the same things share one route set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::community::CommunityValue;
use api::config::Peer;
use bgp_proto::wire::community::LinkBandwidth;
use bgp_proto::{Asn, Community, LargeCommunity, PathAttrs, Prefix, RouteSet};

use super::known::fill;
use super::rules::Rules;
use super::verdict::{Announcement, Terms};
use crate::plan::PeerPlan;

/// From this share of touched prefixes on (one in so many), building a route set anew is cheaper than patching it.
const REBUILD_SHARE: usize = 4;

/// Contributions by prefix, and the route sets made of them.
#[derive(Debug, Default)]
pub struct Ledger {
    contributions: BTreeMap<Prefix, Shares>,
    /// Prefixes whose contributions changed since the route sets were last brought up to date.
    touched: BTreeSet<Prefix>,
    routes: BTreeMap<Audience, Arc<RouteSet>>,
    attrs: AttrsPool,
}

/// What one Service contributes to a prefix: what the advertisement says, and what this node is worth.
pub(super) type Share = (Arc<Terms>, Option<u32>);

/// Peers of one audience are told the same routes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Audience {
    /// The advertisements that name the peer.
    pub(super) advertisements: BTreeSet<String>,
    /// Our AS number on the session, where an attribute holds it: link bandwidth does.
    pub(super) local_asn: Option<u32>,
}

/// What a node with one endpoint is said to carry. Routers compare paths, so only the ratio counts.
const BITS_PER_ENDPOINT: f32 = 1e9;

impl Ledger {
    /// One Service contributes this announcement.
    pub fn add(&mut self, announcement: &Announcement) {
        let shares = self.contributions.entry(announcement.prefix).or_default();
        let count = shares.add(share(announcement));
        // A weighed share counts as often as it is there; any other is there or not.
        if count == 1 || announcement.weight.is_some() {
            self.touched.insert(announcement.prefix);
        }
    }

    /// That Service does so no longer.
    pub fn remove(&mut self, announcement: &Announcement) {
        let Some(shares) = self.contributions.get_mut(&announcement.prefix) else { return };
        let Some(count) = shares.remove(&share(announcement)) else { return };
        if count == 0 || announcement.weight.is_some() {
            self.touched.insert(announcement.prefix);
        }
        if shares.is_empty() {
            self.contributions.remove(&announcement.prefix);
        }
    }

    /// Takes as little memory as it can, at the cost of a look at everything.
    pub fn fill(&mut self) {
        fill(&mut self.contributions);
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
            let audience = rules.audience(peer);
            let routes = match (self.routes.get(&audience), known.get(&audience)) {
                (Some(shared), _) => Arc::clone(shared),
                (None, Some(routes)) => self.patch(peer, routes, &touched),
                (None, None) => self.rebuild(peer, before.get(name).map(|plan| &plan.routes)),
            };
            self.routes.insert(audience, Arc::clone(&routes));
            plans.insert(name.clone(), PeerPlan { peer: Arc::clone(peer), routes });
        }
        self.attrs.forget_unused();
        plans
    }

    /// The route set after another look at the touched prefixes.
    fn patch(&mut self, peer: &Peer, routes: &Arc<RouteSet>, touched: &BTreeSet<Prefix>) -> Arc<RouteSet> {
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
    fn rebuild(&mut self, peer: &Peer, before: Option<&Arc<RouteSet>>) -> Arc<RouteSet> {
        let attrs = &mut self.attrs;
        let routes = self.contributions.iter().filter_map(|(prefix, shares)| {
            merged(shares.iter(), peer).map(|merged| (*prefix, attrs.share(merged)))
        });
        let rebuilt = RouteSet::from_iter(routes);
        match before {
            Some(before) if RouteSet::diff(before, &rebuilt).next().is_none() => Arc::clone(before),
            Some(_) | None => Arc::new(rebuilt),
        }
    }

    fn route(&mut self, prefix: &Prefix, peer: &Peer) -> Option<Arc<PathAttrs>> {
        let merged = merged(self.contributions.get(prefix)?.iter(), peer)?;
        Some(self.attrs.share(merged))
    }
}

/// The shares in a prefix, and how often each is there. Nearly always there is one; none only for a moment.
#[derive(Debug)]
enum Shares {
    One(Share, u32),
    Other(BTreeMap<Share, u32>),
}

impl Default for Shares {
    fn default() -> Self {
        Self::Other(BTreeMap::new())
    }
}

impl Shares {
    /// How often it is there with this one.
    fn add(&mut self, share: Share) -> u32 {
        match self {
            Self::One(known, count) if *known == share => {
                *count = count.saturating_add(1);
                *count
            }
            Self::One(known, count) => {
                *self = Self::Other(BTreeMap::from([(known.clone(), *count), (share, 1)]));
                1
            }
            Self::Other(shares) if shares.is_empty() => {
                *self = Self::One(share, 1);
                1
            }
            Self::Other(shares) => {
                let count = shares.entry(share).or_insert(0);
                *count = count.saturating_add(1);
                *count
            }
        }
    }

    /// How often it is still there; `None` if it was not.
    fn remove(&mut self, share: &Share) -> Option<u32> {
        match self {
            Self::One(known, count) => {
                let left = (known == share).then(|| count.saturating_sub(1))?;
                *count = left;
                if left == 0 {
                    *self = Self::default();
                }
                Some(left)
            }
            Self::Other(shares) => {
                let count = shares.get_mut(share)?;
                let left = count.saturating_sub(1);
                *count = left;
                if left == 0 {
                    shares.remove(share);
                }
                Some(left)
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::One(..) => false,
            Self::Other(shares) => shares.is_empty(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Share, u32)> {
        let (one, other) = match self {
            Self::One(share, count) => (Some((share, *count)), None),
            Self::Other(shares) => (None, Some(shares)),
        };
        one.into_iter().chain(other.into_iter().flatten().map(|(share, count)| (share, *count)))
    }
}

pub(super) fn share(announcement: &Announcement) -> Share {
    (Arc::clone(&announcement.terms), announcement.weight)
}

/// One route out of all contributions to a prefix that reach the peer, each with how often it is there: communities
/// united, and of each other attribute what routers prefer (the highest LOCAL_PREF, the shortest path, the lowest MED).
/// Endpoints are added up; a contribution that is not weighed makes the route one that is not. `None` when none of them
/// reaches the peer. The order of the contributions does not matter.
pub(super) fn merged<'a>(
    contributions: impl Iterator<Item = (&'a Share, u32)>,
    peer: &Peer,
) -> Option<PathAttrs> {
    let mut communities = BTreeSet::new();
    let mut highest: Option<(u32, Option<u32>)> = None;
    let mut prepend = u8::MAX;
    let mut med: Option<Option<u32>> = None;
    let mut weight = Some(0u32);
    for ((terms, endpoints), count) in contributions.filter(|((terms, _), _)| terms.reaches(&peer.name)) {
        communities.extend(terms.communities.iter().copied());
        highest = highest.max(Some((terms.effective_local_pref(), terms.local_pref)));
        prepend = prepend.min(terms.prepend);
        // No MED is the lowest to most routers, and a router that thinks otherwise is asked for nothing new.
        med = Some(med.map_or(terms.med, |lowest| lowest.min(terms.med)));
        weight = match (weight, *endpoints) {
            (Some(sum), Some(endpoints)) => Some(sum.saturating_add(endpoints.saturating_mul(count))),
            (None, _) | (_, None) => None,
        };
    }
    let (_, local_pref) = highest?;
    let mut attrs = PathAttrs { local_pref, prepend, med: med.flatten(), ..PathAttrs::default() };
    attrs.ext_communities.extend(weight.map(|endpoints| link_bandwidth(endpoints, peer.local_asn)));
    put_communities(&mut attrs, communities.into_iter());
    Some(attrs)
}

/// The longest attributes that these terms make of a prefix by themselves: with the community of a node that takes leave, and
/// with a bandwidth where endpoints are weighed.
pub(super) fn longest(terms: &Terms, weighs: bool) -> PathAttrs {
    let Terms { advertisement: _, peers: _, local_pref, med, prepend, communities } = terms;
    let mut attrs =
        PathAttrs { local_pref: *local_pref, prepend: *prepend, med: *med, ..PathAttrs::default() };
    attrs.ext_communities.extend(weighs.then(|| link_bandwidth(1, u32::MAX)));
    put_communities(&mut attrs, communities.iter().copied().chain([CommunityValue::GRACEFUL_SHUTDOWN]));
    attrs
}

fn put_communities(attrs: &mut PathAttrs, communities: impl Iterator<Item = CommunityValue>) {
    for community in communities {
        match community {
            CommunityValue::Standard(value) => attrs.communities.push(Community(value)),
            CommunityValue::Large(global, local1, local2) => {
                attrs.large_communities.push(LargeCommunity { global, local1, local2 });
            }
        }
    }
}

/// In the form that survives an eBGP hop.
fn link_bandwidth(endpoints: u32, asn: u32) -> [u8; 8] {
    // Beyond 16 million endpoints on a node the number is rounded.
    #[allow(clippy::cast_precision_loss, reason = "a ratio of endpoints needs no more precision")]
    let bits = BITS_PER_ENDPOINT * endpoints as f32;
    LinkBandwidth::from_bits_per_second(Asn(asn), bits).to_octets()
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
