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
    /// The number of octets.
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
    /// AS_SET: in no order.
    Set,
    /// AS_SEQUENCE: nearest first.
    Sequence,
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence,
    /// AS_CONFED_SET (RFC 5065).
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
    pub fn asns(&self) -> impl Iterator<Item = Asn> + use<'a> {
        let mut numbers = Cursor::new(self.numbers);
        let width = self.width;
        std::iter::from_fn(move || match width {
            AsWidth::Two => numbers.u16().map(|number| Asn(u32::from(number))),
            AsWidth::Four => numbers.u32().map(Asn),
        })
    }
}

/// A path whose segments were all checked.
#[derive(Clone, Copy, Debug)]
pub struct AsPath<'a> {
    octets: &'a [u8],
    width: AsWidth,
}

/// Why a path cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsPathFault {
    /// A segment of unknown type, without numbers, or longer than the attribute.
    Segment,
    /// AS 0 is in it (RFC 7607).
    AsZero,
}

impl<'a> AsPath<'a> {
    /// Checks the whole value.
    ///
    /// # Errors
    /// A broken segment, or AS 0.
    pub fn try_new(octets: &'a [u8], width: AsWidth) -> Result<Self, AsPathFault> {
        let mut ahead = Cursor::new(octets);
        while !ahead.is_empty() {
            let segment = next_segment(&mut ahead, width).ok_or(AsPathFault::Segment)?;
            if segment.asns().any(|asn| asn == Asn(0)) {
                return Err(AsPathFault::AsZero);
            }
        }
        Ok(Self { octets, width })
    }

    /// Its segments, nearest first.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let mut rest = Cursor::new(self.octets);
        let width = self.width;
        std::iter::from_fn(move || next_segment(&mut rest, width))
    }

    /// All AS numbers, nearest first.
    pub fn asns(&self) -> impl Iterator<Item = Asn> + use<'a> {
        self.segments().flat_map(|segment| segment.asns())
    }

    /// The AS next to us.
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
            SegmentKind::Sequence => segment.asns().count(),
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        };
        self.segments().map(hops).fold(0, usize::saturating_add)
    }
}

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
