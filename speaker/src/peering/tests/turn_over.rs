//! Two drivers one after the other on one session, and everything that can come between them.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::peering::run_in_turn;
use crate::takeover::channel::Channel;
use crate::takeover::message::{Answer, GREETING_LIMIT, Hello, Order, SESSION_LIMIT, VERSION};
use crate::takeover::{Place, Role};

/// A driver in a row of drivers.
struct InTurn {
    bench: Bench,
    role: watch::Receiver<Role>,
}

impl InTurn {
    fn start(folder: &TempDir) -> Self {
        let (plan, plans) = watch::channel(Arc::new(Plan::unsynced()));
        let (table, sessions) = watch::channel(Arc::default());
        let (stop, stops) = watch::channel(None);
        let settings =
            PeeringSettings { node_name: "node-1".to_owned(), seed: 7, times: WireTimes::default() };
        let (roles, role) = watch::channel(Role::Asking);
        let task = tokio::spawn(run_in_turn(plans, table, settings, stops, place(folder), roles));
        Self { bench: Bench { plan, sessions, stop, task }, role }
    }

    async fn becomes(&mut self, role: Role) {
        let reached = self.role.wait_for(|now| *now == role);
        within(&format!("the role {role:?}"), reached).await.unwrap();
    }
}

fn place(folder: &TempDir) -> Place {
    Place { socket: folder.path().join("takeover.sock"), node: "node-1".to_owned() }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A driver with an Established session and its routes told.
async fn first(folder: &TempDir, router: &Router, table: &Arc<RouteSet>) -> (InTurn, router::RouterSession) {
    let mut first = InTurn::start(folder);
    first.becomes(Role::Active).await;
    first.bench.want([("tor", peer(router.address), table)]);
    let mut session = router.establish().await;
    session.hear_until("the table", |routes| routes.len() == table.len()).await;
    while session.hear().await != Heard::EndOfRib {}
    (first, session)
}

/// A driver that has come to follow the one that runs, which knows of it, and has made no plan yet.
async fn newcomer(folder: &TempDir, old: &mut InTurn) -> InTurn {
    let mut new = InTurn::start(folder);
    new.becomes(Role::Waiting).await;
    old.becomes(Role::Yielding).await;
    new
}

/// Tells a driver to end for a restart.
async fn end(old: &InTurn) {
    old.bench.stop.send(Some(StopHow::Restart)).unwrap();
    tokio::task::yield_now().await;
}

/// The next driver, with the same peer and its own idea of the routes.
async fn next(folder: &TempDir, router: &Router, table: &Arc<RouteSet>) -> InTurn {
    let mut next = InTurn::start(folder);
    next.becomes(Role::Waiting).await;
    next.bench.want([("tor", peer(router.address), table)]);
    next.becomes(Role::Active).await;
    next
}

/// The next thing that the router hears apart from KEEPALIVEs.
async fn news(session: &mut router::RouterSession) -> Heard {
    loop {
        let heard = session.hear().await;
        if heard != Heard::Keepalive {
            return heard;
        }
    }
}

fn withdrawal(prefix: &str) -> Heard {
    Heard::Update { announced: Vec::new(), withdrawn: vec![prefix.to_owned()], next_hop: None }
}

#[tokio::test]
async fn the_next_speaker_goes_on_with_the_session_and_tells_the_difference_only() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &many_routes(1_000)).await;
    // Equal, and made anew: nothing of it is the allocation that the first speaker had.
    let mut new = next(&folder, &router, &without(&many_routes(1_000), [10, 0, 0, 7])).await;
    assert_eq!(news(&mut session).await, withdrawal("10.0.0.7/32"), "nothing was repeated before it");

    old.becomes(Role::Retired).await;
    let row = new.bench.row("tor", "the session", |row| row.phase == SessionPhase::Established).await;
    assert_eq!((row.established_count, row.prefixes_sent), (1, 999));
    assert_eq!((row.remote_asn, row.local_address), (Some(ROUTER_ASN), Some([127, 0, 0, 1].into())));
    // The one before ends and takes nothing along.
    old.bench.stopped(StopHow::Restart).await;
    new.bench.want([("tor", peer(router.address), &without(&many_routes(999), [10, 0, 0, 7]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.3.231/32"));
    assert!(!router.has_caller().await, "nobody has dialled again");
}

#[tokio::test]
async fn a_removed_predecessor_withdraws_nothing_that_is_not_its_own() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (old, mut session) = first(&folder, &router, &one_route()).await;
    let new = next(&folder, &router, &one_route()).await;
    old.bench.stopped(StopHow::Remove("the old one goes".to_owned())).await;
    new.bench.want([("tor", peer(router.address), &without(&one_route(), [10, 0, 4, 1]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.4.1/32"));
    assert!(!session.was_marked);
}

#[tokio::test]
async fn any_number_of_speakers_follow_each_other() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut current, mut session) = first(&folder, &router, &many_routes(10)).await;
    for round in 0..4 {
        let new = next(&folder, &router, &many_routes(10)).await;
        current.bench.stopped(StopHow::Restart).await;
        current = new;
        let socket = std::fs::symlink_metadata(place(&folder).socket).unwrap();
        assert!(socket.file_type().is_socket(), "round {round}: the next one finds the socket");
    }
    current.bench.want([("tor", peer(router.address), &without(&many_routes(10), [10, 0, 0, 3]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.0.3/32"));
    current.bench.stopped(StopHow::Restart).await;
    assert_eq!(session.hear_end().await, None);
    assert!(!place(&folder).socket.exists(), "the last one leaves nothing behind");
}

#[tokio::test]
async fn of_three_speakers_that_run_the_newest_speaks_and_the_others_stay_silent() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut oldest, mut session) = first(&folder, &router, &many_routes(10)).await;
    let _middle = next(&folder, &router, &many_routes(10)).await;
    let _newest = next(&folder, &router, &many_routes(10)).await;
    let wakes = oldest.role.wait_for(|now| *now == Role::Active);
    let woke = tokio::time::timeout(Duration::from_secs(2), wakes).await.is_ok();
    assert!(!woke, "its successor has only handed the sessions on");
    // And the newest one is still there to be followed.
    let _next = next(&folder, &router, &without(&many_routes(10), [10, 0, 0, 3])).await;
    assert_eq!(news(&mut session).await, withdrawal("10.0.0.3/32"));
}

#[tokio::test]
async fn half_a_message_that_came_before_and_half_that_comes_after_are_one_message() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (_old, mut session) = first(&folder, &router, &one_route()).await;
    // A ROUTE-REFRESH for IPv4, in two pieces.
    let refresh = [&[0xFF; 16][..], &[0, 23, 5, 0, 1, 0, 1]].concat();
    session.stream.write_all(&refresh[..11]).await.unwrap();
    let mut new = next(&folder, &router, &one_route()).await;
    session.stream.write_all(&refresh[11..]).await.unwrap();
    let Heard::Update { announced, .. } = news(&mut session).await else { panic!("no UPDATE") };
    assert_eq!(announced, ["10.0.4.1/32"]);
    let row = new.bench.row("tor", "the session", |row| row.phase == SessionPhase::Established).await;
    assert_eq!(row.established_count, 1);
}

#[tokio::test]
async fn a_table_that_is_half_written_is_written_to_its_end() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let table = many_routes(400_000);
    let mut old = InTurn::start(&folder);
    old.becomes(Role::Active).await;
    old.bench.want([("tor", peer(router.address), &table)]);
    let mut session = router.establish().await;
    // It reads nothing, so the kernel takes no more at some point in the middle of a message.
    old.bench.row("tor", "a blocked session", |row| row.prefixes_sent > 0 && row.prefixes_pending > 0).await;
    let changed = with(&without(&table, [10, 0, 0, 9]), [10, 99, 0, 1]);
    let mut new = InTurn::start(&folder);
    new.becomes(Role::Waiting).await;
    new.bench.want([("tor", peer(router.address), &changed)]);
    new.becomes(Role::Active).await;
    session
        .hear_until("the table", |routes| {
            routes.len() == 400_000 && routes.contains("10.99.0.1/32") && !routes.contains("10.0.0.9/32")
        })
        .await;
}

#[tokio::test]
async fn a_session_of_another_configuration_ends_with_cease_and_starts_anew() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (_old, mut session) = first(&folder, &router, &one_route()).await;
    let mut new = InTurn::start(&folder);
    new.becomes(Role::Waiting).await;
    let changed = Peer { hold_time: Some(90), ..peer(router.address) };
    new.bench.want([("tor", changed, &one_route())]);
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 6), "Cease / Other Configuration Change");
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
}

#[tokio::test]
async fn a_peer_that_is_gone_from_the_configuration_is_told_so() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (_old, mut session) = first(&folder, &router, &one_route()).await;
    let mut new = InTurn::start(&folder);
    new.becomes(Role::Waiting).await;
    new.bench.want([]);
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 3), "Cease / Peer De-configured");
}

