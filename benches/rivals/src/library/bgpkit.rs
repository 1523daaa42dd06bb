//! bgpkit-parser: owned values, made for archives.

use std::net::{IpAddr, Ipv4Addr};

use bgpkit_parser::bgp::parse_bgp_message;
use bgpkit_parser::models::{
    AsPath, AsPathSegment, AsnLength, Attribute, AttributeValue, Attributes, BgpMessage, BgpUpdateMessage,
    Community, NetworkPrefix, Origin,
};
use bytes::Bytes;
use ipnet::{IpNet, Ipv4Net};
use yardstick::stream::Sums;

use super::{ASN, Addresses, Encoder, NEXT_HOP, PIECE, add_path, add_prefixes, room};

fn decode(message: &Bytes) -> Option<BgpUpdateMessage> {
    match parse_bgp_message(&mut message.clone(), false, &AsnLength::Bits32).ok()? {
        BgpMessage::Update(update) => Some(update),
        _ => None,
    }
}

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    messages.iter().filter_map(decode).map(|_| 1).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let mut sums = Sums::default();
    for message in messages {
        let update = decode(message).expect("a sound message");
        sums.messages += 1;
        add_all(&mut sums, &update.withdrawn_prefixes);
        add_all(&mut sums, &update.announced_prefixes);
        for value in &update.attributes {
            match value {
                AttributeValue::AsPath(path) => {
                    add_path(
                        &mut sums,
                        path.iter_segments().flat_map(AsPathSegment::iter).map(|asn| u32::from(*asn)),
                    );
                }
                AttributeValue::Communities(all) => {
                    sums.communities += all.iter().map(|community| u64::from(number(community))).sum::<u64>();
                }
                AttributeValue::MpReachNlri(nlri) | AttributeValue::MpUnreachNlri(nlri) => {
                    add_all(&mut sums, &nlri.prefixes);
                }
                _ => {}
            }
        }
    }
    sums
}

fn add_all(sums: &mut Sums, prefixes: &[NetworkPrefix]) {
    add_prefixes(sums, prefixes.iter().map(|one| one.prefix.prefix_len()));
}

fn number(community: &Community) -> u32 {
    match community {
        Community::NoExport => 0xFFFF_FF01,
        Community::NoAdvertise => 0xFFFF_FF02,
        Community::NoExportSubConfed => 0xFFFF_FF03,
        Community::Custom(asn, value) => (u32::from(*asn) << 16) | u32::from(*value),
    }
}

pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let room = room(addresses);
    let updates: Vec<BgpMessage> = addresses.chunks(PIECE).map(update).collect();
    Box::new(move || {
        let mut out = Vec::with_capacity(room);
        for update in &updates {
            out.extend_from_slice(&update.encode(AsnLength::Bits32).expect("it fits"));
        }
        out
    })
}

fn update(piece: &Addresses) -> BgpMessage {
    let mut attributes = Attributes::default();
    for value in [
        AttributeValue::Origin(Origin::IGP),
        AttributeValue::AsPath(AsPath::from_sequence([ASN])),
        AttributeValue::NextHop(IpAddr::from(NEXT_HOP)),
    ] {
        attributes.add_attr(Attribute::from(value));
    }
    let prefix = |octets: &[u8; 4]| IpNet::V4(Ipv4Net::new(Ipv4Addr::from(*octets), 32).expect("a /32"));
    BgpMessage::Update(BgpUpdateMessage {
        withdrawn_prefixes: Vec::new(),
        attributes,
        announced_prefixes: piece.iter().map(|octets| NetworkPrefix::new(prefix(octets), None)).collect(),
    })
}
