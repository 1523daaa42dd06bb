//! The `Authorization` header: a fixed one, a token in a file that is read again every minute and at once when the server says 401,
//! or one of a login program, which runs again when its token has run out or the server says 401.
//!
//! Leaves out what a token means. A file that cannot be read for a moment (kubelet swaps links) keeps the old token.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use k8s_openapi::ByteString;
use tokio::time::Instant;

use super::endpoint::{ConnectError, TokenSource};
use super::login::{Answer, Session};

/// How long a token from a file is used without looking again.
const REREAD: Duration = Duration::from_secs(60);

/// The `Authorization` header of every request.
#[derive(Debug)]
pub(super) enum Token {
    Fixed(HeaderValue),
    File(TokenFile),
    Login(Session, Mutex<HeaderValue>),
}

#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    cached: Mutex<Cached>,
}

#[derive(Clone, Debug)]
struct Cached {
    header: HeaderValue,
    read_at: Instant,
}

impl Token {
    pub(super) fn try_new(source: TokenSource, now: Instant) -> Result<Self, ConnectError> {
        match source {
            TokenSource::Text(text) => bearer(&text, || "the kubeconfig".to_owned()).map(Self::Fixed),
            TokenSource::File(path) => {
                let header = read(&path)?;
                Ok(Self::File(TokenFile { path, cached: Mutex::new(Cached { header, read_at: now }) }))
            }
            TokenSource::Login(session) => {
                let header = said(&session.at(SystemTime::now()))?;
                Ok(Self::Login(session, Mutex::new(header)))
            }
            TokenSource::Password { user_name, password } => basic(&user_name, &password).map(Self::Fixed),
        }
    }

    /// The header to send now; a file is looked at again when its token is older than a minute, a login program is asked again
    /// when its token has run out.
    pub(super) fn header(&self, now: Instant) -> HeaderValue {
        match self {
            Self::Fixed(header) => header.clone(),
            Self::File(file) => file.header(now, REREAD),
            Self::Login(session, last) => keep(last, &session.at(SystemTime::now())),
        }
    }

    /// The header to try after a 401 for `sent`, when there is another one by now.
    pub(super) fn newer_than(&self, sent: &HeaderValue, now: Instant) -> Option<HeaderValue> {
        match self {
            Self::Fixed(_) => None,
            Self::File(file) => Some(file.header(now, Duration::ZERO)).filter(|header| header != sent),
            Self::Login(session, last) => Some(keep(last, &session.anew())).filter(|header| header != sent),
        }
    }
}

impl TokenFile {
    fn header(&self, now: Instant, oldest: Duration) -> HeaderValue {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(cached.read_at) >= oldest {
            cached.read_at = now;
            match read(&self.path) {
                Ok(header) => cached.header = header,
                Err(error) => {
                    tracing::warn!(%error, "the token file cannot be read: the old token stays in use")
                }
            }
        }
        cached.header.clone()
    }
}

fn read(path: &Path) -> Result<HeaderValue, ConnectError> {
    let origin = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConnectError::File {
        what: "token file",
        path: origin(),
        error,
    })?;
    bearer(&text, origin)
}

/// A program may say another token later, and one that no header can carry leaves the old one in use.
fn keep(last: &Mutex<HeaderValue>, answer: &Answer) -> HeaderValue {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    match said(answer) {
        Ok(header) => *last = header,
        Err(error) => tracing::warn!(%error, "the old token stays in use"),
    }
    last.clone()
}

fn said(answer: &Answer) -> Result<HeaderValue, ConnectError> {
    bearer(answer.token.as_deref().unwrap_or_default(), || "the login program".to_owned())
}

fn basic(user_name: &str, password: &str) -> Result<HeaderValue, ConnectError> {
    let pair = ByteString(format!("{user_name}:{password}").into_bytes());
    let text = serde_json::to_value(pair).unwrap_or_default();
    sensitive(format!("Basic {}", text.as_str().unwrap_or_default()), || "the kubeconfig".to_owned())
}

fn bearer(text: &str, origin: impl Fn() -> String) -> Result<HeaderValue, ConnectError> {
    let token = text.trim();
    if token.is_empty() {
        return Err(ConnectError::Token { origin: origin() });
    }
    sensitive(format!("Bearer {token}"), origin)
}

fn sensitive(text: String, origin: impl Fn() -> String) -> Result<HeaderValue, ConnectError> {
    let mut header = HeaderValue::try_from(text).map_err(|_| ConnectError::Token { origin: origin() })?;
    header.set_sensitive(true);
    Ok(header)
}
