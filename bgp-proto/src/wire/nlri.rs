//! NLRI: prefixes as length and octets (RFC 4271 §4.3). Checked as a whole first, then read without failing.
//!
//! Path identifiers (RFC 7911) are not read: we negotiate no ADD-PATH.

use super::reader::Cursor;
use crate::family::Family;
use crate::prefix::Prefix;

/// Prefixes of one family.
#[derive(Clone, Copy, Debug)]
pub struct Nlri<'a> {
    octets: Cursor<'a>,
    family: Family,
}

/// NLRI that cannot be read: a prefix too long for its family, or one that runs past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NlriBroken;

impl<'a> Nlri<'a> {
    /// Checks all lengths.
    ///
    /// # Errors
    /// When any prefix cannot be read, because then none behind it can.
    pub fn try_new(octets: &'a [u8], family: Family) -> Result<Self, NlriBroken> {
        let mut ahead = Cursor::new(octets);
        while let Some(bits) = ahead.u8() {
            if bits > family.max_bits() {
                return Err(NlriBroken);
            }
            ahead.take(usize::from(bits.div_ceil(8))).ok_or(NlriBroken)?;
        }
        Ok(Self { octets: Cursor::new(octets), family })
    }
}

impl Iterator for Nlri<'_> {
    type Item = Prefix;

    fn next(&mut self) -> Option<Prefix> {
        let bits = self.octets.u8()?;
        // What stands behind the prefix may be read along with it: the mask takes it away again.
        let ahead = self.octets.rest();
        self.octets.take(usize::from(bits.div_ceil(8)))?;
        Some(match self.family {
            Family::Ipv4Unicast => Prefix::masked_v4(u32::from_be_bytes(leading(ahead)), bits),
            Family::Ipv6Unicast => Prefix::masked_v6(u128::from_be_bytes(leading(ahead)), bits),
        })
    }
}

/// The first octets, with zeros where there are none any more.
fn leading<const N: usize>(octets: &[u8]) -> [u8; N] {
    if let Some(all) = octets.first_chunk() {
        return *all;
    }
    let mut some = [0; N];
    for (to, from) in some.iter_mut().zip(octets) {
        *to = *from;
    }
    some
}
