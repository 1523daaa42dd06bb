//! Announcing: from Established to the last route at a bare sink, for every speaker, and for Herald with more peers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::daemon::{self, Process, Speaker, Usage};
use crate::goal::Goal;
use crate::markdown::{Table, figure, milliseconds, ratio};
use crate::pause;
use crate::sink::{Arrival, Session, Sink};

/// Rounds of which the best counts; the speakers take turns.
const ROUNDS: usize = 3;
/// Host routes.
const ROUTES: [usize; 3] = [1_000, 10_000, 100_000];
/// Peers of Herald with the largest table.
const PEERS: [usize; 3] = [1, 10, 50];
/// What a sink offers.
const HOLD: u16 = 90;

/// One speaker's best round.
#[derive(Clone, Copy)]
struct Round {
    arrival: Arrival,
    /// Between our OPEN and the last route.
    cpu: Duration,
    /// After it.
    usage: Usage,
}

/// Prints the tables; returns what became of the goals.
pub(crate) fn run(announcer: &Path) -> Result<Vec<Goal>> {
    let mut goals = Vec::new();
    for routes in ROUTES {
        goals = compare(announcer, routes)?;
    }
    goals.push(more_peers(announcer)?);
    Ok(goals)
}

fn compare(announcer: &Path, routes: usize) -> Result<Vec<Goal>> {
    println!("### Announcing {routes} /32 to one sink\n");
    let mut best: [Option<Round>; Speaker::ALL.len()] = Default::default();
    for round in 1..=ROUNDS {
        for (speaker, best) in Speaker::ALL.into_iter().zip(&mut best) {
            eprintln!("announce: {routes} routes, round {round} of {ROUNDS}: {}", speaker.title());
            let measured = one_round(announcer, speaker, routes)
                .with_context(|| format!("{} with {routes} routes", speaker.title()))?;
            if best.is_none_or(|best| measured.arrival.most < best.arrival.most) {
                *best = Some(measured);
            }
        }
    }
    let mut table = Table::new(&[
        "speaker",
        "99 %, × Herald",
        "all, × Herald",
        "CPU to send, × Herald",
        "UPDATEs",
        "octets",
        "99 %*",
        "all*",
        "CPU to send*",
        "CPU since start*",
        "RSS, MiB*",
        "peak, MiB*",
    ]);
    let herald = best[0].context("Herald was measured")?;
    for (speaker, round) in
        Speaker::ALL.into_iter().zip(best).filter_map(|(speaker, round)| Some((speaker, round?)))
    {
        let Round { arrival, cpu, usage } = round;
        let times = |value: Duration, of: Duration| figure(ratio(value.as_secs_f64(), of.as_secs_f64()));
        table.row(&[
            speaker.title(),
            times(arrival.most, herald.arrival.most),
            times(arrival.all, herald.arrival.all),
            times(cpu, herald.cpu),
            arrival.updates.to_string(),
            arrival.octets.to_string(),
            milliseconds(arrival.most),
            milliseconds(arrival.all),
            milliseconds(cpu),
            milliseconds(usage.cpu),
            mebibytes(usage.rss),
            mebibytes(usage.peak),
        ]);
    }
    table.print();
    let rivals = best.iter().skip(1).flatten().map(|round| round.arrival.most);
    let next = rivals.min().context("the others were measured")?;
    Ok(vec![Goal::new(
        "announce 100,000 /32 to a bare sink, Established to the last",
        "< 20 ms, ahead of BIRD, FRR, GoBGP and ExaBGP, RSS < 25 MB",
        format!(
            "{}*, the next one takes {} × as long for 99 %, RSS {} MiB*",
            milliseconds(herald.arrival.all),
            figure(ratio(next.as_secs_f64(), herald.arrival.most.as_secs_f64())),
            mebibytes(herald.usage.peak),
        ),
        herald.arrival.all < Duration::from_millis(20)
            && herald.arrival.most < next
            && herald.usage.peak * 1024 < 25_000_000,
    )])
}

fn one_round(announcer: &Path, speaker: Speaker, routes: usize) -> Result<Round> {
    let sink = Sink::listen()?;
    let process = speaker.start(announcer, sink.address()?, routes)?;
    measure(&sink, &process, routes).with_context(|| format!("its last words: {}", process.last_words()))
}

