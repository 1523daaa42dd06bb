//! Why an object was not accepted, in MetalLB's words where it has some, and what to do about it.

use thiserror::Error;

use super::{ObjectRef, PeerRefusal};
use crate::community::CommunityFault;
use crate::duration::DurationFault;
use crate::range::RangeFault;
use crate::selector::SelectorFault;

/// An object that was not accepted as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The object.
    pub object: ObjectRef,
    /// Why.
    pub reason: RejectionReason,
    /// Whether something of the object still runs: its last good version, or the part that is sound.
    pub in_force: bool,
}

/// Why an object was not accepted. The text says what is wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum RejectionReason {
    /// A pool without addresses.
    #[error("pool has no prefixes defined; list at least one network or range under addresses")]
    NoAddresses,
    /// An entry of a pool cannot be read.
    #[error("invalid CIDR {text:?} in pool {pool:?}: {}", detail(.fault))]
    InvalidAddresses {
        /// The pool.
        pool: String,
        /// The entry.
        text: String,
        /// What is wrong with it.
        fault: Box<RangeFault>,
    },
    /// Two entries share an address.
    #[error(
        "CIDR {cidr:?} in pool {pool:?} overlaps with already defined CIDR {other:?} of pool {other_pool:?}; remove the addresses from one of them"
    )]
    Overlap {
        /// The entry of this pool.
        cidr: String,
        /// This pool.
        pool: String,
        /// The other entry.
        other: String,
        /// The pool of the other entry; it may be the same one.
        other_pool: String,
    },
    /// A text in one of Herald's own fields cannot be read.
    #[error("invalid {field} {text:?}: {advice}")]
    InvalidField {
        /// Name of the field.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What to write.
        advice: &'static str,
    },
    /// Something is listed twice.
    #[error("duplicate definition of {what} {value:?}; remove one of them")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// A selector cannot be used.
    #[error("{field}: {fault}")]
    Selector {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        fault: SelectorFault,
    },
    /// `myASN` is 0.
    #[error("missing local ASN; set myASN to the AS number of the nodes, for example 64500")]
    MissingLocalAsn,
    /// Neither AS number of the router.
    #[error("missing peer ASN and dynamicASN; set peerASN to the router's AS number")]
    MissingPeerAsn,
    /// Both AS numbers of the router.
    #[error("both peer ASN and dynamicASN specified; remove one of them")]
    BothPeerAsns,
    /// The address of the router cannot be read.
    #[error("invalid BGPPeer address {text:?}; write an IPv4 or IPv6 address")]
    InvalidPeerAddress {
        /// What stands there.
        text: String,
    },
    /// Neither address nor interface.
    #[error("peer has no Address or Interface specified; set peerAddress to the router's address")]
    NoAddress,
    /// Both address and interface.
    #[error("peer has both Address and Interface specified; remove one of them")]
    BothAddressAndInterface,
    /// The source address cannot be read.
    #[error("invalid source IP {text:?}; write an address of the node")]
    InvalidSource {
        /// What stands there.
        text: String,
    },
    /// The source address is of the other family than the router's.
    #[error("invalid source IP {source_ip:?}: the router's address {peer:?} is of the other family")]
    SourceOfOtherFamily {
        /// The source address.
        source_ip: String,
        /// The address of the router.
        peer: String,
    },
    /// A timer cannot be read.
    #[error("invalid {timer} time: {fault}")]
    InvalidTimer {
        /// hold, keepalive or connect.
        timer: &'static str,
        /// What is wrong with it.
        fault: DurationFault,
    },
    /// The hold time is 1 s or 2 s, or beyond 16 bits.
    #[error("invalid hold time {text:?}: must be 0 or >=3s, and at most 65535s")]
    HoldTimeOutOfRange {
        /// What stands there.
        text: String,
    },
    /// The keepalive time is above the hold time.
    #[error(
        "invalid keepaliveTime {keepalive:?}: must be lower than holdTime {hold:?}; leave it out for a third of it"
    )]
    KeepaliveAboveHold {
        /// The keepalive time.
        keepalive: String,
        /// The hold time.
        hold: String,
    },
    /// The connect time is not 1 s to 65535 s, or not whole seconds.
    #[error("invalid connect time {text:?}: must be whole seconds from 1s to 65535s")]
    ConnectTimeOutOfRange {
        /// What stands there.
        text: String,
    },
    /// The router ID is no IPv4 address, or 0.
    #[error("invalid router ID {text:?}; write an IPv4 address, or leave it out for one of each node's own")]
    InvalidRouterId {
        /// What stands there.
        text: String,
    },
    /// eBGP multihop on an iBGP session.
    #[error("invalid ebgp-multihop parameter set for an ibgp peer; remove ebgpMultiHop or correct peerASN")]
    MultihopInternal,
    /// Both forms of password.
    #[error("both password and passwordSecret specified; keep passwordSecret")]
    BothPasswords,
    /// A password beside a TCP-AO key.
    #[error(
        "a session is signed with a password or with TCP-AO, not both; keep password, passwordSecret or tcpAOSecret alone"
    )]
    PasswordAndTcpAo,
    /// The password is empty or too long for TCP MD5.
    #[error("the password has {octets} octets; TCP MD5 takes 1 to 80")]
    PasswordLength {
        /// Its length.
        octets: usize,
    },
    /// Another peer has this router already.
    #[error(
        "peer {other} already exists with address {address}, and may run on the same nodes; remove one of them or give them nodeSelectors that keep them apart"
    )]
    DuplicatePeer {
        /// The older peer.
        other: String,
        /// Address and port.
        address: String,
    },
    /// The peer is sound and must stay down all the same.
    #[error(transparent)]
    PeerRefused(PeerRefusal),
    /// An aggregation length that does not exist.
    #[error("invalid {field} {value}: must be between {low} and {high}")]
    AggregationOutOfRange {
        /// aggregationLength or aggregationLengthV6.
        field: &'static str,
        /// The value.
        value: i32,
        /// Lowest.
        low: i32,
        /// Highest.
        high: i32,
    },
    /// The announced network would reach outside the pool.
    #[error(
        "{field} {length} is shorter than {cidr:?} in pool {pool:?}: the announced network would reach outside the pool; use {shortest} or more. The pool is not announced by this object"
    )]
    AggregationOutsidePool {
        /// aggregationLength or aggregationLengthV6.
        field: &'static str,
        /// The length.
        length: u8,
        /// The pool.
        pool: String,
        /// Its entry.
        cidr: String,
        /// The shortest length that fits.
        shortest: u8,
    },
    /// Service selectors on networks.
    #[error(
        "serviceSelectors cannot be combined with aggregationLength below 32 or aggregationLengthV6 below 128, because a network carries other Services too; remove one of them"
    )]
    AggregationWithServiceSelectors,
    /// A community that cannot be read.
    #[error("{0}")]
    InvalidCommunity(CommunityFault),
    /// A name that no Community object defines.
    #[error(
        "community {alias:?} is not defined; write a value like 64500:100, or define the name in a Community object"
    )]
    UnknownCommunity {
        /// The name.
        alias: String,
    },
    /// A name that an older Community object defines.
    #[error("duplicate definition of community {alias:?}: Community {other} defines it and stays in force")]
    DuplicateCommunity {
        /// The name.
        alias: String,
        /// The older object; it may be the same one.
        other: String,
    },
    /// A number outside its bounds.
    #[error("invalid {field} {value}: must be between {low} and {high}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The value.
        value: i64,
        /// Lowest.
        low: i64,
        /// Highest.
        high: i64,
    },
}

