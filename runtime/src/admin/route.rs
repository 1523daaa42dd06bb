//! What each path answers.
//!
//! Leaves out connections. Bodies are whole and small; only PUT has one on the way in, of at most 4 KiB.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};

use super::{Admin, Check};

/// For the body of a PUT.
const BODY_OCTETS: usize = 4096;
const BODY_LIMIT: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Which routes a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them.
    Everything,
    /// Health and metrics only.
    Metrics,
}

/// Answers one request.
pub(super) async fn answer<B>(admin: &Admin, scope: Scope, request: Request<B>) -> Response<Full<Bytes>>
where
    B: hyper::body::Body<Data: Send> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = request.uri().path().to_owned();
    let verbose =
        request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("verbose")));
    match path.as_str() {
        // That the server answers at all says that the event loop turns; the loss of the API server must not fail here.
        "/livez" | "/healthz" => only_get(&request, || health(&[], verbose)),
        "/readyz" => only_get(&request, || health(&admin.ready, verbose)),
        "/metrics" => only_get(&request, || metrics(admin)),
        _ if scope == Scope::Metrics => not_found(),
        "/debug/log-level" => log_level(admin, request).await,
        path if admin.inquiries.iter().any(|(known, _)| *known == path) => {
            inquire(admin, &request, path).await
        }
        path => match admin.views.iter().find(|(known, _)| *known == path) {
            Some((_, view)) => only_get(&request, || reply(StatusCode::OK, JSON, format!("{}\n", view()))),
            None => not_found(),
        },
    }
}

fn only_get<B>(request: &Request<B>, then: impl FnOnce() -> Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        then()
    } else {
        not_allowed("GET, HEAD")
    }
}

async fn inquire<B>(admin: &Admin, request: &Request<B>, path: &str) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return not_allowed("GET");
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    match admin.inquiries.iter().find(|(known, _)| *known == path) {
        Some((_, ask)) => reply(StatusCode::OK, JSON, format!("{}\n", ask(query).await)),
        None => not_found(),
    }
}

fn health(checks: &[Check], verbose: bool) -> Response<Full<Bytes>> {
    let results: Vec<(&str, Result<(), String>)> =
        checks.iter().map(|check| (check.name, (check.ask)())).collect();
    let well = results.iter().all(|(_, result)| result.is_ok());
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if well && !verbose {
        return reply(status, TEXT, "ok\n".to_owned());
    }
    let mut text = String::new();
    for (name, result) in results {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => text.push_str(&format!("[-]{name} failed: {reason}\n")),
        }
    }
    text.push_str(if well { "ok\n" } else { "not ok\n" });
    reply(status, TEXT, text)
}

fn metrics(admin: &Admin) -> Response<Full<Bytes>> {
    let Some(registry) = &admin.registry else { return not_found() };
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => reply(StatusCode::OK, OPEN_METRICS, text),
        Err(error) => {
            reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("metrics cannot be encoded: {error}\n"))
        }
    }
}

async fn log_level<B>(admin: &Admin, request: Request<B>) -> Response<Full<Bytes>>
where
    B: hyper::body::Body<Data: Send> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(level) = &admin.level else { return not_found() };
    if request.method() == Method::GET || request.method() == Method::HEAD {
        return reply(StatusCode::OK, TEXT, format!("{}\n", level.current()));
    }
    if request.method() != Method::PUT {
        return not_allowed("GET, HEAD, PUT");
    }
    let body = Limited::new(request.into_body(), BODY_OCTETS).collect();
    let Ok(Ok(body)) = tokio::time::timeout(BODY_LIMIT, body).await else {
        return reply(
            StatusCode::BAD_REQUEST,
            TEXT,
            format!("send a level of at most {BODY_OCTETS} octets\n"),
        );
    };
    let wanted = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
    match level.set(&wanted) {
        Ok(()) => {
            tracing::info!(log_level = wanted, "log level changed");
            reply(StatusCode::OK, TEXT, format!("{wanted}\n"))
        }
        Err(error) => reply(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n")),
    }
}

fn not_found() -> Response<Full<Bytes>> {
    reply(StatusCode::NOT_FOUND, TEXT, "there is nothing at this path\n".to_owned())
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("only {allowed} here\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn reply(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
