//! BFD with FRR's bfdd: a dead path is noticed in less than a second by both sides, a changed profile resets nothing, an upgrade
//! goes unnoticed, and everything comes back by itself.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::namespace::Namespace;
use testbed::network::router::RouterPlan;
use testbed::process::{Process, output};

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;
use crate::upgrade::ledger;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "a_dead_path_is_noticed_by_bfd_within_a_second_and_comes_back",
        plan: one_node,
        story: |lab| Box::pin(dead_path(lab)),
    },
    Test {
        name: "a_changed_bfd_profile_resets_nothing_and_a_missing_one_keeps_the_peer_down",
        plan: one_node,
        story: |lab| Box::pin(changed_profile(lab)),
    },
    Test {
        name: "a_speaker_that_restarts_or_crashes_beside_bfd_loses_no_route",
        plan: one_node,
        story: |lab| Box::pin(restart(lab)),
    },
    Test {
        name: "an_upgrade_hands_bfd_over_and_a_router_that_forgets_at_once_notices_nothing",
        plan: || {
            let extra = vec!["bgp graceful-restart-disable".to_owned()];
            let router = RouterPlan { extra, ..RouterPlan::default() };
            LabPlan { nodes: vec![1], router, ..LabPlan::default() }
        },
        story: |lab| Box::pin(changes_hands(lab)),
    },
    Test { name: "bfd_runs_over_ipv6", plan: one_node, story: |lab| Box::pin(over_ipv6(lab)) },
    Test {
        name: "bfd_runs_over_several_hops",
        plan: || {
            let extra = vec![" neighbor NODES ebgp-multihop 4".to_owned()];
            LabPlan { router: RouterPlan { extra, ..RouterPlan::default() }, ..one_node() }
        },
        story: |lab| Box::pin(over_several_hops(lab)),
    },
    Test {
        name: "bfd_runs_on_an_unnumbered_link_also_through_an_upgrade",
        plan: one_node,
        story: |lab| Box::pin(unnumbered(lab)),
    },
    Test {
        name: "bfd_comes_up_with_bird_and_notices_its_death",
        plan: one_node,
        story: |lab| Box::pin(bird(lab)),
    },
];

/// What is promised for 300 ms and three packets: 900 ms, and what it takes to act on them.
const PROMISED: Duration = Duration::from_secs(1);
/// Both sides send once a second until BFD is up, and then BGP is dialled at once.
const BACK: Duration = Duration::from_secs(5);
/// Looking at the router takes a process each time, on a machine with much else to do.
const SEEN: Duration = Duration::from_millis(1500);

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

pub(crate) fn profile(interval: u32) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\n\
         kind: BFDProfile\n\
         metadata: {{name: fast, namespace: metallb-system}}\n\
         spec: {{receiveInterval: {interval}, transmitInterval: {interval}, detectMultiplier: 3}}\n"
    )
}

const PEER: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 65530, peerAddress: 10.0.2.1, bfdProfile: fast}
";

/// Herald announces from n1, and BFD is up on both sides. The process is FRR's bfdd.
async fn settle_with_bfd(lab: &mut Lab) -> Result<Process> {
    let bfdd = start_bfdd(lab).await?;
    settle(lab, "n1").await?;
    lab.cluster().apply(&profile(300)).await?;
    lab.cluster().apply(PEER).await?;
    wait_for_bfd(lab).await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    Ok(bfdd)
}

