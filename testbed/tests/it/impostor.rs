//! A neighbour that talks garbage: the speaker says what is wrong, and its other session does not notice.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::eventually::throughout;
use testbed::lab::{Lab, LabPlan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::home::{FIRST, SOON, settle};
use crate::runner::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "garbage_on_one_session_is_answered_and_leaves_the_other_alone",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(garbage(lab)),
}];

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 77);

const PEER: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: impostor, namespace: metallb-system}
spec: {myASN: 64500, peerASN: 65530, peerAddress: 10.0.2.77, connectTime: 1s}
";

/// What the impostor says, and the NOTIFICATION (code, subcode; RFC 4271 §4.5) that it hears.
struct Case {
    name: &'static str,
    /// Sent after the speaker's OPEN came.
    says: Vec<Vec<u8>>,
    hears: Option<(u8, u8)>,
}

fn cases() -> Vec<Case> {
    let open = |version: u8, asn: u16| {
        let mut body = vec![version];
        body.extend(asn.to_be_bytes());
        body.extend([0, 90, 10, 0, 2, 77, 0]);
        message(1, &body)
    };
    let (good_open, keepalive) = (open(4, 65530), message(4, &[]));
    let short = [vec![0xff; 16], vec![0, 18, 4]].concat();
    let case = |name, says, hears| Case { name, says, hears };
    vec![
        case("random octets in the place of OPEN", vec![b"GET / HTTP/1.1\r\nHost: router\r\n\r\n".to_vec()], Some((1, 1))),
        case("a length below 19", vec![short], Some((1, 2))),
        case("a type that nobody knows", vec![message(9, &[])], Some((1, 3))),
        case("BGP version 3", vec![open(3, 65530)], Some((2, 1))),
        case("another AS", vec![open(4, 65531)], Some((2, 2))),
        case("half an OPEN and no more", vec![good_open[..20].to_vec()], None),
        case("nothing", vec![], None),
        case("garbage once established", vec![good_open.clone(), keepalive.clone(), vec![0; 64]], Some((1, 1))),
        case(
            "an UPDATE whose lengths lie, once established",
            vec![good_open, keepalive, message(2, &[0xff, 0xff, 0, 0])],
            Some((3, 1)),
        ),
    ]
}

async fn garbage(lab: &mut Lab) -> Result<()> {
    settle(lab, "n1").await?;
    lab.router().namespace().ip(&format!("address add {ADDRESS}/32 dev lan\n")).await?;
    let listener = lab.router().namespace().listen(SocketAddr::from((ADDRESS, 179))).await?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    lab.cluster().apply(PEER).await?;
    for case in cases() {
        let heard = meet(&listener, &case).await.with_context(|| case.name)?;
        ensure!(heard == case.hears, "{}: expected NOTIFICATION {:?}, got {heard:?}", case.name, case.hears);
        let up = lab.router().established().await?;
        ensure!(up.contains(&lab.node("n1")?.plan().v4.into()), "after {}: established {up:?}", case.name);
        lab.check_paths(FIRST, &["n1"]).await?;
        lab.check_daemons()?;
    }
    throughout(Duration::from_secs(2), "the good session", async || lab.check_paths(FIRST, &["n1"]).await).await
}

/// Takes the next connection and plays one case on it.
async fn meet(listener: &TcpListener, case: &Case) -> Result<Option<(u8, u8)>> {
    let (mut stream, _) = timeout(SOON, listener.accept()).await.context("the speaker did not come back")??;
    let (kind, _) = timeout(SOON, read_message(&mut stream)).await.context("no OPEN came")??;
    ensure!(kind == 1, "the first message has type {kind}");
    for octets in &case.says {
        stream.write_all(octets).await?;
    }
    if case.hears.is_none() {
        return Ok(None);
    }
    loop {
        let (kind, body) = timeout(SOON, read_message(&mut stream)).await.context("no NOTIFICATION came")??;
        match (kind, body.as_slice()) {
            (3, [code, subcode, ..]) => return Ok(Some((*code, *subcode))),
            (2 | 4, _) => {}
            (other, _) => bail!("a message of type {other} came"),
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0_u8; 19];
    stream.read_exact(&mut header).await.context("reading a header")?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0_u8; length.checked_sub(19).context("a length below 19")?];
    stream.read_exact(&mut body).await.context("reading a body")?;
    Ok((header[18], body))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("the messages here are short");
    [&[0xff; 16], length.to_be_bytes().as_slice(), &[kind], body].concat()
}
