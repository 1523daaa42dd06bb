//! Peers of every kind against FRR: routers that call, both sides dialling, a whole network of routers, TTL security, the
//! node's gateway, an unnumbered link, IPv4 over IPv6, and what an edit of a peer touches.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::network::router::RouterPlan;

use crate::home::{FIRST, SOON, install, settle};
use crate::runner::Test;
use crate::why::by_socket;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "a_router_that_only_dials_is_taken_and_of_two_connections_one_stays",
        plan: || with_router(CALLS),
        story: |lab| Box::pin(called(lab)),
    },
    Test {
        name: "a_port_that_another_speaker_has_is_named_and_taken_when_it_is_free",
        plan: || with_router(CALLS),
        story: |lab| Box::pin(port_in_use(lab)),
    },
    Test {
        name: "routers_of_a_network_call_with_a_password",
        plan: || {
            let password = ["neighbor NODES password open-sesame"];
            with_router(&[CALLS, &password].concat())
        },
        story: |lab| Box::pin(range(lab)),
    },
    Test {
        name: "the_default_gateway_is_a_peer_with_ttl_security_and_follows_the_route",
        plan: || with_router(&["neighbor NODES ttl-security hops 1"]),
        story: |lab| Box::pin(gateway(lab)),
    },
    Test {
        name: "an_unnumbered_link_carries_both_families",
        plan: || with_router(&[]),
        story: |lab| Box::pin(unnumbered(lab)),
    },
    Test {
        name: "ipv4_routes_go_over_an_ipv6_session_with_an_ipv6_next_hop",
        plan: || with_router(&["neighbor NODES capability extended-nexthop"]),
        story: |lab| Box::pin(over_ipv6(lab)),
    },
    Test {
        name: "an_edit_of_a_peer_touches_only_its_session_and_only_if_it_must",
        plan: || with_router(&[]),
        story: |lab| Box::pin(edits(lab)),
    },
];

/// A router that dials; left to itself FRR would try again after two minutes.
const CALLS: &[&str] = &["no neighbor NODES passive", "neighbor NODES timers connect 2"];

/// Lets FRR dial the node at the port that needs no capability; it knows that of single neighbours only.
async fn dial_another_port(lab: &Lab) -> Result<()> {
    let command = "configure terminal\nrouter bgp 65530\nneighbor 10.0.2.11 port 1790";
    lab.router().vtysh(command).await.map(drop)
}

fn with_router(extra: &[&str]) -> LabPlan {
    let extra = extra.iter().map(|line| (*line).to_owned()).collect();
    LabPlan {
        nodes: vec![1],
        router: RouterPlan { extra, ..RouterPlan::default() },
        data_path: false,
        ..LabPlan::default()
    }
}

/// Applies the BGPPeer `router` with these fields in place of the sample's.
async fn set_peer(lab: &Lab, fields: &str) -> Result<()> {
    let delete = ["delete", "bgppeers.metallb.io", "router", "-n", testbed::HERALD_NAMESPACE];
    let answer = lab.cluster().kubectl(&delete).await?;
    ensure!(answer.accepted, "{}", answer.text);
    apply_peer(lab, fields).await
}

async fn apply_peer(lab: &Lab, fields: &str) -> Result<()> {
    let peer = format!(
        "{{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {{name: router, namespace: {}}}, \
         spec: {{myASN: 64500, {fields}}}}}",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&peer).await.map(drop)
}

/// What the speaker's row of a session says, as `speakerctl peers` shows it.
async fn wait_for_words(lab: &Lab, words: &str) -> Result<()> {
    eventually(SOON, &format!("speakerctl to show {words:?}"), async || {
        let answer = lab.speakerctl(&["peers", "-o", "yaml"]).await?;
        // YAML folds long texts.
        let text = answer.text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(text.contains(words), "{}", answer.text);
        Ok(())
    })
    .await?;
    Ok(())
}

async fn called(lab: &mut Lab) -> Result<()> {
    dial_another_port(lab).await?;
    install(lab).await?;
    lab.start_pod("nginx", "n1").await?;
    set_peer(lab, "peerASN: 65530, peerAddress: 10.0.2.1, connectMode: Passive, listenPort: 1790").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let ports = testbed::process::output(lab.node("n1")?.namespace().command("ss").args(["-Htn"])).await?;
    ensure!(ports.contains(":1790"), "the router's call is not there: {ports}");

    // Now both dial. Whichever connection stays, there is one session with all routes, also after a crash of ours, when
    // both sides begin at once.
    apply_peer(lab, "peerASN: 65530, peerAddress: 10.0.2.1, connectMode: Both, listenPort: 1790").await?;
    throughout(Duration::from_secs(3), "the session that is up stays", async || {
        lab.check_paths(FIRST, &["n1"]).await
    })
    .await?;
    for _ in 0..3 {
        lab.kill_daemon("n1", Daemon::Speaker).await?;
        lab.start_daemon("n1", Daemon::Speaker).await?;
        eventually(SOON, "one session", async || {
            let up = lab.router().established().await?;
            ensure!(up.len() == 1, "{up:?}");
            Ok(())
        })
        .await?;
        lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
        throughout(Duration::from_secs(3), "it stays", async || {
            ensure!(lab.router().established().await?.len() == 1, "no session");
            Ok(())
        })
        .await?;
    }
    lab.check_daemons()
}

