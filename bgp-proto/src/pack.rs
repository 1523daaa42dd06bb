//! From attributes and prefixes to UPDATE messages, none of them longer than the session allows.
//!
//! Which prefixes, and in which order, is decided in `rib_out`.

#[cfg(test)]
mod tests;

use std::iter::Peekable;
use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};

use crate::attrs::AttrBlob;
use crate::family::Family;
use crate::prefix::Prefix;
use crate::wire::header::MessageType;
use crate::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI};
use crate::wire::{put_length, put_message};

const OPTIONAL: u8 = 0x80;
const EXTENDED_LENGTH: u8 = 0x10;
/// Code 3, well-known, with the four octets of an address to follow.
const NEXT_HOP: [u8; 3] = [0x40, 3, 4];

/// Header, both length fields, MP_REACH_NLRI around one pair of IPv6 next hops: more than anything in a
/// message that is neither attributes nor routes.
pub(crate) const OVERHEAD: usize = 96;

/// Appends UPDATEs to a buffer.
pub(crate) struct Packer<'a> {
    out: &'a mut BytesMut,
    max: usize,
    messages: u64,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(out: &'a mut BytesMut, max: u16) -> Self {
        Self { out, max: usize::from(max), messages: 0 }
    }

    /// How many messages were written.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// IPv4 routes with their next hop in NEXT_HOP.
    pub(crate) fn announce_ipv4(&mut self, next_hop: Ipv4Addr, blob: &AttrBlob, prefixes: &[Prefix]) {
        let mut prefixes = prefixes.iter().peekable();
        while prefixes.peek().is_some() {
            self.update(|out, end| {
                out.put_u16(0);
                let length_at = out.len();
                out.put_u16(0);
                let (before, behind) = blob.parts();
                out.put_slice(before);
                out.put_slice(&NEXT_HOP);
                out.put_slice(&next_hop.octets());
                out.put_slice(behind);
                put_length(out, length_at, out.len().saturating_sub(length_at).saturating_sub(2));
                put_prefixes(out, end, &mut prefixes);
            });
        }
    }

    /// IPv6 routes in MP_REACH_NLRI, which comes first (RFC 7606 §5.1).
    pub(crate) fn announce_ipv6(&mut self, next_hop: Ipv6Addr, blob: &AttrBlob, prefixes: &[Prefix]) {
        let mut prefixes = prefixes.iter().peekable();
        while prefixes.peek().is_some() {
            self.update(|out, end| {
                let routes_end = end.saturating_sub(blob.len());
                put_attributes_only(out, |out| {
                    put_multiprotocol(out, MP_REACH_NLRI, Family::Ipv6Unicast, |out| {
                        out.put_u8(16);
                        out.put_slice(&next_hop.octets());
                        out.put_u8(0);
                        put_prefixes(out, routes_end, &mut prefixes);
                    });
                    let (before, behind) = blob.parts();
                    out.put_slice(before);
                    out.put_slice(behind);
                });
            });
        }
    }

    /// Routes of one family that are gone.
    pub(crate) fn withdraw(&mut self, family: Family, prefixes: &[Prefix]) {
        let mut prefixes = prefixes.iter().peekable();
        while prefixes.peek().is_some() {
            self.update(|out, end| match family {
                Family::Ipv4Unicast => {
                    let length_at = out.len();
                    out.put_u16(0);
                    put_prefixes(out, end.saturating_sub(2), &mut prefixes);
                    put_length(out, length_at, out.len().saturating_sub(length_at).saturating_sub(2));
                    out.put_u16(0);
                }
                Family::Ipv6Unicast => put_attributes_only(out, |out| {
                    put_multiprotocol(out, MP_UNREACH_NLRI, family, |out| {
                        put_prefixes(out, end, &mut prefixes)
                    });
                }),
            });
        }
    }

    /// The End-of-RIB of a family (RFC 4724 §2).
    pub(crate) fn end_of_rib(&mut self, family: Family) {
        self.update(|out, _| match family {
            Family::Ipv4Unicast => out.put_u32(0),
            Family::Ipv6Unicast => {
                put_attributes_only(out, |out| put_multiprotocol(out, MP_UNREACH_NLRI, family, |_| {}));
            }
        });
    }

    /// One message. `body` learns where it has to end at the latest.
    fn update(&mut self, body: impl FnOnce(&mut BytesMut, usize)) {
        let start = self.out.len();
        let end = start.saturating_add(self.max);
        put_message(self.out, MessageType::Update, |out| body(out, end));
        debug_assert!(self.out.len() <= end, "no message is longer than the session allows");
        self.messages = self.messages.saturating_add(1);
    }
}

/// As many prefixes as end at or before `end`.
fn put_prefixes<'p>(
    out: &mut BytesMut,
    end: usize,
    prefixes: &mut Peekable<impl Iterator<Item = &'p Prefix>>,
) {
    let fits = |out: &BytesMut, prefix: &&Prefix| {
        out.len().saturating_add(1).saturating_add(prefix.significant_octets().len()) <= end
    };
    while let Some(prefix) = prefixes.next_if(|prefix| fits(out, prefix)) {
        out.put_u8(prefix.len());
        out.put_slice(prefix.significant_octets());
    }
}

/// A body without withdrawn routes and without classic NLRI.
fn put_attributes_only(out: &mut BytesMut, attributes: impl FnOnce(&mut BytesMut)) {
    out.put_u16(0);
    let length_at = out.len();
    out.put_u16(0);
    attributes(out);
    put_length(out, length_at, out.len().saturating_sub(length_at).saturating_sub(2));
}

/// MP_REACH_NLRI or MP_UNREACH_NLRI. It is written with a length of two octets and moved together when
/// one is enough, because how much fits is only known afterwards.
fn put_multiprotocol(out: &mut BytesMut, code: u8, family: Family, value: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_slice(&[OPTIONAL | EXTENDED_LENGTH, code, 0, 0]);
    let start = out.len();
    out.put_u16(family.afi());
    out.put_u8(family.safi());
    value(out);
    let length = out.len().saturating_sub(start);
    let Ok(short) = u8::try_from(length) else {
        put_length(out, at.saturating_add(2), length);
        return;
    };
    out.copy_within(start.., start.saturating_sub(1));
    out.truncate(out.len().saturating_sub(1));
    let header = out.get_mut(at..at.saturating_add(3)).expect("written above");
    header.copy_from_slice(&[OPTIONAL, code, short]);
}
