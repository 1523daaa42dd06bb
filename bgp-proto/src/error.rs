//! What can be wrong with octets from a peer, and the one table that says which NOTIFICATION answers it.
//!
//! Faults of single path attributes do not end a session (RFC 7606); they are verdicts of `wire::check`.

use std::fmt;

use crate::wire::notification::ErrorCode;

/// A message that ends the session. Each variant names the NOTIFICATION that answers it: code/subcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecodeError {
    /// The marker is not all ones: 1/1 (RFC 4271 §6.1).
    NotSynchronised,
    /// The length is not possible for the type: 1/2 with the field (RFC 4271 §6.1, RFC 8654 §4).
    BadLength {
        /// What the header says, in octets.
        length: u16,
    },
    /// No such message type: 1/3 with it (RFC 4271 §6.1).
    UnknownType {
        /// What the header says.
        code: u8,
    },
    /// OPEN: not version 4: 2/1 with ours (RFC 4271 §6.2).
    UnsupportedVersion {
        /// The version.
        version: u8,
    },
    /// OPEN: AS 0, AS_TRANS as a speaker's own number, or two fields that disagree: 2/2 (RFC 7607 §2, RFC 6793 §4.1).
    UnusableAs,
    /// OPEN: BGP Identifier 0.0.0.0: 2/3 (RFC 6286 §2.2).
    ZeroRouterId,
    /// OPEN: a Hold Time of one or two seconds: 2/6 (RFC 4271 §6.2).
    HoldTimeTooShort {
        /// What was proposed, in seconds.
        seconds: u16,
    },
    /// OPEN: an optional parameter that is not "capabilities": 2/4 (RFC 4271 §6.2).
    UnsupportedParameter {
        /// Its type.
        code: u8,
    },
    /// OPEN: lengths of parameters or capabilities that do not add up: 2/0 (RFC 4271 §6.2, RFC 9072 §2).
    MalformedOpen,
    /// UPDATE: lengths that do not add up, so that the routes cannot be found: 3/1 (RFC 7606 §3 b).
    MalformedUpdate,
    /// ROUTE-REFRESH: begin or end of refresh with a wrong length: 7/1 with the message (RFC 7313 §5).
    RefreshLength,
}

impl DecodeError {
    /// Code and subcode that answer it. The data that goes along is [`DecodeError::data`].
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotSynchronised => ErrorCode::NOT_SYNCHRONISED,
            Self::BadLength { .. } => ErrorCode::BAD_LENGTH,
            Self::UnknownType { .. } => ErrorCode::BAD_TYPE,
            Self::UnsupportedVersion { .. } => ErrorCode::UNSUPPORTED_VERSION,
            Self::UnusableAs => ErrorCode::BAD_PEER_AS,
            Self::ZeroRouterId => ErrorCode::BAD_ROUTER_ID,
            Self::HoldTimeTooShort { .. } => ErrorCode::UNACCEPTABLE_HOLD_TIME,
            Self::UnsupportedParameter { .. } => ErrorCode::UNSUPPORTED_PARAMETER,
            Self::MalformedOpen => ErrorCode::OPEN_UNSPECIFIC,
            Self::MalformedUpdate => ErrorCode::MALFORMED_ATTRIBUTE_LIST,
            Self::RefreshLength => ErrorCode::REFRESH_BAD_LENGTH,
        }
    }

    /// The data field of the answer, in network order; `message` is what was received, header included.
    #[must_use]
    pub fn data(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::BadLength { length } => length.to_be_bytes().to_vec(),
            Self::UnknownType { code } => vec![code],
            Self::UnsupportedVersion { .. } => 4_u16.to_be_bytes().to_vec(),
            Self::RefreshLength => message.to_vec(),
            Self::NotSynchronised
            | Self::UnusableAs
            | Self::ZeroRouterId
            | Self::HoldTimeTooShort { .. }
            | Self::UnsupportedParameter { .. }
            | Self::MalformedOpen
            | Self::MalformedUpdate => Vec::new(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSynchronised => f.write_str("router sent octets that are no BGP message (marker)"),
            Self::BadLength { length } => write!(f, "router sent a message of impossible length {length}"),
            Self::UnknownType { code } => write!(f, "router sent a message of unknown type {code}"),
            Self::UnsupportedVersion { version } => {
                write!(f, "router speaks BGP version {version}, we speak 4")
            }
            Self::UnusableAs => f.write_str("router's OPEN has an AS number that nobody may use"),
            Self::ZeroRouterId => f.write_str("router's OPEN has the router ID 0.0.0.0"),
            Self::HoldTimeTooShort { seconds } => {
                write!(f, "router proposes a hold time of {seconds} s, the least is 3 s")
            }
            Self::UnsupportedParameter { code } => {
                write!(f, "router's OPEN has an optional parameter of unknown type {code}")
            }
            Self::MalformedOpen => f.write_str("router's OPEN has lengths that do not add up"),
            Self::MalformedUpdate => f.write_str("router's UPDATE has lengths that do not add up"),
            Self::RefreshLength => f.write_str("router's ROUTE-REFRESH has a wrong length"),
        }
    }
}

impl std::error::Error for DecodeError {}
