//! The scene of the measurement: one node with Herald on it, one bare peer, Services with hand-written slices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::Machine;
use testbed::network::{NODE_AS, ROUTER_AS, ROUTER_V4};
use testbed::run::Run;

use crate::memory::Memory;
use crate::sink::{self, Arrival, Kind};

const SPACE: &str = "default";
const PEER_PORT: u16 = 1790;
const START: Duration = Duration::from_secs(60);
/// Requests under way at once while many objects are made.
const IN_FLIGHT: usize = 16;

/// Everything that a measurement touches.
pub(crate) struct Scene {
    lab: Lab,
    client: Client,
    arrivals: Receiver<Arrival>,
    seen: tokio::sync::mpsc::Receiver<(Instant, bool)>,
    services: u32,
}

impl Scene {
    /// Starts cluster, Herald and the bare peer, and waits until the session is up.
    pub(crate) async fn set(run: &Arc<Run>, machine: &Machine) -> Result<Self> {
        let plan = LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() };
        let mut lab = Lab::start(run, machine, &plan).await?;
        let listener = lab.router().namespace().listen(SocketAddr::from((ROUTER_V4, PEER_PORT))).await?;
        let arrivals = sink::serve(listener, u16::try_from(ROUTER_AS)?, ROUTER_V4.octets());
        lab.install_herald().await?;
        let client = lab.cluster().client();
        configure(&client).await?;
        let seen = watch_slices(client.clone());
        let mut scene = Self { lab, client, arrivals, seen, services: 0 };
        scene.wait_for_session().await?;
        Ok(scene)
    }

    /// Memory of the node's speaker.
    pub(crate) fn speaker_memory(&mut self) -> Result<Memory> {
        self.lab.check_daemons()?;
        Memory::of(self.lab.herald().process("n1", Daemon::Speaker)?.pid())
    }

    /// Makes Services up to this number, each with one ready endpoint, and waits until all are announced.
    pub(crate) async fn create_services(&mut self, wanted: u32) -> Result<()> {
        let client = &self.client;
        let done = stream::iter(self.services..wanted).map(|number| create_service(client, number));
        let results: Vec<Result<()>> = done.buffer_unordered(IN_FLIGHT).collect().await;
        results.into_iter().collect::<Result<()>>()?;
        self.services = wanted;
        let all = usize::try_from(wanted)?;
        eventually(START, "all Services to be announced", async || {
            let announced = announced_prefixes(&self.client).await?;
            if announced >= all { Ok(()) } else { bail!("{announced} of {all}") }
        })
        .await?;
        // What has arrived so far belongs to the set-up.
        while self.arrivals.try_recv().is_ok() {}
        while self.seen.try_recv().is_ok() {}
        Ok(())
    }

    /// Takes the first Service's endpoint away, or gives it back.
    pub(crate) async fn set_endpoint(&self, ready: bool) -> Result<()> {
        let patch = json!({"endpoints": endpoints(ready)});
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), SPACE);
        slices.patch("s0", &PatchParams::default(), &Patch::Merge(&patch)).await.context("patching the slice")?;
        Ok(())
    }

    /// When the bare watch client saw the endpoint as `ready`.
    pub(crate) async fn watch_sees(&mut self, ready: bool, limit: Duration) -> Result<Instant> {
        let look = async {
            while let Some((at, state)) = self.seen.recv().await {
                if state == ready {
                    return Ok(at);
                }
            }
            bail!("the bare watch ended")
        };
        tokio::time::timeout(limit, look).await.context("the bare watch saw nothing")?
    }

    /// When the next UPDATE of this kind had arrived at the bare peer.
    pub(crate) async fn arrival(&mut self, kind: Kind, limit: Duration) -> Result<Instant> {
        let start = Instant::now();
        while start.elapsed() < limit {
            match self.arrivals.try_recv() {
                Ok(arrival) if arrival.kind == kind => return Ok(arrival.at),
                Ok(_) => {}
                // The stamp was taken by the peer's own thread; looking late costs no accuracy.
                Err(TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(TryRecvError::Disconnected) => bail!("the bare peer has ended"),
            }
        }
        bail!("no {kind:?} arrived within {limit:?}")
    }

    async fn wait_for_session(&mut self) -> Result<()> {
        let client = self.client.clone();
        eventually(START, "the session to be Established", async || {
            self.lab.check_daemons()?;
            let status = speaker_state(&client).await?;
            let state = status.pointer("/sessions/0/state").and_then(Value::as_str);
            if state == Some("Established") { Ok(()) } else { bail!("{status}") }
        })
        .await?;
        Ok(())
    }
}

async fn configure(client: &Client) -> Result<()> {
    let objects = [
        ("v1beta1", "IPAddressPool", json!({"addresses": ["10.4.0.0/16"]})),
        (
            "v1beta2",
            "BGPPeer",
            json!({"myASN": NODE_AS, "peerASN": ROUTER_AS, "peerAddress": ROUTER_V4, "peerPort": PEER_PORT}),
        ),
        ("v1beta1", "BGPAdvertisement", json!({})),
    ];
    for (version, kind, spec) in objects {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", version, kind));
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), testbed::HERALD_NAMESPACE, &resource);
        let mut object = DynamicObject::new("measure", &resource);
        object.data = json!({"spec": spec});
        api.create(&PostParams::default(), &object).await.with_context(|| format!("creating the {kind}"))?;
    }
    Ok(())
}

async fn create_service(client: &Client, number: u32) -> Result<()> {
    let name = format!("s{number}");
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]},
    }))?;
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": endpoints(true),
    }))?;
    Api::namespaced(client.clone(), SPACE).create(&PostParams::default(), &service).await.context("creating a Service")?;
    Api::namespaced(client.clone(), SPACE).create(&PostParams::default(), &slice).await.context("creating a slice")?;
    Ok(())
}

fn endpoints(ready: bool) -> Value {
    json!([{"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": ready}}])
}

async fn speaker_state(client: &Client) -> Result<Value> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(api::names::HERALD_GROUP, "v1beta1", "SpeakerState"));
    let states = Api::<DynamicObject>::namespaced_with(client.clone(), testbed::HERALD_NAMESPACE, &resource);
    let state = states.get("n1").await.context("reading the SpeakerState")?;
    state.data.get("status").cloned().context("the SpeakerState has no status yet")
}

async fn announced_prefixes(client: &Client) -> Result<usize> {
    let status = speaker_state(client).await?;
    let count = status.pointer("/sessions/0/prefixesSent").and_then(Value::as_u64).unwrap_or_default();
    Ok(usize::try_from(count)?)
}

/// The bare client: one watch, the event read and stamped, nothing else.
fn watch_slices(client: Client) -> tokio::sync::mpsc::Receiver<(Instant, bool)> {
    let (sender, receiver) = tokio::sync::mpsc::channel(100_000);
    tokio::spawn(async move {
        let slices = Api::<EndpointSlice>::namespaced(client, SPACE);
        let config = kube::runtime::watcher::Config::default();
        let mut events = std::pin::pin!(kube::runtime::watcher(slices, config));
        while let Some(event) = events.next().await {
            let at = Instant::now();
            let Ok(kube::runtime::watcher::Event::Apply(slice)) = event else { continue };
            if slice.metadata.name.as_deref() != Some("s0") {
                continue;
            }
            let ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
            };
            if sender.try_send((at, slice.endpoints.iter().any(ready))).is_err() {
                return;
            }
        }
    });
    receiver
}