/// Starts FRR's bfdd and switches BFD on for the nodes once FRR's daemons know each other: bgpd forgets sessions that it
/// could not pass on.
pub(crate) async fn start_bfdd(lab: &Lab) -> Result<Process> {
    let folder = lab.router().sockets();
    let file = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("bfdd.conf"), "hostname router\n").context("writing bfdd.conf")?;
    let mut command = lab.router().namespace().command("/usr/lib/frr/bfdd");
    command
        .args(["--config_file", &file("bfdd.conf")])
        .args(["--pid_file", &file("bfdd.pid")])
        .args(["--socket", &file("zserv.api")])
        .args(["--bfdctl", &file("bfdd.sock")])
        .args(["--vty_socket", &folder.display().to_string()])
        .args(["--vty_port", "0", "--log", "stdout"]);
    let bfdd = Process::start(lab.run(), "bfdd", lab.logs(), command)?;
    eventually(SOON, "FRR's daemons to know each other", async || {
        let clients = lab.router().vtysh("show zebra client summary").await?;
        ensure!(clients.contains("bgp") && clients.contains("bfd"), "{clients}");
        Ok(())
    })
    .await?;
    lab.router().vtysh("configure terminal\nrouter bgp 65530\nneighbor NODES bfd").await?;
    Ok(bfdd)
}

async fn wait_for_bfd(lab: &Lab) -> Result<Duration> {
    let ((), took) = eventually(SOON, "BFD to be up on both sides", async || {
        let theirs = bfd_at_the_router(lab).await?;
        ensure!(theirs["status"] == "up", "the router's session: {theirs}");
        ensure!(metric(lab, "metallb_bfd_session_up").await? == "1", "the speaker's session is down");
        ensure!(bgp_is_up(lab).await?, "BGP is down");
        Ok(())
    })
    .await?;
    Ok(took)
}

fn node_address(lab: &Lab) -> Result<IpAddr> {
    Ok(lab.node("n1")?.plan().v4.into())
}

/// FRR's BFD session with n1.
async fn bfd_at_the_router(lab: &Lab) -> Result<Value> {
    bfd_with(lab, node_address(lab)?).await
}

async fn bfd_with(lab: &Lab, node: IpAddr) -> Result<Value> {
    let peers: Value = serde_json::from_str(&lab.router().vtysh("show bfd peers json").await?)
        .context("reading FRR's BFD peers")?;
    let node = node.to_string();
    let peers = peers.as_array().context("FRR's BFD peers are a list")?;
    let own = peers.iter().find(|peer| peer["peer"] == node.as_str());
    own.cloned().with_context(|| format!("FRR has no BFD session with {node}: {peers:?}"))
}

/// The first series of a metric of n1's speaker.
async fn metric(lab: &Lab, name: &str) -> Result<String> {
    let mut curl = lab.node("n1")?.namespace().command("curl");
    let text =
        output(curl.args(["--silent", "--fail", "--max-time", "2", "http://127.0.0.1:7473/metrics"])).await?;
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map(str::to_owned).with_context(|| format!("no series of {name}"))
}

async fn bgp_is_up(lab: &Lab) -> Result<bool> {
    Ok(metric(lab, "metallb_bgp_session_up").await? == "1")
}

/// When the speaker's newest session ended because of BFD, by its own log.
async fn wait_for_end(lab: &Lab, since: Timestamp) -> Result<Duration> {
    let log = lab.herald().process("n1", Daemon::Speaker)?.log().to_owned();
    let found = eventually(SOON, "the speaker to end the session", async || end_in(&log, since)).await?;
    Ok(found.0)
}

/// How long after `since` the log tells of a session that BFD ended.
fn end_in(log: &Path, since: Timestamp) -> Result<Duration> {
    let text = std::fs::read_to_string(log).context("reading the speaker's log")?;
    for line in text.lines().filter(|line| line.contains("\"session down\"") && line.contains("BFDDown")) {
        let line: Value = serde_json::from_str(line).context("reading a line of the speaker's log")?;
        let at: Timestamp = line["ts"].as_str().context("a line has a time")?.parse()?;
        if at >= since {
            return at.duration_since(since).try_into().context("a short time");
        }
    }
    bail!("it tells of none")
}

/// Drops packets at one of the hooks of a namespace.
async fn cut(namespace: &Namespace, rules: &[&str]) -> Result<()> {
    let mut script = String::from(
        "add table inet cut; \
         add chain inet cut in { type filter hook input priority 0; }; \
         add chain inet cut out { type filter hook output priority 0; };",
    );
    for rule in rules {
        script.push_str(&format!("add rule inet cut {rule} drop;"));
    }
    output(namespace.command("nft").arg(&script)).await.map(drop)
}

