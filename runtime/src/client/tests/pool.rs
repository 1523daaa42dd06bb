//! Who shares a connection, and what becomes of requests when one ends.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use http::{Request, StatusCode, Version};
use kube::Client;
use kube::client::Body;
use tokio::net::TcpListener;

use super::super::dial::first_of;
use super::super::{call, connect};
use super::server::{BOTH, Face, Home, OLD, ONE, ROOT_ONE, Server, fetch};

async fn secure(protocols: &'static [&'static [u8]]) -> (Server, Home, Client) {
    let server = Server::start(Face::Tls(ONE, protocols), "a").await;
    let home = Home::new(&format!("https://127.0.0.1:{}", server.port), "a", ROOT_ONE);
    let client = home.client().await;
    (server, home, client)
}

/// So many requests at the same time; the protocol that each was answered with.
async fn at_once(client: &Client, path: &str, count: usize) -> Vec<Version> {
    let answers = join_all((0..count).map(|_| fetch(client, path))).await;
    answers.into_iter().map(|answer| answer.unwrap().1).collect()
}

#[tokio::test]
async fn requests_that_start_together_share_the_connection_that_the_first_one_makes() {
    let (server, _home, client) = secure(BOTH).await;
    assert_eq!(at_once(&client, "/", 20).await, [Version::HTTP_2; 20]);
    assert_eq!((server.connections(), server.requests()), (1, 20));
}

#[tokio::test]
async fn with_http_1_1_each_has_its_own_and_the_next_ones_use_them_again() {
    let (server, _home, client) = secure(OLD).await;
    assert_eq!(at_once(&client, "/", 3).await, [Version::HTTP_11; 3]);
    assert!(server.connections() <= 3, "{}", server.connections());
    let made = server.connections();
    for _ in 0..5 {
        fetch(&client, "/").await.unwrap();
    }
    assert_eq!((server.connections(), server.requests()), (made, 8));
}

#[tokio::test]
async fn an_answer_that_takes_long_holds_up_no_other_with_either_protocol() {
    for protocols in [BOTH, OLD] {
        let (server, _home, client) = secure(protocols).await;
        server.gate.send_replace(false);
        let held = at_once(&client, "/held", 20);
        let other = async {
            while server.requests() < 20 {
                tokio::task::yield_now().await;
            }
            fetch(&client, "/").await.unwrap();
            server.gate.send_replace(true);
        };
        tokio::join!(held, other);
        assert_eq!(server.requests(), 21);
    }
}

#[tokio::test]
async fn after_a_cut_connection_the_next_request_goes_to_a_new_one() {
    for protocols in [BOTH, OLD] {
        let (server, _home, client) = secure(protocols).await;
        for epoch in 1..=3 {
            assert_eq!(fetch(&client, "/").await.unwrap().0, StatusCode::OK);
            assert_eq!(server.connections(), epoch);
            server.cut();
        }
    }
}

#[tokio::test]
async fn a_request_that_the_server_may_have_heard_is_not_said_twice() {
    for protocols in [BOTH, OLD] {
        let (server, _home, client) = secure(protocols).await;
        server.gate.send_replace(false);
        let cut = async {
            while server.requests() < 1 {
                tokio::task::yield_now().await;
            }
            server.cut();
        };
        let (answer, ()) = tokio::join!(fetch(&client, "/held"), cut);
        assert_eq!(answer.unwrap_err().word(), "unreachable");
        server.gate.send_replace(true);
        fetch(&client, "/").await.unwrap();
        assert_eq!(server.requests(), 2);
    }
}

#[tokio::test]
async fn all_who_wait_for_a_connection_hear_why_there_is_none() {
    let home = Home::new("https://127.0.0.1:1", "a", ROOT_ONE);
    let client = home.client().await;
    let answers = join_all((0..5).map(|_| fetch(&client, "/"))).await;
    for answer in answers {
        let text = answer.unwrap_err().to_string();
        assert!(text.contains("no TCP connection: Connection refused"), "{text}");
    }
}

/// The first one makes the connection; the others wait for it, and not for the first one.
#[tokio::test]
async fn who_gives_up_leaves_the_connection_to_those_who_wait() {
    let (server, _home, client) = secure(BOTH).await;
    let impatient = call(Duration::ZERO, client.send(Request::get("/").body(Body::empty()).unwrap()));
    let (given_up, answers) = tokio::join!(biased; impatient, at_once(&client, "/", 3));
    assert_eq!(given_up.unwrap_err().word(), "timed_out");
    assert_eq!(answers, [Version::HTTP_2; 3]);
    assert_eq!(server.connections(), 1);
}

/// Without an end to that, a server behind a broken proxy would be called as fast as it can hang up.
#[tokio::test]
async fn a_server_that_hangs_up_at_once_is_called_a_few_times_for_a_request() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let home = Home::new(&format!("http://{}", listener.local_addr().unwrap()), "a", ROOT_ONE);
    let client = home.client().await;
    let mut calls = 0;
    let hang_up = async {
        loop {
            drop(listener.accept().await.unwrap());
            calls += 1;
        }
    };
    let answer = tokio::select! {
        answer = fetch(&client, "/") => answer,
        () = hang_up => unreachable!("it goes on for ever"),
    };
    assert_eq!(answer.unwrap_err().word(), "unreachable");
    assert!((1..=3).contains(&calls), "{calls}");
}

#[tokio::test]
async fn the_server_is_named_as_its_protocol_wants_it() {
    for (protocols, has_host) in [(BOTH, false), (OLD, true)] {
        let (server, _home, client) = secure(protocols).await;
        let (_, _, text) = fetch(&client, "/host").await.unwrap();
        assert_eq!(text, format!("127.0.0.1:{} {has_host}", server.port));
    }
}

#[tokio::test]
async fn of_several_addresses_the_one_that_answers_is_taken_or_the_last_fault_told() {
    let closed = |host: [u8; 4]| SocketAddr::from((host, 1));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let open = listener.local_addr().unwrap();
    for addresses in [
        &[open][..],
        &[closed([127, 0, 0, 1]), closed([127, 0, 0, 2]), open],
        &[open, closed([127, 0, 0, 1])],
    ] {
        assert_eq!(first_of(addresses).await.unwrap().peer_addr().unwrap(), open);
    }
    let fault = first_of(&[closed([127, 0, 0, 1]), closed([127, 0, 0, 2])]).await.unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_host_without_tls_needs_no_name_that_a_certificate_could_hold() {
    for (server, named) in
        [("http://a..b", "no address"), ("https://a..b", "\"a..b\" is no address of an API server")]
    {
        let home = Home::new(server, "a", ROOT_ONE);
        let text = match connect(Some(&home.path("config")), "test").await {
            Ok(client) => fetch(&client, "/").await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(named), "{server}: {text}");
    }
}
