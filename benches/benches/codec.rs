//! Reading UPDATE streams and packing 100,000 /32, against a hand-written floor.

use std::sync::Arc;
use std::time::Instant;

use bgp_proto::wire::as_path::{AsPath, AsWidth};
use bgp_proto::wire::header::{Framer, MessageType};
use bgp_proto::wire::nlri::Nlri;
use bgp_proto::wire::update::{MpReach, MpUnreach, Update};
use bgp_proto::{Family, Speaker};
use yardstick::memory::{self, CONNECTION, PEER};
use yardstick::stream::{self, Sums};
use yardstick::{Measured, Size, Table, floor};

/// ORIGIN, AS_PATH with one AS, NEXT_HOP: what Herald says about a plain route to an eBGP peer.
const ATTRIBUTES: [u8; 20] = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFB, 0xF4, 0x40, 3, 4, 192, 0, 2, 7];

fn main() {
    let size = Size::from_args();
    read(size, "generated", &stream::generated(size.pick(2_000, 60_000)));
    let real = stream::real();
    if real.is_empty() {
        println!("\nskipped: no real BGP streams at hand (HERALD_BGP_VECTORS)");
    }
    for (name, octets) in real {
        read(size, &name, &octets);
    }
    pack(size, size.pick(10_000, 100_000));
}

fn read(size: Size, name: &str, octets: &[u8]) {
    let sums = floor::walk(octets).expect("the stream is whole");
    let messages = usize::try_from(sums.messages).expect("fits");
    println!("\n{name}: {sums:?}");
    let mut table = Table::new("read: per message", size);
    table.floor(
        "floor: walk (yardstick, checks lengths only)",
        rounds(size, messages, || floor::walk(octets)),
    );
    table.row("herald: frame", rounds(size, messages, || frame(octets)));
    assert_eq!(walk(octets), sums, "{name}: both readers find the same");
    table.row("herald: frame, parse, walk", rounds(size, messages, || walk(octets)));
    let now = Instant::now();
    let absorb = Measured::rounds(
        size,
        messages,
        || memory::established(now),
        |mut speaker| {
            let mut rest = octets;
            while let Some(chunk) = rest.get(..rest.len().min(64 * 1024)).filter(|chunk| !chunk.is_empty()) {
                let consumed = speaker.handle_input(now, CONNECTION, chunk);
                assert!(consumed > 0, "a stream of whole messages is consumed");
                rest = rest.get(consumed..).unwrap_or_default();
            }
            let status = speaker.session(PEER).expect("the peer is there");
            assert_eq!(status.counters.received.updates, sums.messages, "{name}: every UPDATE is counted");
            speaker
        },
    );
    table.row("herald: a session absorbs it (Discard)", absorb);
}

fn pack(size: Size, count: usize) {
    let mut table = Table::new("write: per /32", size);
    let floor = Measured::rounds(size, count, Vec::new, |mut out| {
        floor::pack(&ATTRIBUTES, memory::addresses(count), &mut out);
        out
    });
    table.floor("floor: pack (yardstick)", floor);
    let now = Instant::now();
    let routes = memory::routes(count);
    let announce = |mut speaker: Speaker| {
        speaker.set_routes(PEER, Arc::clone(&routes));
        memory::drain(&mut speaker, now).0
    };
    let out = announce(memory::established(now));
    let Sums { messages, prefixes, .. } = floor::walk(&out).expect("Herald's messages are whole");
    let herald = Measured::rounds(size, count, || memory::established(now), announce);
    table.row("herald: set_routes and poll_transmit", herald);
    println!("{count} /32 in {messages} UPDATEs, {} octets", out.len());
    assert_eq!(prefixes, u64::try_from(count).expect("fits"), "every route is announced once");
    // RFC 4271: 4096 octets a message hold 805 to 811 /32 behind one short attribute set.
    let expected = u64::try_from(count.div_ceil(810)).expect("fits");
    assert!(messages.abs_diff(expected) <= 1, "{messages} messages, expected {expected}");
}

fn rounds<T>(size: Size, items: usize, mut work: impl FnMut() -> T) -> Measured {
    Measured::rounds(size, items, || (), |()| work())
}

fn frame(mut octets: &[u8]) -> usize {
    let framer = Framer::default();
    let mut frames = 0;
    while let Some(frame) = framer.next(octets).expect("the stream is whole") {
        frames += 1;
        octets = octets.get(frame.octets.len()..).unwrap_or_default();
    }
    frames
}

fn walk(mut octets: &[u8]) -> Sums {
    let framer = Framer::default();
    let mut sums = Sums::default();
    while let Some(frame) = framer.next(octets).expect("the stream is whole") {
        octets = octets.get(frame.octets.len()..).unwrap_or_default();
        if frame.kind == MessageType::Update {
            sums.messages += 1;
            walk_update(&Update::parse(frame.body).expect("lengths add up"), &mut sums);
        }
    }
    sums
}

fn walk_update(update: &Update<'_>, sums: &mut Sums) {
    walk_prefixes(update.withdrawn, 1, 1, sums);
    walk_prefixes(update.nlri, 1, 1, sums);
    for attribute in update.attrs() {
        let attribute = attribute.expect("attributes add up");
        match attribute.code {
            2 => {
                // A malformed path withdraws its routes and resets nothing (RFC 7606 §7.2).
                if let Ok(path) = AsPath::try_new(attribute.value, AsWidth::Four) {
                    sums.asns += path.asns().map(|asn| u64::from(asn.0)).sum::<u64>();
                }
            }
            8 => {
                let communities = attribute.value.chunks_exact(4).filter_map(|octets| octets.first_chunk());
                sums.communities +=
                    communities.map(|octets| u64::from(u32::from_be_bytes(*octets))).sum::<u64>();
            }
            14 => {
                let reach = MpReach::parse(attribute.value).expect("a whole MP_REACH_NLRI");
                walk_prefixes(reach.nlri, reach.afi, reach.safi, sums);
            }
            15 => {
                let unreach = MpUnreach::parse(attribute.value).expect("a whole MP_UNREACH_NLRI");
                walk_prefixes(unreach.nlri, unreach.afi, unreach.safi, sums);
            }
            _ => {}
        }
    }
}

fn walk_prefixes(nlri: &[u8], afi: u16, safi: u8, sums: &mut Sums) {
    let family = Family::from_afi_safi(afi, safi).expect("the streams hold unicast only");
    for prefix in Nlri::try_new(nlri, family).expect("the prefixes add up") {
        sums.prefixes += 1;
        sums.bits += u64::from(prefix.len());
    }
}
