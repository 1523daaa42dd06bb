//! Bad configuration beside good: it is refused alone, says why, and costs the good nothing.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use testbed::eventually::eventually;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "a_bad_resource_is_refused_alone_and_says_why",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(refused_alone(lab)),
}];

/// Each passes the CRD's own rules: only a look at other objects shows what is wrong.
const BAD: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: overlapping, namespace: metallb-system}
spec: {addresses: [10.0.5.0/24]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: without-secret, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 65530, peerAddress: 10.0.2.77, passwordSecret: {name: nobody-made-it}}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: unknown-alias, namespace: metallb-system}
spec: {ipAddressPools: [home], communities: [nobody-defined-it]}
";

const BAD_EDIT: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: home, namespace: metallb-system}
spec: {addresses: [10.0.4.0/23, 10.0.4.128/25], avoidBuggyIPs: true}
";

async fn refused_alone(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.cluster().apply(BAD).await?;
    expect_complaint(lab, "ipaddresspools.metallb.io/overlapping", "overlaps").await?;
    expect_complaint(lab, "bgpadvertisements.metallb.io/unknown-alias", "nobody-defined-it").await?;
    // Only the speakers read Secrets, so the controller claims nothing, and it is they who say this.
    expect_complaint(lab, "bgppeers.metallb.io/without-secret", "only the speakers read").await?;
    eventually(SOON, "speakerctl to say why the peer stays down", async || {
        let answer = lab.speakerctl(&["peers", "-o", "wide"]).await?;
        let row = answer.text.lines().find(|line| line.contains("without-secret")).unwrap_or_default();
        if row.contains("Refused") && row.contains("nobody-made-it") {
            Ok(())
        } else {
            bail!("{}", answer.text)
        }
    })
    .await?;
    lab.check_paths(FIRST, &["n1"]).await?;

    // A bad edit of the good pool: the version before it stays in force, for old and new Services.
    lab.cluster().apply(BAD_EDIT).await?;
    expect_complaint(lab, "ipaddresspools.metallb.io/home", "overlaps").await?;
    let second = lab.create_service("second", &ServicePlan::default()).await?;
    lab.start_pod("second", "n1").await?;
    let (addresses, _) = second.wait_for_addresses(1, SOON).await?;
    ensure!(addresses == ["10.0.4.2".parse::<std::net::IpAddr>()?], "{addresses:?}");
    lab.wait_for_paths("10.0.4.2".parse()?, &["n1"], SOON).await?;
    lab.check_paths(FIRST, &["n1"]).await?;
    lab.check_daemons()
}

/// Waits for a condition that is not as it should be and whose message has the given words.
async fn expect_complaint(lab: &Lab, object: &str, words: &str) -> Result<()> {
    eventually(SOON, &format!("{object} to say {words:?}"), async || {
        let answer =
            lab.cluster().kubectl(&["get", object, "-n", testbed::HERALD_NAMESPACE, "-o", "json"]).await?;
        ensure!(answer.accepted, "{}", answer.text);
        let state: Value = serde_json::from_str(&answer.text)?;
        let conditions = state["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let says = |condition: &Value| {
            condition["status"] != "True"
                && condition["message"].as_str().is_some_and(|message| message.contains(words))
        };
        if conditions.iter().any(says) { Ok(()) } else { bail!("its status is {}", state["status"]) }
    })
    .await
    .map(drop)
}
