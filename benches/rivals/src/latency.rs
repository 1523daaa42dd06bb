//! One route more or less in a full table: from the word to the driver to the UPDATE at the sink.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::daemon;
use crate::markdown::{Table, milliseconds};
use crate::sink::{Session, Sink, routes};

/// Changes: one half announces, the other withdraws.
const CHANGES: usize = 1_000;
/// The table that is changed.
const ROUTES: usize = 100_000;

/// Prints the table.
pub(crate) fn run(announcer: &Path) -> Result<()> {
    eprintln!("latency: {CHANGES} changes in {ROUTES} routes");
    println!("### One change in {ROUTES} routes, {CHANGES} times, Herald\n");
    println!(
        "From a line on the driver's standard input to the UPDATE at the sink. An announcement that follows news of less than a second ago waits up to 8 ms for more of its kind, by design; a withdrawal never waits.\n"
    );
    let sink = Sink::listen()?;
    let mut process = daemon::herald(announcer, &[sink.address()?], ROUTES)?;
    let mut words = process.input().context("the driver reads its standard input")?;
    let mut session = sink.accept()?;
    let established = session.establish(90)?;
    session.collect(established, ROUTES as u64)?;
    let mut taken: [Vec<Duration>; 2] = Default::default();
    for change in 0..CHANGES {
        let start = Instant::now();
        words.write_all(b"toggle\n")?;
        one_route(&mut session)?;
        taken[change % 2].push(start.elapsed());
    }
    let mut table = Table::new(&["change", "p50*", "p99*", "worst*"]);
    for (name, mut times) in ["announce", "withdraw"].into_iter().zip(taken) {
        times.sort();
        let at = |percent: usize| milliseconds(times[(times.len() * percent / 100).min(times.len() - 1)]);
        table.row(&[name.to_owned(), at(50), at(99), at(100)]);
    }
    table.print();
    Ok(())
}

fn one_route(session: &mut Session) -> Result<()> {
    let mut seen = 0;
    while seen == 0 {
        session.receive(|message| seen += routes(message))?;
    }
    Ok(())
}
