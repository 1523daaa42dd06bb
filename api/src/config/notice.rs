//! What is accepted and still worth saying.

use thiserror::Error;

/// Something about an accepted object that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Notice {
    /// An L2Advertisement is stored and nothing more.
    #[error("Herald announces by BGP only; this object is stored and not acted on")]
    L2Inactive,
    /// A BFD profile is stored and nothing more.
    #[error("this version runs no BFD; peers that name this profile rely on their hold time")]
    BfdNotRun,
    /// A peer names a BFD profile that exists.
    #[error(
        "this version runs no BFD; profile {profile:?} is not in force and the session relies on its hold time"
    )]
    PeerWithoutBfd {
        /// The profile.
        profile: String,
    },
    /// `disableMP: true`.
    #[error("disableMP has no effect; remove it")]
    DisableMpIgnored,
    /// `ebgpMultiHop: true`.
    #[error(
        "ebgpMultiHop has no effect: packets leave with the usual TTL, so routers more than one hop away are reached"
    )]
    MultihopWithoutEffect,
    /// Hold time 0.
    #[error("hold time 0: a silent router is noticed only when TCP gives up; remove holdTime to propose 15s")]
    HoldTimeOff,
    /// `password` is set.
    #[error("the password is readable by everyone who may read this object; use passwordSecret")]
    PasswordInObject,
}

impl Notice {
    /// The notice in one word, as a condition's reason.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::L2Inactive => "L2NotImplemented",
            Self::BfdNotRun | Self::PeerWithoutBfd { .. } => "BFDNotImplemented",
            Self::DisableMpIgnored => "DisableMPIgnored",
            Self::MultihopWithoutEffect => "EBGPMultiHopIgnored",
            Self::HoldTimeOff => "HoldTimeOff",
            Self::PasswordInObject => "PasswordInObject",
        }
    }

    /// Whether the object as a whole has no effect.
    #[must_use]
    pub const fn means_inactive(&self) -> bool {
        match self {
            Self::L2Inactive | Self::BfdNotRun => true,
            Self::PeerWithoutBfd { .. }
            | Self::DisableMpIgnored
            | Self::MultihopWithoutEffect
            | Self::HoldTimeOff
            | Self::PasswordInObject => false,
        }
    }
}
