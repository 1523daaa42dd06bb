//! The bearer token: fixed, or in a file that is read again every minute and at once when the server says 401.
//!
//! Leaves out what a token means. A file that cannot be read for a moment (kubelet swaps links) keeps the old token.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::endpoint::{ConnectError, TokenSource};

/// How long a token from a file is used without looking again.
const REREAD: Duration = Duration::from_secs(60);

/// The `Authorization` header of every request.
#[derive(Debug)]
pub(super) enum Token {
    Fixed(HeaderValue),
    File(TokenFile),
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
        }
    }

    /// The header to send now; a file is looked at again when its token is older than a minute.
    pub(super) fn header(&self, now: Instant) -> HeaderValue {
        match self {
            Self::Fixed(header) => header.clone(),
            Self::File(file) => file.header(now, REREAD),
        }
    }

    /// The header to try after a 401 for `sent`, when the file holds another one by now.
    pub(super) fn newer_than(&self, sent: &HeaderValue, now: Instant) -> Option<HeaderValue> {
        match self {
            Self::Fixed(_) => None,
            Self::File(file) => Some(file.header(now, Duration::ZERO)).filter(|header| header != sent),
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

fn bearer(text: &str, origin: impl Fn() -> String) -> Result<HeaderValue, ConnectError> {
    let token = text.trim();
    if token.is_empty() {
        return Err(ConnectError::Token { origin: origin() });
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| ConnectError::Token { origin: origin() })?;
    header.set_sensitive(true);
    Ok(header)
}
