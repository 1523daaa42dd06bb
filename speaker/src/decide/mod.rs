//! Which addresses this node announces, with which attributes, to which peers. Pure: facts in, plan out.
//!
//! [`decide`] answers for one Service, and [`explain`] says in addition what was found on the way; [`full::announcements`]
//! is its fold over all of them; [`Announcer`] keeps the same result up to date at a cost in proportion to what changed, and
//! a property test holds the two equal. Not here: where facts come from (`watch`), what happens to the result (`peering`,
//! `status`).

pub mod announcer;
pub mod full;
mod known;
pub mod ledger;
mod linger;
pub mod rules;
pub mod snapshot;
pub mod verdict;
pub mod verdicts;
pub mod why;
pub mod width;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use api::service::{Ingress, TrafficPolicy};
use bgp_proto::Prefix;

pub use announcer::Announcer;
pub use known::fill;
use rules::Offer;
pub use rules::Rules;
use snapshot::{Circumstances, EndpointCounts, ServiceFacts};
use verdict::{AddressFamily, Announcement, Reason, Verdict};
pub use why::Explanation;
use why::{Finding, Unheard, Witness};

/// Decides one Service. The tests come in MetalLB's order and the first that fails names the reason; what depends
/// on an address is asked for each address by itself, since pool, advertisement and endpoints may differ by family.
#[must_use]
pub fn decide(service: &ServiceFacts, around: &Circumstances<'_>, rules: &Rules) -> Verdict {
    weigh(service, around, rules, &mut Unheard)
}

/// The same decision, with everything that was asked on the way to it.
#[must_use]
pub fn explain(service: &ServiceFacts, around: &Circumstances<'_>, rules: &Rules) -> Explanation {
    let mut steps = Vec::new();
    let verdict = weigh(service, around, rules, &mut steps);
    Explanation { verdict, steps }
}

fn weigh(
    service: &ServiceFacts,
    around: &Circumstances<'_>,
    rules: &Rules,
    witness: &mut impl Witness,
) -> Verdict {
    let addresses = match weigh_service(service, witness) {
        Ok(addresses) => addresses,
        Err(reason) => {
            witness.refuse(None, &reason);
            return Verdict::withhold(reason);
        }
    };
    let mut announcements = Vec::new();
    let mut withheld = Vec::new();
    for &address in addresses {
        match weigh_address(address, service, around, rules, witness) {
            Ok(mut some) => announcements.append(&mut some),
            Err(reason) => {
                witness.refuse(Some(address), &reason);
                withheld.push((address, reason));
            }
        }
    }
    if announcements.is_empty() {
        let first = withheld.into_iter().next();
        return Verdict::withhold(first.map_or(Reason::NoIpAllocated(None), |(_, reason)| reason));
    }
    announcements.sort();
    announcements.dedup();
    Verdict::Announce { announcements: announcements.into(), withheld: withheld.into() }
}

/// What does not depend on an address: that there is one.
fn weigh_service<'a>(service: &'a ServiceFacts, witness: &mut impl Witness) -> Result<&'a [IpAddr], Reason> {
    if !service.load_balancer {
        return Err(Reason::NotLoadBalancer);
    }
    witness.hear(None, || Finding::LoadBalancer);
    let addresses = match &service.ingress {
        Ingress::None => return Err(Reason::NoIpAllocated(service.pending.clone())),
        Ingress::Invalid(text) => return Err(Reason::InvalidIp(text.clone())),
        Ingress::Addresses(addresses) => addresses,
    };
    witness.hear(None, || Finding::Addresses(addresses.clone()));
    if let Some(lack) = &service.pending {
        witness.hear(None, || Finding::Lacks(lack.clone()));
    }
    Ok(addresses)
}

