//! AS_PATH (RFC 4271 §4.3): segments and numbers, checked first, then read without failing.

use super::reader::Cursor;
use crate::number::Asn;

/// How many octets an AS number takes on this session (RFC 6793).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AsWidth {
    /// Towards a speaker without the four-octet capability.
    Two,
    /// Everywhere else.
    Four,
}

impl AsWidth {
    /// The number of octets: 2 or 4.
    #[must_use]
    pub fn octets(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// 1, AS_SET: in no order (RFC 4271 §4.3; nobody should send it, RFC 9774).
    Set,
    /// 2, AS_SEQUENCE: nearest first (RFC 4271 §4.3).
    Sequence,
    /// 3, AS_CONFED_SEQUENCE (RFC 5065 §3).
    ConfedSequence,
    /// 4, AS_CONFED_SET (RFC 5065 §3).
    ConfedSet,
}

/// One segment of a path.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// What it is.
    pub kind: SegmentKind,
    numbers: &'a [u8],
    width: AsWidth,
}

impl<'a> Segment<'a> {
    /// Its AS numbers.
    #[must_use]
    pub fn asns(&self) -> Asns<'a> {
        Asns { numbers: self.numbers, behind: Cursor::new(&[]), width: self.width }
    }

    fn count(&self) -> usize {
        self.numbers.len() / self.width.octets()
    }
}

/// RFC 7607 §2.
#[inline]
fn has_as_zero(numbers: &[u8], width: AsWidth) -> bool {
    match width {
        AsWidth::Two => has_zero::<2>(numbers),
        // Four at a time, the last four once more where they overlap: paths differ in length, and a loop that
        // ends elsewhere each time costs more than what it does.
        AsWidth::Four => match numbers.last_chunk::<16>() {
            Some(last) => {
                let chunks = numbers.as_chunks::<16>().0.iter();
                has_zero::<4>(last) | chunks.fold(false, |zero, four| zero | has_zero::<4>(four))
            }
            None => has_zero::<4>(numbers),
        },
    }
}

/// Without an early exit, so that all numbers are looked at at once.
#[inline]
fn has_zero<const N: usize>(numbers: &[u8]) -> bool {
    numbers.as_chunks::<N>().0.iter().fold(false, |zero, asn| zero | (*asn == [0; N]))
}

/// AS numbers of a segment, or of a path from segment to segment.
#[derive(Clone, Copy, Debug)]
pub struct Asns<'a> {
    numbers: &'a [u8],
    behind: Cursor<'a>,
    width: AsWidth,
}

impl Iterator for Asns<'_> {
    type Item = Asn;

    #[inline]
    fn next(&mut self) -> Option<Asn> {
        if self.numbers.is_empty() {
            self.numbers = next_segment(&mut self.behind, self.width)?.numbers;
        }
        match self.width {
            AsWidth::Two => {
                let (asn, rest) = self.numbers.split_first_chunk()?;
                self.numbers = rest;
                Some(Asn(u32::from(u16::from_be_bytes(*asn))))
            }
            AsWidth::Four => {
                let (asn, rest) = self.numbers.split_first_chunk()?;
                self.numbers = rest;
                Some(Asn(u32::from_be_bytes(*asn)))
            }
        }
    }

    /// A segment at a time: a sum or a search over the path is one loop over each.
    #[inline]
    fn fold<T, F: FnMut(T, Asn) -> T>(mut self, init: T, mut f: F) -> T {
        let mut folded = init;
        loop {
            folded = match self.width {
                AsWidth::Two => {
                    let asns = self.numbers.as_chunks::<2>().0.iter();
                    asns.fold(folded, |folded, asn| f(folded, Asn(u32::from(u16::from_be_bytes(*asn)))))
                }
                AsWidth::Four => {
                    let asns = self.numbers.as_chunks::<4>().0.iter();
                    asns.fold(folded, |folded, asn| f(folded, Asn(u32::from_be_bytes(*asn))))
                }
            };
            let Some(segment) = next_segment(&mut self.behind, self.width) else { return folded };
            self.numbers = segment.numbers;
        }
    }
}

