//! The scene of the measurement: one node with a speaker on it, one bare peer and two troublesome ones, a bare watch.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use testbed::door::{API_ADDRESS, ApiDoor};
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::Machine;
use testbed::network::{ROUTER_AS, ROUTER_V4};
use testbed::process::Process;
use testbed::run::Run;

use crate::memory::{self, Memory};
use crate::neighbour::{Neighbour, Trouble};
use crate::objects;
use crate::sink::{self, Arrival, Kind};
use crate::witness::{Sight, Witness};

const PEER_PORT: u16 = 1790;
/// Where the troublesome peers are: addresses of the router's own, so that each is a router to the speaker.
const TROUBLES: [(Trouble, &str, Ipv4Addr); 2] = [
    (Trouble::Pours, "pours", Ipv4Addr::new(10, 0, 2, 77)),
    (Trouble::Deaf, "deaf", Ipv4Addr::new(10, 0, 2, 78)),
];
const START: Duration = Duration::from_secs(300);
/// MetalLB with 10,000 Services has been seen to take more than four minutes.
const RIVALS_START: Duration = Duration::from_secs(400);
/// A peer that is new is dialled within this.
const DIALLED: Duration = Duration::from_secs(30);

/// Everything that a measurement touches.
pub(crate) struct Scene {
    lab: Lab,
    client: Client,
    arrivals: Receiver<Arrival>,
    witness: Witness,
    /// The way of the witness to the API server.
    _door: ApiDoor,
    troubles: Vec<(Trouble, Neighbour)>,
    services: u32,
    nodes: u32,
    /// MetalLB's speaker, while it stands in for ours.
    rival: Option<Process>,
}

/// From the start of a process on.
pub(crate) struct Start {
    /// Until the peer has the last announcement.
    pub(crate) announced: Duration,
    /// What two plain lists of Services and EndpointSlices took just before.
    pub(crate) listed: Duration,
}

