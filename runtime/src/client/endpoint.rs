//! `Endpoint`: the checked answer to "which server, which roots, who are we", and the in-cluster way to it.
//!
//! Leaves out kubeconfig files (their own module) and everything that opens a connection.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};

use super::kubeconfig::KubeconfigFault;
use super::login::Session;

/// Where the API server is and how to speak to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) base: Base,
    pub(super) trust: Trust,
    pub(super) identity: Option<Identity>,
    pub(super) token: Option<TokenSource>,
    /// Names and values of the headers that say whom to act as.
    pub(super) impersonation: Vec<(&'static str, String)>,
    pub(super) server_name: Option<String>,
    pub(super) namespace: String,
}

/// Scheme, authority and path prefix that go before every request path.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) prefix: String,
}

/// Which server certificates are accepted.
#[derive(Debug)]
pub(super) enum Trust {
    /// Those that chain to these roots.
    Roots(Pem),
    /// None is checked: only with `insecure-skip-tls-verify`.
    Anything,
    /// The server is spoken to without TLS.
    Plain,
}

/// The client certificate and its key.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certificate: Pem,
    pub(super) key: Pem,
}

impl Identity {
    /// What a login program gave.
    pub(super) fn of(session: &Session) -> Self {
        Self { certificate: Pem::Certificate(session.clone()), key: Pem::Key(session.clone()) }
    }
}

/// What the `Authorization` header says.
pub(super) enum TokenSource {
    /// As it stands in the kubeconfig.
    Text(String),
    /// In a file that somebody rotates.
    File(PathBuf),
    /// From a login program.
    Login(Session),
    /// No token, but a name and a password (RFC 7617), which proxies before an API server may take.
    Password {
        /// The name.
        user_name: String,
        /// The password.
        password: String,
    },
}

/// PEM text and where it comes from.
pub(super) enum Pem {
    /// From the kubeconfig itself.
    Inline(Vec<u8>),
    /// From a file that may be replaced.
    File(PathBuf),
    /// The certificate that a login program gives.
    Certificate(Session),
    /// The key to it.
    Key(Session),
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor the marks of a Pod.
    #[error(
        "no API server is known: give --kubeconfig or KUBECONFIG, or run as a Pod ({variable} is not set, so this is none)"
    )]
    NotInCluster {
        /// The environment variable that is missing.
        variable: &'static str,
    },
    /// A context was named, and there is no kubeconfig that could have it.
    #[error("there is no kubeconfig that could have a context \"{context}\"")]
    NoKubeconfig {
        /// The context.
        context: String,
    },
    /// A file cannot be read.
    #[error("{what} {path} cannot be read: {error}; check that it exists and that this user may read it")]
    File {
        /// What the file holds.
        what: &'static str,
        /// Its path.
        path: String,
        /// The operating system's word.
        error: std::io::Error,
    },
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path}: {fault}")]
    Kubeconfig {
        /// Its path.
        path: String,
        /// What is wrong with it.
        fault: KubeconfigFault,
    },
    /// The server's address cannot be used.
    #[error("\"{server}\" is no address of an API server: it must look like https://10.0.2.11:6443")]
    Server {
        /// The address as given.
        server: String,
    },
    /// Certificates or keys cannot be used.
    #[error("{what}: {reason}; check that it is PEM text and complete")]
    Certificate {
        /// Which one.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A name in the kubeconfig has characters that no HTTP header may carry.
    #[error(
        "\"{value}\" (as, as-uid or as-groups of the kubeconfig) has characters that a header cannot carry"
    )]
    Impersonation {
        /// The name.
        value: String,
    },
    /// The token has characters that no HTTP header may carry, or is empty.
    #[error("the bearer token from {origin} is empty or has characters that a header cannot carry")]
    Token {
        /// Where it came from.
        origin: String,
    },
}

impl Endpoint {
    /// The endpoint that Kubernetes gives to a Pod: address from the environment, token and roots from `folder`.
    pub(super) fn in_cluster(
        folder: &Path,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConnectError> {
        let variable = |name: &'static str| {
            env(name).filter(|value| !value.is_empty()).ok_or(ConnectError::NotInCluster { variable: name })
        };
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        let server = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        let namespace = std::fs::read_to_string(folder.join("namespace")).unwrap_or_default();
        Ok(Self {
            base: Base::try_new(&server)?,
            trust: Trust::Roots(Pem::File(folder.join("ca.crt"))),
            identity: None,
            token: Some(TokenSource::File(folder.join("token"))),
            impersonation: Vec::new(),
            server_name: None,
            namespace: match namespace.trim() {
                "" => "default".to_owned(),
                name => name.to_owned(),
            },
        })
    }
}

impl Base {
    /// Reads a server address; without a scheme it is `http`, as kubectl has it.
    pub(super) fn try_new(server: &str) -> Result<Self, ConnectError> {
        let wrong = || ConnectError::Server { server: server.to_owned() };
        let text = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let parts = text.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let scheme =
            parts.scheme.filter(|one| *one == Scheme::HTTP || *one == Scheme::HTTPS).ok_or_else(wrong)?;
        let authority = parts.authority.filter(|one| !one.host().is_empty()).ok_or_else(wrong)?;
        let prefix = parts.path_and_query.map(|path| path.path().trim_end_matches('/').to_owned());
        Ok(Self { scheme, authority, prefix: prefix.unwrap_or_default() })
    }

    pub(super) fn is_plain(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    /// The server's name or address; one of IPv6 without brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, or the scheme's own.
    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or_else(|| if self.is_plain() { 80 } else { 443 })
    }

    /// What HTTP/1.1 names the server: its authority, without a user (RFC 9110, section 7.2).
    pub(super) fn host_header(&self) -> HeaderValue {
        let authority = self.authority.as_str();
        let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
        HeaderValue::from_str(host).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Pem {
    /// The text as it is now.
    pub(super) fn read(&self, what: &'static str) -> Result<Vec<u8>, ConnectError> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read(path).map_err(|error| ConnectError::File {
                what,
                path: path.display().to_string(),
                error,
            }),
            Self::Certificate(session) => {
                Ok(now(session).map(|(certificate, _)| certificate).unwrap_or_default())
            }
            Self::Key(session) => Ok(now(session).map(|(_, key)| key).unwrap_or_default()),
        }
    }
}

fn now(session: &Session) -> Option<(Vec<u8>, Vec<u8>)> {
    let (certificate, key) = session.at(SystemTime::now()).identity?;
    Some((certificate.into_bytes(), key.into_bytes()))
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(text) => write!(f, "Inline({} octets)", text.len()),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Certificate(session) | Self::Key(session) => session.fmt(f),
        }
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(redacted)"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Login(session) => session.fmt(f),
            Self::Password { user_name, .. } => write!(f, "Password(of {user_name})"),
        }
    }
}
