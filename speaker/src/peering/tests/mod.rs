//! The driver on real sockets over loopback, against [`router`]. Waits are for events, bounded by `PATIENCE`.

mod attempts;
mod calls;
mod edits;
mod judged;
mod paths;
mod router;
mod signed;
mod turn_over;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use api::config::{Password, Peer, PeerRefusal, RemoteAsn, RouterAt, SessionKey};
use api::selector::Selectors;
use api::v1beta2::ConnectMode;
use bgp_proto::{Families, LargeCommunity, PathAttrs, Prefix, RouteSet};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::router::{Heard, ROUTER_ASN, Router, within};
use super::{PeeringSettings, run};
use crate::metrics::WireTimes;
use crate::plan::{PeerPlan, Plan, SessionPhase, SessionRow, SessionTable, StopHow};

const NODE_ASN: u32 = 64_500;

/// A running driver and the ends of its channels.
struct Bench {
    plan: watch::Sender<Arc<Plan>>,
    sessions: watch::Receiver<Arc<SessionTable>>,
    stop: watch::Sender<Option<StopHow>>,
    task: JoinHandle<()>,
}

impl Bench {
    fn start() -> Self {
        let (plan, plans) = watch::channel(Arc::new(Plan::unsynced()));
        let (table, sessions) = watch::channel(Arc::default());
        let (stop, stops) = watch::channel(None);
        let settings =
            PeeringSettings { node_name: "node-1".to_owned(), seed: 7, times: WireTimes::default() };
        let task = tokio::spawn(run(plans, table, settings, stops));
        Self { plan, sessions, stop, task }
    }

    /// A driver with one peer and its routes.
    fn with_peer(router: &Router, routes: &Arc<RouteSet>) -> Self {
        let bench = Self::start();
        bench.want([("tor", peer(router.address), routes)]);
        bench
    }

    fn want<const N: usize>(&self, peers: [(&str, Peer, &Arc<RouteSet>); N]) {
        self.plan.send_modify(|plan| {
            let peers = peers.into_iter().map(|(name, peer, routes)| {
                (name.to_owned(), PeerPlan { peer: Arc::new(peer), routes: Arc::clone(routes) })
            });
            let version = plan.version + 1;
            *plan = Arc::new(Plan { peers: peers.collect(), synced: true, version, ..Plan::unsynced() });
        });
    }

    async fn row(&mut self, name: &str, what: &str, done: impl Fn(&SessionRow) -> bool) -> SessionRow {
        let matches = |table: &Arc<SessionTable>| table.sessions.get(name).is_some_and(&done);
        let table = within(what, self.sessions.wait_for(matches)).await.unwrap();
        table.sessions[name].clone()
    }

    async fn stopped(self, how: StopHow) {
        self.stop.send(Some(how)).unwrap();
        within("the orderly end", self.task).await.unwrap();
    }
}

/// An eBGP peer with every choice left to its default, and both families.
pub(crate) fn peer(address: SocketAddr) -> Peer {
    Peer {
        name: "tor".to_owned(),
        created: None,
        local_asn: NODE_ASN,
        remote_asn: RemoteAsn::Exactly(ROUTER_ASN),
        router: RouterAt::Address(address.ip()),
        port: address.port(),
        connect: ConnectMode::Active,
        listen_port: 179,
        ttl_security: None,
        inspect: false,
        source: None,
        hold_time: None,
        keepalive: None,
        connect_time: None,
        router_id: None,
        node_selectors: Selectors::default(),
        key: None,
        graceful_restart: true,
        refused: None,
        dual_stack: true,
        ebgp_multihop: false,
        bfd: None,
    }
}

fn routes(prefixes: impl IntoIterator<Item = IpAddr>) -> Arc<RouteSet> {
    let attrs = Arc::new(PathAttrs::default());
    Arc::new(prefixes.into_iter().map(|ip| (Prefix::host(ip), Arc::clone(&attrs))).collect())
}

fn one_route() -> Arc<RouteSet> {
    routes([[10, 0, 4, 1].into()])
}

fn many_routes(count: u32) -> Arc<RouteSet> {
    routes((0..count).map(|number| Ipv4Addr::from_bits(0x0A00_0000 + number).into()))
}

fn with(routes: &Arc<RouteSet>, ip: [u8; 4]) -> Arc<RouteSet> {
    Arc::new(routes.with(Prefix::host(ip.into()), Arc::new(PathAttrs::default())))
}

fn without(routes: &Arc<RouteSet>, ip: [u8; 4]) -> Arc<RouteSet> {
    Arc::new(routes.without(&Prefix::host(ip.into())))
}

fn no_secret() -> PeerRefusal {
    PeerRefusal::NoSecret { secret: "tor-password".to_owned() }
}