impl Scene {
    /// Starts cluster, Herald and the peers, and waits until the session is up.
    pub(crate) async fn set(run: &Arc<Run>, machine: &Machine) -> Result<Self> {
        let plan = LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() };
        let mut lab = Lab::start(run, machine, &plan).await?;
        let asn = u16::try_from(ROUTER_AS)?;
        let router = Arc::clone(lab.router().namespace());
        let listener = router.listen(SocketAddr::from((ROUTER_V4, PEER_PORT))).await?;
        let arrivals = sink::serve(listener, asn, ROUTER_V4.octets());
        let mut troubles = Vec::new();
        for (trouble, _, address) in TROUBLES {
            router.ip(&format!("address add {address}/32 dev lan\n")).await?;
            let listener = router.listen(SocketAddr::from((address, PEER_PORT))).await?;
            troubles.push((trouble, Neighbour::serve(listener, trouble, asn, address)?));
        }
        lab.log_as_shipped();
        lab.install_herald().await?;
        let client = lab.cluster().client();
        objects::configure(&client, ROUTER_V4, PEER_PORT).await?;
        // The speakers go through the door of their node.
        let (door, port) = ApiDoor::on_host(lab.cluster().address()).await?;
        let witness = Witness::begin(&lab.cluster().client_through(port)?);
        let mut scene = Self {
            lab,
            client,
            arrivals,
            witness,
            _door: door,
            troubles,
            services: 0,
            nodes: 1,
            rival: None,
        };
        scene.wait_for_session().await?;
        Ok(scene)
    }

    /// How many Services there are.
    pub(crate) fn services(&self) -> u32 {
        self.services
    }

    /// How many Nodes there are.
    pub(crate) fn nodes(&self) -> u32 {
        self.nodes
    }

    /// Memory of the node's speaker.
    pub(crate) fn speaker_memory(&mut self) -> Result<Memory> {
        Memory::of(self.speaker()?.pid())
    }

    /// Processor time that the node's speaker has had.
    pub(crate) fn speaker_cpu(&mut self) -> Result<Duration> {
        memory::cpu(self.speaker()?.pid())
    }

    fn speaker(&mut self) -> Result<&Process> {
        self.lab.check_daemons()?;
        match &mut self.rival {
            Some(rival) => {
                rival.check_running()?;
                Ok(rival)
            }
            None => self.lab.herald().process("n1", Daemon::Speaker),
        }
    }

    /// Ends the speaker that runs and starts one anew: Herald's, or MetalLB's.
    pub(crate) async fn start_speaker(&mut self, rival: Option<&Path>) -> Result<Start> {
        match self.rival.take() {
            Some(running) => running.kill().await?,
            None => self.lab.kill_daemon("n1", Daemon::Speaker).await?,
        }
        // A round that the one before did not follow ended in the middle.
        self.set_endpoint(true).await?;
        let start = Instant::now();
        for list in ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"] {
            let request = http::Request::get(list).body(Vec::new()).context("a request")?;
            self.client.request_text(request).await.context("listing")?;
        }
        let listed = start.elapsed();
        self.forget();
        match rival {
            None => self.lab.start_daemon("n1", Daemon::Speaker).await?,
            Some(program) => self.rival = Some(self.metallb(program).await?),
        }
        let last = self.prefixes(Kind::Announcement, self.services, RIVALS_START).await?;
        let announced = last.duration_since(self.speaker()?.started());
        Ok(Start { announced, listed })
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
        let server = format!("https://{}", API_ADDRESS);
        let kubeconfig = self.lab.cluster().admin_at("metallb", &server)?;
        let mut command = self.lab.node("n1")?.namespace().command(&program.to_string_lossy());
        command
            .env("KUBECONFIG", kubeconfig.path())
            .env("METALLB_BGP_TYPE", "native")
            .args(["--node-name", "n1", "--pod-name", "metallb-n1"])
            .args(["--namespace", testbed::HERALD_NAMESPACE, "--log-level", "warn"]);
        Process::start(self.lab.run(), "metallb-speaker", self.lab.logs(), command)
    }

    /// Excludes the node by its label, or lets it in again; how long the last prefix took, beyond the bare watch.
    pub(crate) async fn exclude(&mut self, excluded: bool) -> Result<i128> {
        self.forget();
        objects::exclude(&self.client, "n1", excluded).await?;
        self.everything(!excluded, Sight::Excluded(excluded)).await
    }

    /// Takes the one advertisement away, or gives it back; likewise.
    pub(crate) async fn advertise(&mut self, wanted: bool) -> Result<i128> {
        self.forget();
        objects::advertise(&self.client, wanted).await?;
        self.everything(wanted, Sight::Advertised(wanted)).await
    }

    /// All prefixes come or go after something was seen; microseconds between that and the last of them.
    async fn everything(&mut self, comes: bool, cause: Sight) -> Result<i128> {
        let seen = self.witness.sees(cause, START).await?;
        let kind = if comes { Kind::Announcement } else { Kind::Withdrawal };
        let last = self.prefixes(kind, self.services, RIVALS_START).await?;
        Ok(signed_difference(last, seen))
    }

    /// When the last of so many prefixes had arrived.
    async fn prefixes(&mut self, kind: Kind, wanted: u32, limit: Duration) -> Result<Instant> {
        let start = Instant::now();
        let wanted = usize::try_from(wanted)?;
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
                    self.speaker()?;
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
        self.witness.forget();
    }

    /// Makes Nodes and Services up to these numbers, and waits until all are announced.
    pub(crate) async fn grow(&mut self, services: u32, nodes: u32) -> Result<()> {
        objects::create_nodes(&self.client, self.nodes + 1..nodes + 1).await?;
        self.nodes = self.nodes.max(nodes);
        self.forget();
        objects::create_services(&self.client, self.services..services, self.nodes).await?;
        let made = services.saturating_sub(self.services);
        self.services = self.services.max(services);
        self.prefixes(Kind::Announcement, made, START).await.context("all Services to be announced")?;
        self.forget();
        Ok(())
    }

    /// Takes the first Service's endpoint away, or gives it back.
    pub(crate) async fn set_endpoint(&self, ready: bool) -> Result<()> {
        objects::set_endpoint(&self.client, ready).await
    }

    /// When the bare watch client saw the endpoint as `ready`.
    pub(crate) async fn watch_sees(&mut self, ready: bool, limit: Duration) -> Result<Instant> {
        self.witness.sees(Sight::Ready(ready), limit).await
    }

    /// When the next UPDATE of this kind had arrived at the bare peer.
    pub(crate) async fn arrival(&mut self, kind: Kind, limit: Duration) -> Result<Instant> {
        // The stamp was taken by the peer's own thread; looking late costs no accuracy.
        self.prefixes(kind, 1, limit).await
    }

    /// The API server is away for so long. Then a Service is made; how long its announcement takes, from the moment on
    /// at which the API server is back.
    pub(crate) async fn outage(&mut self, lasts: Duration) -> Result<Duration> {
        self.forget();
        self.lab.stop_api_server().await?;
        tokio::time::sleep(lasts).await;
        self.lab.start_api_server().await?;
        let back = Instant::now();
        objects::create_service(&self.client, self.services, self.nodes).await?;
        let came = self.arrival(Kind::Announcement, RIVALS_START).await?;
        objects::delete_service(&self.client, self.services).await?;
        self.arrival(Kind::Withdrawal, START).await.context("the new Service to be gone")?;
        Ok(came.duration_since(back))
    }

    /// A peer with a trouble joins; returns when its session is up.
    pub(crate) async fn join(&mut self, trouble: Trouble) -> Result<()> {
        let (name, address) = place(trouble)?;
        objects::add_peer(&self.client, name, address, PEER_PORT).await?;
        let neighbour = self.neighbour(trouble)?;
        eventually(DIALLED, "the session of the troublesome peer", async || {
            ensure!(neighbour.is_up(), "it is not up");
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// It leaves; an error when its session had not lasted until now.
    pub(crate) async fn leave(&mut self, trouble: Trouble) -> Result<()> {
        let (name, _) = place(trouble)?;
        let neighbour = self.neighbour(trouble)?;
        let lasted = neighbour.is_up();
        objects::remove_peer(&self.client, name).await?;
        neighbour.dismiss();
        eventually(DIALLED, "the session of the troublesome peer to end", async || {
            ensure!(!neighbour.is_up(), "it is up");
            Ok(())
        })
        .await?;
        ensure!(lasted, "its session has not lasted");
        Ok(())
    }

    /// How many prefixes the pouring peer has said so far.
    pub(crate) fn poured(&self) -> Result<u64> {
        Ok(self.neighbour(Trouble::Pours)?.poured())
    }

    fn neighbour(&self, trouble: Trouble) -> Result<&Neighbour> {
        let found = self.troubles.iter().find(|(kind, _)| *kind == trouble);
        found.map(|(_, neighbour)| neighbour).context("each trouble has its peer")
    }

    async fn wait_for_session(&mut self) -> Result<()> {
        eventually(START, "the session to be Established", async || {
            self.lab.check_daemons()?;
            let answer = self.lab.speakerctl_on("n1", &["peers"]).await?;
            ensure!(answer.text.contains("Established"), "{}", answer.text);
            Ok(())
        })
        .await?;
        Ok(())
    }
}

fn place(trouble: Trouble) -> Result<(&'static str, Ipv4Addr)> {
    let found = TROUBLES.iter().find(|(kind, ..)| *kind == trouble);
    found.map(|(_, name, address)| (*name, *address)).context("each trouble has its place")
}

/// Microseconds. Signed: the speaker may be told before the bare client is.
pub(crate) fn signed_difference(later: Instant, earlier: Instant) -> i128 {
    let micros = |span: Duration| i128::try_from(span.as_micros()).unwrap_or(i128::MAX);
    match later.checked_duration_since(earlier) {
        Some(span) => micros(span),
        None => -micros(earlier.duration_since(later)),
    }
}
