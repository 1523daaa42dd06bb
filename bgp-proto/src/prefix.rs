//! A destination as one canonical value.
//!
//! How it looks on the wire is told in `wire::nlri` (reading) and `pack` (writing).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::family::Family;

/// A destination: an address and how many of its leading bits count. Host bits are always zero, so
/// equal destinations are equal values (RFC 4271 §4.3: those bits say nothing). IPv4 sorts before IPv6, then by address,
/// then by length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Octets);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Octets {
    V4([u8; 4], u8),
    V6([u8; 16], u8),
}

impl Prefix {
    /// The prefix of `len` bits that holds `address`; the bits behind are dropped.
    ///
    /// # Errors
    /// [`PrefixTooLong`]: a length above 32 bits for IPv4, above 128 for IPv6.
    pub fn try_new(address: IpAddr, len: u8) -> Result<Self, PrefixTooLong> {
        let family = Family::of(address);
        if len > family.max_bits() {
            return Err(PrefixTooLong { family, len });
        }
        Ok(match address {
            IpAddr::V4(v4) => Self::masked_v4(v4.to_bits(), len),
            IpAddr::V6(v6) => Self::masked_v6(v6.to_bits(), len),
        })
    }

    /// The prefix that holds this one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self(Octets::V4(v4.octets(), 32)),
            IpAddr::V6(v6) => Self(Octets::V6(v6.octets(), 128)),
        }
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self.0 {
            Octets::V4(octets, _) => Ipv4Addr::from(octets).into(),
            Octets::V6(octets, _) => Ipv6Addr::from(octets).into(),
        }
    }

    /// How many leading bits count, 0 to 32 or 128.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length in bits, not a container")]
    pub fn len(&self) -> u8 {
        match self.0 {
            Octets::V4(_, len) | Octets::V6(_, len) => len,
        }
    }

    /// The family in which it is announced.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.0 {
            Octets::V4(..) => Family::Ipv4Unicast,
            Octets::V6(..) => Family::Ipv6Unicast,
        }
    }

    /// The octets that go on the wire behind the length, in network order: only those that hold counted bits (RFC 4271
    /// §4.3).
    #[must_use]
    pub fn significant_octets(&self) -> &[u8] {
        let (octets, len): (&[u8], u8) = match &self.0 {
            Octets::V4(octets, len) => (octets, *len),
            Octets::V6(octets, len) => (octets, *len),
        };
        octets.get(..usize::from(len.div_ceil(8))).unwrap_or(octets)
    }

    /// The most octets that a prefix takes on the wire, its length octet included.
    pub(crate) const WIRE_MAX: usize = 17;

    /// How many octets one address takes on the wire, its length octet included.
    pub(crate) fn host_wire_len(family: Family) -> usize {
        match family {
            Family::Ipv4Unicast => 5,
            Family::Ipv6Unicast => Self::WIRE_MAX,
        }
    }

    /// How many octets it takes on the wire, its length octet included.
    pub(crate) fn wire_len(&self) -> usize {
        usize::from(self.len().div_ceil(8)).saturating_add(1)
    }

    /// Writes length and significant octets to the front of `room`; returns how many those are. `None`
    /// when they do not fit. What is behind them may be overwritten.
    pub(crate) fn put(&self, room: &mut [u8]) -> Option<usize> {
        match (self.0, room.len()) {
            (Octets::V4([a, b, c, d], len), 5..) => *room.first_chunk_mut()? = [len, a, b, c, d],
            (Octets::V6(octets, len), Self::WIRE_MAX..) => {
                let (first, rest) = room.split_first_mut()?;
                *first = len;
                *rest.first_chunk_mut()? = octets;
            }
            (Octets::V4(_, len) | Octets::V6(_, len), _) => {
                let (first, rest) = room.split_first_mut()?;
                let octets = self.significant_octets();
                let to = rest.get_mut(..octets.len())?;
                *first = len;
                to.copy_from_slice(octets);
            }
        }
        Some(self.wire_len())
    }

    /// The caller has checked `len <= 32`.
    pub(crate) fn masked_v4(bits: u32, len: u8) -> Self {
        let mask = u32::MAX.checked_shl(u32::from(32_u8.saturating_sub(len))).unwrap_or(0);
        Self(Octets::V4((bits & mask).to_be_bytes(), len))
    }

    /// The caller has checked `len <= 128`.
    pub(crate) fn masked_v6(bits: u128, len: u8) -> Self {
        let mask = u128::MAX.checked_shl(u32::from(128_u8.saturating_sub(len))).unwrap_or(0);
        Self(Octets::V6((bits & mask).to_be_bytes(), len))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.len())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A prefix length that the family does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixTooLong {
    /// The family of the address.
    pub family: Family,
    /// The length that was given, in bits.
    pub len: u8,
}

impl fmt::Display for PrefixTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a prefix of {} bits is longer than {} allows ({})",
            self.len,
            self.family,
            self.family.max_bits()
        )
    }
}

impl std::error::Error for PrefixTooLong {}
