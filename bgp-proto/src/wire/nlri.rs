//! NLRI: prefixes as length and octets (RFC 4271 §4.3). Checked as a whole first, then read without failing.
//!
//! Path identifiers (RFC 7911) are not read: we negotiate no ADD-PATH.

use crate::family::Family;
use crate::prefix::Prefix;

/// Prefixes of one family, in the order of the wire. Bits behind a prefix are dropped (RFC 4271 §4.3).
#[derive(Clone, Copy, Debug)]
pub struct Nlri<'a> {
    octets: &'a [u8],
    family: Family,
}

/// NLRI that cannot be read: a prefix too long for its family, or one that runs past the end (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NlriBroken;

impl<'a> Nlri<'a> {
    /// Checks all lengths.
    ///
    /// # Errors
    /// [`NlriBroken`] when any prefix cannot be read, because then none behind it can (RFC 7606 §3 j).
    #[inline]
    pub fn try_new(octets: &'a [u8], family: Family) -> Result<Self, NlriBroken> {
        if is_sound(octets, family) { Ok(Self { octets, family }) } else { Err(NlriBroken) }
    }

    /// The prefixes in octets that [`Nlri::try_new`] found good before.
    pub(super) fn checked(octets: &'a [u8], family: Family) -> Self {
        Self { octets, family }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}

/// Whether every prefix has a length that its family has, and all its octets.
#[inline]
pub(super) fn is_sound(octets: &[u8], family: Family) -> bool {
    let mut ahead = octets;
    while let [bits, rest @ ..] = ahead {
        if *bits > family.max_bits() {
            return false;
        }
        let Some(behind) = behind(rest, *bits) else { return false };
        ahead = behind;
    }
    true
}

impl Iterator for Nlri<'_> {
    type Item = Prefix;

    #[inline]
    fn next(&mut self) -> Option<Prefix> {
        let (bits, value) = self.octets.split_first()?;
        let Some(behind) = behind(value, *bits) else {
            // Never so in what was checked. A branch, because a selection would make each step wait for it.
            self.octets = &[];
            return None;
        };
        self.octets = behind;
        Some(match self.family {
            Family::Ipv4Unicast => Prefix::masked_v4(leading_v4(value), *bits),
            Family::Ipv6Unicast => Prefix::masked_v6(leading_v6(value), *bits),
        })
    }
}

/// What is behind a prefix of so many bits; `None` when it is not there as a whole.
///
/// Nine of ten prefixes of a full table have three octets. Asking for those first is a guess that the processor
/// makes, too: it reads the next length before this one has come.
#[inline]
fn behind(octets: &[u8], bits: u8) -> Option<&[u8]> {
    match octets {
        [_, _, _, behind @ ..] if matches!(bits, 17..=24) => Some(behind),
        octets => octets.get(octets_of(bits)..),
    }
}

/// How many octets hold this many bits.
#[inline]
fn octets_of(bits: u8) -> usize {
    usize::from(bits).saturating_add(7) / 8
}

/// The first four octets, with zeros where there are none any more. What stands behind the prefix may be
/// read along with it: the mask takes it away again.
#[inline]
fn leading_v4(octets: &[u8]) -> u32 {
    u32::from_be_bytes(match octets {
        [a, b, c, d, ..] => [*a, *b, *c, *d],
        [a, b, c] => [*a, *b, *c, 0],
        [a, b] => [*a, *b, 0, 0],
        [a] => [*a, 0, 0, 0],
        [] => [0; 4],
    })
}

/// The first sixteen octets, in the same way.
fn leading_v6(octets: &[u8]) -> u128 {
    if let Some(all) = octets.first_chunk() {
        return u128::from_be_bytes(*all);
    }
    let mut some = [0; 16];
    for (to, from) in some.iter_mut().zip(octets) {
        *to = *from;
    }
    u128::from_be_bytes(some)
}
