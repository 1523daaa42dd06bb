//! An endpoint is lost and comes back, many times; two witnesses note when they learned of it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::scene::Scene;
use crate::sink::Kind;

/// No round takes longer on a machine that works.
const LIMIT: Duration = Duration::from_secs(10);

/// Signed: the speaker may be told before the bare client is.
pub(crate) struct Spread {
    microseconds: Vec<i128>,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share: usize| {
            let last = self.microseconds.len().saturating_sub(1);
            self.microseconds.get((self.microseconds.len() * share / 100).min(last)).copied().unwrap_or_default()
        };
        write!(f, "{} µs | {} µs | {} µs", at(50), at(99), at(100))
    }
}

/// Loses the endpoint of the first Service `rounds` times.
pub(crate) async fn measure(scene: &mut Scene, rounds: u32) -> Result<Spread> {
    let mut microseconds = Vec::new();
    for round in 0..rounds {
        scene.set_endpoint(false).await?;
        let seen = scene.watch_sees(false, LIMIT).await.with_context(|| format!("round {round}"))?;
        let withdrawn = scene.arrival(Kind::Withdrawal, LIMIT).await.with_context(|| format!("round {round}"))?;
        microseconds.push(signed_difference(withdrawn, seen));
        scene.set_endpoint(true).await?;
        scene.watch_sees(true, LIMIT).await?;
        scene.arrival(Kind::Announcement, LIMIT).await?;
    }
    if microseconds.is_empty() {
        bail!("nothing was measured");
    }
    microseconds.sort_unstable();
    Ok(Spread { microseconds })
}

fn signed_difference(later: Instant, earlier: Instant) -> i128 {
    let micros = |span: Duration| i128::try_from(span.as_micros()).unwrap_or(i128::MAX);
    match later.checked_duration_since(earlier) {
        Some(span) => micros(span),
        None => -micros(earlier.duration_since(later)),
    }
}
