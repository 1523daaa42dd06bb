//! What the figures are to be, beside what they are.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::latency::Latency;
use crate::memory::{self, Memory};
use crate::row::{Part, Row, SURROUNDINGS, Share};

/// A goal, and whether it is reached.
struct Goal {
    what: String,
    target: String,
    /// What was measured and whether that is enough; nothing when it was not measured.
    measured: Option<(String, bool)>,
}

/// The table of goals: of the rows of Herald, of the speaker without Services, and of the size of its program.
pub(crate) fn table(rows: &[Row], empty: (Memory, Share), speaker: u64) -> String {
    let mut goals = Vec::new();
    let sizes = [rows.first(), rows.last().filter(|_| rows.len() > 1)];
    for row in sizes.into_iter().flatten() {
        latencies(row, &mut goals);
    }
    memories(rows, empty, &mut goals);
    goals.push(at_most("the program `speaker`", "5 MB", Some(speaker), 5_000_000, memory::megabytes));
    if let Some(row) = rows.last() {
        let beyond = row.start.announced.saturating_sub(row.start.listed);
        let what =
            format!("start with {} Services, all announced, beyond the API server's own lists", row.services);
        goals.push(at_most(&what, "2 s", Some(beyond), Duration::from_secs(2), millis));
    }
    if let Some(row) = rows.get(2).or_else(|| rows.last()) {
        for (cause, part) in [("node excluded", &row.label), ("advertisement deleted", &row.advertisement)] {
            let what =
                format!("{} prefixes withdrawn at once ({cause}), beyond the bare watch", row.services);
            goals.push(at_most(&what, "50 ms", figure(part, |(gone, _)| *gone), 50_000, micros));
        }
    }
    for outage in rows.iter().filter_map(|row| row.outage.as_ref()) {
        let took = outage.as_ref().ok().copied();
        let what = "first new Service announced after an outage of the API server";
        goals.push(at_most(what, "3 s", took, Duration::from_secs(3), millis));
    }
    let mut text = String::from("| goal | target | measured | |\n|---|--:|--:|---|\n");
    for Goal { what, target, measured } in goals {
        let (figure, verdict) = match measured {
            Some((figure, true)) => (figure, "reached"),
            Some((figure, false)) => (figure, "**missed**"),
            None => ("not measured".to_owned(), "**missed**"),
        };
        writeln!(text, "| {what} | ≤ {target} | {figure} | {verdict} |").expect("a string takes everything");
    }
    text
}

fn latencies(row: &Row, goals: &mut Vec<Goal>) {
    let size = format!("{} Services", row.services);
    for (part, (_, beside)) in row.latency.iter().zip(SURROUNDINGS) {
        let p99 = |spread: fn(&Latency) -> i128| figure(part, spread);
        let what = format!("withdrawal, {size}, beside {beside}: p99 beyond the bare watch");
        goals.push(at_most(&what, "2 ms", p99(|latency| latency.withdrawal.at(99)), 2_000, micros));
        let what = format!("announcement, {size}, beside {beside}: p99 beyond the bare watch");
        goals.push(at_most(&what, "15 ms", p99(|latency| latency.announcement.at(99)), 15_000, micros));
    }
    let [alone, _, deaf] = row.latency.as_slice() else { return };
    let what = format!("own processor time of a change, {size}");
    goals
        .push(at_most(&what, "1 ms", figure(alone, |latency| latency.cpu), 1_000, |own| format!("{own} µs")));
    let median = |part| figure(part, |latency: &Latency| latency.withdrawal.at(50));
    let delay = median(alone).zip(median(deaf)).map(|(alone, deaf)| deaf - alone);
    let what = format!("delay of the others by a peer that reads nothing, {size}: difference of the medians");
    let mut goal = at_most(&what, "0 ms", delay, 499, micros);
    if let Some((figure, _)) = &mut goal.measured {
        figure.push_str(" (to the nearest millisecond)");
    }
    goals.push(goal);
}

fn memories(rows: &[Row], (memory, idle): (Memory, Share), goals: &mut Vec<Goal>) {
    let limit = |what: &str, target: &str, memory: Memory, octets: u64| {
        at_most(what, target, Some(memory.resident), octets, memory::megabytes)
    };
    goals.push(limit("resident memory with a session and no Service", "7 MB", memory, 7_000_000));
    let middle = rows.get(1).map(|row| (row, "10 MB", 10_000_000));
    let large = rows.last().map(|row| (row, "16 MB", 16_000_000));
    for (row, target, octets) in middle.into_iter().chain(large) {
        let what = format!("resident memory, {} Services, {} nodes", row.services, row.nodes);
        goals.push(limit(&what, target, row.memory, octets));
    }
    let most = rows.iter().map(|row| row.idle).chain([idle]).max();
    let what = "processor time while nothing happens, the most of all sizes";
    goals.push(at_most(what, "0.1 %", most, Share(100), |share| share.to_string()));
}

fn figure<T, V>(part: &Part<T>, value: impl Fn(&T) -> V) -> Option<V> {
    part.as_ref().ok().map(value)
}

fn at_most<T: PartialOrd>(
    what: &str,
    target: &str,
    measured: Option<T>,
    limit: T,
    words: impl Fn(T) -> String,
) -> Goal {
    let measured = measured.map(|value| {
        let reached = value <= limit;
        (words(value), reached)
    });
    Goal { what: what.to_owned(), target: target.to_owned(), measured }
}

fn millis(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

/// Microseconds in milliseconds, to the hundredth.
pub(crate) fn micros(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let hundredths = value.unsigned_abs() / 10;
    format!("{sign}{}.{:02} ms", hundredths / 100, hundredths % 100)
}

/// A figure, or why there is none.
pub(crate) fn cell<T>(part: &Part<T>, words: impl Fn(&T) -> String) -> String {
    match part {
        Ok(value) => words(value),
        Err(why) => format!("none: {}", why.replace('|', "/")),
    }
}

/// Several cells side by side.
pub(crate) fn line(cells: &[&dyn Display]) -> String {
    cells.iter().fold(String::from("|"), |line, cell| format!("{line} {cell} |"))
}
