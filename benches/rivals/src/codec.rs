//! Reading and writing UPDATEs: rounds of all libraries interleaved, the best of each, as multiples of the floor.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use bgp_proto::{PathAttrs, Prefix, Receive, RouteSet, Speaker};
use bytes::{Bytes, BytesMut};
use yardstick::floor;
use yardstick::memory::{self, CONNECTION, PEER};
use yardstick::stream::{self, Sums};

use crate::allocation::{self, Heap};
use crate::day;
use crate::goal::Goal;
use crate::library::{FLOOR, HERALD, LIBRARIES};
use crate::markdown::{Table, figure, ratio};
use crate::rounds::{Best, Work};

/// Messages of the generated stream, when there is no real one.
const GENERATED: usize = 60_000;
/// Host routes that are written.
const ROUTES: usize = 100_000;
/// The message type of UPDATE.
const UPDATE: u8 = 2;
/// Messages that are timed at once: too few for the scheduler to come between in every round.
const PIECE: usize = 4_096;
/// What a driver reads at once.
const READ: usize = 64 * 1024;

/// Prints all tables; returns what became of the goals.
pub(crate) fn run() -> Result<Vec<Goal>> {
    let mut streams = stream::real();
    if streams.is_empty() {
        println!("No real BGP streams were at hand (`HERALD_BGP_VECTORS`): the stream is a generated one.\n");
        streams.push(("generated".to_owned(), stream::generated(GENERATED)));
    }
    let mut worst = Reading::default();
    for (name, octets) in streams {
        eprintln!("codec: reading {name}");
        worst = worst.worse(read(&name, &octets)?);
    }
    let mut goals = worst.goals();
    eprintln!("codec: writing {ROUTES} /32");
    goals.push(write()?);
    goals.push(one_change());
    eprintln!("codec: a thousand sessions, a day");
    goals.push(day::run());
    Ok(goals)
}

/// What the goals ask of reading; over several streams the worst.
#[derive(Clone, Copy, Default)]
struct Reading {
    parse: f64,
    walk: f64,
    /// Herald's walk as a part of the best library's.
    of_best: f64,
    allocations: usize,
    /// Seconds that a session takes to inspect the stream.
    inspect: f64,
}

impl Reading {
    fn worse(self, other: Self) -> Self {
        Self {
            parse: self.parse.max(other.parse),
            walk: self.walk.max(other.walk),
            of_best: self.of_best.max(other.of_best),
            allocations: self.allocations.max(other.allocations),
            inspect: self.inspect.max(other.inspect),
        }
    }

    fn goals(self) -> Vec<Goal> {
        let ahead = ratio(1.0, self.of_best);
        vec![
            Goal::new(
                "parse and validate one UPDATE of a real stream (`Inspect`)",
                "≤ 1.5 × floor, 0 allocations",
                format!(
                    "{} × floor on the worst stream, {} allocations",
                    figure(self.parse),
                    self.allocations
                ),
                self.parse <= 1.5 && self.allocations == 0,
            ),
            Goal::new(
                "walk every prefix, AS and community",
                "≤ 1.5 × floor, ≥ 2.5 × the best library",
                format!(
                    "{} × floor, {} × the best library, each on its worst stream",
                    figure(self.walk),
                    figure(ahead)
                ),
                self.walk <= 1.5 && ahead >= 2.5,
            ),
            Goal::new(
                "absorb a 323,000-route table (`Inspect`), a session in memory",
                "< 30 ms",
                format!("{} on the slowest stream*", milliseconds_of(self.inspect)),
                self.inspect < 0.030,
            ),
        ]
    }
}

