//! rustbgpd-wire: owned values, with RFC 7606 in one pass.

use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use rustbgpd_wire::{
    AsPath, AsPathSegment, Ipv4NlriEntry, Ipv4Prefix, Ipv4UnicastMode, Message, NlriEntry, Origin,
    PathAttribute, Prefix, RevisedParsedUpdate, UpdateMessage, decode_message,
};
use yardstick::stream::Sums;

use super::{ASN, Addresses, Encoder, NEXT_HOP, PIECE, add_path, add_prefixes, room};

fn decode(message: &Bytes) -> Option<RevisedParsedUpdate> {
    match decode_message(&mut message.clone(), u16::MAX).ok()? {
        Message::Update(update) => update.parse_revised(true, false, false, &[]).ok(),
        _ => None,
    }
}

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    messages.iter().filter_map(decode).map(|_| 1).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let mut sums = Sums::default();
    for message in messages {
        let update = decode(message).expect("a sound message").update;
        sums.messages += 1;
        add_prefixes(
            &mut sums,
            update.withdrawn.iter().chain(&update.announced).map(|entry| entry.prefix.len),
        );
        for attribute in &update.attributes {
            match attribute {
                PathAttribute::AsPath(path) => {
                    add_path(&mut sums, path.segments.iter().flat_map(asns).copied());
                }
                PathAttribute::Communities(all) | PathAttribute::CommunitiesPartial(all) => {
                    sums.communities += all.iter().map(|community| u64::from(*community)).sum::<u64>();
                }
                PathAttribute::MpReachNlri(reach) => {
                    add_prefixes(&mut sums, reach.announced.iter().map(bits))
                }
                PathAttribute::MpUnreachNlri(unreach) => {
                    add_prefixes(&mut sums, unreach.withdrawn.iter().map(bits));
                }
                _ => {}
            }
        }
    }
    sums
}

fn asns(segment: &AsPathSegment) -> &[u32] {
    match segment {
        AsPathSegment::AsSet(asns) | AsPathSegment::AsSequence(asns) => asns,
    }
}

fn bits(entry: &NlriEntry) -> u8 {
    match entry.prefix {
        Prefix::V4(prefix) => prefix.len,
        Prefix::V6(prefix) => prefix.len,
    }
}

/// Its own values are entries and attributes: a message of it is made of octets already.
pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let attributes = [
        PathAttribute::Origin(Origin::Igp),
        PathAttribute::AsPath(AsPath { segments: vec![AsPathSegment::AsSequence(vec![ASN])] }),
        PathAttribute::NextHop(Ipv4Addr::from(NEXT_HOP)),
    ];
    let entry =
        |octets: &[u8; 4]| Ipv4NlriEntry { path_id: 0, prefix: Ipv4Prefix::new(Ipv4Addr::from(*octets), 32) };
    let pieces: Vec<Vec<Ipv4NlriEntry>> =
        addresses.chunks(PIECE).map(|piece| piece.iter().map(entry).collect()).collect();
    let room = room(addresses);
    Box::new(move || {
        let mut out = BytesMut::with_capacity(room);
        for entries in &pieces {
            UpdateMessage::build(entries, &[], &attributes, true, false, Ipv4UnicastMode::Body)
                .encode(&mut out)
                .expect("it fits");
        }
        out.into()
    })
}
