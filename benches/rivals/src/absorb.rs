//! Absorbing a full table: the stream, then ROUTE-REFRESH; the answer says that all before it was read.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use yardstick::{router, stream};

use crate::announce::mebibytes;
use crate::daemon::{self, Process, Speaker};
use crate::goal::Goal;
use crate::markdown::{Table, figure, milliseconds, ratio};
use crate::sink::{Message, Session, Sink};

/// Rounds of which the best counts.
const ROUNDS: usize = 3;
/// ExaBGP keeps no table, so there is nothing to compare.
const SPEAKERS: [Speaker; 4] = [Speaker::Herald, Speaker::Bird, Speaker::Frr, Speaker::Gobgp];
/// What the speaker announces, and again when it is asked to.
const OWN_ROUTES: usize = 10;
/// How the last of them ends an UPDATE, but for its last octet.
const OWN: [u8; 4] = [32, 10, 0, 0];
/// What RSS may grow by, in KiB, and still be flat.
const FLAT: u64 = 2048;
/// How long a hold time of three seconds is put to the test.
const LOAD: Duration = Duration::from_secs(10);

/// Prints the tables; returns what became of the goals.
pub(crate) fn run(announcer: &Path) -> Result<Vec<Goal>> {
    let (name, octets) = table();
    println!("### Absorbing {name} ({} octets)\n", octets.len());
    let mut shown = Table::new(&[
        "speaker",
        "until all is read, × Herald",
        "CPU, × Herald",
        "until all is read*",
        "CPU*",
        "RSS before, MiB*",
        "RSS after, MiB*",
    ]);
    let mut first: Option<Absorbed> = None;
    for speaker in SPEAKERS {
        let mut best: Option<Absorbed> = None;
        for round in 1..=ROUNDS {
            eprintln!("absorb: round {round} of {ROUNDS}: {}", speaker.title());
            let measured = one_round(announcer, speaker, &octets)
                .with_context(|| format!("{} absorbing", speaker.title()))?;
            if best.is_none_or(|best| measured.time < best.time) {
                best = Some(measured);
            }
        }
        let best = best.context("at least one round")?;
        let herald = *first.get_or_insert(best);
        let times = |value: Duration, of: Duration| figure(ratio(value.as_secs_f64(), of.as_secs_f64()));
        shown.row(&[
            if speaker == Speaker::Herald {
                format!("{} (Discard)", speaker.title())
            } else {
                speaker.title()
            },
            times(best.time, herald.time),
            times(best.cpu, herald.cpu),
            milliseconds(best.time),
            milliseconds(best.cpu),
            mebibytes(best.before),
            mebibytes(best.after),
        ]);
    }
    shown.print();
    let herald = first.context("Herald was measured")?;
    let grown = herald.after.saturating_sub(herald.before);
    Ok(vec![
        Goal::new(
            "absorb a 323,000-route table over a socket (`Discard`)",
            "< 15 ms, RSS flat",
            format!("{}*, RSS grows by {} MiB*", milliseconds(herald.time), mebibytes(grown)),
            herald.time < Duration::from_millis(15) && grown < FLAT,
        ),
        short_hold_time(announcer, &octets)?,
    ])
}

/// The full table where it is at hand, else a generated stream.
fn table() -> (String, Vec<u8>) {
    let real = stream::real().into_iter().next();
    real.unwrap_or_else(|| ("a generated stream".to_owned(), stream::generated(60_000)))
}

/// Whether the speaker says its own routes once more. FRR, for one, speaks of others' routes, too.
fn is_own(message: &Message<'_>) -> bool {
    message.kind == 2
        && message.octets.len() > 23 + 5
        && message.octets.rchunks(5).next().is_some_and(|last| last.starts_with(&OWN))
}

#[derive(Clone, Copy)]
struct Absorbed {
    time: Duration,
    cpu: Duration,
    before: u64,
    after: u64,
}

fn one_round(announcer: &Path, speaker: Speaker, octets: &[u8]) -> Result<Absorbed> {
    let sink = Sink::listen()?;
    let process = speaker.start(announcer, sink.address()?, OWN_ROUTES)?;
    let mut session = sink.accept()?;
    process.settle()?;
    let established = session.establish(90)?;
    session.collect(established, OWN_ROUTES as u64)?;
    process.settle()?;
    absorb(&process, &mut session, octets)
        .with_context(|| format!("its last words: {}", process.last_words()))
}

fn absorb(process: &Process, session: &mut Session, octets: &[u8]) -> Result<Absorbed> {
    let before = process.usage()?;
    let mut writer = session.writer()?;
    let mut answered = 0;
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let sender =
            scope.spawn(move || writer.write_all(octets).and_then(|()| writer.write_all(&router::refresh())));
        while answered == 0 {
            session.receive(|message| answered += u64::from(is_own(message)))?;
        }
        sender.join().ok().context("the sender panicked")??;
        Ok(())
    })?;
    let time = start.elapsed();
    let after = process.usage()?;
    Ok(Absorbed { time, cpu: after.cpu - before.cpu, before: before.rss, after: after.rss })
}

/// The table again and again on a session whose hold time is three seconds, and no KEEPALIVE from our side.
fn short_hold_time(announcer: &Path, octets: &[u8]) -> Result<Goal> {
    eprintln!("absorb: {} s with a hold time of 3 s", LOAD.as_secs());
    let sink = Sink::listen()?;
    let process = daemon::herald(announcer, &[sink.address()?], OWN_ROUTES)?;
    let mut session = sink.accept()?;
    let established = session.establish(3)?;
    session.collect(established, OWN_ROUTES as u64)?;
    let before = process.usage()?;
    let mut writer = session.writer()?;
    let start = Instant::now();
    let mut gap = Duration::ZERO;
    let tables = std::thread::scope(|scope| -> Result<u32> {
        let sender = scope.spawn(move || -> std::io::Result<u32> {
            let mut tables = 0;
            while start.elapsed() < LOAD {
                writer.write_all(octets)?;
                tables += 1;
            }
            writer.write_all(&router::refresh())?;
            Ok(tables)
        });
        let mut last = Instant::now();
        let mut answered = 0;
        while answered == 0 {
            session.receive(|message| {
                answered += u64::from(is_own(message));
                if message.kind == 4 {
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                }
            })?;
        }
        Ok(sender.join().ok().context("the sender panicked")??)
    })?;
    let after = process.usage()?;
    let grown = after.rss.saturating_sub(before.rss);
    let words = format!(
        "the table {tables} times in {} s*, session up, at most {} between two KEEPALIVEs (one a second is owed), RSS + {} MiB*",
        LOAD.as_secs(),
        milliseconds(gap),
        mebibytes(grown),
    );
    println!("A hold time of 3 s under load, Herald: {words}.\n");
    let in_time = gap < Duration::from_secs(2);
    Ok(Goal::new(
        "a hold time of 3 s while tables pour in for 10 s",
        "never expires",
        words,
        in_time && grown < FLAT,
    ))
}
