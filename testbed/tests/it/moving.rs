//! Herald moves into a cluster where somebody else gave the addresses, and meets one who still does.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::eventually::{eventually, throughout};
use testbed::lab::{Lab, LabPlan};
use testbed::service::{Service, ServicePlan};

use crate::home::{FIRST, SOON, apply_sample, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "addresses_that_metallb_gave_stay",
        plan: one_node,
        story: |lab| Box::pin(metallb_before_us(lab)),
    },
    Test {
        name: "another_load_balancer_controller_is_named_and_not_fought",
        plan: one_node,
        story: |lab| Box::pin(another_controller(lab)),
    },
];

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

/// MetalLB's controller was here: its address stands in the status, in the middle of the pool.
async fn metallb_before_us(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let given: IpAddr = "10.0.4.77".parse()?;
    let annotations = vec![("metallb.io/ip-allocated-from-pool".to_owned(), "home".to_owned())];
    let old = lab.create_service("old", &ServicePlan { annotations, ..ServicePlan::default() }).await?;
    write_as(lab, &old, "controller", &json!([{"ip": given}])).await?;
    lab.start_pod("old", "n1").await?;
    apply_sample(lab, "home-network.yaml").await?;
    lab.start_daemons().await?;
    lab.wait_for_paths(given, &["n1"], SOON).await?;
    let sample = Service::existing(lab.cluster().client(), "nginx");
    let (addresses, _) = sample.wait_for_addresses(1, SOON).await?;
    ensure!(addresses == [FIRST], "{addresses:?}");
    let kept = old.addresses().await?;
    ensure!(kept == [given], "{kept:?}");
    Ok(())
}

/// A second controller writes its own address after Herald has written one. Nobody wins by writing more often.
async fn another_controller(lab: &mut Lab) -> Result<()> {
    let service = settle(lab, "n1").await?;
    write_as(lab, &service, "servicelb", &json!([{"ip": "10.0.2.11"}])).await?;
    eventually(SOON, "an event that names the other controller", async || {
        let answer = lab.cluster().kubectl(&["get", "events", "-A", "-o", "json"]).await?;
        let events: Value = serde_json::from_str(&answer.text).context("reading events")?;
        let rows = events["items"].as_array().cloned().unwrap_or_default();
        let names = |event: &Value| {
            event["involvedObject"]["name"] == "nginx"
                && event["type"] == "Warning"
                && event["message"].as_str().is_some_and(|text| text.contains("servicelb"))
        };
        if rows.iter().any(names) { Ok(()) } else { bail!("{} events, none of them does", rows.len()) }
    })
    .await?;
    // Herald leaves the status alone: the last writer's value stands, and its version does not run away.
    let before = version(lab).await?;
    throughout(Duration::from_secs(5), "the other's address", async || {
        let (addresses, now) = (service.addresses().await?, version(lab).await?);
        ensure!(addresses == ["10.0.2.11".parse::<IpAddr>()?], "{addresses:?}");
        ensure!(now == before, "the Service was written again");
        Ok(())
    })
    .await
}

/// Writes the ingress of a Service as an update of the status by another field manager.
async fn write_as(lab: &Lab, service: &Service, manager: &str, ingress: &Value) -> Result<()> {
    let api = Api::<ServiceObject>::default_namespaced(lab.cluster().client());
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}});
    api.patch_status(service.name(), &params, &Patch::Merge(&patch))
        .await
        .context("writing as another")
        .map(drop)
}

async fn version(lab: &Lab) -> Result<Option<String>> {
    let api = Api::<ServiceObject>::default_namespaced(lab.cluster().client());
    Ok(api.get("nginx").await.context("reading the Service")?.metadata.resource_version)
}