#[tokio::test]
async fn the_key_goes_with_the_socket() {
    if !crate::peering::sockopt::kernel_has_md5() {
        return;
    }
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    crate::peering::sockopt::set_md5_key(&router.listener, Ipv4Addr::LOCALHOST.into(), b"herald").unwrap();
    let signed = || Peer { key: Password::try_new("herald").map(SessionKey::Md5), ..peer(router.address) };
    let mut old = InTurn::start(&folder);
    old.becomes(Role::Active).await;
    old.bench.want([("tor", signed(), &one_route())]);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    let mut new = InTurn::start(&folder);
    new.becomes(Role::Waiting).await;
    new.bench.want([("tor", signed(), &many_routes(3))]);
    session.hear_until("more routes", |routes| routes.contains("10.0.0.2/32")).await;

    // Another password is another session.
    let mut last = InTurn::start(&folder);
    last.becomes(Role::Waiting).await;
    let changed = Peer { key: Password::try_new("changed").map(SessionKey::Md5), ..peer(router.address) };
    last.bench.want([("tor", changed, &many_routes(3))]);
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 6));
}

#[tokio::test]
async fn a_successor_that_dies_before_it_commits_leaves_everything_as_it_was() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &one_route()).await;
    for last_word in [Some(Order::Ready), Some(Order::Commit), None] {
        let channel = knock(&place(&folder).socket, VERSION, VERSION).await;
        assert!(matches!(answer(&channel).await, Answer::Welcome { .. }));
        old.becomes(Role::Yielding).await;
        if let Some(word) = last_word {
            channel.send(&word, None).await.unwrap();
            if matches!(word, Order::Ready) {
                assert!(matches!(answer(&channel).await, Answer::Sessions { count: 1, .. }));
                let (session, socket) = channel.receive::<Answer>(SESSION_LIMIT).await.unwrap();
                assert!(matches!(session, Answer::Session(_)) && socket.is_some());
            }
        }
        drop(channel);
        old.becomes(Role::Active).await;
    }
    old.bench.want([("tor", peer(router.address), &without(&one_route(), [10, 0, 4, 1]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.4.1/32"));
}

#[tokio::test]
async fn a_successor_that_stops_in_its_tracks_is_not_waited_for() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &one_route()).await;
    let channel = knock(&place(&folder).socket, VERSION, VERSION).await;
    assert!(matches!(answer(&channel).await, Answer::Welcome { .. }));
    channel.send(&Order::Ready, None).await.unwrap();
    assert!(matches!(answer(&channel).await, Answer::Sessions { count: 1, .. }));
    let _unanswered = channel.receive::<Answer>(SESSION_LIMIT).await.unwrap();
    assert!(matches!(answer(&channel).await, Answer::Aborted), "it is told so");
    old.becomes(Role::Active).await;
    old.bench.want([("tor", peer(router.address), &without(&one_route(), [10, 0, 4, 1]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.4.1/32"));
}

#[tokio::test]
async fn garbage_and_strangers_at_the_socket_change_nothing() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &one_route()).await;
    for octets in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 2, b'{', b'}'], &[0], &[]] {
        let mut stranger = UnixStream::connect(place(&folder).socket).await.unwrap();
        stranger.write_all(octets).await.unwrap();
    }
    let elsewhere = Hello { oldest: 1, newest: 1, node: "node-2".to_owned(), build: "0".to_owned() };
    let channel = Channel::new(UnixStream::connect(place(&folder).socket).await.unwrap());
    channel.send(&Order::Hello(elsewhere), None).await.unwrap();
    let Answer::Refused { reason } = answer(&channel).await else { panic!("a stranger was let in") };
    assert_eq!(reason, "this is the speaker of node \"node-1\", not of \"node-2\"");
    assert!(channel.send(&Order::StepDown, None).await.is_err() || answer_or_end(&channel).await.is_none());
    assert_eq!(*old.role.borrow_and_update(), Role::Active);
    old.bench.want([("tor", peer(router.address), &without(&one_route(), [10, 0, 4, 1]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.4.1/32"));
}

#[tokio::test]
async fn a_successor_of_an_unknown_version_gets_a_sentence_and_the_sessions_are_closed_when_it_asks() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &one_route()).await;
    let channel = knock(&place(&folder).socket, 8, 9).await;
    let Answer::Refused { reason } = answer(&channel).await else { panic!("version 9 was let in") };
    assert_eq!(
        reason,
        format!(
            "the running speaker hands sessions over in version {VERSION}, the new one understands 8 to 9"
        )
    );
    channel.send(&Order::StepDown, None).await.unwrap();
    assert!(matches!(answer(&channel).await, Answer::Done));
    assert_eq!(session.hear_end().await, None, "closed without a word, as for a graceful restart");
    old.becomes(Role::Retired).await;
    assert!(!router.has_caller().await);
    // It died before it could dial: the one before holds the sessions again.
    drop(channel);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    old.becomes(Role::Active).await;
}

#[tokio::test]
async fn a_successor_that_dies_later_is_replaced_by_the_one_before() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, session) = first(&folder, &router, &one_route()).await;
    let new = next(&folder, &router, &one_route()).await;
    old.becomes(Role::Retired).await;
    old.bench.want([("tor", peer(router.address), &many_routes(2))]);
    // As a crash ends it: all its descriptors are closed.
    new.bench.task.abort();
    drop(session);
    let mut session = router.establish().await;
    session.hear_until("the routes of the newest plan", |routes| routes.contains("10.0.0.1/32")).await;
}

#[tokio::test]
async fn a_predecessor_that_does_not_answer_is_not_waited_for() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let hung = UnixListener::bind(place(&folder).socket).unwrap();
    let mut new = InTurn::start(&folder);
    new.bench.want([("tor", peer(router.address), &one_route())]);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    new.becomes(Role::Active).await;
    // What it finds when it wakes up: the question, and the order to let go.
    let channel = Channel::new(hung.accept().await.unwrap().0);
    let (hello, _) = channel.receive::<Order>(GREETING_LIMIT).await.unwrap();
    let (order, _) = channel.receive::<Order>(GREETING_LIMIT).await.unwrap();
    assert!(matches!(hello, Order::Hello(_)) && matches!(order, Order::StepDown));
}

