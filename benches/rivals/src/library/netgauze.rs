//! netgauze-bgp-pkt: owned values.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use bytes::Bytes;
use ipnet::Ipv4Net;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress};
use netgauze_bgp_pkt::path_attribute::{
    As4PathSegment, AsPath, AsPathSegmentType, MpReach, MpUnreach, NextHop, Origin, PathAttribute,
    PathAttributeValue,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use yardstick::stream::Sums;

use super::{ASN, Addresses, Encoder, NEXT_HOP, PIECE, add_path, add_prefixes, room};

/// Four-octet AS numbers, and every fault is one.
fn context() -> BgpParsingContext {
    BgpParsingContext::new(true, HashMap::new(), HashMap::new(), true, true, true, true)
}

fn decode(context: &mut BgpParsingContext, message: &Bytes) -> Option<BgpUpdateMessage> {
    match BgpMessage::parse(&mut SliceReader::new(message), context).ok()? {
        BgpMessage::Update(update) => Some(update),
        _ => None,
    }
}

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    let mut context = context();
    messages.iter().filter_map(|message| decode(&mut context, message)).map(|_| 1).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let mut context = context();
    let mut sums = Sums::default();
    for message in messages {
        let update = decode(&mut context, message).expect("a sound message");
        sums.messages += 1;
        add_prefixes(&mut sums, update.withdraw_routes().iter().chain(update.nlri()).map(bits));
        for attribute in update.path_attributes() {
            match attribute.value() {
                PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
                    add_path(&mut sums, segments.iter().flat_map(|segment| segment.as_numbers()).copied());
                }
                PathAttributeValue::Communities(all) => {
                    sums.communities +=
                        all.communities().iter().map(|one| u64::from(one.value())).sum::<u64>();
                }
                PathAttributeValue::MpReach(MpReach::Ipv4Unicast { nlri, .. })
                | PathAttributeValue::MpUnreach(MpUnreach::Ipv4Unicast { nlri }) => {
                    add_prefixes(&mut sums, nlri.iter().map(bits));
                }
                PathAttributeValue::MpReach(MpReach::Ipv6Unicast { nlri, .. })
                | PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                    add_prefixes(&mut sums, nlri.iter().map(|route| route.network().address().prefix_len()));
                }
                _ => {}
            }
        }
    }
    sums
}

fn bits(route: &Ipv4UnicastAddress) -> u8 {
    route.network().address().prefix_len()
}

pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let segment = As4PathSegment::new(AsPathSegmentType::AsSequence, [ASN]);
    let attribute = |value| PathAttribute::from(false, true, false, false, value).expect("right flags");
    let attributes = [
        attribute(PathAttributeValue::Origin(Origin::IGP)),
        attribute(PathAttributeValue::AsPath(AsPath::As4PathSegments([segment].into()))),
        attribute(PathAttributeValue::NextHop(NextHop::new(Ipv4Addr::from(NEXT_HOP)))),
    ];
    let room = room(addresses);
    let update = |piece: &Addresses| {
        let routes: Vec<Ipv4UnicastAddress> = piece
            .iter()
            .map(|octets| Ipv4Net::new(Ipv4Addr::from(*octets), 32).expect("a /32"))
            .map(|net| Ipv4UnicastAddress::new_no_path_id(Ipv4Unicast::from_net(net).expect("unicast")))
            .collect();
        BgpMessage::Update(BgpUpdateMessage::new([], attributes.clone(), routes))
    };
    let updates: Vec<BgpMessage> = addresses.chunks(PIECE).map(update).collect();
    Box::new(move || {
        let mut out = Vec::with_capacity(room);
        for update in &updates {
            update.write(&mut out).expect("it fits");
        }
        out
    })
}
