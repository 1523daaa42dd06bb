//! Requests through the whole stack.

use std::time::Duration;

use http::{Request, StatusCode, Version};
use kube::client::Body;
use tokio::net::TcpListener;

use super::super::endpoint::TokenSource;
use super::super::token::Token;
use super::super::{Logins, Wanted, call, connect, connect_as, warm_up};
use super::server::{BOTH, Face, Home, OLD, ONE, ROOT_ONE, ROOT_TWO, Server, TWO, fetch};

#[tokio::test]
async fn every_request_carries_prefix_token_and_agent() {
    let server = Server::start(Face::Plain, "a").await;
    let home = Home::new(&format!("http://127.0.0.1:{}/k8s/c-1/", server.port), "a\n", ROOT_ONE);
    let (status, _, text) = fetch(&home.client().await, "/version?x=y").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let expected = format!("/k8s/c-1/version HTTP/1.1 herald-test/{} (linux/", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn a_rotated_token_is_read_at_once_when_the_server_says_401() {
    let server = Server::start(Face::Plain, "old").await;
    let home = Home::new(&format!("http://127.0.0.1:{}", server.port), "old", ROOT_ONE);
    let client = home.client().await;
    assert_eq!(fetch(&client, "/a").await.unwrap().0, StatusCode::OK);
    server.accepts.send_replace("new".to_owned());
    assert_eq!(fetch(&client, "/b").await.unwrap().0, StatusCode::UNAUTHORIZED);
    assert_eq!(server.requests(), 2, "the same token is not tried twice");
    home.write("token", "new");
    assert_eq!(fetch(&client, "/c").await.unwrap().0, StatusCode::OK);
    assert_eq!(server.requests(), 4, "once with the old token, once with the new one");
    assert_eq!(fetch(&client, "/d").await.unwrap().0, StatusCode::OK);
    assert_eq!(server.requests(), 5);
}

#[tokio::test]
async fn a_login_program_runs_again_when_the_server_says_401() {
    let server = Server::start(Face::Plain, "old").await;
    let home = Home::new(&format!("http://127.0.0.1:{}", server.port), "old", ROOT_ONE);
    let text = std::fs::read_to_string(home.path("config")).unwrap();
    let script = "printf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"%s\"}}' $(cat ";
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, {:?}]}}, as: jane, as-groups: [a, b]",
        format!("{script}{})", home.path("token").display())
    );
    home.write("config", &text.replace("tokenFile: token", &exec));
    let config = home.path("config");
    let wanted =
        Wanted { kubeconfig: Some(&config), context: Some("x"), logins: Logins::Run, component: "test" };
    let client = connect_as(&wanted).await.unwrap();
    let (status, _, said) = fetch(&client, "/a").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(said.ends_with("impersonate-user=jane impersonate-group=a impersonate-group=b"), "{said}");
    home.write("token", "new");
    assert_eq!(fetch(&client, "/b").await.unwrap().0, StatusCode::OK, "the first answer has not run out");
    server.accepts.send_replace("new".to_owned());
    assert_eq!(fetch(&client, "/c").await.unwrap().0, StatusCode::OK);
    assert_eq!(server.requests(), 4, "once with the old token, once with the new one");
}

