//! From attributes and prefixes to UPDATE messages, none of them longer than the session allows.
//!
//! Which prefixes, and in which order, is decided in `rib_out`.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use bytes::{BufMut, BytesMut};

use crate::attrs::AttrBlob;
use crate::family::Family;
use crate::image::Image;
use crate::prefix::Prefix;
use crate::wire::header::{HEADER_LEN, MessageType};
use crate::wire::update::{MP_REACH_NLRI, MP_UNREACH_NLRI};
use crate::wire::{put_length, put_message};

const OPTIONAL: u8 = 0x80;
const EXTENDED_LENGTH: u8 = 0x10;
/// Code 3, well-known, with the four octets of an address to follow.
const NEXT_HOP: [u8; 3] = [0x40, 3, 4];

/// Where routes of a family stand in an UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Withdrawn routes and NLRI of RFC 4271: IPv4 only.
    Classic,
    /// MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760).
    Multiprotocol,
}

impl Form {
    /// IPv4 routes leave the classic fields only when their next hop is an IPv6 address (RFC 8950).
    pub(crate) fn of(family: Family, next_hop: IpAddr) -> Self {
        match (family, next_hop) {
            (Family::Ipv4Unicast, IpAddr::V4(_)) => Self::Classic,
            (Family::Ipv4Unicast, IpAddr::V6(_)) | (Family::Ipv6Unicast, _) => Self::Multiprotocol,
        }
    }
}

/// What an UPDATE that announces holds besides attributes of the blob and routes, in octets: header, both length
/// fields, and NEXT_HOP or what surrounds the routes in MP_REACH_NLRI.
pub(crate) fn overhead(family: Family, next_hop: IpAddr) -> usize {
    let next_hop_len: usize = if next_hop.is_ipv4() { 4 } else { 16 };
    let around_it: usize = match Form::of(family, next_hop) {
        Form::Classic => 3,
        Form::Multiprotocol => 9,
    };
    HEADER_LEN.saturating_add(4).saturating_add(around_it).saturating_add(next_hop_len)
}

/// Something that goes to a destination.
pub(crate) trait Destined {
    fn prefix(&self) -> &Prefix;
}

impl Destined for Prefix {
    fn prefix(&self) -> &Prefix {
        self
    }
}

impl<T> Destined for (Prefix, T) {
    fn prefix(&self) -> &Prefix {
        &self.0
    }
}

/// Routes that are to be written.
#[derive(Debug)]
pub(crate) enum Piece<'a, R> {
    /// As they lie in a table.
    Each(&'a [R]),
    /// As they go into the message.
    Ready(Image<'a>),
}

impl<R> Clone for Piece<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Piece<'_, R> {}

impl<R: Destined> Piece<'_, R> {
    /// How much is left, in whatever unit: it shrinks with every prefix that is written.
    fn left(&self) -> usize {
        match self {
            Self::Each(routes) => routes.len(),
            Self::Ready(image) => image.octets().len(),
        }
    }

    /// Writes as many prefixes as end at or before `end`, and is what is left of them then.
    fn put(&mut self, out: &mut BytesMut, end: usize) {
        let room = end.saturating_sub(out.len());
        match self {
            Self::Each(routes) => *routes = put_each(out, room, routes),
            Self::Ready(image) => {
                let fit = image.fit(room).octets;
                out.put_slice(image.octets().get(..fit).unwrap_or_default());
                *image = image.behind_octets(fit);
            }
        }
    }
}

/// The room is taken once and what is left of it given back, so that a prefix costs a few stores and no
/// call. Returns the routes for which there was no room.
fn put_each<'r, R: Destined>(out: &mut BytesMut, room: usize, routes: &'r [R]) -> &'r [R] {
    let start = out.len();
    out.resize(start.saturating_add(room.min(routes.len().saturating_mul(Prefix::WIRE_MAX))), 0);
    let mut free = out.get_mut(start..).unwrap_or_default();
    let mut count = 0_usize;
    for route in routes {
        let Some(octets) = route.prefix().put(free) else { break };
        free = free.get_mut(octets..).unwrap_or_default();
        count = count.saturating_add(1);
    }
    let left = free.len();
    out.truncate(out.len().saturating_sub(left));
    routes.get(count..).unwrap_or_default()
}

/// What is still to be written of several pieces.
struct Pieces<'r, R> {
    piece: Piece<'r, R>,
    behind: &'r [Piece<'r, R>],
}

