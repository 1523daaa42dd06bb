//! One router misbehaves, or somebody else announces the same address: the other sessions do not feel it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::{eventually, throughout};
use testbed::herald::Daemon;
use testbed::lab::Lab;
use testbed::network::CLIENT_V4;
use testbed::process::{Process, output};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::home::{FIRST, SOON, settle};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 77);
const PORT: u16 = 1790;
/// A route comes or goes at FRR within this, whatever another router does.
const PROMPT: Duration = Duration::from_secs(5);

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.router().namespace().ip(&format!("address add {OTHER}/32 dev lan\n")).await?;
    let alone = change(lab).await?;
    tell(
        Chapter::Routers,
        "(for comparison) the last pod is unready, nothing else wrong",
        "all paths go",
        alone,
        Cost::NotMeasured,
    );
    refusing(lab).await?;
    unreachable(lab).await?;
    deaf(lab).await?;
    flooding(lab).await?;
    second_system(lab).await?;
    same_router_id(lab).await?;
    lab.check_daemons()
}

/// Takes the path away and gives it back; how long the slower of the two took.
async fn change(lab: &Lab) -> Result<Duration> {
    let pod = lab.pods().first().context("the sample's pod")?;
    let start = Instant::now();
    pod.set_ready(lab.cluster().client(), false).await?;
    lab.wait_for_paths(FIRST, &[], PROMPT).await?;
    let gone = start.elapsed();
    let start = Instant::now();
    pod.set_ready(lab.cluster().client(), true).await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], PROMPT).await?;
    Ok(gone.max(start.elapsed()))
}

/// Nobody listens: attempts are few.
async fn refusing(lab: &Lab) -> Result<()> {
    let namespace = lab.router().namespace();
    let rules = format!(
        "add table inet count; add chain inet count in {{ type filter hook input priority 0; }}; \
         add rule inet count in ip saddr 10.0.2.11 tcp dport {PORT} tcp flags & (syn|ack) == syn counter"
    );
    output(namespace.command("nft").arg(&rules)).await?;
    configure(lab, "other", OTHER, "").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let text = output(namespace.command("nft").args(["list", "chain", "inet", "count", "in"])).await?;
    let count = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    let attempts: u32 = count.context("nft counts")?.parse()?;
    output(namespace.command("nft").args(["delete", "table", "inet", "count"])).await?;
    let took = change(lab).await?;
    tell(
        Chapter::Routers,
        "a router refuses connections",
        &format!("{attempts} attempts in 10 s; a change at the other router"),
        took,
        Cost::NotMeasured,
    );
    ensure!(attempts > 0 && attempts <= 10, "{attempts} attempts");
    remove(lab, "other").await
}

async fn unreachable(lab: &Lab) -> Result<()> {
    configure(lab, "nobody", Ipv4Addr::new(10, 0, 2, 99), "").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let took = change(lab).await?;
    tell(
        Chapter::Routers,
        "a router does not exist",
        "a change at the other router",
        took,
        Cost::NotMeasured,
    );
    remove(lab, "nobody").await
}

/// It takes the session, and from then on reads nothing.
async fn deaf(lab: &Lab) -> Result<()> {
    let mut stream = take_session(lab).await?;
    let took = change(lab).await?;
    tell(Chapter::Routers, "a router stops reading", "a change at the other router", took, Cost::NotMeasured);
    // Its KEEPALIVEs keep the session: nothing is known to be wrong with it.
    stream.write_all(&message(4, &[])).await.context("the session of the deaf router ended")?;
    drop(stream);
    remove(lab, "other").await
}

