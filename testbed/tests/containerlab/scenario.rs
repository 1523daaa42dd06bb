//! A scenario: steps in a file beside the topology, played on whichever driver has built the lab.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use testbed::eventually::eventually;

use crate::world::World;

/// For a step that says nothing else, on a machine with much else to do.
const SOON: u64 = 60;

/// One step.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The Service has ready endpoints on these nodes and nowhere else.
    Endpoints(Vec<String>),
    /// A router has this many sessions.
    Sessions(Sessions),
    /// A router forwards an address to these next hops, or to so many.
    Routes(Routes),
    /// A router has this many BFD sessions up.
    Bfd(Bfd),
    /// A router loses its power.
    SwitchOff(String),
    /// It has power again.
    SwitchOn(String),
    /// A cable is pulled at the bridge.
    Unplug(Port),
    /// It is plugged in again.
    Plug(Port),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Sessions {
    on: String,
    established: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Routes {
    on: String,
    to: IpAddr,
    /// The next hops. Those of IPv6 are link-local, so they are counted.
    via: Option<BTreeSet<IpAddr>>,
    paths: Option<usize>,
    /// Seconds.
    #[serde(default = "soon")]
    within: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Bfd {
    on: String,
    up: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Port {
    bridge: String,
    port: String,
}

fn soon() -> u64 {
    SOON
}

/// Reads `scenario.yaml` of a lab's folder.
pub(crate) fn read(folder: &Path) -> Result<Vec<Step>> {
    let path = folder.join("scenario.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is no scenario", path.display()))
}

/// Plays all steps in order, each with its time.
pub(crate) async fn play(world: &mut World, steps: &[Step]) -> Result<()> {
    ensure!(!steps.is_empty(), "a scenario without a step shows nothing");
    for (number, step) in steps.iter().enumerate() {
        let start = Instant::now();
        one(world, step).await.with_context(|| format!("step {}, {step:?}", number + 1))?;
        println!("    {:5.2} s  {step:?}", start.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn one(world: &mut World, step: &Step) -> Result<()> {
    match step {
        Step::Endpoints(nodes) => world.set_endpoints(nodes).await,
        Step::SwitchOff(router) => world.engine.switch_off(router).await,
        Step::SwitchOn(router) => world.engine.switch_on(router).await,
        Step::Unplug(Port { bridge, port }) => world.engine.plug(bridge, port, false).await,
        Step::Plug(Port { bridge, port }) => world.engine.plug(bridge, port, true).await,
        Step::Sessions(Sessions { on, established }) => {
            wait(
                SOON,
                || format!("{established} sessions on {on}"),
                async || {
                    let found = world.established(on).await?;
                    ensure!(found == *established, "{found} are established");
                    Ok(())
                },
            )
            .await
        }
        Step::Bfd(Bfd { on, up }) => {
            wait(
                SOON,
                || format!("{up} BFD sessions on {on}"),
                async || {
                    let found = world.bfd_up(on).await?;
                    ensure!(found == *up, "{found} are up");
                    Ok(())
                },
            )
            .await
        }
        Step::Routes(Routes { on, to, via, paths, within }) => {
            ensure!(via.is_some() != paths.is_some(), "a step says either `via` or `paths`");
            wait(
                *within,
                || format!("{on} to forward {to}"),
                async || {
                    let found = world.next_hops(on, *to).await?;
                    let fits = via.as_ref().is_none_or(|wanted| *wanted == found)
                        && paths.is_none_or(|wanted| wanted == found.len());
                    ensure!(fits, "it goes to {found:?}");
                    Ok(())
                },
            )
            .await
        }
    }
}

async fn wait(
    seconds: u64,
    what: impl FnOnce() -> String,
    probe: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    eventually(Duration::from_secs(seconds), &what(), probe).await.map(drop)
}
