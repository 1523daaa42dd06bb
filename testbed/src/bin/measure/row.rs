//! What is measured of one speaker at one size of the cluster.
//!
//! A part that cannot be measured costs only itself: the table says so, and its goals count as missed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::latency::{self, Latency};
use crate::memory::Memory;
use crate::neighbour::Trouble;
use crate::scene::{Scene, Start};

/// Why a part has no figure.
pub(crate) type Part<T> = std::result::Result<T, String>;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How often the endpoint is lost, in each surrounding.
    pub(crate) rounds: u32,
    /// How long a speaker is watched that has nothing to do.
    pub(crate) idle: Duration,
    /// How long the API server is away, where that is measured.
    pub(crate) outage: Duration,
}

/// What surrounds the peer that everything is measured at.
pub(crate) const SURROUNDINGS: [(Option<Trouble>, &str); 3] = [
    (None, "nothing"),
    (Some(Trouble::Pours), "a peer that pours a full table in"),
    (Some(Trouble::Deaf), "a peer that reads nothing"),
];

/// All of one speaker at one size.
pub(crate) struct Row {
    pub(crate) speaker: &'static str,
    pub(crate) services: u32,
    pub(crate) nodes: u32,
    pub(crate) start: Start,
    /// In the order of [`SURROUNDINGS`].
    pub(crate) latency: Vec<Part<Latency>>,
    /// Prefixes a second that were poured in meanwhile.
    pub(crate) poured: Part<u64>,
    pub(crate) memory: Memory,
    pub(crate) idle: Share,
    /// Microseconds until everything is withdrawn, and announced again.
    pub(crate) label: Part<(i128, i128)>,
    pub(crate) advertisement: Part<(i128, i128)>,
    /// Where it was measured.
    pub(crate) outage: Option<Part<Duration>>,
}

/// A share of one processor, in thousandths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(pub(crate) u128);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03} %", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Starts one speaker anew and measures everything of it.
pub(crate) async fn measure(
    scene: &mut Scene,
    speaker: &'static str,
    rival: Option<&Path>,
    pace: Pace,
    with_outage: bool,
) -> Result<Row> {
    eprintln!("{} Services, {} Nodes: {speaker}", scene.services(), scene.nodes());
    let start = scene.start_speaker(rival).await.context("starting")?;
    let mut latency = vec![part("latency", latency::measure(scene, pace.rounds).await)];
    let idle = idle(scene, pace.idle).await?;
    // What its start took is in the peak; what stays is looked at after the work.
    let memory = scene.speaker_memory()?;
    let label = part("the label", by_label(scene).await);
    let advertisement = part("the advertisement", by_advertisement(scene).await);
    let mut poured = Err("nothing was poured in".to_owned());
    for (trouble, words) in SURROUNDINGS {
        let Some(trouble) = trouble else { continue };
        let measured = part(words, beside(scene, trouble, pace.rounds).await);
        if trouble == Trouble::Pours {
            poured = measured.as_ref().map(|(_, rate)| *rate).map_err(Clone::clone);
        }
        latency.push(measured.map(|(latency, _)| latency));
    }
    let outage = if with_outage { Some(part("the outage", scene.outage(pace.outage).await)) } else { None };
    let (services, nodes) = (scene.services(), scene.nodes());
    Ok(Row { speaker, services, nodes, start, latency, poured, memory, idle, label, advertisement, outage })
}

fn part<T>(what: &str, result: Result<T>) -> Part<T> {
    result.map_err(|why| {
        eprintln!("  {what}: {why:#}");
        why.root_cause().to_string().lines().next().unwrap_or_default().to_owned()
    })
}

async fn by_label(scene: &mut Scene) -> Result<(i128, i128)> {
    let gone = scene.exclude(true).await.context("excluding the node");
    let back = scene.exclude(false).await.context("letting the node in again");
    Ok((gone?, back?))
}

async fn by_advertisement(scene: &mut Scene) -> Result<(i128, i128)> {
    let gone = scene.advertise(false).await.context("deleting the advertisement");
    let back = scene.advertise(true).await.context("making the advertisement again");
    Ok((gone?, back?))
}

/// The latency beside a troublesome peer, and how many prefixes a second were poured in.
async fn beside(scene: &mut Scene, trouble: Trouble, rounds: u32) -> Result<(Latency, u64)> {
    let joined = scene.join(trouble).await;
    let (before, start) = (scene.poured()?, Instant::now());
    let measured = match joined {
        Ok(()) => latency::measure(scene, rounds).await,
        Err(why) => Err(why),
    };
    let rate = (scene.poured()? - before) * 1_000 / u64::try_from(start.elapsed().as_millis().max(1))?;
    scene.leave(trouble).await?;
    Ok((measured?, rate))
}

/// The share of one processor that a speaker takes while nothing changes.
pub(crate) async fn idle(scene: &mut Scene, span: Duration) -> Result<Share> {
    // What came before must be over first.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = scene.speaker_cpu()?;
    tokio::time::sleep(span).await;
    Ok(Share((scene.speaker_cpu()? - before).as_micros() * 100_000 / span.as_micros()))
}
