//! zettabgp: owned values.

use std::net::Ipv4Addr;

use bytes::Bytes;
use yardstick::stream::Sums;
use zettabgp::BgpTransportMode;
use zettabgp::message::update::BgpUpdateMessage;
use zettabgp::prelude::*;

use super::{ASN, Addresses, Encoder, NEXT_HOP, PIECE, add_path, add_prefixes, room};

fn params() -> BgpSessionParams {
    let mut params =
        BgpSessionParams::new(ASN, 90, BgpTransportMode::IPv4, Ipv4Addr::from(NEXT_HOP), Vec::new());
    params.fuzzy_pathid = false;
    params
}

fn decode(params: &BgpSessionParams, message: &Bytes) -> Option<BgpUpdateMessage> {
    let mut update = BgpUpdateMessage::new();
    update.decode_from(params, message.get(19..)?).ok()?;
    Some(update)
}

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    let params = params();
    messages.iter().filter_map(|message| decode(&params, message)).map(|_| 1).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let params = params();
    let mut sums = Sums::default();
    for message in messages {
        let update = decode(&params, message).expect("a sound message");
        sums.messages += 1;
        add_all(&mut sums, &update.updates);
        add_all(&mut sums, &update.withdraws);
        for attribute in &update.attrs {
            match attribute {
                BgpAttrItem::ASPath(path) => add_path(&mut sums, path.value.iter().flat_map(asns)),
                BgpAttrItem::CommunityList(list) => {
                    sums.communities +=
                        list.value.iter().map(|community| u64::from(community.value)).sum::<u64>();
                }
                BgpAttrItem::MPUpdates(reach) => add_all(&mut sums, &reach.addrs),
                BgpAttrItem::MPWithdraws(unreach) => add_all(&mut sums, &unreach.addrs),
                _ => {}
            }
        }
    }
    sums
}

fn asns(item: &BgpASitem) -> Box<dyn Iterator<Item = u32> + '_> {
    match item {
        BgpASitem::Seq(sequence) => Box::new(sequence.value.iter().map(|asn| asn.value)),
        BgpASitem::Set(set) => Box::new(set.value.iter().map(|asn| asn.value)),
    }
}

fn add_all(sums: &mut Sums, addresses: &BgpAddrs) {
    match addresses {
        BgpAddrs::IPV4U(all) => add_prefixes(sums, all.iter().map(|one| one.prefixlen)),
        BgpAddrs::IPV6U(all) => add_prefixes(sums, all.iter().map(|one| one.prefixlen)),
        _ => {}
    }
}

pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let room = room(addresses);
    let updates: Vec<BgpUpdateMessage> = addresses.chunks(PIECE).map(update).collect();
    let params = params();
    Box::new(move || {
        let mut out = Vec::with_capacity(room);
        let mut buffer = [0; 4096];
        for update in &updates {
            let length = update.encode_to(&params, &mut buffer[19..]).expect("it fits");
            let length =
                params.prepare_message_buf(&mut buffer, BgpMessageType::Update, length).expect("it fits");
            out.extend_from_slice(&buffer[..length]);
        }
        out
    })
}

fn update(piece: &Addresses) -> BgpUpdateMessage {
    let mut update = BgpUpdateMessage::new();
    update.attrs = vec![
        BgpAttrItem::Origin(BgpOrigin::new(BgpAttrOrigin::Igp)),
        BgpAttrItem::ASPath(BgpASpath::from([ASN])),
        BgpAttrItem::NextHop(BgpNextHop::new(Ipv4Addr::from(NEXT_HOP).into())),
    ];
    update.updates =
        BgpAddrs::IPV4U(piece.iter().map(|octets| BgpAddrV4::new(Ipv4Addr::from(*octets), 32)).collect());
    update
}