#[tokio::test]
async fn a_predecessor_that_ends_while_the_plan_is_made_is_followed_by_a_dial() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, session) = first(&folder, &router, &one_route()).await;
    let mut new = newcomer(&folder, &mut old).await;
    old.bench.task.abort();
    new.becomes(Role::Active).await;
    drop(session);
    new.bench.want([("tor", peer(router.address), &one_route())]);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
}

#[tokio::test]
async fn an_end_waits_for_the_successor_that_is_there() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &one_route()).await;
    let new = newcomer(&folder, &mut old).await;
    end(&old).await;
    new.bench.want([("tor", peer(router.address), &without(&one_route(), [10, 0, 4, 1]))]);
    within("the end of the old one", old.bench.task).await.unwrap();
    assert_eq!(news(&mut session).await, withdrawal("10.0.4.1/32"));
}

#[tokio::test]
async fn an_end_that_waits_for_a_successor_goes_on_telling_what_is_withdrawn() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &many_routes(3)).await;
    let new = newcomer(&folder, &mut old).await;
    end(&old).await;
    // The new one is still making its plan when an address goes.
    let asked = std::time::Instant::now();
    old.bench.want([("tor", peer(router.address), &without(&many_routes(3), [10, 0, 0, 1]))]);
    assert_eq!(news(&mut session).await, withdrawal("10.0.0.1/32"));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "it waited for the successor: {took:?}");
    // And what the new one is handed is what the router knows by then.
    new.bench.want([("tor", peer(router.address), &without(&many_routes(2), [10, 0, 0, 1]))]);
    within("the end of the old one", old.bench.task).await.unwrap();
    assert_eq!(news(&mut session).await, withdrawal("10.0.0.2/32"));
}

