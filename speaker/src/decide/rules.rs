//! The configuration as one node sees it: only its own peers and advertisements, indexed by pool.
//!
//! Made once for each change of configuration or Node, so that deciding one Service does not look at what cannot
//! apply here. Holds no Service and no endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::community::CommunityValue;
use api::config::{Advertisement, Config, Peer};
use api::names::label;
use api::selector::Selectors;
use api::service::TrafficPolicy;
use api::v1beta1::{LinkBandwidth, WithoutEndpoints};

use super::ledger::{self, Audience};
use super::snapshot::{Drain, DrainStage, ExcludeLabel, Leaving, NodeFacts, Surroundings};
use super::verdict::{AddressFamily, DEFAULT_LOCAL_PREF, Reason, Terms};
use super::width::{Fleet, Width};

/// What applies on this node.
#[derive(Clone, Debug)]
pub struct Rules {
    config: Arc<Config>,
    /// The peers whose session belongs to this node, by name.
    peers: BTreeMap<String, Arc<Peer>>,
    /// The advertisements whose node selectors match, sorted by name.
    offers: Vec<Arc<Offer>>,
    /// The offers of each pool, sorted by name.
    offers_of_pool: BTreeMap<String, Vec<Arc<Offer>>>,
    /// Why this node announces nothing at all.
    bar: Option<Reason>,
    /// Whether this node takes leave.
    drain: Option<Drain>,
}

/// One advertisement of this node.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) terms: Arc<Terms>,
    pub(super) services: Selectors,
    /// Why the advertisement is withheld, in words: what its object lacks, or that what it says fits no message.
    pub(super) refusal: Option<String>,
    /// LOCAL_PREF as configured, also while a drain puts another one into the terms.
    pub(super) local_pref: u32,
    /// Whether routers are to weigh paths by endpoints.
    pub(super) weighs: bool,
    /// Whether a Service of policy Cluster stays without endpoints.
    pub(super) keeps: bool,
    /// Which nodes follow it, where not all of them do.
    pub(super) width: Option<Width>,
    length_v4: u8,
    length_v6: u8,
}

impl Offer {
    /// The advertisement as this node makes it. A node that takes leave asks routers to prefer any other way, by the
    /// community for eBGP and by the lowest LOCAL_PREF for iBGP (RFC 8326 §4).
    fn of(advertisement: &Advertisement, drain: Option<Drain>, own: &str, fleet: &Fleet) -> Self {
        let mut communities = advertisement.communities.clone();
        let avoided = drain.is_some() || advertisement.graceful_shutdown;
        if avoided {
            communities.push(CommunityValue::GRACEFUL_SHUTDOWN);
        }
        communities.sort();
        communities.dedup();
        let terms = Terms {
            advertisement: advertisement.name.clone(),
            peers: advertisement.peers.clone(),
            local_pref: if avoided { Some(0) } else { advertisement.local_pref },
            med: advertisement.med,
            prepend: advertisement.prepend,
            communities,
        };
        let weighs = advertisement.link_bandwidth == LinkBandwidth::Endpoints;
        let too_long = ledger::longest(&terms, weighs).fits().err();
        let withheld = advertisement.withheld.as_ref().map(ToString::to_string);
        Self {
            terms: Arc::new(terms),
            local_pref: match (advertisement.graceful_shutdown, advertisement.local_pref) {
                (true, _) => 0,
                (false, wanted) => wanted.unwrap_or(DEFAULT_LOCAL_PREF),
            },
            weighs,
            width: advertisement.max_nodes.map(|most| Width::new(most, own, &advertisement.name, fleet)),
            keeps: advertisement.without_endpoints == WithoutEndpoints::Keep,
            services: advertisement.service_selectors.clone(),
            refusal: withheld.or_else(|| too_long.map(|fault| fault.to_string())),
            length_v4: advertisement.aggregation_length,
            length_v6: advertisement.aggregation_length_v6,
        }
    }

    /// The prefix length that addresses of that family are aggregated to. With policy Local an aggregate would draw
    /// traffic for addresses whose endpoints are on other nodes, so each address is announced by itself.
    pub(super) fn length(&self, family: AddressFamily, policy: TrafficPolicy) -> u8 {
        match (family, policy) {
            (AddressFamily::V4, TrafficPolicy::Cluster) => self.length_v4,
            (AddressFamily::V6, TrafficPolicy::Cluster) => self.length_v6,
            (AddressFamily::V4, TrafficPolicy::Local) => 32,
            (AddressFamily::V6, TrafficPolicy::Local) => 128,
        }
    }

    /// The length as configured, where policy Local narrows it.
    pub(super) fn narrowed(&self, family: AddressFamily, policy: TrafficPolicy) -> Option<u8> {
        let configured = self.length(family, TrafficPolicy::Cluster);
        (self.length(family, policy) != configured).then_some(configured)
    }
}

/// The pool that an address belongs to, and the advertisements of that pool on this node.
pub(super) struct Belonging<'a> {
    pub(super) pool: &'a str,
    /// The pool does not contain the address any more; it once gave it.
    pub(super) kept: bool,
    pub(super) offers: Vec<&'a Arc<Offer>>,
}

