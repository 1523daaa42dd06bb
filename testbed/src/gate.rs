//! A way of a node to the API server on which every request can be seen: an HTTP/2 proxy inside the node's namespace.
//! It counts writes, stops the world at a chosen one, and makes watches late. Where a fault needs no sight of requests,
//! [`crate::door`] is simpler.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::cluster::Cluster;
use crate::cluster::client::{Transport, transport};
use crate::namespace::Namespace;

/// Where a node finds the gate, beside its door.
pub const GATE_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6444);

/// Frames of a watch that may wait for their time.
const LATE_FRAMES: usize = 10_000;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// On which side of a write the world stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The API server never hears of the write.
    Before,
    /// The API server has made the write, and the writer never hears of it.
    After,
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The status code of the answer; `None` while there is none.
    pub status: Option<u16>,
}

impl Write {
    /// Whether it writes the status of a Service.
    #[must_use]
    pub fn is_service_status(&self) -> bool {
        self.path.contains("/services/") && self.path.ends_with("/status")
    }
}

#[derive(Default)]
struct State {
    writes: Vec<Write>,
    /// The world stops at the write with this number, counted from 1.
    trap: Option<(usize, Moment)>,
    /// Nothing passes any more, in either direction.
    shut: bool,
    /// Watches hear of everything so much later.
    lateness: Duration,
}

struct Keeper {
    state: Mutex<State>,
    sprung: Notify,
    client: Transport<Full<Bytes>>,
    server: SocketAddr,
}

/// The gate of one node. Dropping it closes it; connections end with their clients.
pub struct Gate {
    keeper: Arc<Keeper>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Opens the gate in a namespace. It speaks with the API server's own certificate.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the certificate cannot be read.
    pub async fn open(namespace: &Namespace, cluster: &Cluster) -> Result<Self> {
        let folder = cluster.certificates();
        let acceptor = acceptor(&folder)?;
        let listener = namespace.listen(GATE_ADDRESS).await?;
        listener.set_nonblocking(true).context("preparing the listener")?;
        let listener = TcpListener::from_std(listener).context("taking the listener")?;
        let keeper = Arc::new(Keeper {
            state: Mutex::default(),
            sprung: Notify::new(),
            client: transport(&folder.join("apiserver.crt"))?,
            server: cluster.address(),
        });
        let task = tokio::spawn(keep(listener, acceptor, Arc::clone(&keeper)));
        Ok(Self { keeper, task })
    }

    /// Everything passes, nothing has been counted, and the world will stop at the write with number `trap`.
    pub fn reset(&self, trap: Option<(usize, Moment)>) {
        self.keeper.with(|state| *state = State { trap, ..State::default() });
    }

    /// The writes since the last reset, in the order in which they came.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.keeper.with(|state| state.writes.clone())
    }

    /// Waits until the world has stopped at the chosen write.
    pub async fn sprung(&self) {
        loop {
            let news = self.keeper.sprung.notified();
            if self.keeper.with(|state| state.shut) {
                return;
            }
            news.await;
        }
    }

    /// From now on watches are told of everything this much later. Other answers are not delayed.
    pub fn delay_watches(&self, lateness: Duration) {
        self.keeper.with(|state| state.lateness = lateness);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.keeper.with(|state| state.shut = true);
        self.task.abort();
    }
}

impl Keeper {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a write; returns its number, and whether the world stops before it.
    fn count(&self, method: &Method, path: &str) -> (usize, bool) {
        self.with(|state| {
            let write = Write { method: method.to_string(), path: path.to_owned(), status: None };
            state.writes.push(write);
            let number = state.writes.len();
            let stops = state.trap == Some((number, Moment::Before));
            state.shut |= stops;
            (number, stops)
        })
    }

    /// Notes the answer to a write; returns whether the world stops after it.
    fn answered(&self, number: usize, status: u16) -> bool {
        self.with(|state| {
            if let Some(write) = state.writes.get_mut(number - 1) {
                write.status = Some(status);
            }
            let stops = state.trap == Some((number, Moment::After));
            state.shut |= stops;
            stops
        })
    }

    fn is_shut(&self) -> bool {
        self.with(|state| state.shut)
    }

    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>> {
        if self.is_shut() {
            std::future::pending::<()>().await;
        }
        let is_write = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
        let mut number = None;
        if is_write {
            let (this, stops) = self.count(request.method(), request.uri().path());
            number = Some(this);
            if stops {
                self.stop().await;
            }
        }
        let answer =
            self.client.request(self.redirected(request).await?).await.context("asking the API server")?;
        if let Some(number) = number
            && self.answered(number, answer.status().as_u16())
        {
            self.stop().await;
        }
        if self.is_shut() {
            std::future::pending::<()>().await;
        }
        let (head, body) = answer.into_parts();
        let body = if is_watch { self.late(body) } else { body.boxed_unsync() };
        Ok(Response::from_parts(head, body))
    }

    async fn stop(&self) {
        self.sprung.notify_waiters();
        std::future::pending::<()>().await;
    }

    async fn redirected(&self, request: Request<Incoming>) -> Result<Request<Full<Bytes>>> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.context("reading a request")?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = Uri::builder()
            .scheme("https")
            .authority(self.server.to_string())
            .path_and_query(path)
            .build()
            .context("the address of the API server")?;
        head.version = http::Version::HTTP_2;
        Ok(Request::from_parts(head, Full::new(body)))
    }

    /// The same octets, each as much later as is set when it comes; nothing more once the gate is shut.
    fn late(self: Arc<Self>, mut body: Incoming) -> Body {
        let (sender, receiver) = mpsc::channel::<(Instant, Frame<Bytes>)>(LATE_FRAMES);
        let keeper = Arc::clone(&self);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let due = Instant::now() + keeper.with(|state| state.lateness);
                if sender.send((due, frame)).await.is_err() {
                    return;
                }
            }
        });
        let frames = futures::stream::unfold((receiver, self), |(mut receiver, keeper)| async move {
            let (due, frame) = receiver.recv().await?;
            tokio::time::sleep_until(due).await;
            if keeper.is_shut() {
                std::future::pending::<()>().await;
            }
            Some((Ok(frame), (receiver, keeper)))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

async fn keep(listener: TcpListener, acceptor: TlsAcceptor, keeper: Arc<Keeper>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, keeper) = (acceptor.clone(), Arc::clone(&keeper));
        tokio::spawn(async move {
            // A client that goes away in the middle is what the gate is for.
            let _ = serve(stream, acceptor, keeper).await;
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, keeper: Arc<Keeper>) -> Result<()> {
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let stream = acceptor.accept(stream).await.context("TLS")?;
    let service = service_fn(move |request| {
        let keeper = Arc::clone(&keeper);
        async move {
            let answer = keeper.pass(request).await.unwrap_or_else(|why| {
                let mut answer =
                    Response::new(Full::new(Bytes::from(format!("{why:#}"))).map_err(never).boxed_unsync());
                *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
                answer
            });
            Ok::<_, Infallible>(answer)
        }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(1000)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .context("serving")
}

fn never(error: Infallible) -> hyper::Error {
    match error {}
}

fn acceptor(folder: &Path) -> Result<TlsAcceptor> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(folder.join("apiserver.crt"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("apiserver.key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}
