//! What a speaker has to bear beside its work: peers that take nothing, and a table that comes and goes without end.
//! And what its work asks of the kernel.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::announce::mebibytes;
use crate::daemon;
use crate::goal::Goal;
use crate::markdown::{Table, figure, milliseconds, ratio};
use crate::pause;
use crate::sink::{Session, Sink, routes};

/// Enough that no socket buffer takes all of it from a peer that reads nothing.
const STUCK_ROUTES: usize = 1_000_000;
/// How many peers take nothing.
const STUCK: [usize; 3] = [0, 1, 10];
/// Rounds of which the best counts.
const ROUNDS: usize = 3;
/// A table whose way to the kernel is traced.
const TRACED: usize = 100_000;
/// A table that comes and goes.
const CHURNED: usize = 10_000;
/// How often it comes and goes before memory is looked at first, and until the end.
const TURNS: [usize; 2] = [10, 200];
/// Memory that may come on top, in KiB: what an allocator keeps at hand.
const SLACK: u64 = 2_048;

/// Prints the tables; returns what became of the goals.
pub(crate) fn run(announcer: &Path) -> Result<Vec<Goal>> {
    calls(announcer)?;
    Ok(vec![beside_deaf(announcer)?, churn(announcer)?])
}

/// How many system calls take a table to a peer.
fn calls(announcer: &Path) -> Result<()> {
    eprintln!("burden: the system calls for {TRACED} routes");
    let sink = Sink::listen()?;
    let process = daemon::herald_traced(announcer, sink.address()?, TRACED)?;
    let mut session = sink.accept()?;
    let established = session.establish(90)?;
    let arrival = session.collect(established, TRACED as u64)?;
    drop(session);
    let trace = std::fs::read_to_string(process.folder().join("trace"))?;
    // What is shorter is an OPEN, a KEEPALIVE or a wake-up of its own.
    let sent = |line: &str| line.rsplit_once(" = ")?.1.parse::<usize>().ok().filter(|octets| *octets >= 256);
    let octets: Vec<usize> = trace.lines().filter_map(sent).collect();
    let all: usize = octets.iter().sum();
    // The end of a write that the kernel took in two parts may be short, too.
    ensure!(all * 10 >= arrival.octets * 9, "the trace holds {all} of {} octets", arrival.octets);
    println!(
        "### System calls, Herald\n\n{} calls that write took {TRACED} /32 ({all} octets) to one peer: {} octets a call.\n",
        octets.len(),
        all / octets.len().max(1)
    );
    Ok(())
}

struct Round {
    all: Duration,
    rss: u64,
}

/// What peers that never read cost the one that reads.
pub(crate) fn beside_deaf(announcer: &Path) -> Result<Goal> {
    println!("### Herald announcing {STUCK_ROUTES} /32 beside peers that never read\n");
    println!("All peers are equal, all are Established before the one that reads says its KEEPALIVE.\n");
    let mut table = Table::new(&[
        "peers that never read",
        "the one that reads, × alone",
        "RSS, × alone",
        "all*",
        "RSS, MiB*",
    ]);
    let mut first: Option<Round> = None;
    let (mut time, mut memory) = (0.0_f64, 0.0_f64);
    for count in STUCK {
        eprintln!("burden: {STUCK_ROUTES} routes beside {count} peers that never read");
        let mut best: Option<Round> = None;
        for _ in 0..ROUNDS {
            let round = beside(announcer, count)?;
            if best.as_ref().is_none_or(|best| round.all < best.all) {
                best = Some(round);
            }
        }
        let best = best.context("at least one round")?;
        let (all, rss) = (best.all, best.rss);
        let alone = first.get_or_insert(best);
        time = ratio(all.as_secs_f64(), alone.all.as_secs_f64());
        memory = ratio(rss as f64, alone.rss as f64);
        table.row(&[count.to_string(), figure(time), figure(memory), milliseconds(all), mebibytes(rss)]);
    }
    table.print();
    Ok(Goal::new(
        "the same beside 10 peers that never read",
        "the one that reads waits ≤ 2 × as long, RSS ≤ 1.2 × as much",
        format!("{} × as long, {} × as much", figure(time), figure(memory)),
        time <= 2.0 && memory <= 1.2,
    ))
}

fn beside(announcer: &Path, stuck: usize) -> Result<Round> {
    let sinks: Vec<Sink> = (0..=stuck).map(|_| Sink::listen()).collect::<Result<_>>()?;
    let addresses = sinks.iter().map(Sink::address).collect::<Result<Vec<_>>>()?;
    let process = daemon::herald(announcer, &addresses, STUCK_ROUTES)?;
    let mut sessions: Vec<Session> = sinks.iter().map(Sink::accept).collect::<Result<_>>()?;
    process.settle()?;
    let (reader, others) = sessions.split_first_mut().context("one session reads")?;
    for session in &mut *others {
        session.establish(90)?;
    }
    // What their socket buffers take is written by then.
    pause(Duration::from_millis(300));
    let established = reader.establish(90)?;
    let arrival = reader.collect(established, STUCK_ROUTES as u64)?;
    ensure!(arrival.prefixes == STUCK_ROUTES as u64, "{} routes came", arrival.prefixes);
    Ok(Round { all: arrival.all, rss: process.usage()?.rss })
}

fn churn(announcer: &Path) -> Result<Goal> {
    let [few, many] = TURNS;
    eprintln!("burden: {CHURNED} routes that come and go {many} times");
    let sink = Sink::listen()?;
    let mut process = daemon::herald(announcer, &[sink.address()?], CHURNED)?;
    let mut words = process.input().context("the driver reads its standard input")?;
    let mut session = sink.accept()?;
    let established = session.establish(90)?;
    session.collect(established, CHURNED as u64)?;
    let start = Instant::now();
    let mut before = 0;
    for turn in 0..many {
        if turn == few {
            before = process.usage()?.rss;
        }
        for word in ["clear\n", "fill\n"] {
            words.write_all(word.as_bytes())?;
            let mut seen = 0;
            while seen < CHURNED as u64 {
                session.receive(|message| seen += routes(message))?;
            }
            ensure!(seen == CHURNED as u64, "{seen} routes after {word:?}");
        }
    }
    let (taken, usage) = (start.elapsed(), process.usage()?);
    let grown = usage.rss.saturating_sub(before);
    println!(
        "### {CHURNED} routes that come and go, Herald\n\nAll {CHURNED} /32 are withdrawn and announced again {many} \
         times: {} UPDATE routes in {}*, RSS {} MiB* after {few} turns, {} MiB* after the last.\n",
        2 * many * CHURNED,
        milliseconds(taken),
        mebibytes(before),
        mebibytes(usage.rss),
    );
    Ok(Goal::new(
        "10,000 routes come and go 200 times",
        "RSS flat (± 2 MiB)",
        format!("RSS grows by {} MiB*", mebibytes(grown)),
        grown <= SLACK,
    ))
}
