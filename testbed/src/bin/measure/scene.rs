//! The scene of the measurement: one node with Herald on it, one bare peer, Services with hand-written slices.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
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
use testbed::process::Process;
use testbed::run::Run;

use crate::memory::{self, Memory};
use crate::sink::{self, Arrival, Kind};

const SPACE: &str = "default";
const PEER_PORT: u16 = 1790;
const START: Duration = Duration::from_secs(300);
/// MetalLB with 10,000 Services has been seen to take more than four minutes.
const RIVALS_START: Duration = Duration::from_secs(400);
/// Requests under way at once while many objects are made.
const IN_FLIGHT: usize = 16;

/// Everything that a measurement touches.
pub(crate) struct Scene {
    lab: Lab,
    client: Client,
    arrivals: Receiver<Arrival>,
    seen: tokio::sync::mpsc::Receiver<(Instant, bool)>,
    services: u32,
    /// MetalLB's speaker, while it stands in for ours.
    rival: Option<Process>,
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
        let mut scene = Self { lab, client, arrivals, seen, services: 0, rival: None };
        scene.wait_for_session().await?;
        Ok(scene)
    }

    /// Memory of the node's speaker.
    pub(crate) fn speaker_memory(&mut self) -> Result<Memory> {
        Memory::of(self.speaker_pid()?)
    }

    /// Processor time that the node's speaker has had.
    pub(crate) fn speaker_cpu(&mut self) -> Result<Duration> {
        memory::cpu(self.speaker_pid()?)
    }

    fn speaker_pid(&mut self) -> Result<u32> {
        self.lab.check_daemons()?;
        match &mut self.rival {
            Some(rival) => {
                rival.check_running()?;
                Ok(rival.pid())
            }
            None => Ok(self.lab.herald().process("n1", Daemon::Speaker)?.pid()),
        }
    }

    /// Ends the speaker that runs and starts one anew: Herald's, or MetalLB's. Gives the time from the start of the process
    /// to the last announcement that it owes, and what the API server needs to list what it reads.
    pub(crate) async fn start_speaker(&mut self, rival: Option<&Path>) -> Result<(Duration, Duration)> {
        match self.rival.take() {
            Some(running) => running.kill().await?,
            None => self.lab.kill_daemon("n1", Daemon::Speaker).await?,
        }
        let start = Instant::now();
        let everything = kube::api::ListParams::default();
        let services = Api::<Service>::all(self.client.clone());
        let slices = Api::<EndpointSlice>::all(self.client.clone());
        services.list(&everything).await.context("listing Services")?;
        slices.list(&everything).await.context("listing EndpointSlices")?;
        let listed = start.elapsed();
        self.forget();
        let start = Instant::now();
        match rival {
            None => self.lab.start_daemon("n1", Daemon::Speaker).await?,
            Some(program) => self.rival = Some(self.metallb(program).await?),
        }
        let all = usize::try_from(self.services)?;
        let last = self.prefixes(Kind::Announcement, all, RIVALS_START).await?;
        Ok((last.duration_since(start), listed))
    }

    /// MetalLB's speaker, native mode, as its own manifests run it, apart from the user. It asks for its own Pod.
    async fn metallb(&self, program: &Path) -> Result<Process> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "metallb-n1"},
            "spec": {"nodeName": "n1", "containers": [{"name": "speaker", "image": "metallb"}]},
        }))?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), testbed::HERALD_NAMESPACE);
        let params = PatchParams::apply("measure");
        pods.patch("metallb-n1", &params, &Patch::Apply(&pod)).await.context("making MetalLB's Pod")?;
        let server = format!("https://{}", testbed::door::API_ADDRESS);
        let kubeconfig = self.lab.cluster().admin_at("metallb", &server)?;
        let mut command = self.lab.node("n1")?.namespace().command(&program.to_string_lossy());
        command
            .env("KUBECONFIG", kubeconfig.path())
            .env("METALLB_BGP_TYPE", "native")
            .args(["--node-name", "n1", "--pod-name", "metallb-n1"])
            .args(["--namespace", testbed::HERALD_NAMESPACE, "--log-level", "warn"]);
        Process::start(self.lab.run(), "metallb-speaker", self.lab.logs(), command)
    }

    /// Excludes the node by its label, or lets it in again; how long the last of so many prefixes took from the API
    /// server's answer on.
    pub(crate) async fn exclude(&mut self, excluded: bool) -> Result<Duration> {
        self.forget();
        let value = if excluded { json!("true") } else { Value::Null };
        let patch = json!({"metadata": {"labels": {api::names::label::EXCLUDE_FROM_EXTERNAL_LB: value}}});
        let nodes = Api::<Node>::all(self.client.clone());
        nodes.patch("n1", &PatchParams::default(), &Patch::Merge(&patch)).await.context("labelling n1")?;
        let start = Instant::now();
        let kind = if excluded { Kind::Withdrawal } else { Kind::Announcement };
        let last = self.prefixes(kind, usize::try_from(self.services)?, RIVALS_START).await?;
        Ok(last.saturating_duration_since(start))
    }

    /// When the last of so many prefixes had arrived.
    async fn prefixes(&mut self, kind: Kind, wanted: usize, limit: Duration) -> Result<Instant> {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < limit {
            match self.arrivals.try_recv() {
                Ok(arrival) if arrival.kind == kind => {
                    count += arrival.prefixes;
                    if count >= wanted {
                        return Ok(arrival.at);
                    }
                }
                Ok(_) => {}
                Err(TryRecvError::Empty) => {
                    self.speaker_pid()?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(TryRecvError::Disconnected) => bail!("the bare peer has ended"),
            }
        }
        bail!("{count} of {wanted} prefixes came within {limit:?}")
    }

    /// What has arrived so far belongs to something else.
    pub(crate) fn forget(&mut self) {
        while self.arrivals.try_recv().is_ok() {}
        while self.seen.try_recv().is_ok() {}
    }

    /// Makes Services up to this number, each with one ready endpoint, and waits until all are announced.
    pub(crate) async fn create_services(&mut self, wanted: u32) -> Result<()> {
        self.forget();
        let before = self.services;
        let client = &self.client;
        let done = stream::iter(self.services..wanted).map(|number| create_service(client, number));
        let results: Vec<Result<()>> = done.buffer_unordered(IN_FLIGHT).collect().await;
        results.into_iter().collect::<Result<()>>()?;
        self.services = wanted;
        let made = usize::try_from(wanted - before)?;
        self.prefixes(Kind::Announcement, made, START).await.context("all Services to be announced")?;
        self.forget();
        Ok(())
    }

    /// Takes the first Service's endpoint away, or gives it back.
    pub(crate) async fn set_endpoint(&self, ready: bool) -> Result<()> {
        let patch = json!({"endpoints": endpoints(ready)});
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), SPACE);
        slices
            .patch("s0", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .context("patching the slice")?;
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

fn endpoints(ready: bool) -> Value {
    json!([{"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": ready}}])
}

async fn speaker_state(client: &Client) -> Result<Value> {
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk(api::names::HERALD_GROUP, "v1beta1", "SpeakerState"));
    let states = Api::<DynamicObject>::namespaced_with(client.clone(), testbed::HERALD_NAMESPACE, &resource);
    let state = states.get("n1").await.context("reading the SpeakerState")?;
    state.data.get("status").cloned().context("the SpeakerState has no status yet")
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
