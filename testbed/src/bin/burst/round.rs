//! The turns of a measurement: first the bare loop, then the contestant, on Services made for that turn.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};

use crate::load::{BARE, Load};

/// No burst and no single Service takes longer on a machine that works.
const LIMIT: Duration = Duration::from_secs(180);
/// Before a turn, whatever the last one left is given time to end.
const PAUSE: Duration = Duration::from_secs(4);
/// Without a cause nothing is to be written.
const IDLE: Duration = Duration::from_secs(10);

/// Medians over the turns.
pub(crate) struct Bursts {
    pub(crate) bare: Duration,
    pub(crate) last: Duration,
    pub(crate) ratio: f64,
    /// The lowest and the highest ratio of a turn.
    pub(crate) spread: (f64, f64),
    /// Requests for each Service before there is a pool, worst turn.
    pub(crate) waiting: f64,
    /// Requests for each Service from then on, worst turn.
    pub(crate) writes: f64,
    /// Requests afterwards, worst turn.
    pub(crate) idle: u64,
}

/// Services wait for a pool; the pool comes.
pub(crate) async fn bursts(load: &Load, services: usize, turns: usize) -> Result<Bursts> {
    let mut seen = load.watch();
    let mut all = Vec::new();
    let (mut waiting, mut writes, mut idle) = (0.0_f64, 0.0_f64, 0);
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let each = |requests: u64| requests as f64 / services as f64;
    for turn in 0..turns {
        let name = format!("bare{turn}x");
        load.create(&name, 0..services, Some(BARE)).await?;
        load.bare_waits(&name, 0..services).await?;
        tokio::time::sleep(PAUSE).await;
        let start = Instant::now();
        load.bare_loop(&name, 0..services).await?;
        let bare = last_of(&mut seen, &name, services).await?.duration_since(start);
        load.delete(&name, 0..services).await?;

        let name = format!("burst{turn}x");
        let created = load.status_writes().await?;
        load.create(&name, 0..services, None).await?;
        tokio::time::sleep(PAUSE).await;
        let before = load.status_writes().await?;
        waiting = waiting.max(each(before - created));
        let start = Instant::now();
        load.create_pool().await?;
        let last = last_of(&mut seen, &name, services).await?.duration_since(start);
        tokio::time::sleep(PAUSE).await;
        let after = load.status_writes().await?;
        tokio::time::sleep(IDLE).await;
        idle = idle.max(load.status_writes().await? - after);
        writes = writes.max(each(after - before));
        eprintln!("  turn {turn}: bare {bare:.2?}, last address {last:.2?}");
        all.push((bare, last));
        load.delete(&name, 0..services).await?;
        load.delete_pool().await?;
    }
    all.sort_by(|one, other| ratio(*one).total_cmp(&ratio(*other)));
    let of = |place: usize| all.get(place).copied().context("there was a turn");
    let (bare, last) = of(all.len() / 2)?;
    let spread = (ratio(of(0)?), ratio(of(all.len() - 1)?));
    Ok(Bursts { bare, last, ratio: ratio((bare, last)), spread, waiting, writes, idle })
}

fn ratio((bare, last): (Duration, Duration)) -> f64 {
    last.as_secs_f64() / bare.as_secs_f64()
}

async fn last_of(seen: &mut Receiver<(Instant, String)>, name: &str, count: usize) -> Result<Instant> {
    let wait = async {
        let mut last = Instant::now();
        let mut found = 0;
        while found < count {
            let (at, who) = seen.recv().await.context("the watch ended")?;
            if who.starts_with(name) {
                last = at;
                found += 1;
            }
        }
        anyhow::Ok(last)
    };
    timeout(LIMIT, wait)
        .await
        .with_context(|| format!("not all of {name} have an address after {LIMIT:?}"))?
}

/// Times of Services that come one at a time, and of bare applies in between.
pub(crate) struct Singles {
    bare: Vec<Duration>,
    given: Vec<Duration>,
}

impl Singles {
    pub(crate) fn bare(&self, percent: usize) -> Duration {
        at(&self.bare, percent)
    }

    pub(crate) fn given(&self, percent: usize) -> Duration {
        at(&self.given, percent)
    }

    /// Milliseconds; negative if the bare apply was the slower one.
    pub(crate) fn beyond(&self, percent: usize) -> f64 {
        (self.given(percent).as_secs_f64() - self.bare(percent).as_secs_f64()) * 1e3
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or_default()
}

/// From the answer to the creation until a watch sees the address; beside it, from a bare apply until the same watch sees
/// that.
pub(crate) async fn singles(load: &Load, count: usize) -> Result<Singles> {
    let mut seen = load.watch();
    load.create_pool().await?;
    load.create("one-bare", 0..count, Some(BARE)).await?;
    tokio::time::sleep(PAUSE).await;
    let (mut bare, mut given) = (Vec::new(), Vec::new());
    for number in 0..count {
        let start = Instant::now();
        load.apply("one-bare", number).await?;
        bare.push(last_of(&mut seen, &format!("one-bare{number}"), 1).await?.duration_since(start));
        load.create("one-given", number..number + 1, None).await?;
        let start = Instant::now();
        let seen_at = last_of(&mut seen, &format!("one-given{number}"), 1).await?;
        given.push(seen_at.saturating_duration_since(start));
    }
    load.delete("one-bare", 0..count).await?;
    load.delete("one-given", 0..count).await?;
    load.delete_pool().await?;
    bare.sort_unstable();
    given.sort_unstable();
    Ok(Singles { bare, given })
}