/// A path whose segments were all checked.
#[derive(Clone, Copy, Debug)]
pub struct AsPath<'a> {
    octets: &'a [u8],
    width: AsWidth,
    is_confederate: bool,
}

/// Why a path cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsPathFault {
    /// A segment of unknown type, without numbers, or longer than the attribute (RFC 7606 §7.2).
    Segment,
    /// AS 0 is in it (RFC 7607 §2).
    AsZero,
}

impl<'a> AsPath<'a> {
    /// Checks the whole value.
    ///
    /// # Errors
    /// [`AsPathFault::Segment`] or [`AsPathFault::AsZero`], whichever comes first.
    #[inline]
    pub fn try_new(octets: &'a [u8], width: AsWidth) -> Result<Self, AsPathFault> {
        let mut ahead = Cursor::new(octets);
        let mut is_confederate = false;
        while !ahead.is_empty() {
            let segment = next_segment(&mut ahead, width).ok_or(AsPathFault::Segment)?;
            if has_as_zero(segment.numbers, width) {
                return Err(AsPathFault::AsZero);
            }
            is_confederate |= match segment.kind {
                SegmentKind::Set | SegmentKind::Sequence => false,
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => true,
            };
        }
        Ok(Self { octets, width, is_confederate })
    }

    /// The path in a value that [`AsPath::try_new`] found good before.
    pub(super) fn checked(octets: &'a [u8], width: AsWidth) -> Self {
        Self { octets, width, is_confederate: false }
    }

    /// Whether a segment is about the inside of a confederation (RFC 5065).
    pub(super) fn is_confederate(&self) -> bool {
        self.is_confederate
    }

    /// Its segments, nearest first.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let mut rest = Cursor::new(self.octets);
        let width = self.width;
        std::iter::from_fn(move || next_segment(&mut rest, width))
    }

    /// All AS numbers, nearest first.
    #[must_use]
    pub fn asns(&self) -> Asns<'a> {
        Asns { numbers: &[], behind: Cursor::new(self.octets), width: self.width }
    }

    /// The AS next to us; `None` for an empty path, as iBGP peers send it.
    #[must_use]
    pub fn first(&self) -> Option<Asn> {
        self.asns().next()
    }

    /// Whether an AS is in the path: the loop check of RFC 4271 §9.1.2.
    #[must_use]
    pub fn contains(&self, asn: Asn) -> bool {
        self.asns().any(|other| other == asn)
    }

    /// The length for route selection: a set counts once, confederation segments not at all
    /// (RFC 4271 §9.1.2.2, RFC 5065 §5.3).
    #[must_use]
    pub fn hops(&self) -> usize {
        let hops = |segment: Segment<'_>| match segment.kind {
            SegmentKind::Set => 1,
            SegmentKind::Sequence => segment.count(),
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        };
        self.segments().map(hops).fold(0, usize::saturating_add)
    }
}

/// Whether a path of four-octet numbers is good at a glance: sequences and sets, no number in them 0.
#[inline]
pub(super) fn is_plain(path: &[u8]) -> bool {
    let mut rest = path;
    let mut has_zero = false;
    while let [1 | 2, count @ 1..=u8::MAX, behind @ ..] = rest {
        let length = usize::from(*count).wrapping_mul(4);
        let Some((numbers, after)) = behind.split_at_checked(length) else { return false };
        has_zero |= has_as_zero(numbers, AsWidth::Four);
        rest = after;
    }
    rest.is_empty() && !has_zero
}

#[inline]
fn next_segment<'a>(rest: &mut Cursor<'a>, width: AsWidth) -> Option<Segment<'a>> {
    let mut ahead = *rest;
    let kind = match ahead.u8()? {
        1 => SegmentKind::Set,
        2 => SegmentKind::Sequence,
        3 => SegmentKind::ConfedSequence,
        4 => SegmentKind::ConfedSet,
        _ => return None,
    };
    let count = usize::from(ahead.u8().filter(|count| *count != 0)?);
    let numbers = ahead.take(count.saturating_mul(width.octets()))?;
    *rest = ahead;
    Some(Segment { kind, numbers, width })
}