/// The speaker loads everything before the sink says its first word.
fn measure(sink: &Sink, process: &Process, routes: usize) -> Result<Round> {
    let mut session = sink.accept()?;
    process.settle()?;
    let expected = routes as u64;
    let before = process.usage()?.cpu;
    let established = session.establish(HOLD)?;
    let arrival = session.collect(established, expected)?;
    let usage = usage_at_rest(process)?;
    ensure!(arrival.prefixes == expected, "{} routes came, {expected} were expected", arrival.prefixes);
    Ok(Round { arrival, cpu: usage.cpu - before, usage })
}

/// The kernel adds up a thread's time when it pauses: the speaker may do so first.
fn usage_at_rest(process: &Process) -> Result<Usage> {
    pause(Duration::from_millis(20));
    process.usage()
}

fn more_peers(announcer: &Path) -> Result<Goal> {
    let routes = ROUTES[ROUTES.len() - 1];
    println!("### Herald announcing {routes} /32 to more than one sink\n");
    let mut table = Table::new(&[
        "equal peers",
        "slowest session, × one peer",
        "CPU to send a peer, × one peer",
        "slowest session*",
        "CPU to send*",
        "CPU for each further peer*",
        "RSS, MiB*",
    ]);
    let mut first: Option<Round> = None;
    let mut share = 0.0;
    for peers in PEERS {
        eprintln!("announce: {routes} routes to {peers} sinks");
        let mut best: Option<Round> = None;
        for _ in 0..ROUNDS {
            let measured = many(announcer, peers, routes)?;
            if best.is_none_or(|best| measured.arrival.all < best.arrival.all) {
                best = Some(measured);
            }
        }
        let best = best.context("at least one round")?;
        let one = *first.get_or_insert(best);
        share = best.cpu.as_secs_f64() / peers as f64 / one.cpu.as_secs_f64();
        let further = best.cpu.saturating_sub(one.cpu).as_secs_f64() / (peers - 1).max(1) as f64;
        table.row(&[
            peers.to_string(),
            figure(ratio(best.arrival.all.as_secs_f64(), one.arrival.all.as_secs_f64())),
            figure(share),
            milliseconds(best.arrival.all),
            milliseconds(best.cpu),
            if peers == 1 { String::new() } else { milliseconds(Duration::from_secs_f64(further)) },
            mebibytes(best.usage.rss),
        ]);
    }
    table.print();
    Ok(Goal::new(
        "the same to 1, 10 and 50 equal peers",
        "a further peer costs much less than the first",
        format!("with 50 peers each costs {} × the CPU time of one alone", figure(share)),
        share < 0.5,
    ))
}

/// All sessions are opened at the same moment; the slowest one counts.
fn many(announcer: &Path, peers: usize, routes: usize) -> Result<Round> {
    let sinks: Vec<Sink> = (0..peers).map(|_| Sink::listen()).collect::<Result<_>>()?;
    let addresses = sinks.iter().map(Sink::address).collect::<Result<Vec<_>>>()?;
    let process = daemon::herald(announcer, &addresses, routes)?;
    let sessions: Vec<Session> = sinks.iter().map(Sink::accept).collect::<Result<_>>()?;
    process.settle()?;
    let before = process.usage()?.cpu;
    let threads: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            // The session comes back and stays open until the usage is read.
            std::thread::spawn(move || -> Result<(Session, Arrival)> {
                let established = session.establish(HOLD)?;
                let arrival = session.collect(established, routes as u64)?;
                Ok((session, arrival))
            })
        })
        .collect();
    let mut slowest: Option<Arrival> = None;
    let mut open = Vec::new();
    for thread in threads {
        let (session, arrival) = thread.join().ok().context("a sink panicked")??;
        open.push(session);
        if slowest.is_none_or(|slowest| arrival.all > slowest.all) {
            slowest = Some(arrival);
        }
    }
    let usage = usage_at_rest(&process)?;
    Ok(Round { arrival: slowest.context("at least one peer")?, cpu: usage.cpu - before, usage })
}

/// KiB as MiB.
pub(crate) fn mebibytes(kibibytes: u64) -> String {
    figure(kibibytes as f64 / 1024.0)
}