#[tokio::test]
async fn a_context_needs_a_kubeconfig() {
    let wanted = Wanted { kubeconfig: None, context: Some("home"), logins: Logins::Run, component: "test" };
    let error = connect_as(&wanted).await.err().unwrap().to_string();
    assert!(error.contains("no kubeconfig that could have a context \"home\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_token_file_is_read_again_every_minute_and_outlives_its_absence() {
    let home = Home::new("http://127.0.0.1:1", "one", ROOT_ONE);
    let start = tokio::time::Instant::now();
    let token = Token::try_new(TokenSource::File(home.path("token")), start).unwrap();
    let at = |seconds| token.header(start + Duration::from_secs(seconds)).to_str().unwrap().to_owned();
    home.write("token", "two");
    assert_eq!(at(59), "Bearer one");
    assert_eq!(at(60), "Bearer two");
    std::fs::remove_file(home.path("token")).unwrap();
    assert_eq!(at(200), "Bearer two");
    home.write("token", "three\n");
    assert_eq!(at(201), "Bearer two", "a missing file is not looked for at every request");
    assert_eq!(at(260), "Bearer three");
    assert!(token.header(start).is_sensitive());
}

#[tokio::test]
async fn empty_and_unsendable_tokens_are_refused_at_start() {
    for token in ["", " \n", "a\u{7}b"] {
        let home = Home::new("http://127.0.0.1:1", token, ROOT_ONE);
        let error = connect(Some(&home.path("config")), "test").await.err().unwrap().to_string();
        assert!(error.contains("is empty or has characters"), "{token:?}: {error}");
    }
}

#[tokio::test]
async fn after_the_warm_up_all_requests_share_one_http2_connection() {
    let server = Server::start(Face::Tls(ONE, BOTH), "a").await;
    let home = Home::new(&format!("https://127.0.0.1:{}", server.port), "a", ROOT_ONE);
    let client = home.client().await;
    warm_up(&client).await.unwrap();
    let (first, second, third) =
        tokio::join!(fetch(&client, "/1"), fetch(&client, "/2"), fetch(&client, "/3"));
    for answer in [first, second, third] {
        assert_eq!(answer.unwrap().1, Version::HTTP_2);
    }
    assert_eq!((server.connections(), server.requests()), (1, 4));
}

#[tokio::test]
async fn a_server_without_http2_is_spoken_to_in_its_own_way() {
    let server = Server::start(Face::Tls(ONE, OLD), "a").await;
    let home = Home::new(&format!("https://127.0.0.1:{}", server.port), "a", ROOT_ONE);
    assert_eq!(fetch(&home.client().await, "/").await.unwrap().1, Version::HTTP_11);
}

#[tokio::test]
async fn new_connections_use_the_roots_that_are_on_disk_then() {
    let server = Server::start(Face::Tls(TWO, BOTH), "a").await;
    let home = Home::new(&format!("https://127.0.0.1:{}", server.port), "a", ROOT_ONE);
    let client = home.client().await;
    let error = fetch(&client, "/").await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    home.write("ca.crt", "no PEM at all");
    fetch(&client, "/").await.unwrap_err();
    home.write("ca.crt", &format!("{ROOT_ONE}{ROOT_TWO}"));
    assert_eq!(fetch(&client, "/").await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn an_unchecked_server_is_accepted_only_where_the_kubeconfig_says_so() {
    let server = Server::start(Face::Tls(TWO, BOTH), "a").await;
    let home = Home::new(&format!("https://127.0.0.1:{}", server.port), "a", ROOT_ONE);
    let text = std::fs::read_to_string(home.path("config")).unwrap();
    home.write("config", &text.replace("certificate-authority: ca.crt", "insecure-skip-tls-verify: true"));
    assert_eq!(fetch(&home.client().await, "/").await.unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn a_name_that_the_certificate_does_not_hold_is_refused() {
    let server = Server::start(Face::Tls(ONE, BOTH), "a").await;
    let home = Home::new(&format!("https://127.0.0.1:{}", server.port), "a", ROOT_ONE);
    let text = std::fs::read_to_string(home.path("config")).unwrap();
    home.write("config", &text.replace("ca.crt", "ca.crt, tls-server-name: kubernetes"));
    let error = fetch(&home.client().await, "/").await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_at_start() {
    for (roots, expected) in [("", "no certificate in it"), ("-----BEGIN CERTIFICATE-----\n!", "certificate")]
    {
        let home = Home::new("https://127.0.0.1:1", "a", roots);
        let error = connect(Some(&home.path("config")), "test").await.err().unwrap().to_string();
        assert!(error.starts_with("the cluster's root certificate: ") && error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_client_comes_about_without_a_server_and_says_what_is_wrong_on_use() {
    let home = Home::new("https://127.0.0.1:1", "a", ROOT_ONE);
    let client = home.client().await;
    let error = warm_up(&client).await.unwrap_err();
    assert_eq!(error.word(), "unreachable");
    let text = error.to_string();
    assert!(
        text.contains("Connection refused")
            && text.ends_with("check its address, the network and its certificate")
    );
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_costs_no_more_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let home = Home::new(&format!("http://{}", listener.local_addr().unwrap()), "a", ROOT_ONE);
    let client = home.client().await;
    let request = Request::get("/").body(Body::empty()).unwrap();
    let error = call(Duration::from_millis(50), client.send(request)).await.err().unwrap();
    assert_eq!(error.word(), "timed_out");
    assert_eq!(
        error.to_string(),
        "the API server did not answer within 50ms: check its load and the network between"
    );
}
