//! A Service of the lab with its pods: what a user makes with a Deployment and `kubectl expose`.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::network::pod::PODS;

/// What a Service asks for.
#[derive(Clone, Debug, Default)]
pub struct ServicePlan {
    /// `externalTrafficPolicy: Local`.
    pub local: bool,
    /// IPv4 and IPv6.
    pub dual_stack: bool,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
}

/// A Service that exists. The object stays when this value goes.
#[derive(Clone)]
pub struct Service {
    name: String,
    client: Client,
}

impl Service {
    /// Creates a Service of type LoadBalancer that selects the pods labelled `app=NAME`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create(client: Client, name: &str, plan: &ServicePlan) -> Result<Self> {
        let policy = if plan.dual_stack { "RequireDualStack" } else { "SingleStack" };
        let annotations: serde_json::Map<String, Value> =
            plan.annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let object: ServiceObject = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "type": "LoadBalancer",
                "ipFamilyPolicy": policy,
                "externalTrafficPolicy": if plan.local { "Local" } else { "Cluster" },
                "selector": {"app": name},
                "ports": [{"name": "http", "port": 80, "targetPort": 80}],
            },
        }))?;
        let service = Self { name: name.to_owned(), client };
        service.api().create(&PostParams::default(), &object).await.context("creating the Service")?;
        Ok(service)
    }

    /// A Service that somebody else has created, e.g. with kubectl.
    #[must_use]
    pub fn existing(client: Client, name: &str) -> Self {
        Self { name: name.to_owned(), client }
    }

    /// Its name, which is also the value of its pods' label `app`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The addresses in its status, now.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>> {
        let object = self.api().get(&self.name).await.context("reading the Service")?;
        let balancer = object.status.and_then(|status| status.load_balancer);
        let ingress = balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
        ingress.iter().map(|row| row.ip.as_deref().unwrap_or("none").parse().context("an ingress without address")).collect()
    }

    /// Waits until the status has `count` addresses, and says how long that took.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn wait_for_addresses(&self, count: usize, limit: Duration) -> Result<(Vec<IpAddr>, Duration)> {
        eventually(limit, &format!("{} to get {count} address(es)", self.name), async || {
            let addresses = self.addresses().await?;
            if addresses.len() == count { Ok(addresses) } else { bail!("it has {addresses:?}") }
        })
        .await
    }

    /// Writes addresses into the status as a load-balancer controller does: for tests without Herald.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn write_addresses(&self, addresses: &[IpAddr]) -> Result<()> {
        let ingress: Vec<Value> = addresses.iter().map(|address| json!({"ip": address})).collect();
        self.patch(&json!({"status": {"loadBalancer": {"ingress": ingress}}}), true).await
    }

    /// Changes the object by a merge patch.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn change(&self, patch: &Value) -> Result<()> {
        self.patch(patch, false).await
    }

    /// Deletes the Service.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(&self) -> Result<()> {
        self.api().delete(&self.name, &DeleteParams::default()).await.context("deleting the Service").map(drop)
    }

    /// The nodes of its ready endpoints, as the endpoint slices have them; sorted.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn ready_nodes(&self) -> Result<Vec<String>> {
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), PODS);
        let ours = ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.name));
        let slices = slices.list(&ours).await.context("listing endpoint slices")?;
        let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints);
        let ready = endpoints.filter(|endpoint| {
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
        });
        let mut nodes: Vec<String> = ready.filter_map(|endpoint| endpoint.node_name).collect();
        nodes.sort();
        nodes.dedup();
        Ok(nodes)
    }

    async fn patch(&self, patch: &Value, status: bool) -> Result<()> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let done = if status {
            self.api().patch_status(&self.name, &params, &patch).await
        } else {
            self.api().patch(&self.name, &params, &patch).await
        };
        done.context("patching the Service").map(drop)
    }

    fn api(&self) -> Api<ServiceObject> {
        Api::namespaced(self.client.clone(), PODS)
    }
}