/// The announcements of one address; never an empty list.
fn weigh_address(
    address: IpAddr,
    service: &ServiceFacts,
    around: &Circumstances<'_>,
    rules: &Rules,
    witness: &mut impl Witness,
) -> Result<Vec<Announcement>, Reason> {
    let mut hear = |finding: &dyn Fn() -> Finding| witness.hear(Some(address), finding);
    let family = AddressFamily::of(address);
    let belonging = rules
        .belonging(address, service.allocated_from_pool.as_deref())
        .ok_or(Reason::IpNotAllowed(address))?;
    let pool = || belonging.pool.to_owned();
    hear(&|| Finding::Pool { pool: pool(), kept: belonging.kept });
    if belonging.offers.is_empty() {
        return Err(Reason::NotOwner { pool: pool() });
    }
    hear(&|| Finding::OnThisNode(names(belonging.offers.iter().map(|offer| offer.as_ref()))));
    let matching: Vec<&Offer> = belonging
        .offers
        .iter()
        .map(|offer| offer.as_ref())
        .filter(|offer| offer.services.matches(&service.labels))
        .collect();
    let usable: Vec<&Offer> = matching.iter().copied().filter(|offer| offer.refusal.is_none()).collect();
    if usable.is_empty() {
        return Err(match matching.first() {
            None => Reason::NoMatchingAdvertisement { pool: pool() },
            Some(offer) => Reason::AdvertisementWithheld {
                advertisement: offer.terms.advertisement.clone(),
                refusal: offer.refusal.clone().unwrap_or_default(),
            },
        });
    }
    let policy = service.traffic_policy;
    let (usable, quiet) = speaking(family, policy, usable);
    if let Some(reason) = conflict(address, family, policy, &usable) {
        return Err(reason);
    }
    hear(&|| Finding::Usable(names(usable.iter().copied())));
    if !quiet.is_empty() {
        hear(&|| Finding::GivesWay(names(quiet.iter().copied())));
    }
    if let Some(reason) = rules.bar() {
        return Err(reason.clone());
    }
    let counts = around.endpoints.of(family);
    if let Some(leaving) = rules.left().filter(|_| !is_last_path(policy, counts)) {
        return Err(Reason::NodeLeaves(leaving));
    }
    hear(&|| rules.drain().map_or(Finding::NodeStays, Finding::NodeLeaves));
    let usable = match serving(policy, counts, family) {
        Ok(()) => {
            hear(&|| Finding::Endpoints { policy, family, counts });
            usable
        }
        Err(reason) => {
            let keeping: Vec<&Offer> = usable.into_iter().filter(|offer| offer.keeps).collect();
            if policy == TrafficPolicy::Local || keeping.is_empty() {
                return Err(reason);
            }
            hear(&|| Finding::KeptWithoutEndpoints(names(keeping.iter().copied())));
            keeping
        }
    };
    let usable = chosen(address, policy, &usable, around, &mut hear)?;
    if let Some(length) = usable.iter().find_map(|offer| offer.narrowed(family, policy)) {
        hear(&|| Finding::Narrowed { length });
    }
    let announce = |offer: &Offer| Announcement {
        address,
        prefix: aggregate(address, offer.length(family, policy)),
        terms: Arc::clone(&offer.terms),
        weight: if offer.weighs { weight(policy, counts) } else { None },
    };
    Ok(usable.into_iter().map(announce).collect())
}

/// The advertisements that this node follows for the address, where only some nodes are to. One that lost its place to
/// another node lingers, so that the other is there before this one goes.
fn chosen<'a>(
    address: IpAddr,
    policy: TrafficPolicy,
    offers: &[&'a Offer],
    around: &Circumstances<'_>,
    hear: &mut impl FnMut(&dyn Fn() -> Finding),
) -> Result<Vec<&'a Offer>, Reason> {
    let family = AddressFamily::of(address);
    let hosts = match policy {
        TrafficPolicy::Local => Some(around.hosts_of(family)),
        TrafficPolicy::Cluster => None,
    };
    let prefix = |offer: &Offer| aggregate(address, offer.length(family, policy));
    let here =
        |offer: &Offer| offer.width.as_ref().is_none_or(|width| width.includes_us(&prefix(offer), hosts));
    let choice = |offer: &Offer| offer.width.as_ref().and_then(|width| width.choice(&prefix(offer), hosts));
    let staying: Vec<&Offer> = offers.iter().copied().filter(|offer| around.lingers || here(offer)).collect();
    let Some(limited) = offers.iter().copied().find(|offer| offer.width.is_some()) else {
        return Ok(staying);
    };
    let others = || choice(limited).expect("a node is left out for others only");
    if staying.is_empty() {
        return Err(Reason::NotChosen(others()));
    }
    if here(limited) {
        hear(&|| choice(limited).map_or(Finding::NobodyKnownToBeAble, Finding::Chosen));
    } else if around.lingers {
        hear(&|| Finding::HandsOver(others()));
    }
    Ok(staying)
}

/// What traffic to this node is worth, next to other nodes. With policy Cluster every node is worth the same, as it
/// passes connections on to all endpoints.
fn weight(policy: TrafficPolicy, counts: EndpointCounts) -> Option<u32> {
    match policy {
        TrafficPolicy::Local if counts.local_ready > 0 => Some(counts.local_ready),
        TrafficPolicy::Local => Some(counts.local_serving),
        TrafficPolicy::Cluster => None,
    }
}