fn error_text(row: &SessionRow) -> &str {
    row.last_error.as_ref().map_or("", |fault| &fault.text)
}

#[tokio::test]
async fn a_session_comes_up_and_its_routes_arrive_from_its_own_address() {
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::with_peer(&router, &one_route());
    let mut session = router.establish().await;
    let Heard::Update { announced, next_hop, .. } = session.hear().await else { panic!("no UPDATE") };
    assert_eq!(announced, ["10.0.4.1/32"]);
    assert_eq!(next_hop, Some([127, 0, 0, 1].into()));
    assert_eq!(session.hear().await, Heard::EndOfRib);

    let row = bench.row("tor", "one prefix in the table", |row| row.prefixes_sent == 1).await;
    assert_eq!(row.phase, SessionPhase::Established);
    assert_eq!((row.remote_asn, row.local_asn), (Some(ROUTER_ASN), NODE_ASN));
    assert_eq!(row.local_address, Some([127, 0, 0, 1].into()));
    assert_eq!(row.router_id, Some([192, 0, 2, 1].into()));
    assert_eq!((row.hold_time_seconds, row.keepalive_seconds), (Some(15), Some(5)));
    assert_eq!((row.established_count, row.prefixes_pending, row.last_error), (1, 0, None));
}

#[tokio::test]
async fn an_ipv6_session_takes_its_router_id_from_the_node_and_says_that_it_has_no_ipv4_next_hop() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let router = Router::bind("[::1]:0").await;
    let both = routes([[10, 0, 4, 1].into(), "2001:db8::1".parse().unwrap()]);
    let mut bench = Bench::with_peer(&router, &both);
    let mut session = router.establish().await;
    session.hear_until("the IPv6 route", |routes| routes.contains("2001:db8::1/128")).await;
    let row = bench.row("tor", "the missing next hop", |row| row.last_error.is_some()).await;
    assert_eq!(
        error_text(&row),
        "IPv4 routes are not announced on this session: the interface of ::1 has no global IPv4 address to be their next hop"
    );
    assert_eq!(session.routes.len(), 1);
    let row = bench.row("tor", "all that it carries", |row| row.written.as_ref() == Some(&both)).await;
    assert_eq!((row.carries, row.prefixes_sent, row.prefixes_pending), (Families::IPV6, 1, 0));
}

#[tokio::test]
async fn routes_whose_attributes_fit_no_message_are_named_and_the_others_go_on() {
    let router = Router::bind("127.0.0.1:0").await;
    // As several advertisements of one prefix leave it, each of which would fit.
    let number = |local2| LargeCommunity { global: 1, local1: 1, local2 };
    let long = PathAttrs { large_communities: (0..400).map(number).collect(), ..PathAttrs::default() };
    let routes = one_route().with(Prefix::host([10, 0, 4, 2].into()), Arc::new(long));
    let mut bench = Bench::with_peer(&router, &Arc::new(routes));
    let mut session = router.establish().await;
    session.hear_until("the other route", |routes| routes.contains("10.0.4.1/32")).await;
    let row = bench.row("tor", "the words", |row| row.last_error.is_some()).await;
    assert_eq!(
        error_text(&row),
        "1 routes are not announced on this session: their attributes fit into no BGP message"
    );
    assert_eq!((row.phase, session.routes.len()), (SessionPhase::Established, 1));
}

#[tokio::test]
async fn changes_travel_on_an_open_session() {
    let router = Router::bind("127.0.0.1:0").await;
    let before = many_routes(100);
    let bench = Bench::with_peer(&router, &before);
    let mut session = router.establish().await;
    session.hear_until("all routes", |routes| routes.len() == 100).await;

    let fewer = without(&before, [10, 0, 0, 7]);
    let asked = std::time::Instant::now();
    bench.want([("tor", peer(router.address), &fewer)]);
    session.hear_until("the withdrawal", |routes| !routes.contains("10.0.0.7/32")).await;
    println!("withdrawal after {:?}", asked.elapsed());
    assert_eq!(session.routes.len(), 99);

    // Three plans in a burst: the second and third wait for each other and no route is missed.
    let mut more = fewer;
    for last in 1..=3 {
        more = with(&more, [10, 9, 9, last]);
        bench.want([("tor", peer(router.address), &more)]);
        tokio::task::yield_now().await;
    }
    session.hear_until("the announcements", |routes| routes.contains("10.9.9.3/32")).await;
    assert_eq!(session.routes.len(), 102);
}

