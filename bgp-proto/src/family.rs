//! Address families, and sets of them: IPv4 and IPv6 unicast, which is what an announcer of services needs.

use std::fmt;
use std::net::IpAddr;

/// An address family that we announce: AFI 1 or 2 with SAFI 1 (RFC 4760).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 unicast, AFI 1 SAFI 1.
    Ipv4Unicast,
    /// IPv6 unicast, AFI 2 SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Both families, in the order in which they appear in messages.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family of an AFI/SAFI pair, when it is one of ours.
    #[must_use]
    pub fn from_afi_safi(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            (_, _) => None,
        }
    }

    /// The Address Family Identifier (RFC 4760 §3): 1 or 2.
    #[must_use]
    pub fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// The Subsequent Address Family Identifier (RFC 4760 §6): 1, unicast.
    #[must_use]
    pub fn safi(self) -> u8 {
        1
    }

    /// The family that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4Unicast,
            IpAddr::V6(_) => Self::Ipv6Unicast,
        }
    }

    /// The longest prefix, in bits.
    #[must_use]
    pub fn max_bits(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 32,
            Self::Ipv6Unicast => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4-unicast",
            Self::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Families {
    ipv4: bool,
    ipv6: bool,
}

impl Families {
    /// No family: what is known of a peer before its OPEN.
    pub const NONE: Self = Self { ipv4: false, ipv6: false };
    /// IPv4 unicast alone, which is also what an OPEN without multiprotocol capability means (RFC 4760 §8).
    pub const IPV4: Self = Self { ipv4: true, ipv6: false };
    /// IPv6 unicast alone.
    pub const IPV6: Self = Self { ipv4: false, ipv6: true };
    /// Both.
    pub const BOTH: Self = Self { ipv4: true, ipv6: true };

    /// Whether the family is in the set.
    #[must_use]
    pub fn contains(self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => self.ipv4,
            Family::Ipv6Unicast => self.ipv6,
        }
    }

    /// The set with one family more.
    #[must_use]
    pub fn with(self, family: Family) -> Self {
        match family {
            Family::Ipv4Unicast => Self { ipv4: true, ..self },
            Family::Ipv6Unicast => Self { ipv6: true, ..self },
        }
    }

    /// The set with one family less.
    #[must_use]
    pub fn without(self, family: Family) -> Self {
        match family {
            Family::Ipv4Unicast => Self { ipv4: false, ..self },
            Family::Ipv6Unicast => Self { ipv6: false, ..self },
        }
    }

    /// What both sets hold.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self { ipv4: self.ipv4 && other.ipv4, ipv6: self.ipv6 && other.ipv6 }
    }

    /// Whether no family is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// The families, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        families.into_iter().fold(Self::NONE, Self::with)
    }
}
