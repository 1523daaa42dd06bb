//! FNV-1a of 64 bits: the same on every machine and in every version, and no match for anybody who wants two texts to meet.

use std::hash::Hasher as _;

use fnv::FnvHasher;

/// The hash of these pieces, one behind the other.
#[must_use]
pub(crate) fn fnv<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = FnvHasher::default();
    pieces.into_iter().for_each(|piece| hasher.write(piece));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_its_definition() {
        assert_eq!(fnv([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv([&b"a"[..]]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv([&b"foo"[..], b"bar"]), 0x8594_4171_f739_67e8);
    }
}