#[tokio::test]
async fn a_router_that_reads_nothing_and_says_that_it_lives_keeps_its_session() {
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::start();
    let hold = 3;
    bench.want([("tor", Peer { hold_time: Some(hold), ..peer(router.address) }, &many_routes(200_000))]);
    let mut session = router.establish().await;
    bench.row("tor", "the session", |row| row.phase == SessionPhase::Established).await;
    // Three times the hold time. The kernel probes the closed window meanwhile, and is answered.
    for _ in 0..9 {
        session.say(4, &[]).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let row = bench.row("tor", "the row", |_| true).await;
    assert_eq!((row.phase, row.last_error), (SessionPhase::Established, None));
    assert!(row.prefixes_pending > 0, "the window never closed");
}

#[tokio::test]
async fn garbage_gets_a_notification_and_words() {
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::with_peer(&router, &one_route());
    let mut session = router.accept().await;
    assert_eq!(session.hear().await, Heard::Open);
    tokio::io::AsyncWriteExt::write_all(&mut session.stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (1, 1), "connection not synchronised");
    let row = bench.row("tor", "words", |row| row.last_error.is_some()).await;
    println!("{}", error_text(&row));
    assert_ne!(row.phase, SessionPhase::Established);
}

#[tokio::test]
async fn a_notification_of_the_router_is_in_the_row() {
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::with_peer(&router, &one_route());
    let mut session = router.establish().await;
    session.say(3, b"\x06\x02\x07go away").await;
    let row = bench.row("tor", "the reason", |row| row.last_error.is_some()).await;
    assert!(error_text(&row).contains("Administrative Shutdown"), "{}", error_text(&row));
    assert!(error_text(&row).contains("go away"), "{}", error_text(&row));
}

#[tokio::test]
async fn a_router_that_never_reads_delays_nobody() {
    let (stuck, fluent) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let table = many_routes(400_000);
    let mut bench = Bench::start();
    bench.want([("stuck", peer(stuck.address), &table), ("fluent", peer(fluent.address), &table)]);
    let (_silent, mut session) = tokio::join!(stuck.establish(), fluent.establish());
    session.hear_until("the table", |routes| routes.len() == 400_000).await;

    let changed = without(&table, [10, 0, 0, 9]);
    bench.want([("stuck", peer(stuck.address), &changed), ("fluent", peer(fluent.address), &changed)]);
    session.hear_until("the withdrawal", |routes| !routes.contains("10.0.0.9/32")).await;
    let row = bench.row("stuck", "a pending peer", |row| row.prefixes_pending > 0).await;
    assert_eq!(row.phase, SessionPhase::Established);
}

#[tokio::test]
async fn a_router_that_floods_delays_nobody() {
    let (loud, quiet) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let table = many_routes(10);
    let bench = Bench::start();
    bench.want([("loud", peer(loud.address), &table), ("quiet", peer(quiet.address), &table)]);
    let (mut flooding, mut session) = tokio::join!(loud.establish(), quiet.establish());
    session.hear_until("the table", |routes| routes.len() == 10).await;
    let keepalive = [&[0xFF; 16][..], &[0, 19, 4]].concat().repeat(10_000);
    let flood = tokio::spawn(async move {
        loop {
            tokio::io::AsyncWriteExt::write_all(&mut flooding.stream, &keepalive).await.unwrap();
        }
    });
    let changed = without(&table, [10, 0, 0, 9]);
    bench.want([("loud", peer(loud.address), &changed), ("quiet", peer(quiet.address), &changed)]);
    session.hear_until("the withdrawal", |routes| !routes.contains("10.0.0.9/32")).await;
    flood.abort();
}

#[tokio::test]
async fn a_router_that_comes_back_gets_everything_again() {
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::with_peer(&router, &many_routes(10));
    let mut session = router.establish().await;
    session.hear_until("all routes", |routes| routes.len() == 10).await;
    drop(session);
    let row = bench.row("tor", "the session down", |row| row.phase != SessionPhase::Established).await;
    assert!(row.last_error.is_some(), "the row says why");
    let mut session = router.establish().await;
    session.hear_until("all routes again", |routes| routes.len() == 10).await;
    let row = bench.row("tor", "the session up", |row| row.phase == SessionPhase::Established).await;
    assert_eq!(row.established_count, 2);
}

#[tokio::test]
async fn a_closed_port_is_named_and_tried_again() {
    let router = Router::bind("127.0.0.1:0").await;
    let address = router.address;
    drop(router);
    let bench = &mut Bench::start();
    bench.want([("tor", peer(address), &one_route())]);
    let row = bench.row("tor", "the refusal", |row| row.last_error.is_some()).await;
    assert_eq!(error_text(&row), format!("connection refused: nothing listens at {address}"));
    let router = Router::bind(&address.to_string()).await;
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
}

#[tokio::test]
async fn a_password_is_carried_and_a_new_one_signs_the_session_that_is_up() {
    if !super::sockopt::kernel_has_md5() {
        return;
    }
    let (signed, plain) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let from = Ipv4Addr::LOCALHOST.into();
    super::sockopt::set_md5_key(&signed.listener, from, b"herald").unwrap();
    let table = one_route();
    let mut bench = Bench::start();
    let signed_peer = |password: &str| Peer {
        key: Password::try_new(password).map(SessionKey::Md5),
        ..peer(signed.address)
    };
    bench.want([("signed", signed_peer("herald"), &table), ("plain", peer(plain.address), &table)]);
    let (mut session, mut other) = tokio::join!(signed.establish(), plain.establish());
    session.hear_until("the route", |routes| routes.len() == 1).await;
    other.hear_until("the route", |routes| routes.len() == 1).await;

    super::sockopt::set_md5_key(&session.stream, from, b"changed").unwrap();
    let more = with(&table, [10, 0, 4, 2]);
    bench.want([("signed", signed_peer("changed"), &more), ("plain", peer(plain.address), &more)]);
    session.hear_until("the new route", |routes| routes.len() == 2).await;
    for peer in ["signed", "plain"] {
        let row = bench.row(peer, "the session", |_| true).await;
        assert_eq!((row.phase, row.established_count), (SessionPhase::Established, 1), "{peer}");
    }
}

#[tokio::test]
async fn nothing_is_dialled_before_the_first_synced_plan() {
    let (early, router) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let bench = Bench::start();
    let unsynced =
        [("tor".to_owned(), PeerPlan { peer: Arc::new(peer(early.address)), routes: one_route() })];
    bench.plan.send_replace(Arc::new(Plan { peers: unsynced.into(), ..Plan::unsynced() }));
    tokio::task::yield_now().await;
    bench.want([("tor", peer(router.address), &one_route())]);
    let mut session = router.establish().await;
    assert!(!early.has_caller().await);

    // And a plan that is unsynced later closes nothing.
    bench.plan.send_replace(Arc::new(Plan::unsynced()));
    tokio::task::yield_now().await;
    bench.want([("tor", peer(router.address), &many_routes(2))]);
    session.hear_until("the routes of the next plan", |routes| routes.contains("10.0.0.1/32")).await;
}

#[tokio::test]
async fn a_refused_peer_stays_down_and_says_why() {
    let (refused, router) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let mut bench = Bench::start();
    let table = one_route();
    let refused_peer = Peer { refused: Some(no_secret()), ..peer(refused.address) };
    bench.want([("refused", refused_peer, &table), ("tor", peer(router.address), &table)]);
    let _session = router.establish().await;
    assert!(!refused.has_caller().await);
    let row = bench.row("refused", "the reason", |row| row.last_error.is_some()).await;
    assert_eq!(row.phase, SessionPhase::Refused);
    assert_eq!(error_text(&row), no_secret().to_string());
}

#[tokio::test]
async fn a_peer_that_is_no_longer_wanted_is_told_so_and_its_row_goes() {
    let router = Router::bind("127.0.0.1:0").await;
    let mut bench = Bench::with_peer(&router, &one_route());
    let mut session = router.establish().await;
    bench.want([]);
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 3), "Cease / Peer De-configured");
    within("an empty table", bench.sessions.wait_for(|table| table.sessions.is_empty())).await.unwrap();
}

