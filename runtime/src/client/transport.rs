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
use kube::client::Body;
use tokio::time::Instant;
use tower::Service;

use super::CallError;
use super::dial::Dialler;
use super::endpoint::{Base, ConnectError, Endpoint};
use super::pool::{Pool, PoolFault};
use super::token::Token;

/// From sending a request to the first line of its answer. Lists may take the server a while; the server itself gives
/// up on a request after 60 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The service below `kube::Client`.
#[derive(Clone)]
pub(super) struct Transport {
    pool: Arc<Pool>,
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
    Http(#[from] PoolFault),
}

impl Transport {
    pub(super) fn try_new(endpoint: Endpoint, component: &str) -> Result<Self, ConnectError> {
        let dialler =
            Dialler::try_new(&endpoint.base, endpoint.trust, endpoint.identity, endpoint.server_name)?;
        let pool = Pool::new(dialler, endpoint.base.host_header());
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
        Ok(Self { pool, base: endpoint.base, token, headers: Arc::new(headers) })
    }

    /// Sends once, and a second time when the token turned out to be old and the file has a new one.
    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, TransportFault> {
        let (head, body) = request.into_parts();
        // Objects are written from memory, so this waits for nothing; and octets can be sent twice.
        let body = body.collect_bytes().await.map_err(|error| TransportFault::Body(error.into()))?;
        let request = self.complete(Request::from_parts(head, Full::new(body)))?;
        let Some(token) = &self.token else { return Ok(self.pool.send(request).await?) };
        let sent = token.header(Instant::now());
        let again = request.clone();
        let answer = self.pool.send(with_token(request, &sent)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match token.newer_than(&sent, Instant::now()) {
            Some(newer) => Ok(self.pool.send(with_token(again, &newer)).await?),
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
