//! What is decided for one Service on this node: the prefixes to announce, or the reason why not.
//!
//! The words of [`Reason`] are MetalLB's where it has one for the case, since people search their logs for them.
//! Holds no rule; the order of the tests is in [`super::decide`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::community::CommunityValue;
use api::herald::WhyReason;
use bgp_proto::Prefix;

use super::snapshot::Leaving;
use super::width::Choice;

/// The decision for one Service, small because each node keeps one for every Service. At least one announcement in
/// `Announce`, so "announced" needs no look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least one address of the Service is announced from this node.
    Announce {
        /// One entry for each address and advertisement, sorted.
        announcements: Box<[Announcement]>,
        /// The addresses of the Service that are not announced, and why (a family without endpoints, say).
        withheld: Box<[(IpAddr, Reason)]>,
    },
    /// Nothing is announced; with several addresses this is the reason of the first one.
    Withhold(Box<Reason>),
}

impl Verdict {
    /// Nothing is announced, for this reason.
    #[must_use]
    pub fn withhold(reason: Reason) -> Self {
        Self::Withhold(Box::new(reason))
    }

    /// The prefixes to announce; empty when withheld.
    #[must_use]
    pub fn announcements(&self) -> &[Announcement] {
        match self {
            Self::Announce { announcements, .. } => announcements,
            Self::Withhold(_) => &[],
        }
    }

    /// The reason that stands for the Service when nothing of it is announced.
    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Announce { .. } => None,
            Self::Withhold(reason) => Some(reason),
        }
    }

    /// What is not announced and why: the Service as a whole, or those of its addresses that stay behind.
    pub fn refusals(&self) -> impl Iterator<Item = (Option<IpAddr>, &Reason)> {
        let (whole, some) = match self {
            Self::Withhold(reason) => (Some((None, &**reason)), &[][..]),
            Self::Announce { withheld, .. } => (None, &**withheld),
        };
        whole.into_iter().chain(some.iter().map(|(address, reason)| (Some(*address), reason)))
    }

    /// The addresses that other nodes were chosen for.
    pub fn left_to_others(&self) -> impl Iterator<Item = Option<IpAddr>> {
        let left = self.refusals().filter(|(_, reason)| matches!(reason, Reason::NotChosen(_)));
        left.map(|(address, _)| address)
    }

    /// The announced addresses of the Service, without repetition, sorted.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.announcements().iter().map(|announcement| announcement.address).collect()
    }
}

/// One prefix that one advertisement makes out of one address of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announcement {
    /// The Service's address.
    pub address: IpAddr,
    /// The address aggregated to the advertisement's length.
    pub prefix: Prefix,
    /// What the advertisement says about it.
    pub terms: Arc<Terms>,
    /// Endpoints on this node by which routers are to weigh it; `None` where they are not to.
    pub weight: Option<u32>,
}

/// The part of a BGPAdvertisement that ends up on the wire, shared by all Services that it covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terms {
    /// Name of the BGPAdvertisement.
    pub advertisement: String,
    /// Names of the BGPPeers that are told; empty means all.
    pub peers: BTreeSet<String>,
    /// LOCAL_PREF for iBGP sessions (RFC 4271 §5.1.5); `None` leaves it to the session's default of 100.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4); `None` sends none.
    pub med: Option<u32>,
    /// How often our AS number stands in the path beyond the one time.
    pub prepend: u8,
    /// Communities of both sizes (RFC 1997, RFC 8092), sorted.
    pub communities: Vec<CommunityValue>,
}