#[tokio::test]
async fn a_planned_restart_closes_without_a_word() {
    let router = Router::bind("127.0.0.1:0").await;
    let bench = Bench::with_peer(&router, &one_route());
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    bench.stopped(StopHow::Restart).await;
    assert_eq!(session.hear_end().await, None);
    assert_eq!(session.routes.len(), 1, "nothing was withdrawn");
}

#[tokio::test]
async fn a_removal_withdraws_and_says_goodbye() {
    let router = Router::bind("127.0.0.1:0").await;
    let bench = Bench::with_peer(&router, &one_route());
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    let end = tokio::spawn(async move {
        let last_words = session.hear_end().await;
        (session.routes.len(), session.was_marked, last_words)
    });
    bench.stopped(StopHow::Remove("node leaves".to_owned())).await;
    let (routes, was_marked, last_words) = end.await.unwrap();
    assert_eq!((routes, was_marked), (0, true), "GRACEFUL_SHUTDOWN first, then the withdrawal");
    let (code, subcode, data) = last_words.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 9), "Cease / Hard Reset");
    assert!(data.windows(11).any(|window| window == b"node leaves"), "{data:?}");
}

#[tokio::test]
async fn a_removal_is_bounded_when_the_router_does_not_answer() {
    let router = Router::bind("127.0.0.1:0").await;
    let bench = Bench::with_peer(&router, &one_route());
    let _silent = router.establish().await;
    bench.stopped(StopHow::Remove("node leaves".to_owned())).await;
}