impl Rules {
    /// The rules of this node. Without a Node object nothing applies: no peer runs and nothing is announced.
    /// Objects that did not change since `before` keep their `Arc`.
    #[must_use]
    pub fn new(around: &Surroundings, before: Option<&Self>) -> Self {
        let Surroundings { config, node, exclude_label, own, fleet } = around;
        let (config, exclude_label) = (Arc::clone(config), *exclude_label);
        let Some(node) = node else {
            return Self {
                config,
                peers: BTreeMap::new(),
                offers: Vec::new(),
                offers_of_pool: BTreeMap::new(),
                bar: None,
                drain: None,
            };
        };
        let peers = config
            .peers_on(&node.labels)
            .peers
            .into_iter()
            .map(|peer| {
                let kept =
                    before.and_then(|rules| rules.peers.get(&peer.name)).filter(|kept| ***kept == *peer);
                (peer.name.clone(), kept.map_or_else(|| Arc::new(peer.clone()), Arc::clone))
            })
            .collect();
        let here: Vec<(&Advertisement, Arc<Offer>)> = config
            .advertisements
            .values()
            .filter(|advertisement| advertisement.node_selectors.matches(&node.labels))
            .map(|advertisement| (advertisement, Arc::new(Offer::of(advertisement, node.drain, own, fleet))))
            .collect();
        let offers_of_pool = config
            .pools
            .values()
            .map(|pool| {
                let offers = here
                    .iter()
                    .filter(|(advertisement, _)| advertisement.selects_pool(pool))
                    .map(|(_, offer)| Arc::clone(offer));
                (pool.name.clone(), offers.collect())
            })
            .collect();
        let offers = here.into_iter().map(|(_, offer)| offer).collect();
        Self { peers, offers, offers_of_pool, bar: bar(node, exclude_label), drain: node.drain, config }
    }

    /// The peers that run on this node, by the name of the BGPPeer.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<String, Arc<Peer>> {
        &self.peers
    }

    /// The advertisements of this node that name the peer, next to those that name none and reach every peer; and what
    /// else its routes depend on.
    pub(super) fn audience(&self, peer: &Peer) -> Audience {
        let naming = self.offers.iter().filter(|offer| offer.terms.peers.contains(&peer.name));
        let weighs = self.offers.iter().any(|offer| offer.weighs);
        Audience {
            advertisements: naming.map(|offer| offer.terms.advertisement.clone()).collect(),
            local_asn: weighs.then_some(peer.local_asn),
        }
    }

    /// Why this node announces nothing at all, if so.
    pub(super) fn bar(&self) -> Option<&Reason> {
        self.bar.as_ref()
    }

    /// Whether any advertisement selects this node.
    pub(super) fn offers_any(&self) -> bool {
        !self.offers.is_empty()
    }

    /// Whether some advertisement on this node is for a bounded number of nodes.
    pub(super) fn bounds_any(&self) -> bool {
        self.offers.iter().any(|offer| offer.width.is_some())
    }

    /// The advertisements for a bounded number of nodes that this node could follow: nothing bars it, it does not leave,
    /// and a router is told by them here.
    pub(super) fn able(&self) -> BTreeSet<String> {
        let told = |offer: &Offer| self.peers.keys().any(|peer| offer.terms.reaches(peer));
        let able = self.offers.iter().filter(|offer| offer.width.is_some() && offer.refusal.is_none());
        let able = able.filter(|offer| self.bar.is_none() && self.drain.is_none() && told(offer));
        able.map(|offer| offer.terms.advertisement.clone()).collect()
    }

    /// Whether this node takes leave, and why.
    pub(super) fn drain(&self) -> Option<Leaving> {
        self.drain.map(|drain| drain.leaving)
    }

    /// Why this node takes leave, once the notice is over.
    pub(super) fn left(&self) -> Option<Leaving> {
        self.drain.filter(|drain| drain.stage == DrainStage::Over).map(|drain| drain.leaving)
    }

    /// Where an address belongs: the pool that contains it, else the pool that once gave it. The second is for an
    /// address that its pool lost by an edit: it stays announced, by stored facts only, so that a restarted
    /// speaker decides the same.
    pub(super) fn belonging<'a>(
        &'a self,
        address: IpAddr,
        allocated_from_pool: Option<&'a str>,
    ) -> Option<Belonging<'a>> {
        let containing = self.config.pool_of(address).map(|pool| pool.name.as_str());
        let pool = containing.or(allocated_from_pool)?;
        let offers = match self.offers_of_pool.get(pool) {
            Some(offers) => offers.iter().collect(),
            None => self.offers.iter().filter(|offer| self.selects_lost_pool(offer, pool)).collect(),
        };
        Some(Belonging { pool, kept: containing.is_none(), offers })
    }

    /// A pool that no longer exists has no labels left to select it by.
    fn selects_lost_pool(&self, offer: &Offer, pool: &str) -> bool {
        self.config
            .advertisements
            .get(&offer.terms.advertisement)
            .is_some_and(|advertisement| advertisement.selects_pool_name(pool))
    }
}

fn bar(node: &NodeFacts, exclude_label: ExcludeLabel) -> Option<Reason> {
    let labelled = node.labels.contains_key(label::EXCLUDE_FROM_EXTERNAL_LB);
    if node.network_unavailable {
        Some(Reason::NodeNetworkUnavailable)
    } else if labelled && exclude_label == ExcludeLabel::Honoured {
        Some(Reason::NodeLabeledExcludeBalancers)
    } else {
        None
    }
}
