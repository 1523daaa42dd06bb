//! The connection to the API server: where it is, who we are, and calls that end in bounded time.
//!
//! `connect` builds a `kube::Client` on Herald's own HTTP stack: one HTTP/2 connection for everything (HTTP/1.1 where
//! a proxy offers nothing better), PINGs and TCP timeouts that find dead paths within a minute, a bearer token and
//! certificates that are read again when they rotate. Leaves out retries: watches, lease and writers each have their own.

mod dial;
mod endpoint;
mod kubeconfig;
mod login;
mod pool;
mod tls;
mod token;
mod transport;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use kube::core::Status;

pub use endpoint::ConnectError;
pub use kubeconfig::KubeconfigFault;
pub use login::{LoginFault, Logins};

use endpoint::Endpoint;
use transport::Transport;

/// Where Kubernetes mounts a Pod's credentials.
pub const SERVICE_ACCOUNT_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long the warm-up call may take.
const WARM_UP_LIMIT: Duration = Duration::from_secs(5);

/// What a client is made of.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The kubeconfig file, or several joined as in `KUBECONFIG`; `None`: the Pod's service account.
    pub kubeconfig: Option<&'a Path>,
    /// A context of the kubeconfig other than its current one.
    pub context: Option<&'a str>,
    /// Whether the kubeconfig's login programs may run.
    pub logins: Logins,
    /// Appears in the User-Agent.
    pub component: &'static str,
}

/// Builds a daemon's client from `kubeconfig`, or from the Pod's service account when it is `None`.
///
/// The server need not be up: every request connects by itself. `component` appears in the User-Agent. Must be called
/// inside a tokio runtime. Start watches after [`warm_up`], so that they share one connection.
///
/// # Errors
/// [`ConnectError`] when the settings or the files they name cannot be used; the sentence says what to check.
pub async fn connect(kubeconfig: Option<&Path>, component: &'static str) -> Result<Client, ConnectError> {
    connect_as(&Wanted { kubeconfig, context: None, logins: Logins::Refuse, component }).await
}

/// [`connect`] with every choice. A login program runs here, and may take as long as the person before it.
///
/// # Errors
/// [`ConnectError`] when the settings or the files they name cannot be used; the sentence says what to check.
#[allow(clippy::unused_async, reason = "an async caller has the runtime that the client's buffer task needs")]
pub async fn connect_as(wanted: &Wanted<'_>) -> Result<Client, ConnectError> {
    let endpoint = match (wanted.kubeconfig, wanted.context) {
        (Some(path), context) => kubeconfig::read(path, context, wanted.logins)?,
        (None, Some(context)) => return Err(ConnectError::NoKubeconfig { context: context.to_owned() }),
        (None, None) => {
            Endpoint::in_cluster(Path::new(SERVICE_ACCOUNT_DIR), |name| std::env::var(name).ok())?
        }
    };
    let namespace = endpoint.namespace.clone();
    Ok(Client::new(Transport::try_new(endpoint, wanted.component)?, namespace))
}

/// The namespace of the kubeconfig's context, or the Pod's own.
#[must_use]
pub fn default_namespace(client: &Client) -> &str {
    client.default_namespace()
}

/// The kubeconfig that `kubectl` would use without flags: `KUBECONFIG`, then `~/.kube/config` where it exists.
#[must_use]
pub fn usual_kubeconfig() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME")?).join(".kube").join("config");
        home.is_file().then_some(home)
    })
}

/// Opens the connection with one small request (5 s at most), so that everything after it shares it. Any answer counts;
/// the server's word comes later.
///
/// # Errors
/// [`CallError`] when no answer came. Nothing is broken then: watches retry by themselves.
pub async fn warm_up(client: &Client) -> Result<(), CallError> {
    let request = http::Request::get("/version")
        .body(Body::empty())
        .map_err(|error| CallError::NotSent(error.to_string()))?;
    call(WARM_UP_LIMIT, client.send(request)).await.map(drop)
}

/// Runs one call to the API server and gives up after `limit`.
///
/// # Errors
/// [`CallError`], which says whether the server refused, could not be reached or did not answer in time.
pub async fn call<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result.map_err(CallError::from),
        Err(_elapsed) => Err(CallError::TimedOut { limit }),
    }
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server answered with an error.
    #[error("the API server refused: {} ({} {})", .0.message, .0.code, .0.reason)]
    Refused(Box<Status>),
    /// No answer in time; for a write this means that its outcome is unknown.
    #[error("the API server did not answer within {limit:?}: check its load and the network between")]
    TimedOut {
        /// The time that was allowed.
        limit: Duration,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("the API server cannot be reached: {text}; {hint}", text = .0, hint = look_at(.0))]
    Unreachable(String),
    /// The answer is not what this version expects.
    #[error("the API server's answer cannot be read: {0}; check that client and server versions fit")]
    Unreadable(String),
    /// The request could not be formed.
    #[error("the request could not be formed: {0}")]
    NotSent(String),
}

impl CallError {
    /// The HTTP status code, when the server answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            Self::TimedOut { .. } | Self::Unreachable(_) | Self::Unreadable(_) | Self::NotSent(_) => None,
        }
    }

    /// The object does not exist (404).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Somebody else wrote in between, or holds the field (409).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// How long the server asked to wait before the next try (`Retry-After`), at most a minute.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Refused(status) = self else { return None };
        let seconds = status.details.as_ref().map(|details| details.retry_after_seconds)?;
        (seconds > 0).then(|| Duration::from_secs(u64::from(seconds.min(60))))
    }

    /// One word for metric labels and log fields.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable(_) => "unreadable",
            Self::NotSent(_) => "not_sent",
        }
    }
}

impl From<kube::Error> for CallError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "kube's error has more variants with more of its features"
    )]
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            kube::Error::HyperError(error) => Self::Unreachable(broken(&error)),
            kube::Error::ReadEvents(error) => Self::Unreachable(broken(&error)),
            kube::Error::Service(error) => Self::Unreachable(broken(error.as_ref())),
            kube::Error::BuildRequest(error) => Self::NotSent(error.to_string()),
            kube::Error::HttpError(error) => Self::NotSent(error.to_string()),
            kube::Error::SerdeError(error) => Self::Unreadable(error.to_string()),
            kube::Error::FromUtf8(error) => Self::Unreadable(error.to_string()),
            // Of kube's own configuration, proxies and logins, none of which is used. To print them would take all of it, and
            // the YAML below it, into the programs.
            _ => Self::Unreadable("the client failed in a part that is not used".to_owned()),
        }
    }
}

/// What to look at when the server cannot be reached. A certificate that is "not valid yet", or has expired for one machine alone,
/// is seldom its fault: boards without a battery start in the past.
fn look_at(text: &str) -> &'static str {
    if ["not valid yet", "certificate expired"].iter().any(|words| text.contains(words)) {
        "check the clock of this node (timedatectl, chronyc tracking), then the server's certificate"
    } else {
        "check its address, the network and its certificate"
    }
}

/// What happened to a connection, in one line. A connection that was cut is said plainly, whoever noticed.
fn broken(error: &(dyn std::error::Error + 'static)) -> String {
    let text = chain(error);
    // HTTP/2 hands the cause on as text only.
    let cut = ["peer closed connection", "unexpected EOF", "connection reset", "broken pipe"];
    if cut.iter().any(|words| text.contains(words)) { "the connection was cut".to_owned() } else { text }
}

/// An error with its causes in one line: `a: b: c`, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    const DEEPEST: usize = 8;
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()).take(DEEPEST) {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
    }
    text
}

#[cfg(test)]
mod tests;