async fn mend(namespace: &Namespace) -> Result<()> {
    output(namespace.command("nft").args(["delete", "table", "inet", "cut"])).await.map(drop)
}

async fn dead_path(lab: &mut Lab) -> Result<()> {
    let mut bfdd = settle_with_bfd(lab).await?;
    let node = node_address(lab)?;
    for round in 1..=3 {
        // Nothing passes any more, in either direction; no interface goes down.
        let (there, back) = (format!("in ip saddr {node}"), format!("out ip daddr {node}"));
        let (cut_at, start) = (Timestamp::now(), Instant::now());
        cut(lab.router().namespace(), &[&there, &back]).await?;
        lab.wait_for_paths(FIRST, &[], SOON).await?;
        let router = start.elapsed();
        let speaker = wait_for_end(lab, cut_at).await?;
        println!(
            "  round {round}: speaker ends the session after {speaker:?}, router drops the route after {router:?}"
        );
        ensure!(speaker < PROMISED && router < SEEN, "promised is {PROMISED:?}");
        if round == 3 {
            // Long enough for BGP's own retry to be seconds away.
            throughout(Duration::from_secs(8), "the hole", async || lab.check_paths(FIRST, &[]).await)
                .await?;
        }
        mend(lab.router().namespace()).await?;
        let start = Instant::now();
        wait_for_bfd(lab).await?;
        lab.wait_for_paths(FIRST, &["n1"], BACK).await?;
        println!("  round {round}: route back {:?} after the path", start.elapsed());
    }

    // Only the speaker goes deaf: its own words reach the router, and say why.
    let (cut_at, start) = (Timestamp::now(), Instant::now());
    cut(lab.node("n1")?.namespace(), &["in udp dport 3784"]).await?;
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    let (speaker, router) = (wait_for_end(lab, cut_at).await?, start.elapsed());
    println!(
        "  one way: speaker ends the session after {speaker:?}, router drops the route after {router:?}"
    );
    ensure!(speaker < PROMISED && router < SEEN, "promised is {PROMISED:?}");
    // BFD that is not up keeps BGP down on neither side: with TCP whole, routes come back before BFD does.
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    ensure!(metric(lab, "metallb_bfd_session_up").await? == "0", "BFD hears nothing");
    eventually(SOON, "speakerctl to tell of it", async || {
        let answer = lab.speakerctl(&["peers", "-o", "yaml"]).await?;
        ensure!(answer.text.contains("bfd: Down"), "{}", answer.text);
        ensure!(answer.text.contains("nothing comes on UDP port 3784"), "{}", answer.text);
        Ok(())
    })
    .await?;
    mend(lab.node("n1")?.namespace()).await?;
    wait_for_bfd(lab).await?;
    bfdd.check_running()?;
    lab.check_daemons()
}

