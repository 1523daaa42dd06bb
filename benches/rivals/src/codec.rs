//! Reading and writing UPDATEs: rounds of all libraries interleaved, the best of each, as multiples of the floor.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use bgp_proto::{RouteSet, Speaker};
use bytes::{Bytes, BytesMut};
use yardstick::memory::{self, CONNECTION, PEER};
use yardstick::stream::{self, Sums};
use yardstick::floor;

use crate::allocation::{self, Heap};
use crate::library::{FLOOR, HERALD, LIBRARIES};
use crate::markdown::{Table, figure, ratio};
use crate::rounds::{Best, Work};

/// Messages of the generated stream, when there is no real one.
const GENERATED: usize = 60_000;
/// Host routes that are written.
const ROUTES: usize = 100_000;
/// The message type of UPDATE.
const UPDATE: u8 = 2;
/// What a driver reads at once.
const READ: usize = 64 * 1024;

/// Prints all tables.
pub(crate) fn run() -> Result<()> {
    let mut streams = stream::real();
    if streams.is_empty() {
        println!("No real BGP streams were at hand (`HERALD_BGP_VECTORS`): the stream is a generated one.\n");
        streams.push(("generated".to_owned(), stream::generated(GENERATED)));
    }
    for (name, octets) in streams {
        eprintln!("codec: reading {name}");
        read(&name, &octets)?;
    }
    eprintln!("codec: writing {ROUTES} /32");
    write()
}

fn read(name: &str, octets: &[u8]) -> Result<()> {
    let messages = cut(octets);
    let sums = (LIBRARIES[0].walk)(&messages);
    let updates = sums.messages as f64;
    println!(
        "### Reading {name}\n\n{} UPDATEs, {} prefixes ({:.1} a message).\n",
        sums.messages,
        sums.prefixes,
        ratio(sums.prefixes as f64, updates)
    );
    agree(&messages, sums)?;
    let parses = LIBRARIES.iter().map(|library| Work::new(library.name, || black_box((library.parse)(&messages))));
    let parse = Best::of(parses.collect());
    let walks = LIBRARIES.iter().map(|library| Work::new(library.name, || black_box((library.walk)(&messages))));
    let absorb = Work::prepared(SESSION, || memory::established(Instant::now()), |speaker| absorb(speaker, octets));
    let walk = Best::of(walks.chain([absorb]).collect());

    let mut table = Table::new(&[
        "library",
        "parse, × floor",
        "walk, × floor",
        "walk, × Herald",
        "allocations a message",
        "heap octets a message",
        "k messages/s parse*",
        "k messages/s walk*",
        "M prefixes/s walk*",
    ]);
    for library in &LIBRARIES {
        let (_, heap) = allocation::count(|| black_box((library.walk)(&messages)));
        let walk_time = walk.seconds(library.name);
        let parse_time = parse.seconds(library.name);
        table.row(&[
            library.name.to_owned(),
            figure(ratio(parse_time, parse.seconds(FLOOR))),
            figure(ratio(walk_time, walk.seconds(FLOOR))),
            figure(ratio(walk_time, walk.seconds(HERALD))),
            figure(ratio(heap.calls as f64, updates)),
            figure(ratio(heap.octets as f64, updates)),
            figure(updates / parse_time / 1e3),
            figure(updates / walk_time / 1e3),
            figure(sums.prefixes as f64 / walk_time / 1e6),
        ]);
    }
    let mut speaker = memory::established(Instant::now());
    let ((), heap) = allocation::count(|| absorb_into(&mut speaker, octets));
    let time = walk.seconds(SESSION);
    table.row(&[
        SESSION.to_owned(),
        figure(ratio(time, parse.seconds(FLOOR))),
        "".to_owned(),
        "".to_owned(),
        figure(ratio(heap.calls as f64, updates)),
        figure(ratio(heap.octets as f64, updates)),
        figure(updates / time / 1e3),
        "".to_owned(),
        "".to_owned(),
    ]);
    table.print();
    println!("{SESSION}: {} allocations in all, {} for the whole stream.\n", heap.calls, milliseconds_of(time));
    Ok(())
}

/// The row of a whole session that is fed the stream as a socket would.
const SESSION: &str = "Herald, a session (Discard)";

fn absorb(mut speaker: Speaker, octets: &[u8]) -> Speaker {
    absorb_into(&mut speaker, octets);
    speaker
}

