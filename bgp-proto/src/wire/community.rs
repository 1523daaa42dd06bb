//! Standard, large and link-bandwidth communities: values, their text forms, and readers of the attributes.
//!
//! Aliases that people give to communities are not known here.

use std::fmt;
use std::str::FromStr;

use crate::number::Asn;

/// A standard community (RFC 1997): an AS in the upper 16 bits, its own meaning in the lower ones. Its text is `64500:1`;
/// reading another one fails with [`CommunityFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Do not advertise outside the AS or confederation (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xFFFF_FF01);
    /// Do not advertise at all (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xFFFF_FF02);
    /// GRACEFUL_SHUTDOWN: this path is about to go away, prefer another (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
    /// Do not keep this route as long-lived stale (RFC 9494 §3.3).
    pub const NO_LLGR: Self = Self(0xFFFF_0007);
    /// Drop traffic for this prefix (RFC 7999).
    pub const BLACKHOLE: Self = Self(0xFFFF_029A);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF)
    }
}

impl FromStr for Community {
    type Err = CommunityFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once(':').ok_or(CommunityFault::Shape)?;
        let part = |text: &str| text.parse::<u16>().map(u32::from).map_err(|_| CommunityFault::PartTooLarge);
        Ok(Self(part(high)? << 16 | part(low)?))
    }
}

/// A large community (RFC 8092). Its text is `64500:1:2` (§4); reading another one fails with [`CommunityFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Who defines the meaning: an AS number.
    pub global: u32,
    /// First local part.
    pub local1: u32,
    /// Second local part.
    pub local2: u32,
}

impl LargeCommunity {
    /// As on the wire: three numbers in network order (RFC 8092 §2).
    #[must_use]
    pub fn to_octets(&self) -> [u8; 12] {
        let mut octets = [0; 12];
        let (parts, _) = octets.as_chunks_mut::<4>();
        for (to, from) in parts.iter_mut().zip([self.global, self.local1, self.local2]) {
            *to = from.to_be_bytes();
        }
        octets
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = CommunityFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts =
            text.splitn(3, ':').map(|text| text.parse().map_err(|_| CommunityFault::PartTooLarge));
        let mut part = || parts.next().unwrap_or(Err(CommunityFault::Shape));
        Ok(Self { global: part()?, local1: part()?, local2: part()? })
    }
}

/// The share of traffic that a path asks for (draft-ietf-idr-link-bandwidth), as an extended community.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkBandwidth {
    /// Who says so, in two octets; AS_TRANS where they do not do (RFC 6793).
    pub asn: u16,
    /// Octets, not bits, a second.
    pub octets_per_second: f32,
    /// Whether it survives an eBGP hop (RFC 4360 §2).
    pub transitive: bool,
}

impl LinkBandwidth {
    /// The form that survives an eBGP hop, out of a rate in bits a second. Routers compare the rates of
    /// equal paths, so only their ratio matters.
    #[must_use]
    pub fn from_bits_per_second(asn: Asn, bits: f32) -> Self {
        Self { asn: asn.to_two_octets(), octets_per_second: bits / 8.0, transitive: true }
    }

    /// Reads one extended community; `None` when it is another one.
    #[must_use]
    pub fn from_octets(octets: [u8; 8]) -> Option<Self> {
        let [kind, 0x04, a, b, rate @ ..] = octets else { return None };
        let transitive = match kind {
            0x00 => true,
            0x40 => false,
            _ => return None,
        };
        let octets_per_second = f32::from_be_bytes(rate);
        Some(Self { asn: u16::from_be_bytes([a, b]), octets_per_second, transitive })
    }

    /// As on the wire: type, subtype, AS, rate as IEEE 754 in network order.
    #[must_use]
    pub fn to_octets(&self) -> [u8; 8] {
        let kind = if self.transitive { 0x00 } else { 0x40 };
        let [a, b] = self.asn.to_be_bytes();
        let [c, d, e, f] = self.octets_per_second.to_be_bytes();
        [kind, 0x04, a, b, c, d, e, f]
    }
}

/// The communities in the value of a COMMUNITIES attribute whose length was checked (RFC 7606 §7.8); stray octets at the
/// end are left out.
pub fn communities(value: &[u8]) -> impl Iterator<Item = Community> {
    value.as_chunks::<4>().0.iter().map(|octets| Community(u32::from_be_bytes(*octets)))
}

/// The communities in the value of a LARGE_COMMUNITY attribute whose length was checked (RFC 8092 §6); stray octets at the
/// end are left out.
pub fn large_communities(value: &[u8]) -> impl Iterator<Item = LargeCommunity> {
    value.as_chunks::<12>().0.iter().map(|octets| {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *octets;
        LargeCommunity {
            global: u32::from_be_bytes([a, b, c, d]),
            local1: u32::from_be_bytes([e, f, g, h]),
            local2: u32::from_be_bytes([i, j, k, l]),
        }
    })
}

/// Why a text is not a community.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommunityFault {
    /// Not `a:b`, or `a:b:c` for a large one.
    Shape,
    /// A part is not a number that fits 16 bits, or 32 in a large one.
    PartTooLarge,
}

impl fmt::Display for CommunityFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "a community is two numbers (64500:1) or, when large, three (64500:1:2)",
            Self::PartTooLarge => {
                "each part of a community is a number: up to 65535, or up to 4294967295 when large"
            }
        })
    }
}

impl std::error::Error for CommunityFault {}
