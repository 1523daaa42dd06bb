//! The connections to the API server: one with HTTP/2 that all requests share, or some with HTTP/1.1, each for one request at a
//! time, where a proxy offers nothing better.
//!
//! Leaves out what a request says (`transport`). One that met a connection's end before a word of it was sent goes to another
//! connection; one of which the server may have heard is never said twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::dial::{DialFault, Dialled, Dialler};

/// HTTP/2 PINGs, client-go's numbers: a dead path is found after 45 s at most.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(15);
/// Octets of answers that may wait for their readers: of one request, and of all on a connection. A list of the whole cluster
/// comes faster than it is read, and what waits takes memory that a process keeps; at a round trip of 1 ms this is 256 MB/s.
const WAITING_OF_REQUEST: u32 = 256 * 1024;
const WAITING: u32 = 1024 * 1024;
/// Connections with HTTP/1.1 that are kept for the next request. There is one for each watch, and those are a dozen.
const KEPT: usize = 16;
/// Connections that may end under a request before it has failed.
const TRIES: usize = 3;

type Body = Full<Bytes>;
type Http2 = http2::SendRequest<Body>;
type Http1 = http1::SendRequest<Body>;

/// All connections to one API server.
pub(super) struct Pool {
    dialler: Dialler,
    host: HeaderValue,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// The one that all requests share.
    http2: Option<Http2>,
    /// Those whose last answer is still on its way are not ready.
    http1: Vec<Http1>,
    coming: Option<Coming>,
}

/// A connection that is being made, for all who wait for it. `None`: it came, and cannot be shared.
type Coming = Shared<oneshot::Receiver<Result<Option<Http2>, Arc<DialFault>>>>;

/// A way for one request.
enum Link {
    /// One request among others.
    Http2(Http2),
    /// Nothing else until its answer is read.
    Http1(Http1),
}

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PoolFault {
    #[error(transparent)]
    NotConnected(#[from] Arc<DialFault>),
    #[error("the attempt to connect was given up")]
    GivenUp,
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl Pool {
    /// To the server that `host` names, as its authority has it.
    pub(super) fn new(dialler: Dialler, host: HeaderValue) -> Arc<Self> {
        Arc::new(Self { dialler, host, open: Mutex::default() })
    }

    /// Sends a request with its whole address over a connection that is open, or a new one.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, PoolFault> {
        let whole = request.uri().clone();
        let mut tries = TRIES;
        loop {
            tries -= 1;
            request.uri_mut().clone_from(&whole);
            let link = self.link().await?;
            match self.send_over(link, request).await {
                Ok(response) => return Ok(response),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if tries > 0 => request = unsent,
                    Some(_) | None => return Err(failed.into_error().into()),
                },
            }
        }
    }

    async fn send_over(
        &self,
        link: Link,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match link {
            Link::Http2(mut link) => {
                request.headers_mut().remove(HOST);
                link.try_send_request(request).await
            }
            Link::Http1(mut link) => {
                request.headers_mut().insert(HOST, self.host.clone());
                *request.uri_mut() =
                    request.uri().path_and_query().cloned().map_or_else(Uri::default, Uri::from);
                let answer = link.try_send_request(request).await;
                self.lock().keep(link);
                answer
            }
        }
    }

    /// An open connection, or the one that somebody else is making already, or a new one.
    async fn link(self: &Arc<Self>) -> Result<Link, PoolFault> {
        let coming = {
            let mut open = self.lock();
            if let Some(link) = open.take() {
                return Ok(link);
            }
            self.coming(&mut open)
        };
        if let Some(link) = coming.await.map_err(|_dropped| PoolFault::GivenUp)?? {
            return Ok(Link::Http2(link));
        }
        // With HTTP/1.1 it serves one of those who waited, and each of the others makes its own.
        if let Some(link) = self.lock().take() {
            return Ok(link);
        }
        Ok(self.make().await.map_err(Arc::new)?)
    }

    /// The connection that is being made. It comes about also when those who wait for it have lost their patience.
    fn coming(self: &Arc<Self>, open: &mut Open) -> Coming {
        if let Some(coming) = open.coming.as_ref().filter(|coming| coming.peek().is_none()) {
            return coming.clone();
        }
        let (tell, told) = oneshot::channel();
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            let made = pool.make().await.map_err(Arc::new);
            let mut open = pool.lock();
            open.coming = None;
            // Nobody waits any more: then nobody has to be told.
            _ = tell.send(made.map(|link| match link {
                Link::Http2(link) => Some(link),
                Link::Http1(link) => {
                    open.keep(link);
                    None
                }
            }));
        });
        let coming = told.shared();
        open.coming = Some(coming.clone());
        coming
    }

    async fn make(&self) -> Result<Link, DialFault> {
        let Dialled { stream, is_http2 } = self.dialler.dial().await?;
        let stream = TokioIo::new(stream);
        let link = if is_http2 {
            let (link, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_LIMIT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(WAITING_OF_REQUEST)
                .initial_connection_window_size(WAITING)
                .handshake(stream)
                .await?;
            // Requests hear how it ends.
            tokio::spawn(connection.map(drop));
            Link::Http2(link)
        } else {
            let (link, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection.map(drop));
            Link::Http1(link)
        };
        if let Link::Http2(link) = &link {
            self.lock().http2 = Some(link.clone());
        }
        Ok(link)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn take(&mut self) -> Option<Link> {
        self.http2 = self.http2.take().filter(|link| !link.is_closed());
        if let Some(link) = &self.http2 {
            return Some(Link::Http2(link.clone()));
        }
        self.http1.retain(|link| !link.is_closed());
        let ready = self.http1.iter().position(Http1::is_ready)?;
        Some(Link::Http1(self.http1.swap_remove(ready)))
    }

    /// For the next request. One more than enough ends with its answer.
    fn keep(&mut self, link: Http1) {
        self.http1.retain(|link| !link.is_closed());
        if self.http1.len() < KEPT {
            self.http1.push(link);
        }
    }
}