fn absorb_into(speaker: &mut Speaker, octets: &[u8]) {
    let now = Instant::now();
    let mut rest = octets;
    while !rest.is_empty() {
        let chunk = rest.get(..READ).unwrap_or(rest);
        let consumed = speaker.handle_input(now, CONNECTION, chunk);
        assert!(consumed > 0, "a stream of whole messages is consumed");
        rest = rest.get(consumed..).unwrap_or_default();
    }
}

/// Every library must find what the floor finds: where Herald accepts, published decoders read the same.
fn agree(messages: &[Bytes], expected: Sums) -> Result<()> {
    let mut agreeing = Vec::new();
    for library in &LIBRARIES {
        let found = (library.walk)(messages);
        if found == expected {
            agreeing.push(library.name);
        } else {
            println!("{} reads {found:?}, the floor {expected:?}.\n", library.name);
        }
        ensure!(library.name != HERALD || found == expected, "Herald reads {found:?}, the floor {expected:?}");
    }
    ensure!(agreeing.len() >= 4, "fewer than two published decoders agree with Herald");
    println!("Same sums (messages, prefixes, their lengths, AS numbers, communities): {}.\n", agreeing.join(", "));
    Ok(())
}

fn write() -> Result<()> {
    println!(
        "### Writing {ROUTES} /32 with one attribute set\n\nHerald's first row begins with a list of addresses, as \
         the crates do, and builds the table of routes, too. The crates are handed pieces that fill a message; \
         routecore splits by itself and writes IPv4 into MP_REACH_NLRI.\n"
    );
    let addresses: Vec<[u8; 4]> = memory::addresses(ROUTES).collect();
    let routes = memory::routes(ROUTES);
    let mut works: Vec<Work<'_>> =
        LIBRARIES.iter().map(|library| Work::new(library.name, || black_box((library.write)(&addresses)))).collect();
    let prepare = || (memory::established(Instant::now()), BytesMut::with_capacity(ROUTES * 6));
    works.push(Work::prepared(TABLE_BUILT, prepare, |(mut speaker, mut out)| {
        announce(&mut speaker, &routes, &mut out);
        (speaker, out)
    }));
    let best = Best::of(works);

    let mut table = Table::new(&[
        "library",
        "× floor",
        "× Herald",
        "allocations per 1000 prefixes",
        "messages",
        "octets",
        "M prefixes/s*",
    ]);
    let mut row = |name: &str, heap: Heap, out: &[u8]| -> Result<()> {
        let sums = floor::walk(out).unwrap_or_default();
        ensure!(sums.prefixes == ROUTES as u64, "{name} writes {sums:?}");
        table.row(&[
            name.to_owned(),
            figure(ratio(best.seconds(name), best.seconds(FLOOR))),
            figure(ratio(best.seconds(name), best.seconds(HERALD))),
            figure(heap.calls as f64 * 1e3 / ROUTES as f64),
            sums.messages.to_string(),
            out.len().to_string(),
            figure(ROUTES as f64 / best.seconds(name) / 1e6),
        ]);
        Ok(())
    };
    for library in &LIBRARIES {
        let (out, heap) = allocation::count(|| (library.write)(&addresses));
        row(library.name, heap, &out)?;
    }
    let (out, heap) = announce_warm(&routes);
    row(TABLE_BUILT, heap, &out)?;
    table.print();
    Ok(())
}

/// The row of a session that is handed a finished table, as the driver is.
const TABLE_BUILT: &str = "Herald, from `set_routes` on";

/// The second announcement of the same routes: all buffers have their size.
fn announce_warm(routes: &Arc<RouteSet>) -> (BytesMut, Heap) {
    let mut speaker = memory::established(Instant::now());
    let mut out = BytesMut::with_capacity(ROUTES * 8);
    for table in [routes, &Arc::default()] {
        announce(&mut speaker, table, &mut out);
        out.clear();
    }
    let ((), heap) = allocation::count(|| announce(&mut speaker, routes, &mut out));
    (out, heap)
}

fn announce(speaker: &mut Speaker, routes: &Arc<RouteSet>, out: &mut BytesMut) {
    let now = Instant::now();
    speaker.set_routes(now, PEER, Arc::clone(routes));
    memory::drain_into(speaker, now, out);
}

/// The UPDATEs of a stream; the real ones hold some KEEPALIVEs, too.
fn cut(octets: &[u8]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(octets);
    let mut messages = Vec::new();
    while rest.len() >= 19 {
        let length = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        let message = rest.split_to(length);
        if message.get(18) == Some(&UPDATE) {
            messages.push(message);
        }
    }
    messages
}

fn milliseconds_of(seconds: f64) -> String {
    crate::markdown::milliseconds(std::time::Duration::from_secs_f64(seconds))
}