fn read(name: &str, octets: &[u8]) -> Result<Reading> {
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
    let (mut parse, mut walk) = (Best::default(), Best::default());
    for piece in messages.chunks(PIECE) {
        let octets = &piece.concat();
        let parses =
            LIBRARIES.iter().map(|library| Work::new(library.name, || black_box((library.parse)(piece))));
        parse.add(Best::of(parses.collect()));
        let walks =
            LIBRARIES.iter().map(|library| Work::new(library.name, || black_box((library.walk)(piece))));
        let sessions = SESSIONS.map(|(name, receive)| {
            let prepare = move || memory::established_with(Instant::now(), receive);
            Work::prepared(name, prepare, |mut speaker| {
                absorb(&mut speaker, octets);
                speaker
            })
        });
        walk.add(Best::of(walks.chain(sessions).collect()));
    }

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
    let mut calls = 0;
    for (name, receive) in SESSIONS {
        let mut speaker = memory::established_with(Instant::now(), receive);
        absorb(&mut speaker, octets);
        let received = speaker.session(PEER).map_or(0, |status| status.counters.received.updates);
        let ((), heap) = allocation::count(|| absorb(&mut speaker, octets));
        ensure!(received == sums.messages, "{name}: {received} of {} UPDATEs were counted", sums.messages);
        calls += heap.calls;
        let time = walk.seconds(name);
        table.row(&[
            name.to_owned(),
            figure(ratio(time, parse.seconds(FLOOR))),
            String::new(),
            String::new(),
            figure(ratio(heap.calls as f64, updates)),
            figure(ratio(heap.octets as f64, updates)),
            figure(updates / time / 1e3),
            String::new(),
            String::new(),
        ]);
    }
    table.print();
    let (_, own) = allocation::count(|| black_box((LIBRARIES[OWN].walk)(&messages)));
    let best = PUBLISHED.map(|at| walk.seconds(LIBRARIES[at].name)).into_iter().fold(f64::INFINITY, f64::min);
    Ok(Reading {
        parse: ratio(parse.seconds(HERALD), parse.seconds(FLOOR)),
        walk: ratio(walk.seconds(HERALD), walk.seconds(FLOOR)),
        of_best: ratio(walk.seconds(HERALD), best),
        allocations: calls + own.calls,
        inspect: walk.seconds(SESSIONS[1].0),
    })
}

/// Where Herald is in the list of libraries.
const OWN: usize = 1;
/// Where the published crates are.
const PUBLISHED: [usize; 5] = [2, 3, 4, 5, 6];

/// Rows of a whole session that is fed the stream as a socket would.
const SESSIONS: [(&str, Receive); 2] =
    [("Herald, a session (Discard)", Receive::Discard), ("Herald, a session (Inspect)", Receive::Inspect)];

fn absorb(speaker: &mut Speaker, octets: &[u8]) {
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
        ensure!(
            library.name != HERALD || found == expected,
            "Herald reads {found:?}, the floor {expected:?}"
        );
    }
    ensure!(agreeing.len() >= 4, "fewer than two published decoders agree with Herald");
    println!(
        "Same sums (messages, prefixes, their lengths, AS numbers, communities): {}.\n",
        agreeing.join(", ")
    );
    Ok(())
}

