//! From attributes and prefixes to UPDATE messages, none of them longer than the session allows.
//!
//! Which prefixes, and in which order, is decided in `rib_out`.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

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

/// Routes as they lie in a table, a run at a time: what is still to be written of them.
struct Runs<'r, R> {
    run: &'r [R],
    behind: &'r [&'r [R]],
}

impl<'r, R: Destined> Runs<'r, R> {
    fn new(runs: &'r [&'r [R]]) -> Self {
        Self { run: &[], behind: runs }.settled()
    }

    fn settled(mut self) -> Self {
        while let ([], Some((run, behind))) = (self.run, self.behind.split_first()) {
            (self.run, self.behind) = (run, behind);
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// No more octets than this are left to write, if that is known at a glance.
    fn at_most(&self) -> usize {
        if self.behind.is_empty() { self.run.len().saturating_mul(Prefix::WIRE_MAX) } else { usize::MAX }
    }

    /// Writes as many prefixes as fit; returns what is left of the room.
    fn put(&mut self, mut room: &mut [u8]) -> usize {
        loop {
            for (at, route) in self.run.iter().enumerate() {
                let Some(octets) = route.prefix().put(room) else {
                    self.run = self.run.get(at..).unwrap_or_default();
                    return room.len();
                };
                room = room.get_mut(octets..).unwrap_or_default();
            }
            let Some((run, behind)) = self.behind.split_first() else {
                self.run = &[];
                return room.len();
            };
            (self.run, self.behind) = (run, behind);
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

    /// Routes of one family that have these attributes.
    pub(crate) fn announce<R: Destined>(
        &mut self,
        family: Family,
        next_hop: IpAddr,
        blob: &AttrBlob,
        runs: &[&[R]],
    ) {
        match (Form::of(family, next_hop), next_hop) {
            (Form::Classic, IpAddr::V4(next_hop)) => self.announce_classic(next_hop, blob, runs),
            (Form::Classic, IpAddr::V6(_)) | (Form::Multiprotocol, _) => {
                self.announce_multiprotocol(family, next_hop, blob, runs);
            }
        }
    }

    /// IPv4 routes with their next hop in NEXT_HOP.
    fn announce_classic<R: Destined>(&mut self, next_hop: Ipv4Addr, blob: &AttrBlob, runs: &[&[R]]) {
        self.updates(runs, |out, end, runs| {
            out.put_u16(0);
            let length_at = out.len();
            out.put_u16(0);
            let (before, behind) = blob.parts();
            out.put_slice(before);
            out.put_slice(&NEXT_HOP);
            out.put_slice(&next_hop.octets());
            out.put_slice(behind);
            close_length(out, length_at);
            put_prefixes(out, end, runs);
        });
    }

    /// Routes in MP_REACH_NLRI, which comes first (RFC 7606 §5.1).
    fn announce_multiprotocol<R: Destined>(
        &mut self,
        family: Family,
        next_hop: IpAddr,
        blob: &AttrBlob,
        runs: &[&[R]],
    ) {
        self.updates(runs, |out, end, runs| {
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
                    put_prefixes(out, routes_end, runs);
                });
                let (before, behind) = blob.parts();
                out.put_slice(before);
                out.put_slice(behind);
            });
        });
    }

    /// Routes of one family that are gone.
    pub(crate) fn withdraw<R: Destined>(&mut self, family: Family, form: Form, gone: &[R]) {
        self.updates(&[gone], |out, end, runs| match form {
            Form::Classic => {
                let length_at = out.len();
                out.put_u16(0);
                put_prefixes(out, end.saturating_sub(2), runs);
                close_length(out, length_at);
                out.put_u16(0);
            }
            Form::Multiprotocol => put_attributes_only(out, |out| {
                put_multiprotocol(out, MP_UNREACH_NLRI, family, |out| put_prefixes(out, end, runs));
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
    fn updates<R: Destined>(&mut self, runs: &[&[R]], body: impl Fn(&mut BytesMut, usize, &mut Runs<'_, R>)) {
        let mut runs = Runs::new(runs);
        while !runs.is_empty() {
            let (before, behind) = (runs.run.len(), runs.behind.len());
            self.update(|out, end| body(out, end, &mut runs));
            let is_on = (before, behind) != (runs.run.len(), runs.behind.len());
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

/// As many prefixes as end at or before `end`. The room is taken once and what is left of it given back,
/// so that a prefix costs a few stores and no call.
fn put_prefixes<R: Destined>(out: &mut BytesMut, end: usize, runs: &mut Runs<'_, R>) {
    let start = out.len();
    out.resize(end.max(start).min(start.saturating_add(runs.at_most())), 0);
    let left = runs.put(out.get_mut(start..).unwrap_or_default());
    out.truncate(out.len().saturating_sub(left));
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
