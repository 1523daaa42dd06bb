//! Where a peer's router is, and who of both opens the connection: Herald's own fields beside MetalLB's `peerAddress`.
//!
//! Leaves out finding it: an address that has to be looked up (a gateway, a router on an interface) is looked up by the
//! speaker, because each node has its own.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::RejectionReason;
use crate::service::IpFamily;
use crate::v1beta2::{BGPPeerSpec, ConnectMode, GatewayFamily};

/// The port of BGP (RFC 4271 §8.2.1).
pub(super) const BGP_PORT: u16 = 179;

/// Where a router is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RouterAt {
    /// At this address.
    Address(IpAddr),
    /// It is the node's default gateway.
    Gateway(IpFamily),
    /// It is the one that advertises itself on this interface; sessions run between link-local addresses.
    Interface(String),
    /// Each address of this network may be one.
    Range(IpNet),
}

impl RouterAt {
    /// The address, where it is written down.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Gateway(_) | Self::Interface(_) | Self::Range(_) => None,
        }
    }

    /// The family of the addresses that our own is chosen from; `None` where only a link-local one will do.
    #[must_use]
    pub fn family(&self) -> Option<IpFamily> {
        match self {
            Self::Address(address) => Some(IpFamily::of(*address)),
            Self::Gateway(family) => Some(*family),
            Self::Interface(_) => None,
            Self::Range(range) => Some(IpFamily::of(range.network())),
        }
    }

    pub(super) fn try_new(spec: &BGPPeerSpec) -> Result<Self, RejectionReason> {
        let text = filled(spec.peer_address.as_deref());
        let interface = filled(spec.interface.as_deref());
        let range = filled(spec.peer_range.as_deref());
        match (text, interface, range, spec.default_gateway) {
            (None, None, None, None) => Err(RejectionReason::NoAddress),
            (Some(_), Some(_), _, _) => Err(RejectionReason::BothAddressAndInterface),
            (Some(text), None, None, None) => match address(text) {
                Some(address) => Ok(Self::Address(address)),
                None => Err(RejectionReason::InvalidPeerAddress { text: text.to_owned() }),
            },
            (None, Some(interface), None, None) => Ok(Self::Interface(interface.to_owned())),
            (None, None, Some(text), None) => match text.parse::<IpNet>() {
                Ok(range) => Ok(Self::Range(range.trunc())),
                Err(_) => Err(RejectionReason::InvalidField {
                    field: "peerRange",
                    text: text.to_owned(),
                    advice: "write a network such as 10.0.2.0/24",
                }),
            },
            (None, None, None, Some(GatewayFamily::IPv4)) => Ok(Self::Gateway(IpFamily::V4)),
            (None, None, None, Some(GatewayFamily::IPv6)) => Ok(Self::Gateway(IpFamily::V6)),
            (_, _, Some(text), _) => Err(RejectionReason::InvalidField {
                field: "peerRange",
                text: text.to_owned(),
                advice: "peerRange stands in place of peerAddress, interface and defaultGateway; keep one of them",
            }),
            (_, _, None, Some(family)) => Err(RejectionReason::InvalidField {
                field: "defaultGateway",
                text: format!("{family:?}"),
                advice: "defaultGateway stands in place of peerAddress and interface; keep one of them",
            }),
        }
    }
}

/// As it stands behind "session with".
impl fmt::Display for RouterAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Gateway(family) => write!(f, "the {family} default gateway"),
            Self::Interface(interface) => write!(f, "the router on {interface}"),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl ConnectMode {
    /// Whether the node opens connections.
    #[must_use]
    pub const fn dials(self) -> bool {
        match self {
            Self::Active | Self::Both => true,
            Self::Passive => false,
        }
    }

    /// Whether the node takes connections.
    #[must_use]
    pub const fn listens(self) -> bool {
        match self {
            Self::Passive | Self::Both => true,
            Self::Active => false,
        }
    }
}

/// Routers of a range can only be waited for.
pub(super) fn connect_mode(spec: &BGPPeerSpec, router: &RouterAt) -> Result<ConnectMode, RejectionReason> {
    let is_range = matches!(router, RouterAt::Range(_));
    match spec.connect_mode {
        None if is_range => Ok(ConnectMode::Passive),
        Some(mode) if is_range && mode.dials() => Err(RejectionReason::InvalidField {
            field: "connectMode",
            text: format!("{mode:?}"),
            advice: "routers of a peerRange dial; remove connectMode",
        }),
        mode => Ok(mode.unwrap_or(ConnectMode::Active)),
    }
}

pub(super) fn listen_port(spec: &BGPPeerSpec) -> Result<u16, RejectionReason> {
    match spec.listen_port {
        Some(0) => {
            let field = "listenPort";
            Err(RejectionReason::OutOfRange { field, value: 0, low: 1, high: u16::MAX.into() })
        }
        port => Ok(port.unwrap_or(BGP_PORT)),
    }
}

pub(super) fn ttl_security(spec: &BGPPeerSpec) -> Result<Option<NonZeroU8>, RejectionReason> {
    match spec.ttl_security {
        None => Ok(None),
        Some(hops @ 1..=254) => Ok(NonZeroU8::new(hops)),
        Some(hops @ (0 | 255)) => {
            Err(RejectionReason::OutOfRange { field: "ttlSecurity", value: hops.into(), low: 1, high: 254 })
        }
    }
}

/// IPv4 written inside IPv6 is IPv4.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// An empty text is none.
pub(super) fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
