use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Buf;

use super::*;
use crate::attrs::{PathAttrs, PathStyle};
use crate::number::Asn;
use crate::wire::as_path::AsWidth;
use crate::wire::community::Community;
use crate::wire::header::Framer;
use crate::wire::nlri::Nlri;
use crate::wire::update::{MpReach, MpUnreach, Update};

const STYLE: PathStyle = PathStyle { local_asn: Asn(4_200_000_001), external: true, width: AsWidth::Four };
const MAX: u16 = 4096;

fn v4(number: u32) -> Prefix {
    Prefix::host(Ipv4Addr::from_bits(0x0A00_0000 + number).into())
}

fn v6(number: u32) -> Prefix {
    Prefix::host(Ipv6Addr::from_bits((0x2001_0DB8 << 96) + u128::from(number)).into())
}

/// An attribute blob of exactly this many octets, or a few more.
fn blob(octets: usize) -> AttrBlob {
    let communities = (0..u32::try_from(octets.saturating_sub(18) / 4).unwrap()).map(Community).collect();
    AttrBlob::try_new(&PathAttrs { communities, ..PathAttrs::default() }, STYLE).unwrap()
}

fn packed(max: u16, write: impl FnOnce(&mut Packer<'_>)) -> Vec<Vec<u8>> {
    let mut out = BytesMut::new();
    let mut packer = Packer::new(&mut out, max);
    write(&mut packer);
    let count = packer.messages();
    let mut messages = Vec::new();
    while out.has_remaining() {
        let frame = Framer::new(max).next(&out).unwrap().expect("whole messages");
        messages.push(frame.body.to_vec());
        let length = frame.octets.len();
        out.advance(length);
    }
    assert_eq!(count, messages.len() as u64);
    messages
}

fn announced(body: &[u8]) -> Vec<Prefix> {
    let update = Update::parse(body).unwrap();
    let classic = Nlri::try_new(update.nlri, Family::Ipv4Unicast).unwrap();
    let reach = update.attrs().flatten().filter(|a| a.code == MP_REACH_NLRI).flat_map(|attribute| {
        Nlri::try_new(MpReach::parse(attribute.value).unwrap().nlri, Family::Ipv6Unicast).unwrap()
    });
    classic.chain(reach).collect()
}

fn withdrawn(body: &[u8]) -> Vec<Prefix> {
    let update = Update::parse(body).unwrap();
    let classic = Nlri::try_new(update.withdrawn, Family::Ipv4Unicast).unwrap();
    let unreach = update.attrs().flatten().filter(|a| a.code == MP_UNREACH_NLRI).flat_map(|attribute| {
        Nlri::try_new(MpUnreach::parse(attribute.value).unwrap().nlri, Family::Ipv6Unicast).unwrap()
    });
    classic.chain(unreach).collect()
}

#[test]
fn everything_is_announced_once_whatever_fits_a_message() {
    for count in [0, 1, 2, 800, 805, 806, 807, 808, 809, 810, 5_000] {
        for octets in [18, 29, 100, 230, 260, 4_000] {
            let (blob, v4, v6) = (
                blob(octets),
                (0..count).map(v4).collect::<Vec<_>>(),
                (0..count).map(v6).collect::<Vec<_>>(),
            );
            for max in [MAX, u16::MAX] {
                let messages = packed(max, |p| {
                    p.announce(Family::Ipv4Unicast, Ipv4Addr::LOCALHOST.into(), &blob, &[&v4[..]])
                });
                assert_eq!(messages.iter().flat_map(|body| announced(body)).collect::<Vec<_>>(), v4);
                let messages = packed(max, |p| {
                    p.announce(Family::Ipv6Unicast, Ipv6Addr::LOCALHOST.into(), &blob, &[&v6[..]])
                });
                assert_eq!(messages.iter().flat_map(|body| announced(body)).collect::<Vec<_>>(), v6);
            }
        }
    }
}

#[test]
fn ten_thousand_withdrawals_take_messages_of_legal_length() {
    let (v4, v6): (Vec<_>, Vec<_>) = (0..10_000).map(|n| (v4(n), v6(n))).unzip();
    let messages = packed(MAX, |p| p.withdraw(Family::Ipv4Unicast, Form::Classic, &v4));
    assert_eq!(messages.len(), 10_000_usize.div_ceil((4096 - 23) / 5));
    assert_eq!(messages.iter().flat_map(|body| withdrawn(body)).collect::<Vec<_>>(), v4);
    let messages = packed(MAX, |p| p.withdraw(Family::Ipv6Unicast, Form::Multiprotocol, &v6));
    assert_eq!(messages.iter().flat_map(|body| withdrawn(body)).collect::<Vec<_>>(), v6);
}

#[test]
fn a_full_message_is_filled_to_the_last_route_that_fits() {
    let blob = blob(22);
    let room = |prefixes: usize| 4096 - 23 - blob.len() - 7 - prefixes * 5;
    let most = (4096 - 23 - blob.len() - 7) / 5;
    assert!(room(most) < 5);
    let exactly: Vec<_> = (0..u32::try_from(most).unwrap()).map(v4).collect();
    assert_eq!(
        packed(MAX, |p| p.announce(Family::Ipv4Unicast, Ipv4Addr::LOCALHOST.into(), &blob, &[&exactly[..]]))
            .len(),
        1
    );
    let one_more: Vec<_> = (0..=u32::try_from(most).unwrap()).map(v4).collect();
    assert_eq!(
        packed(MAX, |p| p.announce(Family::Ipv4Unicast, Ipv4Addr::LOCALHOST.into(), &blob, &[&one_more[..]]))
            .len(),
        2
    );
}

#[test]
fn end_of_rib_has_the_shape_that_receivers_look_for() {
    let shape = |family| packed(MAX, |p| p.end_of_rib(family)).concat();
    assert_eq!(shape(Family::Ipv4Unicast), [0, 0, 0, 0]);
    assert_eq!(shape(Family::Ipv6Unicast), [0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
}
