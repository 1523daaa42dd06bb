//! routecore: a borrowed view, as ours is.

use std::net::Ipv4Addr;

use bytes::Bytes;
use inetnum::addr::Prefix;
use inetnum::asn::Asn;
use routecore::bgp::aspath::HopPath;
use routecore::bgp::message::SessionConfig;
use routecore::bgp::message::UpdateMessage;
use routecore::bgp::message::update_builder::UpdateBuilder;
use routecore::bgp::nlri::afisafi::{Ipv4UnicastNlri, IsPrefix, Nlri};
use routecore::bgp::path_attributes::PaMap;
use routecore::bgp::types::{NextHop, Origin, OriginType};
use yardstick::stream::Sums;

use super::{ASN, Addresses, Encoder, NEXT_HOP, PathSum, add_prefixes, room};

pub(super) fn parse(messages: &[Bytes]) -> u64 {
    let config = SessionConfig::modern();
    let sound = |message: &&Bytes| UpdateMessage::from_octets(message.as_ref(), &config).is_ok();
    messages.iter().filter(sound).map(|_| 1).sum()
}

pub(super) fn walk(messages: &[Bytes]) -> Sums {
    let config = SessionConfig::modern();
    let mut sums = Sums::default();
    for message in messages {
        let update = UpdateMessage::from_octets(message.as_ref(), &config).expect("a sound message");
        sums.messages += 1;
        add_prefixes(
            &mut sums,
            update.announcements().expect("sound routes").map(|nlri| bits(&nlri.expect("a sound route"))),
        );
        add_prefixes(
            &mut sums,
            update.withdrawals().expect("sound routes").map(|nlri| bits(&nlri.expect("a sound route"))),
        );
        if let Ok(Some(path)) = update.aspath() {
            let mut sum = PathSum::default();
            for segment in path.segments() {
                segment.asns().for_each(|asn| sum.add(asn.into_u32()));
            }
            sum.add_to(&mut sums);
        }
        if let Ok(Some(communities)) = update.communities() {
            sums.communities += communities.map(|community| u64::from(community.to_u32())).sum::<u64>();
        }
    }
    sums
}

fn bits<O>(nlri: &Nlri<O>) -> u8 {
    match nlri {
        Nlri::Ipv4Unicast(route) => route.prefix().len(),
        Nlri::Ipv6Unicast(route) => route.prefix().len(),
        _ => 0,
    }
}

/// It writes IPv4 into MP_REACH_NLRI only, and splits by itself.
pub(super) fn encoder(addresses: &Addresses) -> Encoder {
    let mut attributes = PaMap::empty();
    attributes.set(Origin(OriginType::Igp));
    let mut builder = UpdateBuilder::<Vec<u8>, Ipv4UnicastNlri>::from_attributes_builder(attributes);
    builder.set_aspath(HopPath::from(vec![Asn::from_u32(ASN)])).expect("a short path");
    builder.set_nexthop(NextHop::Unicast(Ipv4Addr::from(NEXT_HOP).into())).expect("a next hop");
    let routes = addresses.iter().map(|address| {
        let prefix = Prefix::new(Ipv4Addr::from(*address).into(), 32).expect("a /32");
        Ipv4UnicastNlri::try_from(prefix).expect("IPv4")
    });
    builder.announcements_from_iter(routes).expect("routes");
    let room = room(addresses);
    let mut builder = Some(builder);
    Box::new(move || {
        let config = SessionConfig::modern();
        let mut out = Vec::with_capacity(room);
        for message in builder.take().expect("it is asked once").into_pdu_iter(&config) {
            out.extend_from_slice(message.expect("a message").as_ref());
        }
        out
    })
}
