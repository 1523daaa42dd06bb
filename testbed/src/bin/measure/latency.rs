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
            self.microseconds
                .get((self.microseconds.len() * share / 100).min(last))
                .copied()
                .unwrap_or_default()
        };
        write!(f, "{}, {}, {} µs", at(50), at(99), at(100))
    }
}

/// What one speaker needs for both directions.
pub(crate) struct Latency {
    pub(crate) withdrawal: Spread,
    pub(crate) announcement: Spread,
    /// Own processor time of one change, in microseconds.
    pub(crate) cpu: u128,
}

/// Loses the endpoint of the first Service `rounds` times, and gives it back.
pub(crate) async fn measure(scene: &mut Scene, rounds: u32) -> Result<Latency> {
    let (mut lost, mut back) = (Vec::new(), Vec::new());
    let before = scene.speaker_cpu()?;
    for round in 0..rounds {
        let place = || format!("round {round}");
        for (ready, kind, list) in
            [(false, Kind::Withdrawal, &mut lost), (true, Kind::Announcement, &mut back)]
        {
            scene.set_endpoint(ready).await?;
            let seen = scene.watch_sees(ready, LIMIT).await.with_context(place)?;
            let arrived = scene.arrival(kind, LIMIT).await.with_context(place)?;
            list.push(signed_difference(arrived, seen));
        }
    }
    if rounds == 0 {
        bail!("nothing was measured");
    }
    let cpu = (scene.speaker_cpu()? - before).as_micros() / u128::from(rounds * 2);
    lost.sort_unstable();
    back.sort_unstable();
    Ok(Latency {
        withdrawal: Spread { microseconds: lost },
        announcement: Spread { microseconds: back },
        cpu,
    })
}

fn signed_difference(later: Instant, earlier: Instant) -> i128 {
    let micros = |span: Duration| i128::try_from(span.as_micros()).unwrap_or(i128::MAX);
    match later.checked_duration_since(earlier) {
        Some(span) => micros(span),
        None => -micros(earlier.duration_since(later)),
    }
}
