//! Everything that can break the chain from a Service to a router, by its word: the decision's refusals and what comes before
//! and after a decision.
//!
//! One list for those who say a word (speaker, controller's absence, `speakerctl`) and those who know what to do about it, so
//! that neither can have one that the other lacks. The sentences are with whoever finds the fact.

/// Why a Service is not announced, or not to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyReason {
    /// The Service is gone, or not one of ours any more.
    ServiceDeleted,
    /// There is no such Service.
    NotFound,
    /// It is of another type.
    NotLoadBalancer,
    /// It is of another load balancer class.
    ClassNotOurs,
    /// It has no address.
    NoIpAllocated,
    /// Its status holds something that is no address.
    InvalidIp,
    /// It has another address now.
    LoadBalancerIpChanged,
    /// Nobody gives addresses.
    NoController,
    /// Its address is no pool's.
    IpNotAllowed,
    /// No advertisement of the pool selects the node.
    NotOwner,
    /// None of those selects the Service.
    NoMatchingAdvertisement,
    /// Those that do are withheld themselves.
    AdvertisementWithheld,
    /// They contradict each other.
    ConflictingAdvertisements,
    /// The node has no network.
    NodeNetworkUnavailable,
    /// The node's label keeps it out of load balancing.
    NodeLabeledExcludeBalancers,
    /// The node takes leave.
    Draining,
    /// The node takes leave, because its object is being deleted.
    NodeBeingDeleted,
    /// No endpoint here.
    NoLocalEndpoints,
    /// No endpoint anywhere.
    NoEndpoints,
    /// Other nodes announce it.
    NotChosen,
    /// No speaker reports.
    NoReport,
    /// The speaker has not read everything yet.
    NotSynced,
    /// The speaker does not answer.
    Silent,
    /// The question is none.
    Usage,
    /// The report does not go so far.
    NotListed,
    /// No peer on the node.
    NoPeer,
    /// The advertisements name other peers.
    PeerNotSelected,
    /// Another node shows the same router ID, and the session is not up.
    DuplicateRouterId,
    /// The session is not up.
    SessionDown,
    /// No session carries routes of that address family.
    FamilyNotCarried,
    /// The route is on its way.
    Pending,
}

impl WhyReason {
    /// All of them, each before those that are asked later.
    pub const ALL: [Self; 31] = [
        Self::Usage,
        Self::Silent,
        Self::NotSynced,
        Self::NotFound,
        Self::ServiceDeleted,
        Self::NotLoadBalancer,
        Self::ClassNotOurs,
        Self::NoController,
        Self::NoIpAllocated,
        Self::InvalidIp,
        Self::LoadBalancerIpChanged,
        Self::NoReport,
        Self::NotListed,
        Self::IpNotAllowed,
        Self::NotOwner,
        Self::NoMatchingAdvertisement,
        Self::AdvertisementWithheld,
        Self::ConflictingAdvertisements,
        Self::NodeNetworkUnavailable,
        Self::NodeLabeledExcludeBalancers,
        Self::NodeBeingDeleted,
        Self::Draining,
        Self::NoLocalEndpoints,
        Self::NoEndpoints,
        Self::NotChosen,
        Self::NoPeer,
        Self::PeerNotSelected,
        Self::DuplicateRouterId,
        Self::SessionDown,
        Self::FamilyNotCarried,
        Self::Pending,
    ];

    /// The reason of that word; `None` for one of another version.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// The word for logs, status, events, metrics and the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ServiceDeleted => "serviceDeleted",
            Self::NotFound => "notFound",
            Self::NotLoadBalancer => "notLoadBalancer",
            Self::ClassNotOurs => "classNotOurs",
            Self::NoIpAllocated => "noIPAllocated",
            Self::InvalidIp => "invalidIP",
            Self::LoadBalancerIpChanged => "loadBalancerIPChanged",
            Self::NoController => "noController",
            Self::IpNotAllowed => "ipNotAllowed",
            Self::NotOwner => "notOwner",
            Self::NoMatchingAdvertisement => "noMatchingAdvertisement",
            Self::AdvertisementWithheld => "advertisementWithheld",
            Self::ConflictingAdvertisements => "conflictingAdvertisements",
            Self::NodeNetworkUnavailable => "nodeNetworkUnavailable",
            Self::NodeLabeledExcludeBalancers => "nodeLabeledExcludeBalancers",
            Self::Draining => "draining",
            Self::NodeBeingDeleted => "nodeBeingDeleted",
            Self::NoLocalEndpoints => "noLocalEndpoints",
            Self::NoEndpoints => "noEndpoints",
            Self::NotChosen => "notChosen",
            Self::NoReport => "noReport",
            Self::NotSynced => "notSynced",
            Self::Silent => "silent",
            Self::Usage => "usage",
            Self::NotListed => "notListed",
            Self::NoPeer => "noPeer",
            Self::PeerNotSelected => "peerNotSelected",
            Self::DuplicateRouterId => "duplicateRouterID",
            Self::SessionDown => "sessionDown",
            Self::FamilyNotCarried => "familyNotCarried",
            Self::Pending => "pending",
        }
    }

    /// What it is about, in one word: the link of the chain that it breaks.
    #[must_use]
    pub fn subject(self) -> &'static str {
        match self {
            Self::ServiceDeleted | Self::NotFound | Self::NotLoadBalancer | Self::ClassNotOurs => "service",
            Self::NoIpAllocated | Self::InvalidIp | Self::LoadBalancerIpChanged => "address",
            Self::NoController => "controller",
            Self::IpNotAllowed => "pool",
            Self::NotOwner
            | Self::NoMatchingAdvertisement
            | Self::AdvertisementWithheld
            | Self::ConflictingAdvertisements => "advertisement",
            Self::NodeNetworkUnavailable
            | Self::NodeLabeledExcludeBalancers
            | Self::Draining
            | Self::NodeBeingDeleted => "node",
            Self::NoLocalEndpoints | Self::NoEndpoints => "endpoints",
            Self::NotChosen => "width",
            Self::NoReport | Self::NotSynced | Self::Silent | Self::Usage | Self::NotListed => "speaker",
            Self::NoPeer | Self::PeerNotSelected => "peer",
            Self::DuplicateRouterId | Self::SessionDown => "session",
            Self::FamilyNotCarried | Self::Pending => "route",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_is_listed_once_and_found_by_its_word() {
        // A variant that is missing in the list is a hole between two of them.
        let listed: BTreeSet<WhyReason> = WhyReason::ALL.into_iter().collect();
        assert_eq!(listed.len(), WhyReason::ALL.len());
        assert_eq!(listed.first().map(|first| *first as usize), Some(0));
        assert_eq!(listed.last().map(|last| *last as usize + 1), Some(listed.len()));
        assert_eq!(listed.last(), Some(&WhyReason::Pending), "the last variant");
        for reason in listed {
            assert_eq!(WhyReason::of_word(reason.word()), Some(reason));
        }
        assert_eq!(WhyReason::of_word("of tomorrow"), None);
    }
}