impl Terms {
    /// Whether the session with that BGPPeer is told.
    #[must_use]
    pub fn reaches(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// The LOCAL_PREF that an iBGP router sees.
    #[must_use]
    pub fn effective_local_pref(&self) -> u32 {
        self.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
    }
}

/// What an iBGP session sends when no advertisement asks for a LOCAL_PREF.
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// Why a Service, or one address of it, is not announced from this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// The Service is gone, or is not one of type LoadBalancer and of our class any more.
    #[error("the Service is gone, or no longer of type LoadBalancer and of this load balancer class")]
    ServiceDeleted,
    /// `spec.type` is something else.
    #[error("the Service is not of type LoadBalancer")]
    NotLoadBalancer,
    /// Empty `status.loadBalancer.ingress`.
    #[error("{}", pending(.0.as_deref()))]
    NoIpAllocated(
        /// What the controller says about it in the Service's condition.
        Option<Box<str>>,
    ),
    /// An ingress entry without a parsable IP.
    #[error(
        "status.loadBalancer.ingress holds \"{0}\", which is not an IP address; another controller wrote it"
    )]
    InvalidIp(String),
    /// No pool covers the address, and no annotation says that a pool once did.
    #[error("no IPAddressPool contains {0}, and no annotation says that a pool once gave it")]
    IpNotAllowed(IpAddr),
    /// The Service has other addresses now; used for the old ones only.
    #[error("the Service has another address now")]
    LoadBalancerIpChanged,
    /// No advertisement of the pool selects this node.
    #[error("no BGPAdvertisement of pool \"{pool}\" selects this node")]
    NotOwner {
        /// The pool of the address.
        pool: String,
    },
    /// Advertisements select pool and node, but not the Service.
    #[error("no BGPAdvertisement of pool \"{pool}\" on this node selects the labels of this Service")]
    NoMatchingAdvertisement {
        /// The pool of the address.
        pool: String,
    },
    /// Every advertisement that would do is itself withheld.
    #[error("BGPAdvertisement \"{advertisement}\" is withheld: {refusal}")]
    AdvertisementWithheld {
        /// The first of them by name.
        advertisement: String,
        /// Its own reason.
        refusal: String,
    },
    /// Two advertisements ask for different attributes on one prefix of one pool towards one peer.
    #[error(
        "BGPAdvertisements \"{first}\" and \"{second}\" give {prefix} different {field} towards the same peer; \
         make the values equal or their peers distinct"
    )]
    ConflictingAdvertisements {
        /// What differs: localPref, med or asPathPrepend.
        field: &'static str,
        /// The first by name.
        first: String,
        /// The other one.
        second: String,
        /// What they disagree about.
        prefix: Prefix,
    },
    /// Node condition `NetworkUnavailable=True`.
    #[error("the node's network is not available (condition NetworkUnavailable)")]
    NodeNetworkUnavailable,
    /// Node label `node.kubernetes.io/exclude-from-external-load-balancers`, whatever its value.
    #[error(
        "the node carries the label node.kubernetes.io/exclude-from-external-load-balancers; remove it, \
         or start the speaker with --ignore-exclude-lb"
    )]
    NodeLabeledExcludeBalancers,
    /// The node takes leave, its notice is over, and others carry the Service.
    #[error("{0}, so its routes are withdrawn")]
    NodeLeaves(Leaving),
    /// externalTrafficPolicy Local, and no endpoint here that may serve.
    #[error("externalTrafficPolicy is Local and this node has no ready {0} endpoint")]
    NoLocalEndpoints(AddressFamily),
    /// No endpoint anywhere that may serve.
    #[error("no {0} endpoint of the Service is ready anywhere")]
    NoEndpoints(AddressFamily),
    /// The advertisement bounds the number of nodes, and others are it.
    #[error("this node is not among the {0}")]
    NotChosen(Choice),
}

impl Reason {
    /// Which link of the chain it breaks, and its word.
    #[must_use]
    pub fn kind(&self) -> WhyReason {
        match self {
            Self::ServiceDeleted => WhyReason::ServiceDeleted,
            Self::NotLoadBalancer => WhyReason::NotLoadBalancer,
            Self::NoIpAllocated(_) => WhyReason::NoIpAllocated,
            Self::InvalidIp(_) => WhyReason::InvalidIp,
            Self::IpNotAllowed(_) => WhyReason::IpNotAllowed,
            Self::LoadBalancerIpChanged => WhyReason::LoadBalancerIpChanged,
            Self::NotOwner { .. } => WhyReason::NotOwner,
            Self::NoMatchingAdvertisement { .. } => WhyReason::NoMatchingAdvertisement,
            Self::AdvertisementWithheld { .. } => WhyReason::AdvertisementWithheld,
            Self::ConflictingAdvertisements { .. } => WhyReason::ConflictingAdvertisements,
            Self::NodeNetworkUnavailable => WhyReason::NodeNetworkUnavailable,
            Self::NodeLabeledExcludeBalancers => WhyReason::NodeLabeledExcludeBalancers,
            Self::NodeLeaves(Leaving::Deleted) => WhyReason::NodeBeingDeleted,
            Self::NodeLeaves(
                Leaving::Autoscaler | Leaving::Karpenter | Leaving::OutOfService | Leaving::ShuttingDown,
            ) => WhyReason::Draining,
            Self::NoLocalEndpoints(_) => WhyReason::NoLocalEndpoints,
            Self::NoEndpoints(_) => WhyReason::NoEndpoints,
            Self::NotChosen(_) => WhyReason::NotChosen,
        }
    }

    /// The word for logs, status, events, metrics and the command line.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.kind().word()
    }
}

fn pending(condition: Option<&str>) -> String {
    match condition {
        Some(condition) => format!("the Service has no address: {condition}"),
        None => "the controller has not given the Service an address yet; its events say why".to_owned(),
    }
}

/// IPv4 or IPv6; endpoints of the two are counted apart, because a Service may have lost only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl std::fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