async fn changed_profile(lab: &mut Lab) -> Result<()> {
    let mut bfdd = settle_with_bfd(lab).await?;
    for interval in [200, 500, 300] {
        lab.cluster().apply(&profile(interval)).await?;
        let ((), took) = eventually(SOON, "the router to follow the profile", async || {
            let theirs = bfd_at_the_router(lab).await?;
            ensure!(theirs["remote-transmit-interval"] == interval, "{theirs}");
            ensure!(theirs["remote-receive-interval"] == interval, "{theirs}");
            ensure!(theirs["status"] == "up", "{theirs}");
            Ok(())
        })
        .await?;
        println!("  {interval} ms: known to the router after {took:?}");
    }
    throughout(Duration::from_secs(3), "both sessions", async || {
        ensure!(metric(lab, "metallb_bfd_session_down_events").await? == "0", "BFD went down");
        ensure!(metric(lab, "herald_bgp_session_established_total").await? == "1", "BGP came up again");
        lab.check_paths(FIRST, &["n1"]).await
    })
    .await?;
    eventually(SOON, "speakerctl to show it", async || {
        let answer = lab.speakerctl(&["peers", "-o", "wide"]).await?;
        ensure!(answer.text.contains("Up 900ms"), "{}", answer.text);
        Ok(())
    })
    .await?;

    // Switched off here. FRR 8.4 takes AdminDown for a failure and resets BGP, once.
    lab.cluster().apply(&PEER.replace(", bfdProfile: fast", "")).await?;
    eventually(SOON, "the router to see the end of BFD", async || {
        let theirs = bfd_at_the_router(lab).await?;
        ensure!(theirs["status"] != "up", "{theirs}");
        Ok(())
    })
    .await?;
    eventually(SOON, "the route to stay without BFD", async || {
        throughout(Duration::from_secs(2), "the route", async || lab.check_paths(FIRST, &["n1"]).await).await
    })
    .await?;
    lab.cluster().apply(PEER).await?;
    wait_for_bfd(lab).await?;

    // Without its profile the peer stays down, and comes back with it.
    let deleted = lab.cluster().kubectl(&["delete", "bfdprofile", "fast", "-n", "metallb-system"]).await?;
    ensure!(deleted.accepted, "{}", deleted.text);
    lab.wait_for_paths(FIRST, &[], SOON).await?;
    lab.cluster().apply(&profile(300)).await?;
    wait_for_bfd(lab).await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    bfdd.check_running()?;
    lab.check_daemons()
}

/// BFD ends with the process that speaks BGP, and FRR takes that for no failure while it waits for a graceful restart:
/// it hears of the end of BGP's connection first.
async fn restart(lab: &mut Lab) -> Result<()> {
    let mut bfdd = settle_with_bfd(lab).await?;
    let away = Duration::from_secs(5);
    lab.stop_daemon("n1", Daemon::Speaker).await?;
    throughout(away, "the route in a planned restart", async || lab.check_paths(FIRST, &["n1"]).await)
        .await?;
    lab.start_daemon("n1", Daemon::Speaker).await?;
    wait_for_bfd(lab).await?;
    lab.kill_daemon("n1", Daemon::Speaker).await?;
    throughout(away, "the route after a crash", async || lab.check_paths(FIRST, &["n1"]).await).await?;
    lab.start_daemon("n1", Daemon::Speaker).await?;
    wait_for_bfd(lab).await?;
    lab.check_paths(FIRST, &["n1"]).await?;
    bfdd.check_running()?;
    lab.check_daemons()
}

/// What FRR counts about its BFD session with n1.
#[derive(Debug, PartialEq, Eq)]
struct BfdLedger {
    ups: u64,
    downs: u64,
    /// The number that the speaker gave the session.
    theirs: u64,
    /// The number that FRR gave it.
    ours: u64,
}

async fn bfd_ledger(lab: &Lab) -> Result<BfdLedger> {
    let node = node_address(lab)?;
    let text = lab.router().vtysh(&format!("show bfd peer {node} counters json")).await?;
    let counters: Value = serde_json::from_str(&text).context("reading FRR's BFD counters")?;
    let session = bfd_at_the_router(lab).await?;
    let number =
        |from: &Value, field: &str| from[field].as_u64().with_context(|| format!("{field} in {from}"));
    Ok(BfdLedger {
        ups: number(&counters, "session-up")?,
        downs: number(&counters, "session-down")?,
        theirs: number(&session, "remote-id")?,
        ours: number(&session, "id")?,
    })
}