#[tokio::test]
async fn an_end_is_put_off_no_longer_than_the_successor_is_there() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, _session) = first(&folder, &router, &one_route()).await;
    let new = newcomer(&folder, &mut old).await;
    end(&old).await;
    let asked = std::time::Instant::now();
    new.bench.task.abort();
    within("the end of the old one", old.bench.task).await.unwrap();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(8), "there was nobody to wait for: {took:?}");
}

#[tokio::test]
async fn of_two_successors_the_second_waits_until_the_first_has_its_turn() {
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let (mut old, mut session) = first(&folder, &router, &many_routes(3)).await;
    let mut one = newcomer(&folder, &mut old).await;
    let mut other = InTurn::start(&folder);
    other.bench.want([("tor", peer(router.address), &without(&many_routes(3), [10, 0, 0, 1]))]);
    // Longer than it was ever asked: it neither dials beside the one that lives nor takes its socket away.
    let speaks = other.role.wait_for(|role| role.speaks());
    assert!(tokio::time::timeout(Duration::from_secs(12), speaks).await.is_err(), "it did not wait");
    assert!(!router.has_caller().await);
    one.bench.want([("tor", peer(router.address), &many_routes(3))]);
    one.becomes(Role::Retired).await;
    other.becomes(Role::Active).await;
    assert_eq!(news(&mut session).await, withdrawal("10.0.0.1/32"), "one session through all of it");
}

