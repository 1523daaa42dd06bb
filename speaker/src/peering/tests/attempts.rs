//! How often a router is dialled that does not want us, and that one which does not answer delays nobody.

use std::time::Duration;

use super::*;

/// How often somebody connects within ten seconds.
async fn callers(router: &Router, answer: impl Fn(tokio::net::TcpStream)) -> u32 {
    let mut count = 0;
    let counting = async {
        loop {
            let (stream, _) = router.listener.accept().await.unwrap();
            count += 1;
            answer(stream);
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), counting).await;
    count
}

#[tokio::test]
async fn a_router_that_refuses_is_tried_at_most_ten_times_in_ten_seconds() {
    let (resets, refuses) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let bench = Bench::start();
    let table = one_route();
    bench.want([("resets", peer(resets.address), &table), ("refuses", peer(refuses.address), &table)]);
    let reset = |stream: tokio::net::TcpStream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    // Cease / Connection Rejected.
    let notification = [&[0xFF; 16][..], &[0, 21, 3, 6, 5]].concat();
    let refuse = |stream: tokio::net::TcpStream| {
        stream.try_write(&notification).unwrap();
    };
    let counts = tokio::join!(callers(&resets, reset), callers(&refuses, refuse));
    assert!((2..=10).contains(&counts.0) && (2..=10).contains(&counts.1), "{counts:?}");
}

#[tokio::test]
async fn a_router_that_does_not_answer_delays_nobody() {
    // Three kinds of deaf routers: one that never answers OPEN, one whose TCP never answers, and one that nobody can
    // reach.
    let (mute, router) = (Router::bind("127.0.0.1:0").await, Router::bind("127.0.0.1:0").await);
    let mut bench = Bench::start();
    let table = one_route();
    let silent: SocketAddr = ([192, 0, 2, 1], 179).into();
    let nowhere: SocketAddr = ([240, 0, 0, 1], 179).into();
    let began = std::time::Instant::now();
    bench.want([
        ("a-mute", peer(mute.address), &table),
        ("b-silent", peer(silent), &table),
        ("c-nowhere", peer(nowhere), &table),
        ("tor", peer(router.address), &table),
    ]);
    let mut session = router.establish().await;
    session.hear_until("the route", |routes| routes.len() == 1).await;
    // Far below every wait there is (10 s for TCP, 240 s for an OPEN), far above what a busy machine takes.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let changed = with(&table, [10, 0, 4, 2]);
    let began = std::time::Instant::now();
    bench.want([
        ("a-mute", peer(mute.address), &changed),
        ("b-silent", peer(silent), &changed),
        ("c-nowhere", peer(nowhere), &changed),
        ("tor", peer(router.address), &changed),
    ]);
    session.hear_until("the next route", |routes| routes.len() == 2).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let row = bench.row("a-mute", "the mute router", |row| row.phase == SessionPhase::OpenSent).await;
    assert_eq!(row.established_count, 0);
}
