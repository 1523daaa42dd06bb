//! An endpoint is lost and comes back, many times; two witnesses note when they learned of it.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::scene::{Scene, signed_difference};
use crate::sink::Kind;

/// No round takes longer on a machine that works.
const LIMIT: Duration = Duration::from_secs(10);

/// Microseconds beyond the bare watch, sorted. Signed: the speaker may be told before the bare client is.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    microseconds: Vec<i128>,
}

impl Spread {
    /// The value that so many percent do not exceed.
    pub(crate) fn at(&self, percent: usize) -> i128 {
        let last = self.microseconds.len().saturating_sub(1);
        let place = (self.microseconds.len() * percent / 100).min(last);
        self.microseconds.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {} µs", self.at(50), self.at(99), self.at(100))
    }
}

/// What one speaker needs for both directions.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    pub(crate) withdrawal: Spread,
    pub(crate) announcement: Spread,
    /// Own processor time of one change, in microseconds.
    pub(crate) cpu: u128,
}

/// Loses the endpoint of the first Service `rounds` times, and gives it back.
pub(crate) async fn measure(scene: &mut Scene, rounds: u32) -> Result<Latency> {
    if rounds == 0 {
        bail!("nothing is measured in no rounds");
    }
    let (mut lost, mut back) = (Vec::new(), Vec::new());
    scene.forget();
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
    let cpu = (scene.speaker_cpu()? - before).as_micros() / u128::from(rounds * 2);
    lost.sort_unstable();
    back.sort_unstable();
    Ok(Latency {
        withdrawal: Spread { microseconds: lost },
        announcement: Spread { microseconds: back },
        cpu,
    })
}
