//! ROUTE-REFRESH (RFC 2918) and its marks for begin and end (RFC 7313).
//!
//! Outbound route filters that may follow are not read.

use bytes::{BufMut, BytesMut};

use super::header::MessageType;
use super::put_message;
use crate::error::DecodeError;
use crate::family::Family;

/// What a ROUTE-REFRESH is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// 0: send me everything again (RFC 2918 §4).
    Request,
    /// 1: everything follows (BoRR, RFC 7313 §3.2).
    Begin,
    /// 2: that was everything (EoRR, RFC 7313 §3.2).
    End,
    /// A subtype that nobody has told us about; ignored (RFC 7313 §5).
    Unknown(u8),
}

/// One ROUTE-REFRESH (RFC 2918 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Address Family Identifier.
    pub afi: u16,
    /// Subsequent Address Family Identifier.
    pub safi: u8,
    /// What it is for.
    pub kind: RefreshKind,
}

impl RouteRefresh {
    /// A ROUTE-REFRESH of one of our families.
    #[must_use]
    pub fn new(family: Family, kind: RefreshKind) -> Self {
        Self { afi: family.afi(), safi: family.safi(), kind }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::RefreshLength`]: less than four octets, or a begin or end with more (RFC 7313 §5).
    pub fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let [high, low, subtype, safi, filters @ ..] = body else { return Err(DecodeError::RefreshLength) };
        let kind = match subtype {
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Unknown(*other),
        };
        match kind {
            RefreshKind::Begin | RefreshKind::End if !filters.is_empty() => Err(DecodeError::RefreshLength),
            RefreshKind::Request | RefreshKind::Begin | RefreshKind::End | RefreshKind::Unknown(_) => {
                Ok(Self { afi: u16::from_be_bytes([*high, *low]), safi: *safi, kind })
            }
        }
    }

    /// The family, when it is one of ours.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        Family::from_afi_safi(self.afi, self.safi)
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut BytesMut) {
        let subtype = match self.kind {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
            RefreshKind::Unknown(other) => other,
        };
        put_message(out, MessageType::RouteRefresh, |out| {
            out.put_u16(self.afi);
            out.put_u8(subtype);
            out.put_u8(self.safi);
        });
    }
}
