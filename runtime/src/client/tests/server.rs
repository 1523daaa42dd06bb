//! A web server that answers by path and token only, and a kubeconfig that leads to it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
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

use super::super::{CallError, call, connect};

const LIMIT: Duration = Duration::from_secs(10);

/// A certificate and its key.
pub(super) type Credentials = (&'static [u8], &'static [u8]);

/// What a server shows itself to be, and the protocols it offers.
pub(super) enum Face {
    Plain,
    Tls(Credentials, &'static [&'static [u8]]),
}

pub(super) const ONE: Credentials =
    (include_bytes!("../testdata/server-one.pem"), include_bytes!("../testdata/server-one.key.pem"));
pub(super) const TWO: Credentials =
    (include_bytes!("../testdata/server-two.pem"), include_bytes!("../testdata/server-two.key.pem"));
pub(super) const ROOT_ONE: &str = include_str!("../testdata/root-one.pem");
pub(super) const ROOT_TWO: &str = include_str!("../testdata/root-two.pem");
pub(super) const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
pub(super) const OLD: &[&[u8]] = &[b"http/1.1"];

/// A web server that takes one token and counts.
pub(super) struct Server {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// The token that is right.
    pub(super) accepts: watch::Sender<String>,
    /// While it is shut, answers below `/held` wait.
    pub(super) gate: watch::Sender<bool>,
    /// The connections of an older epoch are cut.
    epoch: watch::Sender<usize>,
}

impl Server {
    pub(super) async fn start(face: Face, token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self {
            port,
            connections: Arc::default(),
            requests: Arc::default(),
            accepts: watch::Sender::new(token.to_owned()),
            gate: watch::Sender::new(true),
            epoch: watch::Sender::new(0),
        };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        let (accepts, gate, epoch) =
            (server.accepts.subscribe(), server.gate.subscribe(), server.epoch.subscribe());
        let acceptor = match face {
            Face::Plain => None,
            Face::Tls(credentials, protocols) => Some(acceptor(credentials, protocols)),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, accepts, acceptor) = (requests.clone(), accepts.clone(), acceptor.clone());
                let (gate, mut epoch) = (gate.clone(), epoch.clone());
                epoch.mark_unchanged();
                let service = service_fn(move |request: Request<Incoming>| {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let (answer, mut gate) = (answer(&request, &accepts.borrow()), gate.clone());
                    async move {
                        if request.uri().path().starts_with("/held") {
                            gate.wait_for(|open| *open).await.unwrap();
                        }
                        Ok::<_, Infallible>(answer)
                    }
                });
                let serving = async move {
                    let http1 = hyper::server::conn::http1::Builder::new();
                    let Some(acceptor) = acceptor else {
                        return drop(http1.serve_connection(TokioIo::new(stream), service).await);
                    };
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        drop(http2.serve_connection(TokioIo::new(stream), service).await);
                    } else {
                        drop(http1.serve_connection(TokioIo::new(stream), service).await);
                    }
                };
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        _cut = epoch.changed() => {}
                    }
                });
            }
        });
        server
    }

    /// Ends all connections, with whatever is on them.
    pub(super) fn cut(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> usize {
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
        let named = request.uri().authority().map_or_else(|| header(HOST).to_owned(), ToString::to_string);
        let mut text = format!("{} {:?} {}", request.uri().path(), request.version(), header(USER_AGENT));
        if request.uri().path() == "/host" {
            text = format!("{named} {}", request.headers().contains_key(HOST));
        }
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
pub(super) struct Home(tempfile::TempDir);

impl Home {
    pub(super) fn new(server: &str, token: &str, roots: &str) -> Self {
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

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) async fn client(&self) -> Client {
        connect(Some(&self.path("config")), "test").await.unwrap()
    }
}

pub(super) async fn fetch(client: &Client, path: &str) -> Result<(StatusCode, Version, String), CallError> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    call(LIMIT, async {
        let response = client.send(request).await?;
        let (status, version) = (response.status(), response.version());
        let body = response.into_body().collect_bytes().await?;
        Ok((status, version, String::from_utf8(body.to_vec()).unwrap()))
    })
    .await
}
