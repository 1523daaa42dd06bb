//! A cluster that keeps MetalLB's own CRD for pools: it has no room for Herald's fields, and the API server drops what
//! has no room without a word. Herald works, says so, and does not write the same again and again.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use testbed::HERALD_NAMESPACE;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::SOON;
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "ipam_with_metallbs_own_crd_addresses_are_given_and_what_is_dropped_is_said",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(narrow(lab)),
}];

/// The shape of MetalLB's kind: its fields and no others.
const METALLBS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ipaddresspools.metallb.io}
spec:
  group: metallb.io
  scope: Namespaced
  names: {kind: IPAddressPool, listKind: IPAddressPoolList, plural: ipaddresspools, singular: ipaddresspool}
  versions:
  - name: v1beta1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            required: [addresses]
            properties:
              addresses: {type: array, items: {type: string}}
              autoAssign: {type: boolean, default: true}
              avoidBuggyIPs: {type: boolean, default: false}
              serviceAllocation:
                type: object
                properties:
                  priority: {type: integer}
                  namespaces: {type: array, items: {type: string}}
                  namespaceSelectors:
                    type: array
                    items:
                      type: object
                      properties: {matchLabels: {type: object, additionalProperties: {type: string}}}
                  serviceSelectors:
                    type: array
                    items:
                      type: object
                      properties: {matchLabels: {type: object, additionalProperties: {type: string}}}
          status:
            type: object
            required: [assignedIPv4, assignedIPv6, availableIPv4, availableIPv6]
            properties:
              assignedIPv4: {type: integer, format: int64}
              assignedIPv6: {type: integer, format: int64}
              availableIPv4: {type: integer, format: int64}
              availableIPv6: {type: integer, format: int64}
";

async fn narrow(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    lab.cluster().apply(METALLBS).await?;
    let pool = |more: &str| {
        format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
             metadata: {{name: home, namespace: {HERALD_NAMESPACE}}}\nspec: {{addresses: [10.0.4.0/31]{more}}}\n"
        )
    };
    // kubectl asks for strict reading, so a field that would be dropped is refused, once the new schema is in force.
    eventually(SOON, "the API server to refuse a field of Herald", async || {
        let answer = lab.cluster().try_apply(&pool(", excluded: [10.0.4.0]")).await?;
        ensure!(!answer.accepted && answer.text.contains("unknown field"), "{}", answer.text);
        Ok(())
    })
    .await?;
    lab.cluster().apply(&pool("")).await?;
    lab.start_daemon("n1", Daemon::Controller).await?;
    let web = lab.create_service("web", &ServicePlan::default()).await?;
    web.wait_for_addresses(1, SOON).await?;
    eventually(SOON, "the counters of the pool", async || {
        let status = read(lab, "IPAddressPool", "home").await?;
        ensure!(status["assignedIPv4"] == 1 && status["availableIPv4"] == 1, "{status}");
        ensure!(status.get("conditions").is_none(), "MetalLB's shape has no conditions: {status}");
        Ok(())
    })
    .await?;

    eventually(SOON, "the ConfigurationState to say what is dropped", async || {
        let status = read(lab, "ConfigurationState", "controller").await?;
        let says = status["errorSummary"].as_str().unwrap_or_default();
        ensure!(says.contains("IPAddressPool: the CRD of this kind has no room"), "{status}");
        ensure!(status["result"] == "Valid", "the configuration itself is sound: {status}");
        Ok(())
    })
    .await?;
    let log = lab.herald().process("n1", Daemon::Controller)?.log().to_owned();
    let warnings = || -> Result<usize> {
        let text = std::fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
        Ok(text.lines().filter(|line| line.contains("has no room")).count())
    };
    ensure!(warnings()? == 1, "it is logged once");

    // A pool that is full says so on the Service, though it has no condition of its own.
    for name in ["second", "third"] {
        lab.create_service(name, &ServicePlan::default()).await?;
    }
    eventually(SOON, "a Service to say that the pool is full", async || {
        let path = "jsonpath={.items[*].status.conditions[*].message}";
        let answer = lab.cluster().kubectl(&["get", "services", "-n", "default", "-o", path]).await?;
        if answer.text.contains("pool home is full (2 of 2") { Ok(()) } else { bail!("{}", answer.text) }
    })
    .await?;

    // What is dropped is not written again and again.
    eventually(SOON, "the counters of the full pool", async || {
        let status = read(lab, "IPAddressPool", "home").await?;
        if status["assignedIPv4"] == 2 { Ok(()) } else { bail!("{status}") }
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (pool, state) = (
        version(lab, "IPAddressPool", "home").await?,
        version(lab, "ConfigurationState", "controller").await?,
    );
    throughout(Duration::from_secs(6), "pool and ConfigurationState", async || {
        ensure!(version(lab, "IPAddressPool", "home").await? == pool, "the pool is written again");
        ensure!(
            version(lab, "ConfigurationState", "controller").await? == state,
            "the state is written again"
        );
        Ok(())
    })
    .await?;
    ensure!(warnings()? == 1, "it is logged once");

    // With Herald's CRD in place, the next life shows everything.
    lab.stop_daemon("n1", Daemon::Controller).await?;
    lab.cluster().apply_manifests().await?;
    lab.start_daemon("n1", Daemon::Controller).await?;
    eventually(SOON, "the conditions of the pool", async || {
        let status = read(lab, "IPAddressPool", "home").await?;
        let conditions = status["conditions"].as_array().context("no conditions")?;
        let full = conditions.iter().any(|one| one["type"] == "Exhausted" && one["status"] == "True");
        if full { Ok(()) } else { bail!("{status}") }
    })
    .await?;
    eventually(SOON, "the ConfigurationState to be content", async || {
        let status = read(lab, "ConfigurationState", "controller").await?;
        if status["errorSummary"] == "" || status["errorSummary"].is_null() {
            Ok(())
        } else {
            bail!("{status}")
        }
    })
    .await?;
    lab.check_daemons()
}

async fn object(lab: &Lab, kind: &str, name: &str) -> Result<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1beta1", kind));
    let api = Api::<DynamicObject>::namespaced_with(lab.cluster().client(), HERALD_NAMESPACE, &resource);
    api.get(name).await.with_context(|| format!("reading {kind} {name}"))
}

async fn read(lab: &Lab, kind: &str, name: &str) -> Result<Value> {
    Ok(object(lab, kind, name).await?.data["status"].clone())
}

async fn version(lab: &Lab, kind: &str, name: &str) -> Result<Option<String>> {
    Ok(object(lab, kind, name).await?.metadata.resource_version)
}
