//! How long an event takes to the routers: the speaker counts it by itself, and shows it in its metrics.

use anyhow::{Context as _, Result, ensure};
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::process::output;

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "the_metrics_tell_how_long_an_endpoint_event_takes_to_the_wire_and_to_the_router",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(timed(lab)),
}];

async fn timed(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let before = Figures::of(lab).await?;
    for ready in [false, true] {
        let pod = lab.pods().first().context("the Service has a pod")?;
        pod.set_ready(lab.cluster().client(), ready).await?;
        lab.wait_for_paths(FIRST, if ready { &["n1"] } else { &[] }, SOON).await?;
    }
    let after = eventually(SOON, "both events to be counted to their end", async || {
        let now = Figures::of(lab).await?;
        ensure!(now.written.1 >= before.written.1 + 2.0, "{now:?} after {before:?}");
        ensure!(now.acknowledged.1 >= before.acknowledged.1 + 2.0, "{now:?} after {before:?}");
        Ok(now)
    })
    .await?
    .0;
    ensure!(after.abandoned == 0.0, "{after:?}");
    let mean = |(sum, count): (f64, f64), (before, counted): (f64, f64)| (sum - before) / (count - counted);
    let written = mean(after.written, before.written);
    let acknowledged = mean(after.acknowledged, before.acknowledged);
    println!("written after {:.2} ms, acknowledged after {:.2} ms", written * 1e3, acknowledged * 1e3);
    // Acknowledged in the moment of writing is possible, and differences of sums end in other digits then.
    ensure!(written > 0.0 && written <= acknowledged + 1e-9, "{before:?}, {after:?}");
    Ok(())
}

/// Sums and counts of the histograms.
#[derive(Clone, Copy, Debug)]
struct Figures {
    written: (f64, f64),
    acknowledged: (f64, f64),
    abandoned: f64,
}

impl Figures {
    async fn of(lab: &Lab) -> Result<Self> {
        let mut curl = lab.node("n1")?.namespace().command("curl");
        let url = "http://127.0.0.1:7473/metrics";
        let text = output(curl.args(["--silent", "--fail", "--max-time", "2", url])).await?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let line = line.with_context(|| format!("no metric {name}"))?;
            line.parse::<f64>().with_context(|| format!("reading {name}"))
        };
        let histogram = |name: &str| {
            let part = |part: &str| value(&format!("herald_speaker_event_to_{name}_seconds_{part}"));
            anyhow::Ok((part("sum")?, part("count")?))
        };
        Ok(Self {
            written: histogram("written")?,
            acknowledged: histogram("acknowledged")?,
            abandoned: value("herald_speaker_event_times_abandoned_total")?,
        })
    }
}
