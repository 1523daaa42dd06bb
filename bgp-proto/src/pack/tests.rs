use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Buf;

use super::*;
use crate::attrs::{PathAttrs, PathStyle};
use crate::image::ImageBuf;
use crate::number::Asn;
use crate::wire::as_path::AsWidth;
use crate::wire::community::Community;
use crate::wire::header::Framer;
use crate::wire::nlri::Nlri;
use crate::wire::update::{MpReach, MpUnreach, Update};

const STYLE: PathStyle = PathStyle {
    local_asn: Asn(4_200_000_001),
    external: true,
    width: AsWidth::Four,
    only_to_customer: false,
};
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
                    p.announce(
                        Family::Ipv4Unicast,
                        Ipv4Addr::LOCALHOST.into(),
                        &blob,
                        &[Piece::Each(&v4[..])],
                    )
                });
                assert_eq!(messages.iter().flat_map(|body| announced(body)).collect::<Vec<_>>(), v4);
                let messages = packed(max, |p| {
                    p.announce(
                        Family::Ipv6Unicast,
                        Ipv6Addr::LOCALHOST.into(),
                        &blob,
                        &[Piece::Each(&v6[..])],
                    )
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
        packed(MAX, |p| p.announce(
            Family::Ipv4Unicast,
            Ipv4Addr::LOCALHOST.into(),
            &blob,
            &[Piece::Each(&exactly[..])]
        ))
        .len(),
        1
    );
    let one_more: Vec<_> = (0..=u32::try_from(most).unwrap()).map(v4).collect();
    assert_eq!(
        packed(MAX, |p| p.announce(
            Family::Ipv4Unicast,
            Ipv4Addr::LOCALHOST.into(),
            &blob,
            &[Piece::Each(&one_more[..])]
        ))
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

#[test]
fn a_long_message_is_filled_to_its_last_octet() {
    let attrs = PathAttrs { med: Some(0), ..PathAttrs::default() };
    let blob = AttrBlob::try_new(&attrs, STYLE).unwrap();
    // 23 octets of message and 27 of attributes leave 65,485, which is 13,097 routes.
    let lengths = |count| {
        let prefixes: Vec<_> = (0..count).map(v4).collect();
        let runs: Vec<_> = prefixes.chunks(48).map(Piece::Each).collect();
        let messages =
            packed(u16::MAX, |p| p.announce(Family::Ipv4Unicast, Ipv4Addr::LOCALHOST.into(), &blob, &runs));
        messages.iter().map(|body| body.len() + 19).collect::<Vec<_>>()
    };
    assert_eq!(lengths(13_097), [65_535]);
    assert_eq!(lengths(13_098), [65_535, 55]);
}

#[test]
fn prefixes_of_every_length_are_packed_as_they_are_read() {
    let v4: Vec<Prefix> =
        (0..=32).map(|len| Prefix::try_new([203, 0, 113, 255].into(), len).unwrap()).collect();
    let all_ones = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
    let v6: Vec<Prefix> = (0..=128).map(|len| Prefix::try_new(all_ones, len).unwrap()).collect();
    for max in [4096, u16::MAX] {
        // Runs of one, so that the end of the room is met at every length.
        for (family, prefixes, form) in
            [(Family::Ipv4Unicast, &v4, Form::Classic), (Family::Ipv6Unicast, &v6, Form::Multiprotocol)]
        {
            let many: Vec<Prefix> = prefixes.iter().cycle().take(5_000).copied().collect();
            let messages = packed(max, |p| p.withdraw(family, form, &many));
            assert_eq!(messages.iter().flat_map(|body| withdrawn(body)).collect::<Vec<_>>(), many);
        }
    }
}

/// All small rooms with all short lists: what is written fits, is the longest prefix of the list that
/// does, and reads as it was.
#[test]
fn every_small_room_takes_what_fits_and_nothing_else() {
    let lengths = [0_u8, 1, 8, 9, 17, 25, 32];
    let prefix = |len| Prefix::try_new([198, 51, 100, 7].into(), len).unwrap();
    for first in lengths {
        for second in lengths {
            for third in lengths {
                let prefixes = [prefix(first), prefix(second), prefix(third)];
                for room in 0..=16 {
                    let image = ImageBuf::of(prefixes[1..].iter());
                    let each = [&prefixes[..1], &[], &prefixes[1..]].map(Piece::Each);
                    let ready = [Piece::Each(&prefixes[..1]), Piece::Ready(image.whole())];
                    for list in [&each[..], &ready[..]] {
                        let (mut out, mut pieces) = (BytesMut::new(), Pieces::new(list));
                        pieces.put(&mut out, room);
                        let mut fitting = 0;
                        let count = prefixes
                            .iter()
                            .take_while(|prefix| {
                                fitting += prefix.wire_len();
                                fitting <= room
                            })
                            .count();
                        assert!(out.len() <= room);
                        let read: Vec<_> = Nlri::try_new(&out, Family::Ipv4Unicast).unwrap().collect();
                        assert_eq!(read, prefixes[..count]);
                        assert_eq!(pieces.is_empty(), count == 3);
                    }
                }
            }
        }
    }
}