/// It says everything it can think of, as fast as the socket takes it.
async fn flooding(lab: &Lab) -> Result<()> {
    let stream = take_session(lab).await?;
    let before = resident(lab)?;
    // UPDATEs that announce 800 prefixes each, and refreshes of the whole table.
    let mut prefixes = Vec::new();
    (0..800_u16).for_each(|number| {
        prefixes.push(24);
        prefixes.extend([100, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
    });
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xff, 0xfa, 0x40, 3, 4, 10, 0, 2, 77];
    let mut update = vec![0, 0, 0, u8::try_from(attributes.len())?];
    update.extend(attributes);
    update.extend(prefixes);
    let burst = [message(2, &update), message(5, &[0, 1, 0, 1])].concat();
    let (mut reading, mut writing) = stream.into_split();
    // What it hears it forgets.
    let hearing = tokio::spawn(async move {
        let mut ignored = vec![0; 65_536];
        while reading.read(&mut ignored).await.is_ok_and(|octets| octets > 0) {}
    });
    let flood = tokio::spawn(async move {
        let until = Instant::now() + Duration::from_secs(10);
        let mut sent = 0_u64;
        while Instant::now() < until {
            writing.write_all(&burst).await.context("the speaker ended the session")?;
            sent += 1;
        }
        anyhow::Ok((writing, sent))
    });
    let mut worst = Duration::ZERO;
    for _ in 0..3 {
        worst = worst.max(change(lab).await?);
    }
    let (writing, sent) = flood.await??;
    let after = resident(lab)?;
    tell(
        Chapter::Routers,
        &format!("a router floods: {} prefixes and {sent} refreshes in 10 s", sent * 800),
        &format!("memory {} → {} kB; a change at the other router", before, after),
        worst,
        Cost::NotMeasured,
    );
    ensure!(sent > 100 && after < before + 8_000, "{sent} bursts, {before} kB to {after} kB");
    drop(writing);
    remove(lab, "other").await?;
    hearing.await.context("the reading half")
}

/// BIRD in the client's network announces our address to the router as well.
async fn second_system(lab: &Lab) -> Result<()> {
    let configuration = format!(
        "router id {CLIENT_V4};\nprotocol device {{}}\n\
         protocol static {{ ipv4; route {FIRST}/32 blackhole; }}\n\
         protocol bgp uplink {{ local {CLIENT_V4} as 64501; neighbor 192.168.88.1 as 65530; \
         connect delay time 1; connect retry time 1; error wait time 1, 2; \
         ipv4 {{ import none; export all; next hop self; }}; }}\n"
    );
    let (path, socket) = (lab.folder().join("second.conf"), lab.folder().join("second.ctl"));
    std::fs::write(&path, configuration).context("writing BIRD's configuration")?;
    // Passive: connections of both that cross fail now and then, and FRR tries again only after two minutes.
    lab.router()
        .vtysh(&format!(
            "configure terminal\nrouter bgp 65530\n\
             neighbor {CLIENT_V4} remote-as 64501\nneighbor {CLIENT_V4} passive"
        ))
        .await?;
    let mut command = lab.client().namespace().command("bird");
    command.arg("-f").arg("-c").arg(&path).arg("-s").arg(&socket);
    let start = Instant::now();
    let bird = Process::start(lab.run(), "second", lab.logs(), command)?;
    let hops = async || lab.router().next_hops(FIRST).await;
    eventually(SOON, "the router to share the address between both", async || {
        let found = hops().await?;
        ensure!(found.len() == 3 && found.contains(&CLIENT_V4.into()), "{found:?}");
        Ok(())
    })
    .await?;
    let took = start.elapsed();
    bird.kill().await?;
    lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
    tell(
        Chapter::Routers,
        "a second system announces the same address",
        "the router shares traffic between both until that one stops; Herald's paths stay",
        took,
        Cost::NotMeasured,
    );
    lab.router()
        .vtysh(&format!("configure terminal\nrouter bgp 65530\nno neighbor {CLIENT_V4} remote-as 64501"))
        .await?;
    Ok(())
}

/// All nodes show the router one identifier: towards an eBGP neighbour that is allowed (RFC 6286) and harmless.
async fn same_router_id(lab: &Lab) -> Result<()> {
    let patch = r#"{"spec":{"routerID":"10.9.9.9"}}"#;
    let words = [
        "patch",
        "bgppeers.metallb.io",
        "router",
        "-n",
        testbed::HERALD_NAMESPACE,
        "--type=merge",
        "-p",
        patch,
    ];
    let answer = lab.cluster().kubectl(&words).await?;
    ensure!(answer.accepted, "{}", answer.text);
    let ((), took) = eventually(SOON, "both sessions with one router ID", async || {
        let text = lab.router().vtysh("show bgp neighbors json").await?;
        let neighbours: serde_json::Value = serde_json::from_str(&text)?;
        for node in lab.nodes() {
            let state = &neighbours[node.plan().v4.to_string()];
            let same = state["remoteRouterId"] == "10.9.9.9";
            ensure!(same && state["bgpState"] == "Established", "{}: {state}", node.name());
        }
        lab.check_paths(FIRST, &["n1", "n2"]).await
    })
    .await?;
    throughout(Duration::from_secs(3), "both paths", async || lab.check_paths(FIRST, &["n1", "n2"]).await)
        .await?;
    tell(Chapter::Routers, "two nodes show one router ID (eBGP)", "both paths stay", took, Cost::NotMeasured);
    Ok(())
}

async fn configure(lab: &Lab, name: &str, address: Ipv4Addr, more: &str) -> Result<()> {
    let peer = format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\n\
         metadata: {{name: {name}, namespace: {}}}\n\
         spec: {{myASN: 64500, peerASN: 65530, peerAddress: {address}, peerPort: {PORT}{more}, \
         nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: n1}}}}]}}\n",
        testbed::HERALD_NAMESPACE
    );
    lab.cluster().apply(&peer).await.map(drop)
}

async fn remove(lab: &Lab, name: &str) -> Result<()> {
    let words = ["delete", "bgppeers.metallb.io", name, "-n", testbed::HERALD_NAMESPACE];
    let answer = lab.cluster().kubectl(&words).await?;
    ensure!(answer.accepted, "{}", answer.text);
    Ok(())
}

/// Takes n1's session by hand: OPEN, KEEPALIVE, and nothing more.
async fn take_session(lab: &Lab) -> Result<TcpStream> {
    let listener = lab.router().namespace().listen(SocketAddr::from((OTHER, PORT))).await?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    configure(lab, "other", OTHER, ", holdTime: 90s, connectTime: 1s").await?;
    let (mut stream, _) = tokio::time::timeout(SOON, listener.accept()).await.context("nobody dialled")??;
    let mut open = vec![4];
    open.extend(65530_u16.to_be_bytes());
    open.extend([0, 90, 10, 0, 2, 77, 0]);
    stream.write_all(&[message(1, &open), message(4, &[])].concat()).await?;
    eventually(SOON, "the session with the other router", async || {
        let answer = lab.speakerctl(&["peers"]).await?;
        let up = answer.text.lines().any(|line| line.contains("other") && line.contains("Established"));
        ensure!(up, "{}", answer.text);
        Ok(())
    })
    .await?;
    Ok(stream)
}

/// Resident memory of n1's speaker in kB.
fn resident(lab: &Lab) -> Result<u64> {
    let pid = lab.herald().process("n1", Daemon::Speaker)?.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading its status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("a number")
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("the messages here are short");
    [&[0xff; 16], length.to_be_bytes().as_slice(), &[kind], body].concat()
}
