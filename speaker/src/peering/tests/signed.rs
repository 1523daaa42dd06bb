//! Sessions that are signed: two drivers with each other. With TCP-AO where the kernel has it, else its refusal in words, and
//! which of both was seen is printed; with a password that changes under the session.

use std::time::{Duration, SystemTime};

use api::config::{TcpAo, TcpAoAlgorithm};

use super::calls::{free_port, loopback};
use super::*;

const CALLER: u8 = 21;
const CALLED: u8 = 22;

fn key(octets: &str, ids: (u8, u8), algorithm: TcpAoAlgorithm) -> Option<SessionKey> {
    let key = Password::try_new(octets).unwrap();
    Some(SessionKey::TcpAo(TcpAo { key, send_id: ids.0, recv_id: ids.1, algorithm }))
}

/// Two drivers that are each other's router; one dials.
struct Pair {
    caller: Bench,
    called: Bench,
    port: u16,
    /// What the caller announces.
    routes: Arc<RouteSet>,
    hold_time: Option<u16>,
    /// When the sessions began that were seen last.
    seen: [SystemTime; 2],
}

impl Pair {
    fn start() -> Self {
        let seen = [SystemTime::UNIX_EPOCH; 2];
        let (caller, called) = (Bench::start(), Bench::start());
        Self { caller, called, port: free_port(), routes: many_routes(3), hold_time: None, seen }
    }

    fn want(&self, caller_key: Option<SessionKey>, called_key: Option<SessionKey>) {
        let node = |number: u8| Some(Ipv4Addr::new(192, 0, 2, number));
        let caller = Peer {
            source: Some(loopback(CALLER)),
            router_id: node(CALLER),
            key: caller_key,
            hold_time: self.hold_time,
            connect_time: Some(1),
            ..peer(SocketAddr::new(loopback(CALLED), self.port))
        };
        let called = Peer {
            local_asn: ROUTER_ASN,
            remote_asn: RemoteAsn::Exactly(NODE_ASN),
            source: Some(loopback(CALLED)),
            router_id: node(CALLED),
            key: called_key,
            hold_time: self.hold_time,
            connect: ConnectMode::Passive,
            listen_port: self.port,
            ..peer(SocketAddr::new(loopback(CALLER), self.port))
        };
        self.caller.want([("tor", caller, &self.routes)]);
        self.called.want([("tor", called, &one_route())]);
    }

    /// Both are up in a session that began after the one that was seen last, and have heard each other's routes.
    async fn is_up(&mut self) {
        let Self { caller, called, seen: [by_caller, by_called], .. } = self;
        for (bench, seen) in [(caller, by_caller), (called, by_called)] {
            let row = bench
                .row("tor", "the signed session", |row| {
                    row.phase == SessionPhase::Established
                        && row.messages.received.updates > 0
                        && row.since > *seen
                })
                .await;
            *seen = row.since;
        }
    }
}

#[tokio::test]
async fn two_drivers_sign_with_tcp_ao_or_both_say_that_the_kernel_cannot() {
    if !super::super::sockopt::kernel_has_tcp_ao() {
        return refused().await;
    }
    println!("this kernel has TCP-AO: two drivers sign their sessions");
    for algorithm in TcpAoAlgorithm::ALL {
        let mut pair = Pair::start();
        pair.want(key("master", (1, 2), algorithm), key("master", (2, 1), algorithm));
        pair.is_up().await;
    }
    let mut pair = Pair::start();
    let [one, _, other] = TcpAoAlgorithm::ALL;
    pair.want(key("master", (1, 2), one), key("master", (2, 1), one));
    pair.is_up().await;
    // Another key, another identifier, another algorithm, at one side first: silence, said in words, and never a session.
    let changed = [
        (key("changed", (2, 1), one), key("changed", (1, 2), one)),
        (key("changed", (4, 3), one), key("changed", (3, 4), one)),
        (key("changed", (4, 3), other), key("changed", (3, 4), other)),
    ];
    let mut old = key("master", (1, 2), one);
    for (called, caller) in changed {
        pair.want(old, called.clone());
        let words = "(a different TCP-AO key, algorithm, sendID or recvID looks like this)";
        let row = pair.caller.row("tor", "the words", |row| error_text(row).ends_with(words)).await;
        assert_ne!(row.phase, SessionPhase::Established);
        pair.want(caller.clone(), called);
        pair.is_up().await;
        old = caller;
    }
    // Nobody else is heard at that door.
    let stranger = tokio::net::TcpSocket::new_v4().unwrap();
    stranger.bind(SocketAddr::new(loopback(CALLER), 0)).unwrap();
    let unsigned = stranger.connect(SocketAddr::new(loopback(CALLED), pair.port));
    assert!(tokio::time::timeout(Duration::from_millis(500), unsigned).await.is_err(), "an unsigned call");
    // A password in place of the key, and the key again.
    if super::super::sockopt::kernel_has_md5() {
        let password = || Password::try_new("herald").map(SessionKey::Md5);
        pair.want(password(), password());
        pair.is_up().await;
        pair.want(key("master", (7, 7), one), key("master", (7, 7), one));
        pair.is_up().await;
    }
}

/// Both sides stay down and say why: the one that dials and the one that listens.
async fn refused() {
    println!("this kernel has no TCP-AO: its refusal is what is checked");
    let mut pair = Pair::start();
    let algorithm = TcpAoAlgorithm::HmacSha1;
    pair.want(key("master", (1, 2), algorithm), key("master", (2, 1), algorithm));
    for bench in [&mut pair.caller, &mut pair.called] {
        let row = bench.row("tor", "the refusal", |row| row.last_error.is_some()).await;
        assert_eq!(
            error_text(&row),
            "this node's kernel has no TCP-AO (it needs Linux 6.7 with CONFIG_TCP_AO): run a kernel that has it, or sign \
             with TCP MD5 (passwordSecret in place of tcpAOSecret)"
        );
        assert_ne!(row.phase, SessionPhase::Established, "never unsigned");
    }
}

/// Each side changes at its own time; what is said meanwhile is said again by TCP.
#[tokio::test]
async fn a_password_that_changes_on_both_sides_in_turn_costs_no_session() {
    if !super::super::sockopt::kernel_has_md5() {
        return;
    }
    let password = |text: &str| Password::try_new(text).map(SessionKey::Md5);
    let heard = |row: &SessionRow| row.messages.received.updates;
    let mut pair = Pair::start();
    pair.hold_time = Some(3);
    pair.want(password("first"), password("first"));
    pair.is_up().await;
    let turns =
        [("second", "first", 4), ("second", "second", 5), ("second", "third", 6), ("third", "third", 7)];
    for (caller, called, routes) in turns {
        let before = pair.called.row("tor", "the session", |_| true).await;
        pair.routes = many_routes(routes);
        pair.want(password(caller), password(called));
        if caller != called {
            continue;
        }
        let after = pair.called.row("tor", "the routes", |row| heard(row) > heard(&before)).await;
        let calling = pair.caller.row("tor", "the session", |_| true).await;
        for row in [after, calling] {
            assert_eq!((row.established_count, row.last_error), (1, None), "{caller}");
        }
    }
    // The connection really is signed with what the plan says: who has another one hears nothing for the hold time.
    pair.want(password("fourth"), password("third"));
    let row = pair.called.row("tor", "the end", |row| row.phase != SessionPhase::Established).await;
    assert!(error_text(&row).contains("hold timer expired"), "{}", error_text(&row));
}
