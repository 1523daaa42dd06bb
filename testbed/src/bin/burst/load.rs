//! Services and pools by the hundred, the bare loop, and what the API server counts.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Pools of the last part.
pub(crate) const POOLS: usize = 100;
/// Requests under way at once, as many as the controller has.
const IN_FLIGHT: usize = 16;
/// A class that no contestant serves.
pub(crate) const BARE: &str = "example.com/bare";
/// The pool of the bursts.
const POOL: &str = "burst";

/// What loads the API server.
pub(crate) struct Load {
    client: Client,
    bare: Client,
}

impl Load {
    /// The bare writes take a way of their own.
    pub(crate) fn new(client: Client, bare: Client) -> Self {
        Self { client, bare }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    /// Creates Services `NAMEn`; with a class, nobody serves them.
    pub(crate) async fn create(&self, name: &str, numbers: Range<usize>, class: Option<&str>) -> Result<()> {
        let services = self.services();
        each(numbers, async |number| {
            let mut object = json!({
                "metadata": {"name": format!("{name}{number}")},
                "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]},
            });
            if let Some(class) = class {
                object["spec"]["loadBalancerClass"] = json!(class);
            }
            let object: Service = serde_json::from_value(object)?;
            services.create(&PostParams::default(), &object).await.context("creating a Service").map(drop)
        })
        .await
    }

    pub(crate) async fn delete(&self, name: &str, numbers: Range<usize>) -> Result<()> {
        let services = self.services();
        each(numbers, async |number| {
            let name = format!("{name}{number}");
            services.delete(&name, &DeleteParams::default()).await.context("deleting a Service").map(drop)
        })
        .await
    }

    /// The bare write: what a controller has to send for one address, by somebody who need not think.
    pub(crate) async fn apply(&self, name: &str, number: usize) -> Result<()> {
        let ip = std::net::Ipv4Addr::from(0x0a09_0000 + u32::try_from(number)?);
        let annotations = json!({"metallb.io/ip-allocated-from-pool": POOL});
        let status = json!({"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}});
        self.bare_write(name, number, annotations, status).await
    }

    /// The bare write before it: the Service says that it waits.
    async fn wait(&self, name: &str, number: usize) -> Result<()> {
        let status = json!({"loadBalancer": {"ingress": []}, "conditions": [{
            "type": "example.com/AddressAssigned", "status": "False", "reason": "NoPool",
            "message": "there is no pool of addresses: create an IPAddressPool",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]});
        self.bare_write(name, number, json!({}), status).await
    }

    async fn bare_write(&self, name: &str, number: usize, annotations: Value, status: Value) -> Result<()> {
        let name = format!("{name}{number}");
        let body = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "annotations": annotations}, "status": status,
        });
        Api::<Service>::default_namespaced(self.bare.clone())
            .patch_status(&name, &PatchParams::apply("bare"), &Patch::Apply(&body))
            .await
            .context("a bare apply")
            .map(drop)
    }

    /// As many bare writes, as many of them at once as the controller has under way.
    pub(crate) async fn bare_loop(&self, name: &str, numbers: Range<usize>) -> Result<()> {
        each(numbers, async |number| self.apply(name, number).await).await
    }

    /// What comes before the bare loop, as it comes before the pool: each Service waits and says so.
    pub(crate) async fn bare_waits(&self, name: &str, numbers: Range<usize>) -> Result<()> {
        each(numbers, async |number| self.wait(name, number).await).await
    }

    pub(crate) async fn create_pool(&self) -> Result<()> {
        self.pool(POOL, "10.8.0.0/16").await
    }

    pub(crate) async fn delete_pool(&self) -> Result<()> {
        self.pools().delete(POOL, &DeleteParams::default()).await.context("deleting the pool").map(drop)
    }

    /// The pools of the last part.
    pub(crate) async fn create_pools(&self) -> Result<()> {
        for number in 0..POOLS {
            self.pool(&format!("pool-{number:03}"), &format!("10.7.{number}.0/24")).await?;
        }
        Ok(())
    }

    async fn pool(&self, name: &str, range: &str) -> Result<()> {
        let resource = resource();
        let mut object = DynamicObject::new(name, &resource);
        object.data = json!({"spec": {"addresses": [range]}});
        self.pools().create(&PostParams::default(), &object).await.context("creating a pool").map(drop)
    }

    fn pools(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), HERALD_NAMESPACE, &resource())
    }

    pub(crate) async fn wait_for_addresses(&self, count: usize, limit: Duration) -> Result<()> {
        eventually(limit, &format!("{count} addresses"), async || {
            let list = self.services().list(&ListParams::default()).await?;
            let given = list.items.iter().filter(|object| has_address(object)).count();
            if given >= count { Ok(()) } else { bail!("{given}") }
        })
        .await
        .map(drop)
    }

    /// Requests that wrote the status of a Service since the API server started, as it counts them.
    pub(crate) async fn status_writes(&self) -> Result<u64> {
        let request = http::Request::get("/metrics").body(Vec::new()).context("building a request")?;
        let text = self.client.request_text(request).await.context("reading the API server's metrics")?;
        let counts = text.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains("resource=\"services\"")
                && line.contains("subresource=\"status\"")
                && ["APPLY", "PATCH", "PUT", "UPDATE"]
                    .iter()
                    .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole and not negative"
        )]
        let number = |line: &str| -> Result<u64> {
            let (_, value) = line.rsplit_once(' ').context("a metric without a value")?;
            Ok(value.parse::<f64>()? as u64)
        };
        counts.map(number).sum()
    }

    /// Tells the name of each Service when it is first seen with an address.
    pub(crate) fn watch(&self) -> mpsc::Receiver<(Instant, String)> {
        let (sender, receiver) = mpsc::channel(100_000);
        let services = self.services();
        tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            let mut events = std::pin::pin!(watcher(services, Config::default()));
            while let Some(event) = events.next().await {
                let at = Instant::now();
                let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
                let uid = object.metadata.uid.clone().unwrap_or_default();
                if has_address(&object)
                    && seen.insert(uid)
                    && sender.send((at, object.metadata.name.unwrap_or_default())).await.is_err()
                {
                    return;
                }
            }
        });
        receiver
    }
}

/// Asks for each number, as many at once as the controller has writes under way.
async fn each(numbers: Range<usize>, ask: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    stream::iter(numbers).map(Ok).try_for_each_concurrent(IN_FLIGHT, |number| ask(number)).await
}

fn has_address(object: &Service) -> bool {
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_ref()).is_some_and(|ingress| !ingress.is_empty())
}

fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1beta1", "IPAddressPool"))
}
