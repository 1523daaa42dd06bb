//! The objects of the measurement: configuration, nodes that exist by name only, Services with hand-written slices.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::network::{NODE_AS, ROUTER_AS};

const SPACE: &str = "default";
/// Requests under way at once while many objects are made.
const IN_FLIGHT: usize = 16;
/// Endpoints of a Service, each on another node; the first is on the node that is measured.
const ENDPOINTS: u32 = 3;

/// The pool, the advertisement, and the peer that everything is measured at.
pub(crate) async fn configure(client: &Client, peer: Ipv4Addr, port: u16) -> Result<()> {
    apply(client, "v1beta1", "IPAddressPool", "measure", json!({"addresses": ["10.4.0.0/16"]})).await?;
    add_peer(client, "measure", peer, port).await?;
    advertise(client, true).await
}

/// One more peer.
pub(crate) async fn add_peer(client: &Client, name: &str, address: Ipv4Addr, port: u16) -> Result<()> {
    let spec = json!({"myASN": NODE_AS, "peerASN": ROUTER_AS, "peerAddress": address, "peerPort": port});
    apply(client, "v1beta2", "BGPPeer", name, spec).await
}

/// One peer less.
pub(crate) async fn remove_peer(client: &Client, name: &str) -> Result<()> {
    let peers = configuration(client, "v1beta2", "BGPPeer");
    peers.delete(name, &DeleteParams::default()).await.context("deleting a BGPPeer").map(drop)
}

/// The one advertisement is there, or is not.
pub(crate) async fn advertise(client: &Client, wanted: bool) -> Result<()> {
    if wanted {
        return apply(client, "v1beta1", "BGPAdvertisement", "measure", json!({})).await;
    }
    let all = configuration(client, "v1beta1", "BGPAdvertisement");
    all.delete("measure", &DeleteParams::default()).await.context("deleting the advertisement").map(drop)
}

fn configuration(client: &Client, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", version, kind));
    Api::namespaced_with(client.clone(), testbed::HERALD_NAMESPACE, &resource)
}

async fn apply(client: &Client, version: &str, kind: &str, name: &str, spec: Value) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", version, kind));
    let mut object = DynamicObject::new(name, &resource);
    object.data = json!({"spec": spec});
    let objects = configuration(client, version, kind);
    objects.create(&PostParams::default(), &object).await.with_context(|| format!("creating the {kind}"))?;
    Ok(())
}

/// Labels the node so that it is excluded, or takes the label away.
pub(crate) async fn exclude(client: &Client, node: &str, excluded: bool) -> Result<()> {
    let value = if excluded { json!("true") } else { Value::Null };
    let patch = json!({"metadata": {"labels": {api::names::label::EXCLUDE_FROM_EXTERNAL_LB: value}}});
    let nodes = Api::<Node>::all(client.clone());
    nodes.patch(node, &PatchParams::default(), &Patch::Merge(&patch)).await.context("labelling a node")?;
    Ok(())
}

/// Node objects with these numbers. No machine is behind them.
pub(crate) async fn create_nodes(client: &Client, numbers: std::ops::Range<u32>) -> Result<()> {
    each(numbers, |number| async move {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": node_name(number), "labels": {
                "kubernetes.io/hostname": node_name(number), "kubernetes.io/os": "linux",
            }},
            "spec": {"podCIDRs": ["10.245.0.0/24"]},
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &node).await.context("creating a Node")?;
        Ok(())
    })
    .await
}

fn node_name(number: u32) -> String {
    format!("n{number}")
}

/// Services with these numbers in a cluster of so many nodes.
pub(crate) async fn create_services(
    client: &Client,
    numbers: std::ops::Range<u32>,
    nodes: u32,
) -> Result<()> {
    each(numbers, |number| create_service(client, number, nodes)).await
}

async fn each<F: Future<Output = Result<()>>>(
    numbers: std::ops::Range<u32>,
    work: impl Fn(u32) -> F,
) -> Result<()> {
    let results: Vec<Result<()>> =
        stream::iter(numbers).map(work).buffer_unordered(IN_FLIGHT).collect().await;
    results.into_iter().collect()
}

/// A Service with one ready endpoint on n1, and, unless it is the first, two on other nodes.
pub(crate) async fn create_service(client: &Client, number: u32, nodes: u32) -> Result<()> {
    let name = format!("s{number}");
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]},
    }))?;
    let mut hosts = vec![1];
    if number > 0 && nodes > 1 {
        hosts.extend((1..ENDPOINTS).map(|turn| 2 + (number * ENDPOINTS + turn) % (nodes - 1)));
    }
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": endpoints(&hosts, true),
    }))?;
    Api::namespaced(client.clone(), SPACE)
        .create(&PostParams::default(), &service)
        .await
        .context("creating a Service")?;
    Api::namespaced(client.clone(), SPACE)
        .create(&PostParams::default(), &slice)
        .await
        .context("creating a slice")?;
    Ok(())
}

/// Takes one Service away again.
pub(crate) async fn delete_service(client: &Client, number: u32) -> Result<()> {
    let name = format!("s{number}");
    let how = DeleteParams::default();
    Api::<Service>::namespaced(client.clone(), SPACE)
        .delete(&name, &how)
        .await
        .context("deleting a Service")?;
    Api::<EndpointSlice>::namespaced(client.clone(), SPACE)
        .delete(&name, &how)
        .await
        .context("deleting a slice")?;
    Ok(())
}

/// Takes the first Service's endpoint away, or gives it back.
pub(crate) async fn set_endpoint(client: &Client, ready: bool) -> Result<()> {
    let patch = json!({"endpoints": endpoints(&[1], ready)});
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), SPACE);
    slices.patch("s0", &PatchParams::default(), &Patch::Merge(&patch)).await.context("patching the slice")?;
    Ok(())
}

fn endpoints(hosts: &[u32], ready: bool) -> Value {
    let one = |host: &u32| {
        let address = format!("10.244.{}.{}", host / 200, 2 + host % 200);
        json!({"addresses": [address], "nodeName": node_name(*host), "conditions": {"ready": ready}})
    };
    hosts.iter().map(one).collect()
}
