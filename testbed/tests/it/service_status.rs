//! ServiceBGPStatus, where it is switched on: one object for each Service and node that announces it, while it does.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use api::v1beta1::ServiceBGPStatus;
use kube::Api;
use kube::api::ListParams;
use testbed::HERALD_NAMESPACE;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::{SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "a_service_bgp_status_tells_what_a_node_announces_and_goes_with_it",
    plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(told(lab)),
}];

async fn told(lab: &mut Lab) -> Result<()> {
    for node in ["n1", "n2"] {
        lab.add_argument(node, Daemon::Speaker, "--service-bgp-status=on");
    }
    lab.add_argument("n1", Daemon::Speaker, "--on-terminate=remove");
    settle(lab, "n1").await?;
    expect(lab, &["n1 default/nginx router", "n2 default/nginx router"]).await?;

    // A Service with policy Local is announced where its pods are.
    let local = lab.create_service("local", &ServicePlan { local: true, ..ServicePlan::default() }).await?;
    lab.start_pod("local", "n2").await?;
    let three = ["n1 default/nginx router", "n2 default/local router", "n2 default/nginx router"];
    expect(lab, &three).await?;

    // A restart finds its objects again and writes none anew.
    let before = versions(lab).await?;
    lab.stop_daemon("n2", Daemon::Speaker).await?;
    lab.start_daemon("n2", Daemon::Speaker).await?;
    throughout(std::time::Duration::from_secs(5), "the objects to stay as they are", async || {
        let now = versions(lab).await?;
        ensure!(now == before, "{before:?} became {now:?}");
        Ok(())
    })
    .await?;

    local.delete().await?;
    expect(lab, &["n1 default/nginx router", "n2 default/nginx router"]).await?;

    // This speaker is removed, not restarted.
    lab.stop_daemon("n1", Daemon::Speaker).await?;
    expect(lab, &["n2 default/nginx router"]).await
}

async fn objects(lab: &Lab) -> Result<Vec<ServiceBGPStatus>> {
    let api = Api::<ServiceBGPStatus>::namespaced(lab.cluster().client(), HERALD_NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items)
}

async fn versions(lab: &Lab) -> Result<BTreeSet<(Option<String>, Option<String>)>> {
    let objects = objects(lab).await?.into_iter();
    Ok(objects.map(|object| (object.metadata.name, object.metadata.resource_version)).collect())
}

async fn expect(lab: &Lab, expected: &[&str]) -> Result<()> {
    eventually(SOON, "the ServiceBGPStatus objects", async || {
        let found: BTreeSet<String> = objects(lab)
            .await?
            .into_iter()
            .map(|object| {
                let status = object.status.unwrap_or_default();
                let (namespace, name) = (status.service_namespace, status.service_name);
                format!("{} {namespace}/{name} {}", status.node, status.peers.join(","))
            })
            .collect();
        ensure!(found.iter().eq(expected), "{found:?}");
        Ok(())
    })
    .await
    .map(drop)
}
