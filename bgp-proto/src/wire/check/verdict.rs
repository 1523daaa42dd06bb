//! What an UPDATE is worth: the classes of RFC 7606, and what is wrong in words.

use std::fmt;

use crate::wire::attribute::rule_of;
use crate::wire::notification::ErrorCode;

/// What an UPDATE is worth, from best to worst (RFC 7606 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Nothing is wrong.
    Accept,
    /// An attribute is to be dropped, the routes are good.
    Discard,
    /// All its routes are to be treated as withdrawn.
    Withdraw,
    /// Its routes cannot be told: the session is to be reset.
    Reset,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Nothing.
    None,
    /// An attribute runs past the end of the attributes (RFC 7606 §4).
    Overrun,
    /// The attribute's flags contradict its definition (RFC 7606 §3 c).
    Flags,
    /// The attribute has a length that it cannot have (RFC 7606 §7).
    Length,
    /// The attribute has a value that it cannot have (RFC 7606 §7).
    Value,
    /// The attribute comes a second time (RFC 7606 §3 g).
    Repeated,
    /// The attribute is not for a peer of this kind to send (RFC 7606 §7.5, RFC 6793 §4.1).
    NotFromHere,
    /// An attribute that must be there is not (RFC 7606 §3 d).
    Missing,
    /// An attribute that we do not know, and need not (RFC 4271 §5).
    Unknown,
    /// An attribute that claims to be well-known and is not.
    UnknownWellKnown,
    /// A family that was not negotiated (RFC 4760 §7).
    NotNegotiated,
    /// Prefixes that cannot be read (RFC 7606 §5.3).
    Nlri,
    /// The lengths of the parts of the UPDATE do not add up (RFC 7606 §3 b).
    Lengths,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing is wrong",
            Self::Overrun => "an attribute runs past the end of the attributes",
            Self::Flags => "the flags contradict the definition of the attribute",
            Self::Length => "the attribute cannot have this length",
            Self::Value => "the attribute cannot have this value",
            Self::Repeated => "the attribute comes twice",
            Self::NotFromHere => "the attribute is not for this kind of peer to send",
            Self::Missing => "a mandatory attribute is missing",
            Self::Unknown => "the attribute is not known",
            Self::UnknownWellKnown => "the attribute claims to be well-known and is not",
            Self::NotNegotiated => "the address family was not negotiated",
            Self::Nlri => "the prefixes cannot be read",
            Self::Lengths => "the lengths of its parts do not add up",
        })
    }
}

/// The gravest fault of an UPDATE; of equally grave ones the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the UPDATE is worth.
    pub class: Class,
    /// The attribute at fault; 0 when none is.
    pub attribute: u8,
    /// Where it begins in the message, in octets from the marker.
    pub at: u16,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.attribute, rule_of(self.attribute)) {
            (0, _) => write!(f, "{}", self.reason),
            (code, None) => write!(f, "attribute {code} at octet {}: {}", self.at, self.reason),
            (_, Some(rule)) => write!(f, "{} at octet {}: {}", rule.name, self.at, self.reason),
        }
    }
}

impl Verdict {
    /// The answer to an UPDATE of class [`Class::Reset`]: 3/10, 3/9 or 3/1 (RFC 4271 §6.3).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self.reason {
            Reason::Nlri => ErrorCode::INVALID_NETWORK_FIELD,
            Reason::Length => ErrorCode::OPTIONAL_ATTRIBUTE,
            Reason::None
            | Reason::Overrun
            | Reason::Flags
            | Reason::Value
            | Reason::Repeated
            | Reason::NotFromHere
            | Reason::Missing
            | Reason::Unknown
            | Reason::UnknownWellKnown
            | Reason::NotNegotiated
            | Reason::Lengths => ErrorCode::MALFORMED_ATTRIBUTE_LIST,
        }
    }
}

impl Verdict {
    /// Nothing is wrong.
    pub(super) const SOUND: Self = Self { class: Class::Accept, attribute: 0, at: 0, reason: Reason::None };
}
