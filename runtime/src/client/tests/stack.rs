//! Requests through the whole stack, against web servers that answer by path and token only.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Client;
use kube::client::Body;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::super::endpoint::TokenSource;
use super::super::token::Token;
use super::super::{CallError, Logins, Wanted, call, connect, connect_as, warm_up};

const LIMIT: Duration = Duration::from_secs(10);

/// A certificate and its key.
type Credentials = (&'static [u8], &'static [u8]);

/// What a server shows itself to be, and the protocols it offers.
enum Face {
    Plain,
    Tls(Credentials, &'static [&'static [u8]]),
}

const ONE: Credentials =
    (include_bytes!("../testdata/server-one.pem"), include_bytes!("../testdata/server-one.key.pem"));
const TWO: Credentials =
    (include_bytes!("../testdata/server-two.pem"), include_bytes!("../testdata/server-two.key.pem"));
const ROOT_ONE: &str = include_str!("../testdata/root-one.pem");
const ROOT_TWO: &str = include_str!("../testdata/root-two.pem");
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const OLD: &[&[u8]] = &[b"http/1.1"];

/// A web server that takes one token and counts.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    accepts: watch::Sender<String>,
}

impl Server {
    async fn start(face: Face, token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let accepts = watch::Sender::new(token.to_owned());
        let server = Self { port, connections, requests, accepts };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        let accepts = server.accepts.subscribe();
        let acceptor = match face {
            Face::Plain => None,
            Face::Tls(credentials, protocols) => Some(acceptor(credentials, protocols)),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, accepts, acceptor) = (requests.clone(), accepts.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let answer = answer(&request, &accepts.borrow());
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    match acceptor {
                        None => drop(
                            hyper::server::conn::http1::Builder::new()
                                .serve_connection(TokioIo::new(stream), service)
                                .await,
                        ),
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                                drop(builder.serve_connection(TokioIo::new(stream), service).await);
                            } else {
                                let builder = hyper::server::conn::http1::Builder::new();
                                drop(builder.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        server
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn acceptor((certificate, key): Credentials, protocols: &[&[u8]]) -> TlsAcceptor {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// 401 for a wrong token; else the path, the protocol, the User-Agent and whom to act as.
fn answer(request: &Request<Incoming>, token: &str) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = Response::new(Full::default());
    if header(AUTHORIZATION) == format!("Bearer {token}") {
        let mut text = format!("{} {:?} {}", request.uri().path(), request.version(), header(USER_AGENT));
        for name in ["impersonate-user", "impersonate-group"] {
            for value in request.headers().get_all(name) {
                text.push_str(&format!(" {name}={}", value.to_str().unwrap()));
            }
        }
        *response.body_mut() = Full::new(Bytes::from(text));
    } else {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response
}

/// A folder with a kubeconfig, a token and roots.
struct Home(tempfile::TempDir);

impl Home {
    fn new(server: &str, token: &str, roots: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("token", token);
        home.write("ca.crt", roots);
        home.write(
            "config",
            &format!(
                "{{current-context: x, contexts: [{{name: x, context: {{cluster: c, user: u}}}}],
                  clusters: [{{name: c, cluster: {{server: '{server}', certificate-authority: ca.crt}}}}],
                  users: [{{name: u, user: {{tokenFile: token}}}}]}}"
            ),
        );
        home
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn client(&self) -> Client {
        connect(Some(&self.path("config")), "test").await.unwrap()
    }
}

async fn fetch(client: &Client, path: &str) -> Result<(StatusCode, Version, String), CallError> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    call(LIMIT, async {
        let response = client.send(request).await?;
        let (status, version) = (response.status(), response.version());
        let body = response.into_body().collect_bytes().await?;
        Ok((status, version, String::from_utf8(body.to_vec()).unwrap()))
    })
    .await
}

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