async fn changes_hands(lab: &mut Lab) -> Result<()> {
    let mut bfdd = settle_with_bfd(lab).await?;
    eventually(SOON, "the page", async || lab.client().curl("http://10.0.4.1").await).await?;
    let (bgp, bfd) = (ledger(lab, "n1").await?, bfd_ledger(lab).await?);
    let caller = lab.client().call(FIRST);
    for _ in 0..4 {
        let status = lab.upgrade_speaker("n1").await?;
        ensure!(status.success(), "the speaker ended with {status}");
        // Some detection times.
        throughout(Duration::from_secs(3), "both sessions", async || {
            let now = bfd_ledger(lab).await?;
            ensure!(now == bfd, "the router counted {bfd:?} before and {now:?} after");
            lab.check_paths(FIRST, &["n1"]).await
        })
        .await?;
    }
    let tally = caller.end().await?;
    println!("  {} requests answered, longest gap {:?}; {bfd:?}", tally.answered, tally.longest_gap);
    tally.nothing_lost()?;
    ledger(lab, "n1").await?.ensure_same(&bgp)?;
    ensure!(metric(lab, "metallb_bfd_session_up").await? == "1", "the successor knows of the session");
    ensure!(metric(lab, "metallb_bfd_session_down_events").await? == "0", "it never went down");

    // And the successor watches as the first one did.
    let cut_at = Timestamp::now();
    cut(lab.node("n1")?.namespace(), &["in udp dport 3784"]).await?;
    let took = wait_for_end(lab, cut_at).await?;
    println!("  the last of five speakers ends the session after {took:?}");
    ensure!(took < PROMISED, "promised is {PROMISED:?}");
    mend(lab.node("n1")?.namespace()).await?;
    wait_for_bfd(lab).await?;
    bfdd.check_running()?;
    lab.check_daemons()
}

async fn over_ipv6(lab: &mut Lab) -> Result<()> {
    let peer = PEER.replace("10.0.2.1", "\"fd00:10:0:2::1\"");
    comes_up_with(lab, &peer, lab.node("n1")?.plan().v6.into(), false).await
}

async fn over_several_hops(lab: &mut Lab) -> Result<()> {
    let peer = PEER.replace("bfdProfile", "ebgpMultiHop: true, bfdProfile");
    comes_up_with(lab, &peer, node_address(lab)?, true).await
}

const UNNUMBERED: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router, namespace: metallb-system}
spec: {myASN: 64500, dynamicASN: external, interface: eth1, bfdProfile: fast}
";

async fn unnumbered(lab: &mut Lab) -> Result<()> {
    let mut bfdd = start_bfdd(lab).await?;
    lab.install_herald().await?;
    crate::peers::plug_unnumbered(lab).await?;
    lab.router().vtysh("configure terminal\nrouter bgp 65530\nneighbor up1 bfd").await?;
    // FRR has to hear the node's advertisements.
    lab.stop_daemon("n1", Daemon::Speaker).await?;
    lab.grant("n1", Daemon::Speaker, "net_raw");
    lab.start_daemon("n1", Daemon::Speaker).await?;
    lab.cluster().apply(&profile(300)).await?;
    lab.cluster().apply(UNNUMBERED).await?;
    wait_for_speaker(lab).await?;
    let before = link_local_sessions(lab).await?;
    ensure!(before.len() == 1, "the router's BFD sessions between link-local addresses: {before:?}");
    for _ in 0..2 {
        let status = lab.upgrade_speaker("n1").await?;
        ensure!(status.success(), "the speaker ended with {status}");
        throughout(Duration::from_secs(2), "BFD", async || {
            let now = link_local_sessions(lab).await?;
            ensure!(now == before, "the router counted {before:?} before and {now:?} after");
            ensure!(metric(lab, "metallb_bfd_session_down_events").await? == "0", "BFD went down");
            ensure!(bgp_is_up(lab).await?, "BGP is down");
            Ok(())
        })
        .await?;
    }
    let cut_at = Timestamp::now();
    cut(lab.node("n1")?.namespace(), &["in iifname eth1 udp dport 3784"]).await?;
    let took = wait_for_end(lab, cut_at).await?;
    println!("  an unnumbered link goes deaf: the session ends after {took:?}");
    ensure!(took < PROMISED, "promised is {PROMISED:?}");
    bfdd.check_running()?;
    lab.check_daemons()
}

/// Address of the node, and how often it came up and went down, of FRR's BFD sessions between link-local addresses.
async fn link_local_sessions(lab: &Lab) -> Result<Vec<(String, u64, u64)>> {
    let text = lab.router().vtysh("show bfd peers counters json").await?;
    let all: Value = serde_json::from_str(&text).context("reading FRR's BFD counters")?;
    let sessions = all.as_array().context("FRR's BFD counters are a list")?;
    let counted = sessions.iter().filter_map(|session| {
        let peer = session["peer"].as_str().filter(|peer| peer.starts_with("fe80"))?;
        Some((peer.to_owned(), session["session-up"].as_u64()?, session["session-down"].as_u64()?))
    });
    Ok(counted.collect())
}

