//! Why a packet is not taken (RFC 5880 §6.8.6, RFC 5881 §5, RFC 5883 §5): each reason is one variant.

use std::fmt;

use crate::packet::{Discriminator, PACKET_LEN};
use crate::state::State;

/// Why a packet was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// Fewer octets than the fixed part has.
    TooShort {
        /// How many there were.
        octets: usize,
    },
    /// Another version of the protocol.
    Version {
        /// Which one.
        version: u8,
    },
    /// The length field is less than the fixed part, or more than the payload.
    Length {
        /// What the field says.
        said: u8,
        /// How many octets there were.
        octets: usize,
    },
    /// Detect Mult is zero.
    ZeroMultiplier,
    /// The multipoint bit is set.
    Multipoint,
    /// My Discriminator is zero.
    ZeroDiscriminator,
    /// Your Discriminator is zero although the sender has heard us.
    NotAddressed {
        /// The sender's state.
        state: State,
    },
    /// It carries authentication, which we do not use.
    Authenticated,
    /// Your Discriminator is of no session here.
    UnknownDiscriminator {
        /// Which one.
        discriminator: Discriminator,
    },
    /// It is a first packet from somebody with whom no session is wanted.
    NoSession,
    /// It came to the port of the other kind of session.
    WrongPort,
    /// It has come from further away than allowed.
    Ttl {
        /// The TTL on arrival.
        found: u8,
        /// The least that is taken.
        least: u8,
    },
    /// The session is switched off here.
    SwitchedOff,
}

impl Discard {
    /// One word in CamelCase, for labels.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "TooShort",
            Self::Version { .. } => "Version",
            Self::Length { .. } => "Length",
            Self::ZeroMultiplier => "ZeroMultiplier",
            Self::Multipoint => "Multipoint",
            Self::ZeroDiscriminator => "ZeroDiscriminator",
            Self::NotAddressed { .. } => "NotAddressed",
            Self::Authenticated => "Authenticated",
            Self::UnknownDiscriminator { .. } => "UnknownDiscriminator",
            Self::NoSession => "NoSession",
            Self::WrongPort => "WrongPort",
            Self::Ttl { .. } => "Ttl",
            Self::SwitchedOff => "SwitchedOff",
        }
    }
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { octets } => write!(f, "{octets} octets are no BFD packet ({PACKET_LEN} at least)"),
            Self::Version { version } => write!(f, "version {version} instead of 1"),
            Self::Length { said, octets } => write!(f, "the length field says {said}, there are {octets} octets"),
            Self::ZeroMultiplier => f.write_str("Detect Mult is zero"),
            Self::Multipoint => f.write_str("the multipoint bit is set"),
            Self::ZeroDiscriminator => f.write_str("My Discriminator is zero"),
            Self::NotAddressed { state } => write!(f, "Your Discriminator is zero in state {state}"),
            Self::Authenticated => {
                f.write_str("it carries authentication, which Herald does not use: switch it off on the router")
            }
            Self::UnknownDiscriminator { discriminator } => {
                write!(f, "no session here has discriminator {discriminator}")
            }
            Self::NoSession => f.write_str("no session with its sender is wanted here"),
            Self::WrongPort => f.write_str(
                "it came to the port of the other kind of session: single hop on one side, multihop on the other",
            ),
            Self::Ttl { found, least } => {
                write!(f, "its TTL is {found}, less than {least}: it has come from further away than allowed")
            }
            Self::SwitchedOff => f.write_str("the session is switched off here"),
        }
    }
}

impl std::error::Error for Discard {}
