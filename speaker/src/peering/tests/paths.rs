//! BFD beside a session. The router's address is our own, so that its BFD is ours as well: a session with itself.

use std::net::UdpSocket;
use std::time::Duration;

use api::config::{BfdProfile, Peer};
use bfd_proto::State;

use super::router::Router;
use super::{Bench, error_text, one_route, peer};
use crate::bfd::tests::PORTS;
use crate::plan::{SessionPhase, StopHow};

pub(super) fn profile(interval: u32) -> BfdProfile {
    BfdProfile {
        name: "fast".to_owned(),
        receive_interval: interval,
        transmit_interval: interval,
        detect_multiplier: 3,
        passive: false,
        minimum_ttl: 254,
    }
}

/// What a router that has lost us says: Down, without our number.
pub(super) fn say_down() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_ttl(255).unwrap();
    let mut octets = [0_u8; 24];
    octets[..8].copy_from_slice(&[0x21, 0x40, 3, 24, 0, 0, 0, 9]);
    octets[12..20].copy_from_slice(&[0, 15, 66, 64, 0, 15, 66, 64]);
    socket.send_to(&octets, "127.0.0.1:3784").unwrap();
}

#[tokio::test]
async fn a_dead_path_ends_the_session_with_cease_bfd_down_and_a_changed_profile_does_not() {
    let _ports = PORTS.lock().await;
    let router = Router::bind("127.0.0.1:0").await;
    let with = |bfd: Option<BfdProfile>| Peer { bfd, ..peer(router.address) };
    let mut bench = Bench::start();
    let routes = one_route();
    bench.want([("tor", with(Some(profile(300))), &routes)]);
    let mut session = router.establish().await;
    let is_up = |state: State| {
        move |row: &crate::plan::SessionRow| row.bfd.as_ref().is_some_and(|bfd| bfd.state == state)
    };
    bench.row("tor", "BFD up", is_up(State::Up)).await;

    // A changed profile is agreed on while both sessions stay.
    bench.want([("tor", with(Some(profile(500))), &routes)]);
    let agreed = Duration::from_millis(1500);
    let row = bench
        .row("tor", "the new profile", |row| {
            row.bfd.as_ref().is_some_and(|bfd| bfd.detection_time == Some(agreed))
        })
        .await;
    assert_eq!((row.phase, row.established_count), (SessionPhase::Established, 1));
    assert_eq!(row.bfd.map(|bfd| (bfd.ups, bfd.downs)), Some((1, 0)));

    say_down();
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 10), "Cease / BFD Down");
    let row = bench.row("tor", "the words", |row| row.last_error.is_some()).await;
    assert_eq!(error_text(&row), "the router's BFD says that it does not hear this node");

    // Both come back by themselves, and a peer without a profile has no BFD.
    let _session = router.establish().await;
    bench.row("tor", "BFD up again", is_up(State::Up)).await;
    bench.want([("tor", with(None), &routes)]);
    let row = bench.row("tor", "the end of BFD", |row| row.bfd.is_none()).await;
    assert_eq!(row.established_count, 2);
    bench.stopped(StopHow::Restart).await;
}

#[tokio::test]
async fn bfd_that_is_not_up_keeps_no_session_down() {
    let _ports = PORTS.lock().await;
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::start();
    let passive = BfdProfile { passive: true, ..profile(300) };
    bench.want([("tor", Peer { bfd: Some(passive), ..peer(router.address) }, &one_route())]);
    let _session = router.establish().await;
    let row = bench.row("tor", "up", |row| row.phase == SessionPhase::Established && row.bfd.is_some()).await;
    assert_eq!(row.bfd.map(|bfd| bfd.state), Some(State::Down));
    bench.stopped(StopHow::Restart).await;
}

#[tokio::test]
async fn peers_with_one_router_address_share_one_watch_and_both_hear_of_its_end() {
    let _ports = PORTS.lock().await;
    let (one, other) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let mut bench = Bench::start();
    let routes = one_route();
    let watched = |router: &Router, interval| Peer { bfd: Some(profile(interval)), ..peer(router.address) };
    bench.want([("a", watched(&one, 300), &routes), ("b", watched(&other, 700), &routes)]);
    let (mut first, mut second) = tokio::join!(one.establish(), other.establish());
    let of_the_first = Duration::from_millis(900);
    for name in ["a", "b"] {
        let is_up = |row: &crate::plan::SessionRow| {
            let bfd = row.bfd.as_ref();
            bfd.is_some_and(|bfd| bfd.state == State::Up && bfd.detection_time == Some(of_the_first))
        };
        bench.row(name, "BFD up by the profile of the first", is_up).await;
    }
    say_down();
    for session in [&mut first, &mut second] {
        let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
        assert_eq!((code, subcode), (6, 10), "Cease / BFD Down");
    }
    bench.stopped(StopHow::Restart).await;
}