fn write() -> Result<Goal> {
    println!(
        "### Writing {ROUTES} /32 with one attribute set\n\nTwice: from a list of addresses, which everybody turns into \
         values of its own first, and from those values on, which is what a speaker does whenever a session comes up. \
         The crates' values are pieces that fill a message (routecore splits by itself and writes IPv4 into \
         MP_REACH_NLRI; rustbgpd-wire's are entries, since its messages are octets already). Herald's are a table of \
         routes and an Established session, and what is timed is all from `set_routes` to the last octet. \
         Everybody allocates the buffer for the octets in the timed part.\n"
    );
    let addresses: Vec<[u8; 4]> = memory::addresses(ROUTES).collect();
    let addresses = addresses.as_slice();
    let whole = LIBRARIES.iter().map(|library| {
        Work::new(library.name, move || {
            let mut encode = (library.encoder)(addresses);
            black_box(encode())
        })
    });
    let whole = Best::of(whole.collect());
    let own = LIBRARIES.iter().map(|library| {
        let prepare = move || (library.encoder)(addresses);
        // The values come back, so that nobody's are dropped in the timed part.
        Work::prepared(library.name, prepare, |mut encode| (encode(), encode))
    });
    let own = Best::of(own.collect());

    let mut table = Table::new(&[
        "library",
        "from own values, × floor",
        "from own values, × Herald",
        "from addresses, × Herald",
        "allocations per 1000 prefixes, from own values",
        "messages",
        "octets",
        "from own values, M prefixes/s*",
        "from addresses, M prefixes/s*",
    ]);
    let rate = |best: &Best, name: &str| ROUTES as f64 / best.seconds(name) / 1e6;
    let mut messages = 0;
    for library in &LIBRARIES {
        let mut encode = (library.encoder)(addresses);
        let (out, heap) = allocation::count(&mut encode);
        let sums = floor::walk(&out).unwrap_or_default();
        ensure!(sums.prefixes == ROUTES as u64, "{} writes {sums:?}", library.name);
        if library.name == HERALD {
            messages = sums.messages;
        }
        table.row(&[
            library.name.to_owned(),
            figure(ratio(own.seconds(library.name), own.seconds(FLOOR))),
            figure(ratio(own.seconds(library.name), own.seconds(HERALD))),
            figure(ratio(whole.seconds(library.name), whole.seconds(HERALD))),
            figure(heap.calls as f64 * 1e3 / ROUTES as f64),
            sums.messages.to_string(),
            out.len().to_string(),
            figure(rate(&own, library.name)),
            figure(rate(&whole, library.name)),
        ]);
    }
    table.print();
    let best = PUBLISHED.map(|at| own.seconds(LIBRARIES[at].name)).into_iter().fold(f64::INFINITY, f64::min);
    let ahead = ratio(best, own.seconds(HERALD));
    let warm = announce_warm(&memory::routes(ROUTES));
    let per_thousand = warm.calls as f64 * 1e3 / ROUTES as f64;
    Ok(Goal::new(
        "encode 100,000 /32 with one attribute set, from `set_routes` to octets",
        "≥ 100 M prefixes/s, ≥ 2 × the best library from its own values, 125 messages (± 1), ≤ 1 allocation per 1000 \
         prefixes warm",
        format!(
            "{} M/s*, {} × the best library, {messages} messages, {} allocations per 1000",
            figure(rate(&own, HERALD)),
            figure(ahead),
            figure(per_thousand)
        ),
        rate(&own, HERALD) >= 100.0 && ahead >= 2.0 && messages.abs_diff(125) <= 1 && per_thousand <= 1.0,
    ))
}

/// One route more or less in a full table, to the octets.
fn one_change() -> Goal {
    const CHANGES: usize = 1_000;
    let full = memory::routes(ROUTES);
    let one_more = Arc::new(full.with(Prefix::host([172, 16, 0, 1].into()), Arc::new(PathAttrs::default())));
    let prepare = || {
        let mut speaker = memory::established(Instant::now());
        let mut out = BytesMut::with_capacity(ROUTES * 6);
        announce(&mut speaker, &full, &mut out);
        (speaker, out)
    };
    let best = Best::of(vec![Work::prepared("change", prepare, |(mut speaker, mut out)| {
        for version in [&one_more, &full].into_iter().cycle().take(CHANGES) {
            out.clear();
            announce(&mut speaker, version, &mut out);
        }
        (speaker, out)
    })]);
    let each = best.seconds("change") * 1e9 / CHANGES as f64;
    Goal::new(
        "one change in a table of 100,000, from `set_routes` to octets",
        "≤ 2 µs",
        format!("{} ns*", figure(each)),
        each <= 2_000.0,
    )
}

/// The second announcement of the same routes: all buffers have their size.
fn announce_warm(routes: &Arc<RouteSet>) -> Heap {
    let mut speaker = memory::established(Instant::now());
    let mut out = BytesMut::with_capacity(ROUTES * 8);
    for table in [routes, &Arc::default()] {
        announce(&mut speaker, table, &mut out);
        out.clear();
    }
    allocation::count(|| announce(&mut speaker, routes, &mut out)).1
}

fn announce(speaker: &mut Speaker, routes: &Arc<RouteSet>, out: &mut BytesMut) {
    let now = Instant::now();
    speaker.set_routes(PEER, Arc::clone(routes));
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