/// One peer, BFD up on both sides, and noticed when the router hears nothing any more.
async fn comes_up_with(lab: &mut Lab, peer: &str, node: IpAddr, multihop: bool) -> Result<()> {
    let _bfdd = start_bfdd(lab).await?;
    lab.install_herald().await?;
    lab.cluster().apply(&profile(300)).await?;
    lab.cluster().apply(peer).await?;
    wait_for_speaker(lab).await?;
    let theirs = bfd_with(lab, node).await?;
    ensure!(theirs["multihop"] == multihop && theirs["status"] == "up", "{theirs}");
    let port = if multihop { 4784 } else { 3784 };
    let cut_at = Timestamp::now();
    cut(lab.node("n1")?.namespace(), &[&format!("in udp dport {port}")]).await?;
    let took = wait_for_end(lab, cut_at).await?;
    println!("  nothing comes on port {port} any more: the session ends after {took:?}");
    ensure!(took < PROMISED, "promised is {PROMISED:?}");
    mend(lab.node("n1")?.namespace()).await?;
    wait_for_speaker(lab).await
}

const BIRD_PEER: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: router, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 65531, peerAddress: 10.0.2.88, peerPort: 1179, bfdProfile: fast}
";

/// A second router in the router's namespace, on an address and port of its own.
const BIRD: &str = "
router id 10.0.2.88;
protocol device {}
protocol bfd { interface \"lan\" { interval 300 ms; multiplier 3; }; }
protocol bgp n1 {
    local 10.0.2.88 port 1179 as 65531;
    neighbor 10.0.2.11 as 64500;
    strict bind yes;
    passive yes;
    direct;
    error wait time 1, 2;
    bfd on;
    ipv4 { import all; export none; };
}
";

async fn bird(lab: &mut Lab) -> Result<()> {
    let namespace = lab.router().namespace();
    namespace.ip("address add 10.0.2.88/23 dev lan\n").await?;
    let (configuration, socket) = (lab.folder().join("bird.conf"), lab.folder().join("bird.ctl"));
    std::fs::write(&configuration, BIRD).context("writing bird.conf")?;
    let mut command = namespace.command("bird");
    command.arg("-f").arg("-c").arg(&configuration).arg("-s").arg(&socket);
    let bird = Process::start(lab.run(), "bird", lab.logs(), command)?;
    lab.install_herald().await?;
    crate::home::apply_sample(lab, "home-network.yaml").await?;
    lab.cluster().apply(&profile(300)).await?;
    lab.cluster().apply(BIRD_PEER).await?;
    wait_for_speaker(lab).await?;
    throughout(Duration::from_secs(3), "BFD", async || {
        ensure!(metric(lab, "metallb_bfd_session_down_events").await? == "0", "BFD went down");
        Ok(())
    })
    .await?;
    // SIGSTOP: the kernel still answers for TCP, and only BFD can tell.
    let cut_at = Timestamp::now();
    bird.signal(rustix::process::Signal::STOP)?;
    let took = wait_for_end(lab, cut_at).await?;
    println!("  BIRD hangs: the speaker ends the session after {took:?}");
    ensure!(took < PROMISED, "promised is {PROMISED:?}");
    bird.signal(rustix::process::Signal::CONT)?;
    wait_for_speaker(lab).await?;
    lab.check_daemons()
}

async fn wait_for_speaker(lab: &Lab) -> Result<()> {
    eventually(SOON, "BFD and BGP to be up", async || {
        ensure!(metric(lab, "metallb_bfd_session_up").await? == "1", "BFD is down");
        ensure!(bgp_is_up(lab).await?, "BGP is down");
        Ok(())
    })
    .await
    .map(drop)
}
