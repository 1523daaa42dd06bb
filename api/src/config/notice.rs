//! What is accepted and still worth saying.

use thiserror::Error;

/// Something about an accepted object that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Notice {
    /// An L2Advertisement is stored and nothing more.
    #[error("Herald announces by BGP only; this object is stored and not acted on")]
    L2Inactive,
    /// `echoMode: true`.
    #[error("echoMode has no effect: sessions run without echo packets, at the intervals of control packets")]
    BfdEchoNotOffered,
    /// Intervals below 100 ms.
    #[error(
        "an interval below 100 ms takes a busy node or link for a dead one; 300 ms with multiplier 3 notices a failure within a second"
    )]
    BfdHasty,
    /// `disableMP: true`.
    #[error("disableMP has no effect; remove it")]
    DisableMpIgnored,
    /// `ebgpMultiHop: true`.
    #[error(
        "ebgpMultiHop has no effect on BGP: packets leave with the usual TTL, so routers more than one hop away are reached; a BFD session runs over several hops (UDP port 4784)"
    )]
    MultihopWithoutEffect,
    /// Hold time 0.
    #[error("hold time 0: a silent router is noticed only when TCP gives up; remove holdTime to propose 15s")]
    HoldTimeOff,
    /// `password` is set.
    #[error("the password is readable by everyone who may read this object; use passwordSecret")]
    PasswordInObject,
    /// `routerID` without `nodeSelectors`.
    #[error(
        "routerID gives every node the same BGP identifier, and a router that sees it twice may refuse or mix up the sessions; add nodeSelectors for one node, or remove routerID"
    )]
    RouterIdOnAllNodes,
}

impl Notice {
    /// The notice in one word, as a condition's reason.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::L2Inactive => "L2NotImplemented",
            Self::BfdEchoNotOffered => "BFDEchoNotOffered",
            Self::BfdHasty => "BFDIntervalShort",
            Self::DisableMpIgnored => "DisableMPIgnored",
            Self::MultihopWithoutEffect => "EBGPMultiHopIgnored",
            Self::HoldTimeOff => "HoldTimeOff",
            Self::PasswordInObject => "PasswordInObject",
            Self::RouterIdOnAllNodes => "RouterIDOnAllNodes",
        }
    }

    /// Whether the object as a whole has no effect.
    #[must_use]
    pub const fn means_inactive(&self) -> bool {
        match self {
            Self::L2Inactive => true,
            Self::BfdEchoNotOffered
            | Self::BfdHasty
            | Self::DisableMpIgnored
            | Self::MultihopWithoutEffect
            | Self::HoldTimeOff
            | Self::PasswordInObject
            | Self::RouterIdOnAllNodes => false,
        }
    }
}
