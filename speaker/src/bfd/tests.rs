//! Real sockets on loopback. The ports are fixed, so these tests run one after the other.

use std::net::UdpSocket;
use std::num::NonZeroU8;
use std::time::Instant;

use bfd_proto::{Hops, Interval, State};

use super::*;
use crate::peering::sockopt::{Labelled, label_datagrams, receive_labelled};

/// Held by whoever needs the ports of BFD. Another process that tests the same waits in `Bfd` itself.
pub(crate) static PORTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const PATIENCE: Duration = Duration::from_secs(60);

fn session(local: [u8; 4], remote: [u8; 4], hops: Hops) -> SessionConfig {
    SessionConfig {
        path: Path { local: local.into(), remote: remote.into(), link: 0, hops },
        desired_min_tx: Interval::from_millis(50),
        required_min_rx: Interval::from_millis(50),
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        passive: false,
        minimum_ttl: 255,
    }
}

async fn row(bfd: &mut Bfd, path: Path, what: &str, holds: impl Fn(&BfdRow) -> bool) -> BfdRow {
    let wait = async {
        loop {
            if let Some(row) = bfd.row(path).filter(&holds) {
                return row;
            }
            bfd.changed().await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| panic!("{what}: {:?}", bfd.row(path)))
}

fn is_up(row: &BfdRow) -> bool {
    row.state == State::Up
}

#[tokio::test]
async fn two_ends_meet_agree_and_part() {
    let _ports = PORTS.lock().await;
    let (a, b) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    for hops in Hops::ALL {
        let (there, back) = (session(a, b, hops), session(b, a, hops));
        let mut bfd = Bfd::new(5);
        bfd.want(&[there, back]);
        row(&mut bfd, there.path, "up", is_up).await;
        row(&mut bfd, back.path, "up", is_up).await;

        let slower = SessionConfig { desired_min_tx: Interval::from_millis(200), ..there };
        bfd.want(&[slower, back]);
        let agreed = |row: &BfdRow| row.detection_time == Some(Duration::from_millis(600));
        let found = row(&mut bfd, back.path, "the new interval", agreed).await;
        assert_eq!((found.state, found.ups, found.downs), (State::Up, 1, 0));
        assert!(found.packets.received() > 2 && found.packets.sent() > 2);

        // Switched off at one end: the other says so, and that is no failure.
        bfd.want(&[back]);
        let off = |row: &BfdRow| row.state == State::AdminDown;
        let found = row(&mut bfd, back.path, "the farewell", off).await;
        assert_eq!(found.message.as_deref(), Some("BFD is switched off on the router"));
        let failed = |(_, turn): &(Path, Turn)| matches!(turn, Turn::Failed(_));
        let turns = bfd.turns();
        assert!(turns.len() == 2 && !turns.iter().any(failed), "both rose, none failed: {turns:?}");
        bfd.end().await;
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_used_once_it_is_free() {
    let _ports = PORTS.lock().await;
    let here = session([127, 0, 0, 4], [127, 0, 0, 4], Hops::Single);
    let Ok(other) = UdpSocket::bind(("0.0.0.0", 3784)) else {
        println!("skipped: UDP port 3784 is in use");
        return;
    };
    let mut bfd = Bfd::new(6);
    bfd.want(&[here]);
    let names_it =
        |row: &BfdRow| row.message.as_ref().is_some_and(|text| text.starts_with("UDP port 3784 is taken"));
    row(&mut bfd, here.path, "the words", names_it).await;
    drop(other);
    row(&mut bfd, here.path, "up", is_up).await;
    bfd.end().await;
}

#[tokio::test]
async fn a_packet_that_has_passed_a_router_is_named() {
    let _ports = PORTS.lock().await;
    let here = session([127, 0, 0, 5], [127, 0, 0, 6], Hops::Single);
    let mut bfd = Bfd::new(7);
    bfd.want(&[here]);
    let nothing = "nothing has come from the router on UDP port 3784: switch BFD on there for this neighbour (one hop), and let that port in";
    row(&mut bfd, here.path, "the first words", |row| row.message.as_deref() == Some(nothing)).await;

    let far = UdpSocket::bind(("127.0.0.6", 0)).unwrap();
    far.set_ttl(254).unwrap();
    let mut octets = [0_u8; 24];
    octets[..8].copy_from_slice(&[0x20, 0x40, 3, 24, 0, 0, 0, 9]);
    let expected = "packets of the router are discarded: its TTL is 254, less than 255: it has come from further away than allowed";
    let deadline = Instant::now() + PATIENCE;
    while bfd.row(here.path).is_none_or(|row| row.message.as_deref() != Some(expected)) {
        assert!(Instant::now() < deadline, "{:?}", bfd.row(here.path));
        far.send_to(&octets, ("127.0.0.5", 3784)).unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(100), bfd.changed()).await;
    }
    bfd.end().await;
}

#[tokio::test]
async fn a_source_address_that_is_elsewhere_is_named() {
    let _ports = PORTS.lock().await;
    let here = session([192, 0, 2, 99], [127, 0, 0, 1], Hops::Single);
    let mut bfd = Bfd::new(8);
    bfd.want(&[here]);
    let expected = "address 192.0.2.99 is not on this node";
    row(&mut bfd, here.path, "the words", |row| row.message.as_deref() == Some(expected)).await;
    bfd.end().await;
}

#[tokio::test]
async fn packets_leave_with_ttl_255_from_a_port_of_bfd_that_stays() {
    let _ports = PORTS.lock().await;
    let here = session([127, 0, 0, 7], [127, 0, 0, 8], Hops::Multi);
    // The other end of a link, without the listener that would have the same port.
    let Ok(router) = UdpSocket::bind(("127.0.0.8", 4784)) else {
        println!("skipped: UDP port 4784 is in use");
        return;
    };
    let router = socket2::Socket::from(router);
    label_datagrams(&router, true).unwrap();
    let mut links = link::Links::default();
    let mut ports = Vec::new();
    for _ in 0..3 {
        links.send(Instant::now(), here.path, b"packet");
        // Loopback delivers before the send returns.
        let expected = Labelled { length: 6, from: here.path.local, to: here.path.remote, link: 0, ttl: 255 };
        assert_eq!(receive_labelled(&router, &mut [0; 32]).unwrap(), Some(expected));
        ports.push(links.source_port(here.path).unwrap());
    }
    assert!(ports[0] >= 49_152 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[tokio::test]
async fn a_speaker_without_bfd_has_no_thread() {
    let mut bfd = Bfd::new(9);
    bfd.want(&[]);
    assert!(matches!(bfd.thread, Thread::Waiting(_)));
    let quiet = tokio::time::timeout(Duration::from_millis(50), bfd.changed()).await;
    assert!(quiet.is_err(), "nothing changes");
    bfd.end().await;
}
