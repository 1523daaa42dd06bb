//! What is written reads as it was, for every type that goes both ways; and small inputs in full, against
//! the simplest reader that could be right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bgp_proto::wire::as_path::AsWidth;
use bgp_proto::wire::capability::{Capability, GracefulRestart};
use bgp_proto::wire::check::{Class, Context, inspect};
use bgp_proto::wire::header::{Framer, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::notification::{ErrorCode, Notification};
use bgp_proto::wire::open::{Open, OpenBuilder};
use bgp_proto::wire::refresh::{RefreshKind, RouteRefresh};
use bgp_proto::wire::update::Update;
use bgp_proto::*;
use bytes::BytesMut;
use proptest::prelude::*;

use crate::script::open;
use crate::vectors::{V4, external, peer_open, told};

fn octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn attrs() -> impl Strategy<Value = PathAttrs> {
    let communities = proptest::collection::vec(any::<u32>().prop_map(Community), 0..70);
    let large = proptest::collection::vec(
        any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity { global, local1, local2 }),
        0..30,
    );
    let ext = proptest::collection::vec(any::<[u8; 8]>(), 0..40);
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    (origin, any::<u8>(), any::<Option<u32>>(), any::<Option<u32>>(), communities, large, ext).prop_map(
        |(origin, prepend, med, local_pref, communities, large_communities, ext_communities)| PathAttrs {
            origin,
            prepend,
            med,
            local_pref,
            communities,
            large_communities,
            ext_communities,
        },
    )
}

fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort();
    values.dedup();
    values
}

proptest! {
    #[test]
    fn capabilities_of_every_code(code in any::<u8>(), value in octets(256)) {
        let capability = Capability::from_wire(code, &value);
        let mut out = BytesMut::new();
        capability.encode(&mut out);
        prop_assert_eq!((out[0], usize::from(out[1]), out.len()), (code, value.len(), value.len() + 2));
        prop_assert_eq!(Capability::from_wire(out[0], &out[2..]), capability);
    }

    #[test]
    fn graceful_restart(restarting in any::<bool>(), notification in any::<bool>(), restart_time in 0..4096_u16, tuples in octets(40)) {
        let restart = GracefulRestart { restarting, notification, restart_time, tuples: &tuples };
        let mut out = BytesMut::new();
        Capability::GracefulRestart(restart).encode(&mut out);
        prop_assert_eq!(Capability::from_wire(out[0], &out[2..]), Capability::GracefulRestart(restart));
    }

    #[test]
    fn opens_of_every_size(asn in 1..=u32::MAX, hold in prop_oneof![Just(0), 3..=u16::MAX], id in 1..=u32::MAX, values in proptest::collection::vec((66..=255_u8, octets(120)), 0..30)) {
        prop_assume!(asn != 23_456);
        let others = values.iter().map(|(code, value)| Capability::from_wire(*code, value));
        let capabilities: Vec<_> = std::iter::once(Capability::FourOctetAs(Asn(asn))).chain(others).collect();
        let (hold_time, router_id) = (HoldTime::try_new(hold).unwrap(), RouterId::try_new(Ipv4Addr::from_bits(id)).unwrap());
        let mut out = BytesMut::new();
        OpenBuilder { asn: Asn(asn), hold_time, router_id, capabilities: &capabilities }.encode(&mut out);
        let open = Open::parse(&out[19..]).unwrap();
        prop_assert_eq!((open.asn, open.hold_time, open.router_id), (Asn(asn), hold_time, router_id));
        prop_assert_eq!(open.capabilities.collect::<Vec<_>>(), capabilities);
    }

    #[test]
    fn notifications_and_refreshes(code in any::<u8>(), subcode in any::<u8>(), data in octets(300), afi in any::<u16>(), safi in any::<u8>(), subtype in any::<u8>()) {
        let notification = Notification { code: ErrorCode { code, subcode }, data: &data };
        let mut out = BytesMut::new();
        notification.encode(&mut out);
        prop_assert_eq!(Notification::parse(&out[19..]), notification);
        let kind = match subtype {
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Unknown(other),
        };
        out.clear();
        RouteRefresh { afi, safi, kind }.encode(&mut out);
        prop_assert_eq!(RouteRefresh::parse(&out[19..]), Ok(RouteRefresh { afi, safi, kind }));
    }

    #[test]
    fn communities_as_text_and_octets(standard in any::<u32>(), [global, local1, local2] in any::<[u32; 3]>(), asn in any::<u16>(), rate in any::<u32>(), transitive in any::<bool>()) {
        let standard = Community(standard);
        prop_assert_eq!(standard.to_string().parse(), Ok(standard));
        let large = LargeCommunity { global, local1, local2 };
        prop_assert_eq!(large.to_string().parse(), Ok(large));
        let rate = f32::from_bits(rate);
        prop_assume!(!rate.is_nan());
        let bandwidth = LinkBandwidth { asn, octets_per_second: rate, transitive };
        prop_assert_eq!(LinkBandwidth::from_octets(bandwidth.to_octets()), Some(bandwidth));
    }

    #[test]
    fn prefixes_as_values_and_octets(v4 in any::<u32>(), v6 in any::<u128>(), len4 in 0..=32_u8, len6 in 0..=128_u8) {
        for (address, len) in [(IpAddr::V4(Ipv4Addr::from_bits(v4)), len4), (IpAddr::V6(Ipv6Addr::from_bits(v6)), len6)] {
            let prefix = Prefix::try_new(address, len).unwrap();
            prop_assert_eq!(Prefix::try_new(prefix.address(), prefix.len()).unwrap(), prefix, "canonical");
            let wire = [&[len], prefix.significant_octets()].concat();
            prop_assert_eq!(Nlri::try_new(&wire, prefix.family()).unwrap().collect::<Vec<_>>(), [prefix]);
        }
    }

    #[test]
    fn path_attributes_through_a_session(attrs in attrs(), kind in 0..3_usize) {
        let (config, open) = match kind {
            0 => (external(4_200_000_001), open(&[])),
            1 => (external(4_200_000_001), peer_open(65_530, &[])),
            _ => (PeerConfig { remote: RemoteAs::Internal, ..external(64_500) }, peer_open(64_500, &[Capability::FourOctetAs(Asn(64_500))])),
        };
        prop_assume!(attrs.fits().is_ok());
        let prefix = Prefix::host(Ipv4Addr::new(192, 0, 2, 10).into());
        let told = told(&config, V4, &open, RouteSet::new().with(prefix, Arc::new(attrs.clone())));
        let width = if kind == 1 { AsWidth::Two } else { AsWidth::Four };
        let context = Context { external: kind != 2, width, families: Families::IPV4, extended_next_hop: false };
        let update = Update::parse(&told.updates[0][19..]).unwrap();
        let read = inspect(&update, &context);
        prop_assert_eq!(read.verdict().class, Class::Accept, "{}", read.verdict());
        prop_assert_eq!(read.announced().collect::<Vec<_>>(), [prefix]);
        prop_assert_eq!(read.origin().map(usize::from), [Origin::Igp, Origin::Egp, Origin::Incomplete].iter().position(|o| *o == attrs.origin));
        prop_assert_eq!(read.med(), attrs.med);
        prop_assert_eq!(read.next_hop().map(IpAddr::V4), Some(V4));
        prop_assert_eq!(read.communities().collect::<Vec<_>>(), sorted(attrs.communities.clone()));
        prop_assert_eq!(read.large_communities().collect::<Vec<_>>(), sorted(attrs.large_communities.clone()));
        prop_assert_eq!(read.ext_communities().collect::<Vec<_>>(), sorted(attrs.ext_communities.clone()));
        let path = read.as_path().unwrap();
        let (hops, local_pref) = match kind {
            2 => (0, Some(attrs.local_pref.unwrap_or(100))),
            _ => (usize::from(attrs.prepend) + 1, None),
        };
        prop_assert_eq!((path.hops(), read.local_pref()), (hops, local_pref));
        let number = if kind == 1 { Asn::TRANS } else { Asn(4_200_000_001) };
        prop_assert!(path.asns().all(|asn| asn == number));
        let codes: Vec<u8> = update.attrs().map(|attribute| attribute.unwrap().code).collect();
        prop_assert!(codes.is_sorted(), "ascending: {codes:?}");
    }
}

