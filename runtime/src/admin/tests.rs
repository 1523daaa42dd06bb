//! The admin server as a prober, a scraper and a person with curl see it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{Admin, SharedAdmin, serve_unix};
use crate::settings::LogFormat;
use crate::stop::Stop;

/// Sends one request and returns the whole answer as text.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &str) -> String {
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that refuses early may reset the connection; what it said before counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// An address of this test alone: loopback has 16 million of them, so nobody else listens there.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high.max(1), low, NEXT.fetch_add(1, Ordering::SeqCst)], 7472))
}

/// Connects as soon as somebody listens.
async fn knock(addr: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(addr).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn knock_unix(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn example(ready: Arc<AtomicBool>) -> SharedAdmin {
    let mut registry = Registry::default();
    let gauge: Gauge = Gauge::default();
    gauge.set(7);
    registry.register("herald_example", "An example", gauge);
    Admin::new()
        .ready("sync", move || {
            if ready.load(Ordering::SeqCst) { Ok(()) } else { Err("waiting for nodes".to_owned()) }
        })
        .metrics(registry)
        .inquiry("/echo", |query| async move { serde_json::json!({ "asked": query }) })
        .debug_state(|| serde_json::json!({"peers": 2}))
        .json("/state", || serde_json::json!({"node": "n1"}))
        .log_level(crate::log::init("info", LogFormat::Json).unwrap())
        .share()
}

#[tokio::test]
async fn every_route_answers_in_its_form() {
    let ready = Arc::new(AtomicBool::new(false));
    let (trigger, stop) = Stop::manual();
    let addr = own_address();
    let server = tokio::spawn(example(ready.clone()).serve(addr, stop));
    let rows = [
        ("GET /livez", "", "200 OK", "ok\n"),
        ("GET /healthz?verbose", "", "200 OK", "ok\n"),
        ("GET /readyz", "", "503 Service Unavailable", "[-]sync failed: waiting for nodes\nnot ok\n"),
        ("HEAD /livez", "", "200 OK", ""),
        ("POST /livez", "", "405 Method Not Allowed", "only GET, HEAD here\n"),
        ("GET /metrics", "", "200 OK", "# TYPE herald_example gauge\nherald_example 7\n# EOF\n"),
        ("GET /debug/state", "", "200 OK", "{\"peers\":2}\n"),
        ("GET /state", "", "200 OK", "{\"node\":\"n1\"}\n"),
        ("GET /echo?a=b/c", "", "200 OK", "{\"asked\":\"a=b/c\"}\n"),
        ("POST /echo", "", "405 Method Not Allowed", "only GET here\n"),
        ("GET /debug/log-level", "", "200 OK", "info\n"),
        ("PUT /debug/log-level", "debug\n", "200 OK", "debug\n"),
        ("GET /debug/log-level", "", "200 OK", "debug\n"),
        ("PUT /debug/log-level", "loud", "400 Bad Request", "\"loud\" is no log level"),
        ("DELETE /debug/log-level", "", "405 Method Not Allowed", "only GET, HEAD, PUT here\n"),
        ("GET /", "", "404 Not Found", "there is nothing at this path\n"),
        ("GET /livez/", "", "404 Not Found", ""),
    ];
    for (head, body, status, text) in rows {
        let answer = ask(knock(addr).await, head, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}: {answer}");
        assert!(answer.contains(text), "{head}: {answer}");
    }
    ready.store(true, Ordering::SeqCst);
    assert!(ask(knock(addr).await, "GET /readyz", "").await.ends_with("\r\n\r\nok\n"));
    let metrics = ask(knock(addr).await, "GET /metrics", "").await;
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    trigger.request();
    server.await.unwrap();
}

#[tokio::test]
async fn the_metrics_listener_shows_no_debug_routes() {
    let (_trigger, stop) = Stop::manual();
    let addr = own_address();
    tokio::spawn(example(Arc::new(AtomicBool::new(true))).serve_metrics(addr, stop));
    for (path, status) in [
        ("/metrics", "200"),
        ("/readyz", "200"),
        ("/debug/state", "404"),
        ("/debug/log-level", "404"),
        ("/state", "404"),
        ("/echo", "404"),
    ] {
        let answer = ask(knock(addr).await, &format!("GET {path}"), "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (_trigger, stop) = Stop::manual();
    let addr = own_address();
    tokio::spawn(example(Arc::new(AtomicBool::new(true))).serve(addr, stop));
    let answer = ask(knock(addr).await, "PUT /debug/log-level", &"x".repeat(5000)).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = ask(knock(addr).await, &format!("GET /{}", "x".repeat(20_000)), "").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    assert!(ask(knock(addr).await, "GET /livez", "").await.ends_with("ok\n"), "the server goes on");
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out_for_long() {
    let (_trigger, stop) = Stop::manual();
    let addr = own_address();
    tokio::spawn(example(Arc::new(AtomicBool::new(true))).serve(addr, stop));
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(knock(addr).await);
    }
    let answer =
        tokio::time::timeout(Duration::from_secs(25), ask(knock(addr).await, "GET /livez", "")).await;
    assert!(answer.unwrap().ends_with("ok\n"));
}

#[tokio::test]
async fn a_taken_port_is_tried_again_until_it_is_free() {
    let addr = own_address();
    let taken = TcpListener::bind(addr).await.unwrap();
    let (_trigger, stop) = Stop::manual();
    let server = tokio::spawn(example(Arc::new(AtomicBool::new(true))).serve(addr, stop));
    // The server tries at least once while the port is taken.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished());
    drop(taken);
    assert!(ask(knock(addr).await, "GET /livez", "").await.ends_with("ok\n"));
}

#[tokio::test]
async fn the_unix_socket_brings_its_folder_and_takes_itself_away() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run/herald/speaker.sock");
    let (trigger, stop) = Stop::manual();
    let admin = example(Arc::new(AtomicBool::new(true)));
    let server = tokio::spawn(serve_unix(admin, path.clone(), stop));
    let answer = ask(knock_unix(&path).await, "GET /state", "").await;
    assert!(answer.ends_with("{\"node\":\"n1\"}\n"), "{answer}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    trigger.request();
    server.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("speaker.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a socket outlives its listener");
    let (trigger, stop) = Stop::manual();
    let server = tokio::spawn(serve_unix(example(Arc::new(AtomicBool::new(true))), path.clone(), stop));
    assert!(ask(knock_unix(&path).await, "GET /livez", "").await.ends_with("ok\n"));

    // A second one on the same path does not push the first one out, neither when it starts nor when it ends.
    let (second_trigger, second_stop) = Stop::manual();
    let second = tokio::spawn(serve_unix(Admin::new().share(), path.clone(), second_stop));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    second_trigger.request();
    second.await.unwrap();
    assert!(ask(knock_unix(&path).await, "GET /state", "").await.ends_with("{\"node\":\"n1\"}\n"));
    trigger.request();
    server.await.unwrap();

    let file = home.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let (trigger, stop) = Stop::manual();
    let server = tokio::spawn(serve_unix(Admin::new().share(), file.clone(), stop));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    trigger.request();
    server.await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
