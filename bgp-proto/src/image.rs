//! Prefixes as the octets of a message, ready to be copied.
//!
//! An image is cut between prefixes only: by arithmetic where all are equally long, else by hopping from
//! length octet to length octet. What the octets mean is told in `wire::nlri`.

use crate::prefix::Prefix;

/// The image of some prefixes that somebody keeps.
#[derive(Debug)]
pub(crate) struct ImageBuf {
    octets: Box<[u8]>,
    each: usize,
}

/// Some prefixes of one family, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    octets: &'a [u8],
    /// How many octets each takes; 0 when they are not equally long.
    each: usize,
}

/// How much of an image fits somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) prefixes: usize,
    pub(crate) octets: usize,
}

impl ImageBuf {
    pub(crate) fn of<'p>(prefixes: impl ExactSizeIterator<Item = &'p Prefix> + Clone) -> Self {
        let length = prefixes.clone().map(Prefix::wire_len).fold(0, usize::saturating_add);
        let each = length.checked_div(prefixes.len()).unwrap_or(0);
        let is_even = prefixes.clone().all(|prefix| prefix.wire_len() == each);
        let mut octets = vec![0; length].into_boxed_slice();
        let mut room = &mut *octets;
        for prefix in prefixes {
            let taken = prefix.put(room).expect("the sum of their lengths is there");
            room = room.get_mut(taken..).unwrap_or_default();
        }
        Self { octets, each: if is_even { each } else { 0 } }
    }

    pub(crate) fn whole(&self) -> Image<'_> {
        Image { octets: &self.octets, each: self.each }
    }
}

impl<'a> Image<'a> {
    pub(crate) fn octets(&self) -> &'a [u8] {
        self.octets
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// As many of its prefixes as `room` octets hold.
    pub(crate) fn fit(&self, room: usize) -> Fit {
        let room = room.min(self.octets.len());
        match room.checked_div(self.each) {
            Some(prefixes) => Fit { prefixes, octets: prefixes.saturating_mul(self.each) },
            None => self.hop(|_, behind| behind <= room),
        }
    }

    /// What is behind the first `count` prefixes.
    pub(crate) fn behind(&self, count: usize) -> Self {
        let octets = match self.each {
            0 => self.hop(|prefixes, _| prefixes <= count).octets,
            each => count.saturating_mul(each),
        };
        self.behind_octets(octets)
    }

    /// What a [`Fit`] takes.
    pub(crate) fn up_to_octets(&self, octets: usize) -> Self {
        Self { octets: self.octets.get(..octets).unwrap_or(self.octets), each: self.each }
    }

    /// What is behind a [`Fit`].
    pub(crate) fn behind_octets(&self, octets: usize) -> Self {
        Self { octets: self.octets.get(octets..).unwrap_or_default(), each: self.each }
    }

    /// Goes on while `is_wanted` says so of the prefixes that were passed then, and of their octets.
    fn hop(&self, is_wanted: impl Fn(usize, usize) -> bool) -> Fit {
        let mut passed = Fit::default();
        while let Some(bits) = self.octets.get(passed.octets) {
            let length = usize::from(bits.div_ceil(8)).saturating_add(1);
            let next = Fit {
                prefixes: passed.prefixes.saturating_add(1),
                octets: passed.octets.saturating_add(length),
            };
            if !is_wanted(next.prefixes, next.octets) {
                break;
            }
            passed = next;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(lengths: &[u8]) -> Vec<Prefix> {
        lengths.iter().map(|len| Prefix::try_new([10, 1, 2, 3].into(), *len).unwrap()).collect()
    }

    #[test]
    fn every_cut_is_between_prefixes_whether_they_are_equally_long_or_not() {
        for lengths in [&[32; 7][..], &[8, 32, 0, 24, 17], &[0, 0, 0], &[24], &[]] {
            let prefixes = prefixes(lengths);
            let buf = ImageBuf::of(prefixes.iter());
            let ends: Vec<usize> = prefixes
                .iter()
                .scan(0, |sum, prefix| {
                    *sum += prefix.wire_len();
                    Some(*sum)
                })
                .collect();
            for room in 0..=buf.octets.len() + 3 {
                let expected = ends.iter().take_while(|end| **end <= room).count();
                let octets = expected.checked_sub(1).map_or(0, |last| ends[last]);
                assert_eq!(buf.whole().fit(room), Fit { prefixes: expected, octets }, "{lengths:?} {room}");
                assert_eq!(
                    buf.whole().behind(expected).octets(),
                    &buf.octets[octets..],
                    "{lengths:?} {room}"
                );
            }
        }
    }
}
