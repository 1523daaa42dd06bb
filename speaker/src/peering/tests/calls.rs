//! Routers that call: passive peers, both sides dialling, networks of routers, passwords, and who is not let in.

use std::num::NonZeroU8;
use std::time::Duration;

use socket2::SockRef;

use super::router::{RouterSession, call};
use super::*;
use crate::peering::roster::RANGE_MAX;

/// A port of this machine that was free a moment ago.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A peer at 127.0.0.2 that calls us on 127.0.0.1.
fn passive(listen_port: u16) -> Peer {
    Peer { connect: ConnectMode::Passive, listen_port, ..peer(([127, 0, 0, 2], 179).into()) }
}

fn node(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub(super) fn loopback(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// Calls until the door is open.
async fn call_when_open(from: IpAddr, to: SocketAddr) -> RouterSession {
    within("the door to open", async {
        loop {
            if let Ok(session) = call(from, to).await {
                return session;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_router_that_calls_a_passive_peer_gets_its_routes() {
    let port = free_port();
    let mut bench = Bench::start();
    bench.want([("tor", passive(port), &one_route())]);
    let row = bench.row("tor", "the wait for the router", |_| true).await;
    assert_eq!((row.phase, row.last_error), (SessionPhase::Active, None));
    let mut session = call_when_open(loopback(2), node(port)).await;
    session.establish().await;
    session.hear_until("the route", |routes| routes.contains("10.0.4.1/32")).await;
    let row = bench.row("tor", "the session", |row| row.prefixes_sent == 1).await;
    assert_eq!((row.address, row.local_address), (loopback(2), Some(loopback(1))));

    // A router that comes back is taken again at once; nobody dials it meanwhile.
    drop(session);
    bench.row("tor", "the end", |row| row.phase == SessionPhase::Active).await;
    let mut session = call(loopback(2), node(port)).await.unwrap();
    session.establish().await;
    session.hear_until("the route again", |routes| routes.len() == 1).await;
}

#[tokio::test]
async fn without_a_peer_that_asks_for_it_no_port_is_open_and_none_stays_open_afterwards() {
    let port = free_port();
    let router = Router::bind("127.0.0.1:0").await;
    let bench = Bench::start();
    let active = Peer { listen_port: port, ..peer(router.address) };
    bench.want([("tor", active.clone(), &one_route())]);
    let _session = router.establish().await;
    assert!(call(loopback(2), node(port)).await.is_err());

    bench.want([("tor", active.clone(), &one_route()), ("caller", passive(port), &one_route())]);
    let mut session = call_when_open(loopback(2), node(port)).await;
    assert_eq!(session.hear().await, Heard::Open);
    bench.want([("tor", active, &one_route())]);
    assert_eq!(session.hear_end().await.map(|(code, subcode, _)| (code, subcode)), Some((6, 3)));
    assert!(call(loopback(2), node(port)).await.is_err());
}

#[tokio::test]
async fn strangers_are_hung_up_on_without_a_word() {
    let port = free_port();
    let bench = Bench::start();
    bench.want([("tor", passive(port), &one_route())]);
    let mut stranger = call_when_open(loopback(9), node(port)).await;
    assert_eq!(stranger.hear().await, Heard::Closed);
    let mut router = call(loopback(2), node(port)).await.unwrap();
    router.establish().await;
}

/// Both sides dial; the router's identifier is 192.0.2.1. Says which connection stayed.
async fn collide(ours: [u8; 4]) -> &'static str {
    let router = Router::bind("127.0.0.2:0").await;
    let port = free_port();
    let bench = Bench::start();
    let wanted = Peer {
        connect: ConnectMode::Both,
        listen_port: port,
        router_id: Some(ours.into()),
        ..peer(router.address)
    };
    bench.want([("tor", wanted, &one_route())]);
    let mut dialled = router.accept().await;
    let mut called = call_when_open(loopback(2), node(port)).await;
    for session in [&mut dialled, &mut called] {
        assert_eq!(session.hear().await, Heard::Open);
    }
    // The router says OPEN on both, on ours first: now both are known to lead to one speaker.
    dialled.say_open().await;
    assert_eq!(dialled.hear().await, Heard::Keepalive);
    called.say_open().await;
    let (mut winner, mut loser, name) =
        if ours[0] > 192 { (dialled, called, "ours") } else { (called, dialled, "the router's") };
    let (code, subcode, _) = loser.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 7), "Cease / Connection Collision Resolution");
    winner.say(4, &[]).await;
    winner.hear_until("the route", |routes| routes.len() == 1).await;
    name
}

#[tokio::test]
async fn of_two_connections_the_one_of_the_higher_identifier_stays() {
    assert_eq!(collide([203, 0, 113, 9]).await, "ours");
    assert_eq!(collide([10, 0, 0, 9]).await, "the router's");
}

#[tokio::test]
async fn a_dial_that_nobody_has_answered_is_given_up_when_the_router_calls() {
    // A router with a full queue drops SYNs; the kernel repeats ours after one second and after three.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((loopback(2), 0).into()).unwrap();
    let router = socket.listen(0).unwrap();
    let address = router.local_addr().unwrap();
    let filler = call(loopback(9), address).await.unwrap();
    let port = free_port();
    let mut bench = Bench::start();
    let both = Peer { connect: ConnectMode::Both, listen_port: port, ..peer(address) };
    bench.want([("tor", both, &one_route())]);
    bench.row("tor", "the dial", |row| row.phase == SessionPhase::Connect).await;
    let mut session = call_when_open(loopback(2), node(port)).await;
    session.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;

    drop(filler);
    let second_call = async {
        loop {
            let (_, from) = router.accept().await.unwrap();
            if from.ip() != loopback(9) {
                return from;
            }
        }
    };
    let second_call = tokio::time::timeout(Duration::from_secs(4), second_call).await;
    assert!(second_call.is_err(), "a router may take it for the call of a node that has restarted");
    let row = bench.row("tor", "the session", |row| row.prefixes_sent == 1).await;
    assert_eq!((row.phase, row.established_count), (SessionPhase::Established, 1));
}

fn range(listen_port: u16) -> Peer {
    Peer { router: RouterAt::Range("127.0.0.0/16".parse().unwrap()), ..passive(listen_port) }
}

#[tokio::test]
async fn each_router_of_a_network_gets_a_session_and_nothing_is_said_to_it_first() {
    let port = free_port();
    let mut bench = Bench::start();
    bench.want([("fabric", range(port), &one_route())]);
    let row = bench.row("fabric", "the wait for routers", |_| true).await;
    assert_eq!((row.phase, row.address), (SessionPhase::Active, loopback(0)));
    let mut two = call_when_open(loopback(2), node(port)).await;
    let mut three = call(loopback(3), node(port)).await.unwrap();
    for session in [&mut two, &mut three] {
        let silence = tokio::time::timeout(Duration::from_millis(100), session.stream.readable()).await;
        assert!(silence.is_err(), "our OPEN came before the router had said who it is");
        session.introduce_itself().await;
        session.hear_until("the route", |routes| routes.len() == 1).await;
    }
    for name in ["fabric@127.0.0.2", "fabric@127.0.0.3"] {
        bench.row(name, "a row of its own", |row| row.phase == SessionPhase::Established).await;
    }
    // Routes follow the plan of the one BGPPeer, and both sessions end with it.
    bench.want([("fabric", range(port), &many_routes(3))]);
    for session in [&mut two, &mut three] {
        session.hear_until("the new routes", |routes| routes.len() == 3).await;
    }
    bench.want([]);
    for session in [&mut two, &mut three] {
        assert_eq!(session.hear_end().await.map(|(code, subcode, _)| (code, subcode)), Some((6, 3)));
    }
}

#[tokio::test]
async fn a_network_has_so_many_places_and_one_is_free_again_when_its_router_has_gone() {
    let port = free_port();
    let bench = Bench::start();
    bench.want([("fabric", range(port), &one_route())]);
    let from = |number: usize| IpAddr::from([127, 0, 1, u8::try_from(number).unwrap()]);
    let mut sessions = vec![call_when_open(from(0), node(port)).await];
    for number in 1..RANGE_MAX {
        sessions.push(call(from(number), node(port)).await.unwrap());
    }
    for session in &mut sessions {
        session.introduce_itself().await;
    }
    let mut late = call(from(RANGE_MAX), node(port)).await.unwrap();
    assert_eq!(late.hear().await, Heard::Closed);
    drop(sessions.pop());
    within("a free place", async {
        loop {
            let mut late = call(from(RANGE_MAX), node(port)).await.unwrap();
            late.say_open().await;
            if late.hear().await == Heard::Open {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_a_signed_call_is_heard_and_a_new_password_is_asked_of_the_next_one() {
    if !super::super::sockopt::kernel_has_md5() {
        return;
    }
    let port = free_port();
    let bench = Bench::start();
    let with =
        |password: &str| Peer { key: Password::try_new(password).map(SessionKey::Md5), ..passive(port) };
    let signed_call = async |password: &'static [u8]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        super::super::sockopt::set_md5_key(&socket, loopback(1), password).unwrap();
        socket.bind(SocketAddr::new(loopback(2), 0)).unwrap();
        let patience = Duration::from_millis(if password == b"wrong" { 500 } else { 10_000 });
        tokio::time::timeout(patience, socket.connect(node(port))).await.ok().and_then(Result::ok)
    };
    bench.want([("tor", with("herald"), &one_route())]);
    within("the door to open", async {
        // A port that is shut refuses even what is signed wrongly; an open one is silent.
        while signed_call(b"herald").await.is_none() {}
    })
    .await;
    assert!(signed_call(b"wrong").await.is_none());
    let mut session = RouterSession::over(signed_call(b"herald").await.expect("an answer"));
    session.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    super::super::sockopt::set_md5_key(&session.stream, loopback(1), b"changed").unwrap();
    bench.want([("tor", with("changed"), &many_routes(2))]);
    session.hear_until("the new route", |routes| routes.len() == 2).await;
    drop(session);
    let mut session = RouterSession::over(signed_call(b"changed").await.expect("an answer"));
    session.establish().await;
    session.hear_until("the routes", |routes| routes.len() == 2).await;
}

#[tokio::test]
async fn a_port_that_another_speaker_has_is_said_in_words_and_taken_when_it_is_free() {
    let other = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let mut bench = Bench::start();
    bench.want([("tor", passive(port), &one_route())]);
    let row = bench.row("tor", "the words", |row| row.last_error.is_some()).await;
    assert!(error_text(&row).contains("another program on this node"), "{}", error_text(&row));
    drop(other);
    let mut session = call_when_open(loopback(2), node(port)).await;
    session.establish().await;
    bench.row("tor", "the session", |row| row.phase == SessionPhase::Established).await;
}

#[tokio::test]
async fn ttl_security_takes_a_router_that_sends_with_255_and_none_from_farther_away() {
    let (near, far) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    SockRef::from(&near.listener).set_ttl_v4(255).unwrap();
    let mut bench = Bench::start();
    let strict = |address| Peer { ttl_security: Some(NonZeroU8::MIN), ..peer(address) };
    let table = one_route();
    bench.want([("near", strict(near.address), &table), ("far", strict(far.address), &table)]);
    let mut session = near.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    let row = bench.row("far", "the words", |row| row.last_error.is_some()).await;
    assert_eq!(
        error_text(&row),
        format!(
            "timed out after 10 s: {} does not answer, or its packets come with a TTL below 255 (ttlSecurity)",
            far.address
        )
    );
}