fn names<'a>(offers: impl Iterator<Item = &'a Offer>) -> Vec<String> {
    offers.map(|offer| offer.terms.advertisement.clone()).collect()
}

/// Whether nobody else could serve when this node withdraws: with policy Local the endpoints that serve are here, and no
/// other node has a ready one. A node that leaves keeps such a route, marked as one to avoid, until its endpoints are gone
/// or ready elsewhere. Those that terminate count: a machine that shuts down ends its Pods first.
fn is_last_path(policy: TrafficPolicy, counts: EndpointCounts) -> bool {
    match policy {
        TrafficPolicy::Local => {
            (counts.local_ready > 0 || counts.local_serving > 0) && counts.elsewhere_ready == 0
        }
        TrafficPolicy::Cluster => false,
    }
}

/// The prefix of that length that contains the address.
fn aggregate(address: IpAddr, length: u8) -> Prefix {
    // A length that the family does not have was refused with its advertisement; the host route stands in for it.
    Prefix::try_new(address, length).unwrap_or_else(|_| Prefix::host(address))
}

/// Who speaks, and who does not. Policy Local makes one prefix of an aggregate and of what is longer; as with policy Cluster,
/// the address itself is then told as the longest says it, to the peers that the longer ones reach.
fn speaking(family: AddressFamily, policy: TrafficPolicy, offers: Vec<&Offer>) -> (Vec<&Offer>, Vec<&Offer>) {
    let configured = |offer: &Offer| offer.length(family, TrafficPolicy::Cluster);
    let is_quiet = |offer: &&Offer| {
        let narrowed = offer.narrowed(family, policy).is_some();
        let longer = || offers.iter().filter(|other| configured(other) > configured(offer));
        let reached = |peer: &String| longer().any(|other| other.terms.reaches(peer));
        let to_all = || longer().any(|other| other.terms.peers.is_empty());
        let peers = &offer.terms.peers;
        narrowed && (to_all() || !peers.is_empty() && peers.iter().all(reached))
    };
    let (quiet, speaking) = offers.iter().copied().partition(is_quiet);
    (speaking, quiet)
}

/// Two advertisements of one pool must not disagree about an attribute where a router would see both: on the same
/// prefix, towards the same peer. That both are on this node is given.
fn conflict(
    address: IpAddr,
    family: AddressFamily,
    policy: TrafficPolicy,
    offers: &[&Offer],
) -> Option<Reason> {
    for (index, one) in offers.iter().enumerate() {
        for other in offers.iter().skip(index + 1) {
            let same_prefix = one.length(family, policy) == other.length(family, policy);
            let (ours, theirs) = (&one.terms.peers, &other.terms.peers);
            let same_peer = ours.is_empty() || theirs.is_empty() || !ours.is_disjoint(theirs);
            if let Some(field) = difference(one, other).filter(|_| same_prefix && same_peer) {
                return Some(Reason::ConflictingAdvertisements {
                    field,
                    first: one.terms.advertisement.clone(),
                    second: other.terms.advertisement.clone(),
                    prefix: aggregate(address, one.length(family, policy)),
                });
            }
        }
    }
    None
}

fn difference(one: &Offer, other: &Offer) -> Option<&'static str> {
    if one.local_pref != other.local_pref {
        Some("localPref")
    } else if one.terms.med != other.terms.med {
        Some("med")
    } else if one.terms.prepend != other.terms.prepend {
        Some("asPathPrepend")
    } else {
        None
    }
}

/// Whether traffic that arrives here would find an endpoint, as kube-proxy picks them: ready ones, and serving
/// ones of terminating Pods only while no ready one is left (KEP-1669). With policy Local "left" means on any
/// node, because the routers then send everything to the nodes that have one.
fn serving(policy: TrafficPolicy, counts: EndpointCounts, family: AddressFamily) -> Result<(), Reason> {
    match policy {
        TrafficPolicy::Local => {
            let last_resort = counts.elsewhere_ready == 0 && counts.local_serving > 0;
            if counts.local_ready > 0 || last_resort { Ok(()) } else { Err(Reason::NoLocalEndpoints(family)) }
        }
        TrafficPolicy::Cluster => {
            let some = counts.any_ready > 0 || counts.any_serving > 0;
            if some { Ok(()) } else { Err(Reason::NoEndpoints(family)) }
        }
    }
}