#[tokio::test]
async fn of_two_speakers_that_start_in_one_moment_one_has_the_turn_and_the_other_waits_for_it() {
    for _ in 0..20 {
        let folder = folder();
        let mut both = [InTurn::start(&folder), InTurn::start(&folder)];
        let settled = async {
            loop {
                let roles = both.each_mut().map(|one| *one.role.borrow());
                let speaking = roles.iter().filter(|role| role.speaks()).count();
                assert!(speaking < 2, "{roles:?}");
                if speaking == 1 && roles.contains(&Role::Waiting) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("one to speak", settled).await;
    }
}

#[tokio::test]
async fn bfd_goes_on_in_the_next_speaker_with_its_numbers_and_its_port() {
    let _ports = crate::bfd::tests::PORTS.lock().await;
    let (folder, router) = (folder(), Router::bind("127.0.0.1:0").await);
    let watched = || Peer { bfd: Some(paths::profile(300)), ..peer(router.address) };
    let mut current = InTurn::start(&folder);
    current.becomes(Role::Active).await;
    current.bench.want([("tor", watched(), &many_routes(3))]);
    let mut session = router.establish().await;
    session.hear_until("the table", |routes| routes.len() == 3).await;
    while session.hear().await != Heard::EndOfRib {}
    // The router's address is our own: a session with itself, which knows itself by one number.
    let is_up = |row: &SessionRow| row.bfd.as_ref().is_some_and(|bfd| bfd.state == bfd_proto::State::Up);
    current.bench.row("tor", "BFD up", is_up).await;
    for _ in 0..3 {
        let mut next = InTurn::start(&folder);
        next.becomes(Role::Waiting).await;
        next.bench.want([("tor", watched(), &many_routes(3))]);
        next.becomes(Role::Active).await;
        current.bench.stopped(StopHow::Restart).await;
        let row = next.bench.row("tor", "BFD still up", is_up).await;
        let before = row.bfd.unwrap().packets.received();
        // Several detection times long.
        let goes_on =
            |row: &SessionRow| row.bfd.as_ref().is_some_and(|bfd| bfd.packets.received() > before + 9);
        let heard = async {
            loop {
                let table = next.bench.sessions.borrow().clone();
                if goes_on(&table.sessions["tor"]) {
                    return table.sessions["tor"].clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let row = within("packets", heard).await;
        let bfd = row.bfd.unwrap();
        assert_eq!((bfd.state, bfd.ups, bfd.downs), (bfd_proto::State::Up, 1, 0), "{:?}", bfd.message);
        assert_eq!((row.phase, row.established_count), (SessionPhase::Established, 1));
        current = next;
    }
    // It is as watchful as the first one: what a router says that has lost us ends the session.
    paths::say_down();
    let (code, subcode, _) = session.hear_end().await.expect("a NOTIFICATION");
    assert_eq!((code, subcode), (6, 10), "Cease / BFD Down");
    current.bench.stopped(StopHow::Restart).await;
}

#[tokio::test]
async fn without_a_folder_there_is_no_successor_and_no_harm() {
    let router = Router::bind("127.0.0.1:0").await;
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (plan, plans) = watch::channel(Arc::new(Plan::unsynced()));
    let (table, sessions) = watch::channel(Arc::default());
    let (stop, stops) = watch::channel(None);
    let settings = PeeringSettings { node_name: "node-1".to_owned(), seed: 7, times: WireTimes::default() };
    let (roles, role) = watch::channel(Role::Asking);
    let place = Place { socket: folder.path().join("file/takeover.sock"), node: "node-1".to_owned() };
    let task = tokio::spawn(run_in_turn(plans, table, settings, stops, place, roles));
    let mut alone = InTurn { bench: Bench { plan, sessions, stop, task }, role };
    alone.becomes(Role::Active).await;
    alone.bench.want([("tor", peer(router.address), &one_route())]);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
}

async fn knock(socket: &Path, oldest: u16, newest: u16) -> Channel {
    let channel = Channel::new(UnixStream::connect(socket).await.unwrap());
    let hello = Hello { oldest, newest, node: "node-1".to_owned(), build: "0.0.0".to_owned() };
    channel.send(&Order::Hello(hello), None).await.unwrap();
    channel
}

async fn answer(channel: &Channel) -> Answer {
    within("an answer", channel.receive::<Answer>(GREETING_LIMIT)).await.unwrap().0
}

async fn answer_or_end(channel: &Channel) -> Option<Answer> {
    within("an answer", channel.receive::<Answer>(GREETING_LIMIT)).await.ok().map(|(answer, _)| answer)
}