impl<'r, R: Destined> Pieces<'r, R> {
    fn new(pieces: &'r [Piece<'r, R>]) -> Self {
        Self { piece: Piece::Each(&[]), behind: pieces }.settled()
    }

    /// Passes by what is empty.
    fn settled(mut self) -> Self {
        while let (0, Some((piece, behind))) = (self.piece.left(), self.behind.split_first()) {
            (self.piece, self.behind) = (*piece, behind);
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.piece.left() == 0
    }

    /// Writes as many prefixes as end at or before `end`.
    fn put(&mut self, out: &mut BytesMut, end: usize) {
        loop {
            self.piece.put(out, end);
            match self.behind.split_first() {
                Some((piece, behind)) if self.piece.left() == 0 => {
                    (self.piece, self.behind) = (*piece, behind);
                }
                Some(_) | None => return,
            }
        }
    }
}

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

    /// Makes room for about so many octets at once.
    pub(crate) fn reserve(&mut self, octets: usize) {
        self.out.reserve(octets);
    }

    /// Routes of one family that have these attributes.
    pub(crate) fn announce<R: Destined>(
        &mut self,
        family: Family,
        next_hop: IpAddr,
        blob: &AttrBlob,
        pieces: &[Piece<'_, R>],
    ) {
        match (Form::of(family, next_hop), next_hop) {
            (Form::Classic, IpAddr::V4(next_hop)) => self.announce_classic(next_hop, blob, pieces),
            (Form::Classic, IpAddr::V6(_)) | (Form::Multiprotocol, _) => {
                self.announce_multiprotocol(family, next_hop, blob, pieces);
            }
        }
    }

    /// IPv4 routes with their next hop in NEXT_HOP.
    fn announce_classic<R: Destined>(
        &mut self,
        next_hop: Ipv4Addr,
        blob: &AttrBlob,
        pieces: &[Piece<'_, R>],
    ) {
        self.updates(pieces, |out, end, pieces| {
            out.put_u16(0);
            let length_at = out.len();
            out.put_u16(0);
            let (before, behind) = blob.parts();
            out.put_slice(before);
            out.put_slice(&NEXT_HOP);
            out.put_slice(&next_hop.octets());
            out.put_slice(behind);
            close_length(out, length_at);
            pieces.put(out, end);
        });
    }

    /// Routes in MP_REACH_NLRI, which comes first (RFC 7606 §5.1).
    fn announce_multiprotocol<R: Destined>(
        &mut self,
        family: Family,
        next_hop: IpAddr,
        blob: &AttrBlob,
        pieces: &[Piece<'_, R>],
    ) {
        self.updates(pieces, |out, end, pieces| {
            let routes_end = end.saturating_sub(blob.len());
            put_attributes_only(out, |out| {
                put_multiprotocol(out, MP_REACH_NLRI, family, |out| {
                    match next_hop {
                        IpAddr::V4(v4) => {
                            out.put_u8(4);
                            out.put_slice(&v4.octets());
                        }
                        IpAddr::V6(v6) => {
                            out.put_u8(16);
                            out.put_slice(&v6.octets());
                        }
                    }
                    out.put_u8(0);
                    pieces.put(out, routes_end);
                });
                let (before, behind) = blob.parts();
                out.put_slice(before);
                out.put_slice(behind);
            });
        });
    }

    /// Routes of one family that are gone.
    pub(crate) fn withdraw<R: Destined>(&mut self, family: Family, form: Form, gone: &[R]) {
        self.updates(&[Piece::Each(gone)], |out, end, pieces| match form {
            Form::Classic => {
                let length_at = out.len();
                out.put_u16(0);
                pieces.put(out, end.saturating_sub(2));
                close_length(out, length_at);
                out.put_u16(0);
            }
            Form::Multiprotocol => put_attributes_only(out, |out| {
                put_multiprotocol(out, MP_UNREACH_NLRI, family, |out| pieces.put(out, end));
            }),
        });
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

    /// As many messages as it takes.
    fn updates<R: Destined>(
        &mut self,
        pieces: &[Piece<'_, R>],
        body: impl Fn(&mut BytesMut, usize, &mut Pieces<'_, R>),
    ) {
        let mut pieces = Pieces::new(pieces);
        while !pieces.is_empty() {
            let before = (pieces.piece.left(), pieces.behind.len());
            self.update(|out, end| body(out, end, &mut pieces));
            let is_on = before != (pieces.piece.left(), pieces.behind.len());
            debug_assert!(is_on, "attributes that leave no room for a route are refused beforehand");
            if !is_on {
                return;
            }
        }
    }

    /// One message. `body` learns where it has to end at the latest.
    fn update(&mut self, body: impl FnOnce(&mut BytesMut, usize)) {
        let end = self.out.len().saturating_add(self.max);
        put_message(self.out, MessageType::Update, |out| body(out, end));
        debug_assert!(self.out.len() <= end, "no message is longer than the session allows");
        self.messages = self.messages.saturating_add(1);
    }
}

/// A body without withdrawn routes and without classic NLRI.
fn put_attributes_only(out: &mut BytesMut, attributes: impl FnOnce(&mut BytesMut)) {
    out.put_u16(0);
    let length_at = out.len();
    out.put_u16(0);
    attributes(out);
    close_length(out, length_at);
}

/// Fills in a length field of two octets with what was written behind it.
fn close_length(out: &mut BytesMut, at: usize) {
    put_length(out, at, out.len().saturating_sub(at).saturating_sub(2));
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
