//! An edit touches what it must: what each field of a BGPPeer does to a session that is up, and to the one beside it.

use std::num::NonZeroU8;

use super::router::RouterSession;
use super::*;

/// What becomes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing: the session goes on.
    Untouched,
    /// Cease / Other Configuration Change: what OPEN says is another thing now, or what TCP needs towards the same router.
    Renegotiated,
    /// Cease / Peer De-configured: it is another router now, or none.
    Replaced,
}
use Fate::{Renegotiated, Replaced, Untouched};

/// The session answers a request for its routes.
async fn lives(session: &mut RouterSession) -> bool {
    session.say(5, &[0, 1, 0, 1]).await;
    loop {
        match session.hear().await {
            Heard::Update { .. } => return true,
            Heard::Keepalive | Heard::EndOfRib => {}
            Heard::Open | Heard::Notification { .. } | Heard::Closed => return false,
        }
    }
}

async fn check(what: &str, change: impl FnOnce(Peer) -> Peer, expected: Fate) {
    let (router, beside) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let bench = Bench::start();
    let routes = one_route();
    let before = Peer { dual_stack: false, ..peer(router.address) };
    bench.want([("tor", before.clone(), &routes), ("beside", peer(beside.address), &routes)]);
    let (mut session, mut other) = tokio::join!(router.establish(), beside.establish());
    for session in [&mut session, &mut other] {
        session.hear_until("the route", |routes| routes.len() == 1).await;
    }
    let more = with(&routes, [10, 0, 4, 2]);
    bench.want([("tor", change(before), &routes), ("beside", peer(beside.address), &more)]);
    // The route beside shows that the plan has arrived.
    other.hear_until("the plan", |routes| routes.len() == 2).await;
    match expected {
        Untouched => assert!(lives(&mut session).await, "{what}"),
        Renegotiated | Replaced => {
            let subcode = if expected == Renegotiated { 6 } else { 3 };
            let words = session.hear_end().await.map(|(code, subcode, _)| (code, subcode));
            assert_eq!(words, Some((6, subcode)), "{what}");
        }
    }
    assert!(lives(&mut other).await, "{what}: the session beside");
}

#[tokio::test]
async fn only_identity_timers_and_capabilities_reset_a_session_and_only_its_own() {
    let somewhere = Router::bind("127.0.0.3:0").await.address;
    check("routes", |peer| peer, Untouched).await;
    check("node selectors", |peer| Peer { node_selectors: selecting("rack", "1"), ..peer }, Untouched).await;
    check("the object's age", |peer| Peer { created: Some(epoch()), ..peer }, Untouched).await;
    check("connectTime", |peer| Peer { connect_time: Some(7), ..peer }, Untouched).await;
    check("ebgpMultiHop", |peer| Peer { ebgp_multihop: true, ..peer }, Untouched).await;
    check("inspectUpdates", |peer| Peer { inspect: true, ..peer }, Untouched).await;
    let listening = |peer| Peer { connect: ConnectMode::Both, listen_port: free_port(), ..peer };
    check("connectMode and listenPort", listening, Untouched).await;
    check("dualStackAddressFamily without a next hop", |peer| Peer { dual_stack: true, ..peer }, Untouched)
        .await;

    check("myASN or localASN", |peer| Peer { local_asn: 64_501, ..peer }, Renegotiated).await;
    check("peerASN", |peer| Peer { remote_asn: RemoteAsn::Exactly(1), ..peer }, Renegotiated).await;
    check("dynamicASN", |peer| Peer { remote_asn: RemoteAsn::External, ..peer }, Renegotiated).await;
    check("holdTime", |peer| Peer { hold_time: Some(9), ..peer }, Renegotiated).await;
    check("keepaliveTime", |peer| Peer { keepalive: Some(2), ..peer }, Renegotiated).await;
    check("routerID", |peer| Peer { router_id: Some([10, 9, 9, 9].into()), ..peer }, Renegotiated).await;
    let forgetful = |peer| Peer { graceful_restart: false, ..peer };
    check("enableGracefulRestart", forgetful, Renegotiated).await;

    check("peerAddress", |peer| Peer { router: RouterAt::Address(somewhere.ip()), ..peer }, Replaced).await;
    check("peerPort", |peer| Peer { port: somewhere.port(), ..peer }, Replaced).await;
    check("sourceAddress", |peer| Peer { source: Some([127, 0, 0, 5].into()), ..peer }, Renegotiated).await;
    check(
        "password",
        |peer| Peer { key: Password::try_new("herald").map(SessionKey::Md5), ..peer },
        Renegotiated,
    )
    .await;
    check("ttlSecurity", |peer| Peer { ttl_security: NonZeroU8::new(1), ..peer }, Renegotiated).await;
    check("a missing Secret", |peer| Peer { refused: Some(no_secret()), ..peer }, Replaced).await;
}

#[tokio::test]
async fn a_session_that_an_edit_replaces_says_so_and_goes_on_counting() {
    let router = Router::bind("127.0.0.1:0").await;
    let routes = one_route();
    let mut bench = Bench::with_peer(&router, &routes);
    let mut session = router.establish().await;
    let before = bench.row("tor", "the session", |row| row.phase == SessionPhase::Established).await;
    // The router does not have it, and does not answer.
    let signed = Peer { key: Password::try_new("herald").map(SessionKey::Md5), ..peer(router.address) };
    bench.want([("tor", signed, &routes)]);
    let after = bench.row("tor", "the edit", |row| row.phase != SessionPhase::Established).await;
    let words = session.hear_end().await.map(|(code, subcode, _)| (code, subcode));
    assert_eq!(words, Some((6, 6)));
    assert_eq!(after.established_count, 1);
    assert!(after.messages_sent > before.messages_sent, "{after:?}");
    let news = crate::status::session::news(&one_row(before), &one_row(after));
    let told: Vec<&str> = news.iter().map(|news| news.note.as_str()).collect();
    assert_eq!(told, ["session with peer tor (127.0.0.1) is down: the configuration of this peer changed"]);
}

fn one_row(row: SessionRow) -> SessionTable {
    SessionTable { sessions: [("tor".to_owned(), row)].into() }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn epoch() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH)
}

fn selecting(key: &str, value: &str) -> Selectors {
    let labels = [(key.to_owned(), value.to_owned())].into();
    let selector = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
        match_labels: Some(labels),
        ..Default::default()
    };
    Selectors::try_new(&[selector]).unwrap()
}