async fn port_in_use(lab: &mut Lab) -> Result<()> {
    dial_another_port(lab).await?;
    let other = lab.node("n1")?.namespace().listen("0.0.0.0:1790".parse()?).await?;
    install(lab).await?;
    lab.start_pod("nginx", "n1").await?;
    set_peer(lab, "peerASN: 65530, peerAddress: 10.0.2.1, connectMode: Passive, listenPort: 1790").await?;
    wait_for_words(lab, "another program on this node, a BGP speaker perhaps, has that port").await?;
    lab.check_daemons()?;
    drop(other);
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

async fn range(lab: &mut Lab) -> Result<()> {
    dial_another_port(lab).await?;
    install(lab).await?;
    lab.start_pod("nginx", "n1").await?;
    let fields = "dynamicASN: external, peerRange: 10.0.2.0/23, listenPort: 1790";
    set_peer(lab, &format!("{fields}, password: wrong")).await?;
    throughout(Duration::from_secs(3), "no session with a wrong password", async || {
        let up = lab.router().established().await?;
        ensure!(up.is_empty(), "established: {up:?}");
        Ok(())
    })
    .await?;
    apply_peer(lab, &format!("{fields}, password: open-sesame")).await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    wait_for_words(lab, "router@10.0.2.1").await?;
    by_socket(lab, "nginx", true, &["router@10.0.2.1", "10.0.4.1/32 is sent"]).await?;
    let answer = lab.speakerctl_on("n1", &["routes", "--check", "--peer", "router"]).await?;
    ensure!(answer.accepted && answer.text.contains("router@10.0.2.1"), "{}", answer.text);
    lab.check_daemons()
}

async fn gateway(lab: &mut Lab) -> Result<()> {
    install(lab).await?;
    lab.start_pod("nginx", "n1").await?;
    set_peer(lab, "dynamicASN: external, defaultGateway: IPv4, ttlSecurity: 1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let node = lab.node("n1")?.namespace();
    node.ip("route del default\n").await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    wait_for_words(lab, "this node has no IPv4 default route with a gateway").await?;
    node.ip("route add default via 10.0.2.1\n").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

/// A second cable between router and node, without any address but the link-local ones.
pub(crate) async fn plug_unnumbered(lab: &Lab) -> Result<()> {
    let node = lab.node("n1")?.namespace();
    let router = lab.router().namespace();
    router
        .ip(&format!("link add up1 type veth peer name eth1 netns {}\nlink set up1 up\n", node.name()))
        .await?;
    node.ip("link set eth1 up\n").await?;
    let commands = "configure terminal\nrouter bgp 65530\nneighbor up1 interface remote-as external\n\
                    address-family ipv4 unicast\nneighbor up1 activate\nexit-address-family\n\
                    address-family ipv6 unicast\nneighbor up1 activate\nexit-address-family\n";
    lab.router().vtysh(commands).await.map(drop)
}

async fn unnumbered(lab: &mut Lab) -> Result<()> {
    lab.install_herald().await?;
    plug_unnumbered(lab).await?;
    crate::home::apply_sample(lab, "dual-stack.yaml").await?;
    lab.start_pod("nginx", "n1").await?;
    for peer in ["router", "router-v6"] {
        let delete =
            ["delete", "bgppeers.metallb.io", peer, "-n", testbed::HERALD_NAMESPACE, "--ignore-not-found"];
        ensure!(lab.cluster().kubectl(&delete).await?.accepted, "{peer} cannot be deleted");
    }
    apply_peer(lab, "dynamicASN: external, interface: eth1").await?;
    // FRR does not know the node until it advertises itself, for which the images' user lacks the capability.
    wait_for_words(lab, "without the capability NET_RAW").await?;
    lab.stop_daemon("n1", Daemon::Speaker).await?;
    lab.grant("n1", Daemon::Speaker, "net_raw");
    lab.start_daemon("n1", Daemon::Speaker).await?;
    let service = testbed::service::Service::existing(lab.cluster().client(), "nginx-dual-stack");
    let (addresses, _) = service.wait_for_addresses(2, SOON).await?;
    for address in addresses {
        eventually(SOON, &format!("the router to know {address} over the unnumbered link"), async || {
            let hops = next_hops(lab, address).await?;
            let is_link_local = |hop: &IpAddr| matches!(hop, IpAddr::V6(v6) if v6.is_unicast_link_local());
            ensure!(!hops.is_empty() && hops.iter().all(is_link_local), "{address} goes to {hops:?}");
            Ok(())
        })
        .await?;
        let kernel = lab.router().namespace();
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        eventually(SOON, "the kernel to forward over the link", async || {
            let mut ip = tokio::process::Command::new("ip");
            ip.args(["-netns", kernel.name(), family, "route", "show", "proto", "bgp"]);
            let routes = testbed::process::output(&mut ip).await?;
            ensure!(routes.contains(&address.to_string()) && routes.contains("dev up1"), "{routes}");
            Ok(())
        })
        .await?;
    }
    let before = times_up(lab, "up1").await?;
    forget_router(lab).await?;
    // More than one look.
    throughout(
        Duration::from_secs(12),
        "the session without a router in the table of neighbours",
        async || {
            ensure!(times_up(lab, "up1").await? == before, "it ended and began anew");
            Ok(())
        },
    )
    .await?;
    lab.check_daemons()
}

/// The node reaches the router on, and its table of neighbours does not know any more that it is one. Router advertisements do
/// not change an entry that somebody wrote.
async fn forget_router(lab: &Lab) -> Result<()> {
    let node = lab.node("n1")?.namespace();
    let mut ip = tokio::process::Command::new("ip");
    ip.args(["-netns", node.name(), "-6", "neigh", "show", "dev", "eth1"]);
    let known = testbed::process::output(&mut ip).await?;
    let router = known.lines().find(|line| line.contains(" router")).context("a router among neighbours")?;
    let words: Vec<&str> = router.split_whitespace().collect();
    let &[address, "lladdr", hardware, ..] = &*words else { bail!("a neighbour like this: {router}") };
    node.ip(&format!("neigh replace {address} lladdr {hardware} dev eth1 nud permanent\n")).await?;
    let after = testbed::process::output(&mut ip).await?;
    ensure!(!after.contains(" router"), "the router still stands there: {after}");
    Ok(())
}

/// The next hops of an address as BGP has them; of two in one path the one that is used.
async fn next_hops(lab: &Lab, address: IpAddr) -> Result<Vec<IpAddr>> {
    let prefix = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
    let paths = lab.router().paths(&prefix).await?;
    let hops = paths["paths"].as_array().into_iter().flatten().flat_map(|path| {
        path["nexthops"].as_array().into_iter().flatten().filter(|hop| hop["used"] == Value::Bool(true))
    });
    hops.map(|hop| Ok(hop["ip"].as_str().context("a next hop has an address")?.parse()?)).collect()
}

async fn over_ipv6(lab: &mut Lab) -> Result<()> {
    install(lab).await?;
    lab.start_pod("nginx", "n1").await?;
    let plan = lab.node("n1")?.plan().clone();
    // A node of an IPv6-only rack: no IPv4 address that could be a next hop.
    lab.node("n1")?.namespace().ip(&format!("address del {}/23 dev eth0\n", plan.v4)).await?;
    set_peer(lab, "peerASN: 65530, peerAddress: 'fd00:10:0:2::1', dualStackAddressFamily: true").await?;
    eventually(SOON, "the route with an IPv6 next hop", async || {
        let hops = next_hops(lab, FIRST).await?;
        ensure!(hops == [IpAddr::V6(plan.v6)], "{hops:?}");
        Ok(())
    })
    .await?;
    lab.check_daemons()
}

/// How often FRR's session with this neighbour came up.
async fn times_up(lab: &Lab, neighbour: &str) -> Result<u64> {
    let text = lab.router().vtysh("show bgp neighbors json").await?;
    let answer: Value = serde_json::from_str(&text).context("reading FRR's neighbours")?;
    let neighbour = &answer[neighbour];
    ensure!(neighbour["bgpState"] == "Established", "{}", neighbour["bgpState"]);
    neighbour["connectionsEstablished"].as_u64().context("FRR counts sessions")
}

async fn edits(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    let node = lab.node("n1")?.plan().v4.to_string();
    let before = times_up(lab, &node).await?;
    let base = "peerASN: 65530, peerAddress: 10.0.2.1";
    let elsewhere = format!(
        "{{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {{name: other, namespace: {}}}, \
         spec: {{myASN: 64500, peerASN: 65530, peerAddress: 10.0.3.77}}}}",
        testbed::HERALD_NAMESPACE
    );
    let advertisement = format!(
        "{{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {{name: more, namespace: {}}}, \
         spec: {{communities: ['64500:7']}}}}",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&elsewhere).await?;
    lab.cluster().apply(&advertisement).await?;
    apply_peer(
        lab,
        &format!("{base}, connectTime: 7s, connectMode: Both, listenPort: 1790, inspectUpdates: true"),
    )
    .await?;
    let selectors = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]";
    apply_peer(lab, &format!("{base}, connectTime: 9s, {selectors}")).await?;
    eventually(SOON, "the community to show that all of it has arrived", async || {
        let paths = lab.router().paths(&format!("{FIRST}/32")).await?;
        ensure!(paths["paths"][0]["community"]["string"] == "64500:7", "{paths:#}");
        Ok(())
    })
    .await?;
    ensure!(times_up(lab, &node).await? == before, "an edit reset the session that it need not touch");
    // What OPEN says can only be said in a new session.
    apply_peer(lab, &format!("{base}, holdTime: 9s, {selectors}")).await?;
    eventually(SOON, "a new session", async || {
        let now = times_up(lab, &node).await?;
        if now == before + 1 { Ok(()) } else { bail!("{now} sessions, {before} before") }
    })
    .await?;
    lab.check_daemons()
}
