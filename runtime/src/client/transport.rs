//! The HTTP side of the client: full address, token and User-Agent on every request, an answer in bounded time.
//!
//! Leaves out retries, apart from the one that a rotated token needs, and leaves the body of an answer to its reader.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use tokio::time::Instant;
use tower::Service;

use super::CallError;
use super::connector::Connector;
use super::endpoint::{Base, ConnectError, Endpoint};
use super::token::Token;

/// From sending a request to the first line of its answer. Lists may take the server a while; the server itself gives
/// up on a request after 60 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// HTTP/2 PINGs, client-go's numbers: a dead path is found after 45 s at most.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(15);
/// Connections without a request are closed after this; with HTTP/2 a watch keeps the only one open.
const IDLE: Duration = Duration::from_secs(90);
const IDLE_CONNECTIONS: usize = 4;
/// Octets of answers that may wait for their readers: of one request, and of all on a connection. A list of the whole cluster
/// comes faster than it is read, and what waits takes memory that a process keeps; at a round trip of 1 ms this is 256 MB/s.
const WAITING_OF_REQUEST: u32 = 256 * 1024;
const WAITING: u32 = 1024 * 1024;

/// The service below `kube::Client`.
#[derive(Clone)]
pub(super) struct Transport {
    http: Http<Connector, Full<Bytes>>,
    base: Base,
    token: Option<Arc<Token>>,
    /// What every request has besides: who asks, and whom to act as.
    headers: Arc<HeaderMap>,
}

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportFault {
    #[error("no answer within {ANSWER_LIMIT:?}")]
    NoAnswer,
    #[error("the request path does not fit the server's address")]
    Path(#[source] http::Error),
    #[error("the request has no body that can be read: {0}")]
    Body(CallError),
    #[error(transparent)]
    Http(#[from] hyper_util::client::legacy::Error),
}

impl Transport {
    pub(super) fn try_new(endpoint: Endpoint, component: &str) -> Result<Self, ConnectError> {
        let connector = Connector::try_new(endpoint.trust, endpoint.identity, endpoint.server_name)?;
        let http = Http::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_LIMIT)
            .http2_keep_alive_while_idle(true)
            .http2_initial_stream_window_size(WAITING_OF_REQUEST)
            .http2_initial_connection_window_size(WAITING)
            .build(connector);
        let token = match endpoint.token {
            Some(source) => Some(Arc::new(Token::try_new(source, Instant::now())?)),
            None => None,
        };
        if endpoint.base.is_plain() && token.is_some() {
            tracing::warn!("the API server is spoken to without TLS: the token travels in the clear");
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, agent(component));
        for (name, value) in endpoint.impersonation {
            let named = HeaderValue::try_from(&value).map_err(|_| ConnectError::Impersonation { value })?;
            headers.append(name, named);
        }
        Ok(Self { http, base: endpoint.base, token, headers: Arc::new(headers) })
    }

    /// Sends once, and a second time when the token turned out to be old and the file has a new one.
    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, TransportFault> {
        let (head, body) = request.into_parts();
        // Objects are written from memory, so this waits for nothing; and octets can be sent twice.
        let body = body.collect_bytes().await.map_err(|error| TransportFault::Body(error.into()))?;
        let request = self.complete(Request::from_parts(head, Full::new(body)))?;
        let Some(token) = &self.token else { return Ok(self.http.request(request).await?) };
        let sent = token.header(Instant::now());
        let again = request.clone();
        let answer = self.http.request(with_token(request, &sent)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match token.newer_than(&sent, Instant::now()) {
            Some(newer) => Ok(self.http.request(with_token(again, &newer)).await?),
            None => Ok(answer),
        }
    }

    fn complete(&self, mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, TransportFault> {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder()
            .scheme(self.base.scheme.clone())
            .authority(self.base.authority.clone())
            .path_and_query(format!("{}{}", self.base.prefix, path))
            .build()
            .map_err(TransportFault::Path)?;
        *request.uri_mut() = uri;
        for (name, value) in self.headers.iter() {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }
}

fn with_token(mut request: Request<Full<Bytes>>, token: &HeaderValue) -> Request<Full<Bytes>> {
    request.headers_mut().insert(AUTHORIZATION, token.clone());
    request
}

fn agent(component: &str) -> HeaderValue {
    let text = format!(
        "herald-{component}/{} ({}/{})",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("herald"))
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Incoming>;
    type Error = TransportFault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TransportFault>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), TransportFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(ANSWER_LIMIT, transport.send(request)).await {
                Ok(result) => result,
                Err(_elapsed) => Err(TransportFault::NoAnswer),
            }
        })
    }
}