impl RejectionReason {
    /// The reason in one word, as a condition's reason.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoAddresses => "NoAddresses",
            Self::InvalidAddresses { .. } => "InvalidAddresses",
            Self::Overlap { .. } => "Overlap",
            Self::InvalidField { .. } => "InvalidField",
            Self::Duplicate { .. } => "DuplicateEntry",
            Self::Selector { .. } => "InvalidSelector",
            Self::MissingLocalAsn => "MissingLocalASN",
            Self::MissingPeerAsn => "MissingPeerASN",
            Self::BothPeerAsns => "ConflictingPeerASN",
            Self::InvalidPeerAddress { .. } => "InvalidPeerAddress",
            Self::NoAddress => "NoPeerAddress",
            Self::BothAddressAndInterface => "ConflictingPeerAddress",
            Self::InvalidSource { .. } | Self::SourceOfOtherFamily { .. } => "InvalidSourceAddress",
            Self::InvalidTimer { .. } => "InvalidTimer",
            Self::HoldTimeOutOfRange { .. } => "InvalidHoldTime",
            Self::KeepaliveAboveHold { .. } => "InvalidKeepaliveTime",
            Self::ConnectTimeOutOfRange { .. } => "InvalidConnectTime",
            Self::InvalidRouterId { .. } => "InvalidRouterID",
            Self::MultihopInternal => "MultiHopOnInternalPeer",
            Self::BothPasswords | Self::PasswordAndTcpAo => "ConflictingPasswords",
            Self::PasswordLength { .. } => "InvalidPassword",
            Self::DuplicatePeer { .. } => "DuplicatePeer",
            Self::PeerRefused(refusal) => refusal.word(),
            Self::AggregationOutOfRange { .. } => "InvalidAggregationLength",
            Self::AggregationOutsidePool { .. } => "AggregationOutsidePool",
            Self::AggregationWithServiceSelectors => "AggregationWithServiceSelectors",
            Self::InvalidCommunity(_) => "InvalidCommunity",
            Self::UnknownCommunity { .. } => "UnknownCommunity",
            Self::DuplicateCommunity { .. } => "DuplicateCommunity",
            Self::OutOfRange { .. } => "OutOfRange",
        }
    }
}

/// The part of a range's fault that is left when the entry has been named already.
fn detail(fault: &RangeFault) -> String {
    match fault {
        RangeFault::InvalidCidr { .. } => {
            "write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99".to_owned()
        }
        RangeFault::InvalidEnd { .. } | RangeFault::MixedFamilies { .. } | RangeFault::Reversed { .. } => {
            fault.to_string()
        }
    }
}
