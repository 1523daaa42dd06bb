//! Waiting for something that the other side does in its own time: with a deadline, and with words for its failure.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Ended;

/// How often a condition is looked at. Small enough to time a withdrawal, large enough to leave the machine to the others.
const INTERVAL: Duration = Duration::from_millis(40);
/// How often a state that must last is looked at.
const LASTING_INTERVAL: Duration = Duration::from_millis(250);

/// Looks until `probe` gives a value, and says how long that took.
///
/// # Errors
/// After `limit` (at once when a program has ended), with what was waited for and why the last look was not enough.
pub async fn eventually<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        let last = match tokio::time::timeout(limit, probe()).await {
            Ok(Ok(value)) => return Ok((value, start.elapsed())),
            Ok(Err(why)) if why.is::<Ended>() => return Err(why),
            Ok(Err(why)) => format!("{why:#}"),
            Err(_) => "the look itself took too long".to_owned(),
        };
        if start.elapsed() >= limit {
            bail!("waited {limit:?} for {what}: {last}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Looks again and again for the whole `span`, and fails at the first look that is not as it must be.
///
/// # Errors
/// When the condition does not hold at some moment.
pub async fn throughout(span: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(why) = probe().await {
            bail!("{what} must hold for {span:?}, but after {:?}: {why:#}", start.elapsed());
        }
        tokio::time::sleep(LASTING_INTERVAL).await;
    }
    Ok(())
}
