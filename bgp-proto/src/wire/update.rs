//! UPDATE (RFC 4271 §4.3, RFC 4760): a view of three slices, and walks over them.
//!
//! Whether the attributes are any good is `check`'s to say.

use super::header::HEADER_LEN;
use super::reader::Cursor;
use crate::error::DecodeError;
use crate::family::Family;

/// A received UPDATE whose three lengths add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// Withdrawn IPv4 routes, as on the wire.
    pub withdrawn: &'a [u8],
    /// Path attributes, as on the wire.
    pub attributes: &'a [u8],
    /// Announced IPv4 routes, as on the wire.
    pub nlri: &'a [u8],
}

impl<'a> Update<'a> {
    /// Cuts a body into its parts.
    ///
    /// # Errors
    /// [`DecodeError::MalformedUpdate`]: lengths that run past the end (RFC 7606 §3 b).
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut body = Cursor::new(body);
        let mut field = || {
            let length = usize::from(body.u16()?);
            body.take(length)
        };
        let (withdrawn, attributes) = (field(), field());
        match (withdrawn, attributes) {
            (Some(withdrawn), Some(attributes)) => Ok(Self { withdrawn, attributes, nlri: body.rest() }),
            (Some(_) | None, _) => Err(DecodeError::MalformedUpdate),
        }
    }

    /// The attributes, in the order of the wire.
    #[must_use]
    pub fn attrs(&self) -> Attrs<'a> {
        Attrs { rest: self.attributes, total: self.attributes.len() }
    }

    /// How far into the message the attributes begin.
    pub(super) fn attributes_at(&self) -> usize {
        HEADER_LEN.saturating_add(4).saturating_add(self.withdrawn.len())
    }

    /// The AFI and SAFI of an End-of-RIB: exactly an empty UPDATE, or one that has nothing but an
    /// MP_UNREACH_NLRI without routes (RFC 4724 §2).
    #[must_use]
    pub fn end_of_rib(&self) -> Option<(u16, u8)> {
        if !self.withdrawn.is_empty() || !self.nlri.is_empty() {
            return None;
        }
        if self.attributes.is_empty() {
            return Some((Family::Ipv4Unicast.afi(), Family::Ipv4Unicast.safi()));
        }
        let mut attrs = self.attrs();
        let only = attrs.next()?.ok().filter(|attribute| attribute.code == MP_UNREACH_NLRI)?;
        let routes = MpUnreach::parse(only.value).filter(|unreach| unreach.nlri.is_empty())?;
        attrs.next().is_none().then_some((routes.afi, routes.safi))
    }
}

/// Attribute code of MP_REACH_NLRI (RFC 4760 §3).
pub const MP_REACH_NLRI: u8 = 14;
/// Attribute code of MP_UNREACH_NLRI (RFC 4760 §4).
pub const MP_UNREACH_NLRI: u8 = 15;

/// One path attribute (RFC 4271 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Optional, transitive, partial, extended length, and four unused bits.
    pub flags: u8,
    /// The type code.
    pub code: u8,
    /// The value.
    pub value: &'a [u8],
    /// Where it begins in the attributes, in octets.
    pub at: usize,
}

/// The attributes end in the middle of one: treat-as-withdraw (RFC 7606 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeOverrun {
    /// Where that one begins in the attributes, in octets.
    pub at: usize,
    /// Its code, when that much is there.
    pub code: Option<u8>,
}

/// A walk over path attributes. After an overrun it is over.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a> {
    rest: &'a [u8],
    total: usize,
}

/// The flag that says that the length has two octets.
const EXTENDED_LENGTH: u8 = 0x10;

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attribute<'a>, AttributeOverrun>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.total.saturating_sub(self.rest.len());
        let Some((flags, code, value, behind)) = split_attribute(self.rest) else {
            let code = self.rest.get(1).copied();
            self.rest = &[];
            return Some(Err(AttributeOverrun { at, code }));
        };
        self.rest = behind;
        Some(Ok(Attribute { flags, code, value, at }))
    }
}

/// Flags, code and value of the first attribute, and what is behind it; `None` when it ends in the middle.
#[inline]
pub(super) fn split_attribute(octets: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let (&[flags, code, short], behind) = octets.split_first_chunk()?;
    let (value, behind) = if flags & EXTENDED_LENGTH == 0 {
        behind.split_at_checked(usize::from(short))?
    } else {
        let (low, behind) = behind.split_first()?;
        behind.split_at_checked(usize::from(u16::from_be_bytes([short, *low])))?
    };
    Some((flags, code, value, behind))
}

/// The value of MP_REACH_NLRI (RFC 4760 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpReach<'a> {
    /// Address Family Identifier.
    pub afi: u16,
    /// Subsequent Address Family Identifier.
    pub safi: u8,
    /// One next hop, or a global and a link-local one (RFC 2545 §3); 4, 16 or 32 octets where it is sound.
    pub next_hop: &'a [u8],
    /// The routes.
    pub nlri: &'a [u8],
}

impl<'a> MpReach<'a> {
    /// Cuts the value into its parts; `None` when it ends before them (RFC 7606 §7.11). The reserved octet is not looked at.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut value = Cursor::new(value);
        let (afi, safi) = (value.u16()?, value.u8()?);
        let length = usize::from(value.u8()?);
        let next_hop = value.take(length)?;
        value.u8()?;
        Some(Self { afi, safi, next_hop, nlri: value.rest() })
    }
}

/// The value of MP_UNREACH_NLRI (RFC 4760 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpUnreach<'a> {
    /// Address Family Identifier.
    pub afi: u16,
    /// Subsequent Address Family Identifier.
    pub safi: u8,
    /// The routes.
    pub nlri: &'a [u8],
}

impl<'a> MpUnreach<'a> {
    /// Cuts the value into its parts; `None` when it has less than three octets (RFC 7606 §7.12).
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let mut value = Cursor::new(value);
        Some(Self { afi: value.u16()?, safi: value.u8()?, nlri: value.rest() })
    }
}