/// Every header of every length and type, for both maxima.
#[test]
fn every_header_gets_the_answer_of_the_table() {
    for max in [4096_u16, 65_535] {
        for kind in 0..=6_u8 {
            let bounds = match kind {
                1 => Some((29, 4096)),
                2 | 5 => Some((23, max)),
                3 => Some((21, max)),
                4 => Some((19, 19)),
                _ => None,
            };
            for length in 0..=u16::MAX {
                let mut header = [0xFF; 19];
                header[16..18].copy_from_slice(&length.to_be_bytes());
                header[18] = kind;
                let expected = match bounds {
                    _ if length < 19 || length > max => Err(DecodeError::BadLength { length }),
                    None => Err(DecodeError::UnknownType { code: kind }),
                    Some((least, most)) if length < least || length > most => {
                        Err(DecodeError::BadLength { length })
                    }
                    Some(_) => Ok(length == 19),
                };
                let found = Framer::new(max).next(&header).map(|frame| frame.is_some());
                assert_eq!(found, expected, "type {kind} length {length} max {max}");
            }
        }
    }
    assert_eq!(MessageType::ALL.map(MessageType::code), [1, 2, 3, 4, 5]);
}

/// How many prefixes a field holds, read as simply as can be; `None` when it is broken.
fn naive(octets: &[u8], most: u8) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < octets.len() {
        if octets[at] > most {
            return None;
        }
        at += 1 + usize::from(octets[at]).div_ceil(8);
        count += 1;
    }
    (at == octets.len()).then_some(count)
}

/// All fields of up to two octets, and of three with a few values in the third place.
#[test]
fn every_short_field_of_prefixes_is_read_as_a_simple_reader_reads_it() {
    let check = |octets: &[u8]| {
        for family in Family::ALL {
            let read = Nlri::try_new(octets, family).ok().map(Iterator::count);
            assert_eq!(read, naive(octets, family.max_bits()), "{octets:02x?} {family}");
        }
    };
    check(&[]);
    for first in 0..=255 {
        check(&[first]);
        for second in 0..=255 {
            check(&[first, second]);
            for third in [0, 1, 8, 32, 33, 128, 129, 255] {
                check(&[first, second, third]);
            }
        }
    }
}

/// All UPDATE bodies of four length octets and up to two octets behind them.
#[test]
fn every_short_update_has_three_parts_or_none() {
    for withdrawn in 0..=5_u16 {
        for attributes in 0..=5_u16 {
            for behind in 0..=6_usize {
                let length = usize::from(withdrawn);
                let mut body = withdrawn.to_be_bytes().to_vec();
                body.extend(vec![0; length.min(behind)]);
                if behind >= length {
                    body.extend(attributes.to_be_bytes());
                    body.extend(vec![0; behind - length]);
                }
                let fits = behind >= length + usize::from(attributes);
                let update = Update::parse(&body);
                assert_eq!(update.is_ok(), fits, "{body:02x?}");
                if let Ok(update) = update {
                    assert_eq!(update.nlri.len(), behind - length - usize::from(attributes));
                }
            }
        }
    }
}
