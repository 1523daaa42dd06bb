//! What a router sees of the attributes that an advertisement asks for.

use anyhow::{Result, bail, ensure};
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::{SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "a_router_sees_the_attributes_of_an_advertisement",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(attributes(lab)),
}];

async fn attributes(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let local = lab.create_service("local", &ServicePlan { local: true, ..ServicePlan::default() }).await?;
    lab.start_pod("local", "n1").await?;
    lab.start_pod("local", "n1").await?;
    let (addresses, _) = local.wait_for_addresses(1, SOON).await?;
    let [address] = addresses.as_slice() else { bail!("{addresses:?}") };
    lab.wait_for_paths(*address, &["n1"], SOON).await?;

    let spec = r#"{"spec":{"med":7,"asPathPrepend":2,"communities":["no-export","64500:9"],"linkBandwidth":"Endpoints"}}"#;
    change(lab, spec).await?;
    // Twice 1 Gbit/s, in octets a second.
    let words = [r#""metric":7"#, "64500 64500 64500", "no-export", "64500:9", "LB:64500:250000000"];
    sees(lab, &format!("{address}/32"), &words, &[]).await?;
    sees(lab, "10.0.4.1/32", &[r#""metric":7"#, "64500 64500 64500"], &["LB:"]).await?;

    // With policy Local an aggregate is narrowed, with policy Cluster it is not.
    change(lab, r#"{"spec":{"aggregationLength":24,"gracefulShutdown":true}}"#).await?;
    sees(lab, "10.0.4.0/24", &["gracefulShutdown", "64500:9"], &[]).await?;
    sees(lab, &format!("{address}/32"), &["gracefulShutdown", "LB:64500:250000000"], &[]).await?;
    gone(lab, "10.0.4.1/32").await
}

/// Changes the advertisement of the sample.
async fn change(lab: &Lab, patch: &str) -> Result<()> {
    let what = ["patch", "bgpadvertisements.metallb.io", "home", "-n", testbed::HERALD_NAMESPACE];
    let arguments = [what.as_slice(), &["--type=merge", "-p", patch]].concat();
    let answer = lab.cluster().kubectl(&arguments).await?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(())
}

async fn sees(lab: &Lab, prefix: &str, words: &[&str], not: &[&str]) -> Result<()> {
    eventually(SOON, &format!("the router to see {prefix} with {words:?}"), async || {
        let paths = lab.router().paths(prefix).await?;
        let text = paths["paths"].to_string();
        let missing: Vec<&&str> = words.iter().filter(|words| !text.contains(**words)).collect();
        ensure!(paths["prefix"] == prefix && missing.is_empty(), "without {missing:?}: {paths}");
        ensure!(!not.iter().any(|words| text.contains(words)), "with one of {not:?}: {paths}");
        Ok(())
    })
    .await
    .map(drop)
}

/// FRR answers with the longest match, so another prefix means that this one is gone.
async fn gone(lab: &Lab, prefix: &str) -> Result<()> {
    eventually(SOON, &format!("the router to lose {prefix}"), async || {
        let paths = lab.router().paths(prefix).await?;
        ensure!(paths["prefix"] != prefix, "{paths}");
        Ok(())
    })
    .await
    .map(drop)
}
