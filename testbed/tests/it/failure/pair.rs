//! Two routers: one dies while a client sends through the other, which is BIRD, and has a network of its own with the client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::eventually;
use testbed::lab::Lab;
use testbed::namespace::Namespace;
use testbed::network::{LAN_BITS_V4, NODE_AS};
use testbed::process::{Process, output};
use testbed::traffic::Traffic;

use super::{afterwards, quiet};
use crate::home::{FIRST, SOON, settle};

/// The second router in the LAN, and in its network with the client.
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const SECOND_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 89, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 89, 10);
const SECOND_AS: u32 = 65_531;
/// A path comes or goes at one router within this, whatever has become of the other.
const PROMPT: Duration = Duration::from_secs(5);

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    let second = Second::start(lab).await?;
    let service = settle(lab, "n1").await?;
    lab.start_pod("nginx", "n2").await?;
    service.change(&json!({"spec": {"externalTrafficPolicy": "Local"}})).await?;
    let peer = format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: second, namespace: {}}}\n\
         spec: {{myASN: {NODE_AS}, peerASN: {SECOND_AS}, peerAddress: {SECOND}}}\n",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&peer).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    second.wait_for(lab, &["n1", "n2"], SOON).await?;
    let traffic = Traffic::begin(lab.client(), SocketAddr::new(FIRST, 80), 4).await?;
    quiet(&traffic, 4).await?;

    lab.router_mut().power_off().await?;
    afterwards().await;
    second.wait_for(lab, &["n1", "n2"], PROMPT).await?;
    // What the pod costs that becomes unready is another story's: its node's kube-proxy may hear of it before the router.
    let loss = traffic.lap();
    let took = change(lab, &second).await?;
    tell(
        Chapter::Routers,
        "one of two routers dies while a client sends through the other",
        "that one's paths stay, and a pod that becomes unready meanwhile goes there",
        took,
        Cost::Measured(loss),
    );
    ensure!(loss.lost == 0 && loss.broken == 0, "{loss}");

    quiet(&traffic, 4).await?;
    lab.router_mut().power_on().await?;
    let start = Instant::now();
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    let took = start.elapsed();
    afterwards().await;
    let loss = traffic.lap();
    tell(
        Chapter::Routers,
        "it comes back",
        "its paths come back, counted from FRR's first answer on; nothing moves at the other",
        took,
        Cost::Measured(loss),
    );
    ensure!(loss.lost == 0 && loss.broken == 0, "{loss}");
    second.wait_for(lab, &["n1", "n2"], PROMPT).await?;
    lab.check_daemons()
}

/// The pod of n2 becomes unready, and ready again; how long the second router took to leave it.
async fn change(lab: &Lab, second: &Second) -> Result<Duration> {
    let pod = lab.pods().iter().find(|pod| pod.node() == "n2").context("a pod on n2")?;
    let start = Instant::now();
    pod.set_ready(lab.cluster().client(), false).await?;
    second.wait_for(lab, &["n1"], PROMPT).await?;
    let took = start.elapsed();
    pod.set_ready(lab.cluster().client(), true).await?;
    second.wait_for(lab, &["n1", "n2"], PROMPT).await?;
    Ok(took)
}

/// The second router. It ends with the story.
struct Second {
    namespace: Namespace,
    _bird: Process,
}

impl Second {
    async fn start(lab: &Lab) -> Result<Self> {
        let router = lab.router().namespace();
        let prefix =
            router.name().strip_suffix("router").context("the router's namespace ends in its name")?;
        let namespace = Namespace::create(lab.run(), format!("{prefix}second")).await?;
        let name = namespace.name();
        router
            .ip(&format!(
                "link add second type veth peer name lan netns {name}\n\
                 link set second master lan\nlink set second up\n"
            ))
            .await?;
        let client = lab.client().namespace();
        client
            .ip(&format!(
                "link add eth1 type veth peer name clients netns {name}\n\
                 address add {CLIENT}/24 dev eth1\nlink set eth1 up\n"
            ))
            .await?;
        namespace
            .ip(&format!(
                "address add {SECOND}/{LAN_BITS_V4} dev lan\nlink set lan up\n\
                 address add {SECOND_OUTSIDE}/24 dev clients\nlink set clients up\n"
            ))
            .await?;
        client.ip(&format!("route add 10.0.4.0/23 via {SECOND_OUTSIDE}\n")).await?;
        for node in lab.nodes() {
            node.namespace().ip(&format!("route add 192.168.89.0/24 via {SECOND}\n")).await?;
        }
        let configuration = format!(
            "router id {SECOND};\nprotocol device {{}}\n\
             protocol kernel {{ merge paths on; ipv4 {{ import none; export all; }}; }}\n\
             protocol bgp nodes {{ local {SECOND} as {SECOND_AS}; neighbor range 10.0.2.0/24 as {NODE_AS}; \
             dynamic name \"node\"; ipv4 {{ import all; export none; }}; }}\n"
        );
        let (path, socket) = (lab.folder().join("pair.conf"), lab.folder().join("pair.ctl"));
        std::fs::write(&path, configuration).context("writing BIRD's configuration")?;
        let mut command = namespace.command("bird");
        command.arg("-f").arg("-c").arg(&path).arg("-s").arg(&socket);
        let bird = Process::start(lab.run(), "pair", lab.logs(), command)?;
        Ok(Self { namespace, _bird: bird })
    }

    /// Waits until this router forwards the address to exactly these nodes.
    async fn wait_for(&self, lab: &Lab, nodes: &[&str], limit: Duration) -> Result<()> {
        let mut wanted = Vec::new();
        for node in nodes {
            wanted.push(IpAddr::from(lab.node(node)?.plan().v4));
        }
        wanted.sort_unstable();
        eventually(limit, &format!("the second router to forward to {nodes:?}"), async || {
            let found = self.next_hops().await?;
            ensure!(found == wanted, "{found:?}");
            Ok(())
        })
        .await
        .map(drop)
    }

    async fn next_hops(&self) -> Result<Vec<IpAddr>> {
        let mut command = tokio::process::Command::new("ip");
        command.args([
            "-netns",
            self.namespace.name(),
            "-json",
            "route",
            "show",
            "exact",
            &format!("{FIRST}/32"),
        ]);
        let routes: Value =
            serde_json::from_str(&output(&mut command).await?).context("reading ip's answer")?;
        let gateway = |hop: &Value| hop["gateway"].as_str().and_then(|text| text.parse().ok());
        let mut hops: Vec<IpAddr> = routes
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|route| {
                let several = route["nexthops"].as_array().into_iter().flatten().filter_map(gateway);
                several.chain(gateway(route)).collect::<Vec<_>>()
            })
            .collect();
        hops.sort_unstable();
        Ok(hops)
    }
}
