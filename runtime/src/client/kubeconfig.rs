//! Kubeconfig files, read with types that hold only what Herald's daemons use.
//!
//! Leaves out merging of several files, and credentials that need another program: both are refused with a sentence.

use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use serde::Deserialize;

use super::endpoint::{Base, ConnectError, Endpoint, Identity, Pem, TokenSource, Trust};

/// Larger files are no kubeconfig.
const LARGEST: u64 = 4 << 20;

/// What is wrong with a kubeconfig.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KubeconfigFault {
    /// Not the YAML that is expected.
    #[error("it cannot be read as YAML of the expected form: {0}")]
    Syntax(String),
    /// Larger than any real one.
    #[error("it is larger than {LARGEST} octets, which no kubeconfig is")]
    TooLarge,
    /// Several files in one variable.
    #[error(
        "several files joined by ':' are not merged: name one, or write one with `kubectl config view --flatten`"
    )]
    SeveralFiles,
    /// `current-context` is missing.
    #[error("it names no current-context: set one with `kubectl config use-context`")]
    NoCurrentContext,
    /// A name that leads nowhere.
    #[error("there is no {kind} named \"{name}\"")]
    Unknown {
        /// context, cluster or user
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The cluster has no server.
    #[error("cluster \"{0}\" names no server")]
    NoServer(String),
    /// An https server without any roots.
    #[error(
        "cluster \"{0}\" has neither certificate-authority nor certificate-authority-data: add the cluster's root certificate"
    )]
    NoRoots(String),
    /// Half of a client certificate.
    #[error("user \"{0}\" has a client certificate or a client key, but not both")]
    HalfIdentity(String),
    /// Something that is not supported.
    #[error(
        "{field} is not supported: give the daemon a service account token, a token file or a client certificate"
    )]
    Unsupported {
        /// The field.
        field: &'static str,
    },
}

/// Reads `path` and follows its current context.
pub(super) fn read(path: &Path) -> Result<Endpoint, ConnectError> {
    let wrong = |fault| ConnectError::Kubeconfig { path: path.display().to_string(), fault };
    let unreadable =
        |error| ConnectError::File { what: "kubeconfig", path: path.display().to_string(), error };
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(_) if path.to_string_lossy().contains(':') => return Err(wrong(KubeconfigFault::SeveralFiles)),
        Err(error) => return Err(unreadable(error)),
    };
    if size > LARGEST {
        return Err(wrong(KubeconfigFault::TooLarge));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = path.parent().unwrap_or(path);
    let settled = settle(&text, folder).map_err(wrong)?;
    Ok(Endpoint {
        base: Base::try_new(&settled.server)?,
        trust: settled.trust,
        identity: settled.identity,
        token: settled.token,
        server_name: settled.server_name,
        namespace: settled.namespace,
    })
}

/// What the current context comes to, before the server address is checked.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) server: String,
    pub(super) trust: Trust,
    pub(super) identity: Option<Identity>,
    pub(super) token: Option<TokenSource>,
    pub(super) server_name: Option<String>,
    pub(super) namespace: String,
}

/// Follows the current context of a kubeconfig text; relative file names count from `folder`.
pub(super) fn settle(text: &str, folder: &Path) -> Result<Settled, KubeconfigFault> {
    let file: File = serde_saphyr::from_str(text)
        .map_err(|error| KubeconfigFault::Syntax(first_line(&error.to_string())))?;
    let wanted = non_empty(file.current_context).ok_or(KubeconfigFault::NoCurrentContext)?;
    let unknown = |kind, name: &str| KubeconfigFault::Unknown { kind, name: name.to_owned() };
    let context = file.contexts.into_iter().find(|one| one.name == wanted).and_then(|one| one.context);
    let context = context.ok_or_else(|| unknown("context", &wanted))?;
    let cluster =
        file.clusters.into_iter().find(|one| one.name == context.cluster).and_then(|one| one.cluster);
    let cluster = cluster.ok_or_else(|| unknown("cluster", &context.cluster))?;
    let user = match non_empty(context.user) {
        None => User::default(),
        Some(name) => {
            let found = file.users.into_iter().find(|one| one.name == name);
            found.ok_or_else(|| unknown("user", &name))?.user.unwrap_or_default()
        }
    };
    user.refuse_unsupported()?;
    if cluster.proxy_url.is_some() {
        return Err(KubeconfigFault::Unsupported { field: "proxy-url" });
    }
    let server =
        non_empty(cluster.server).ok_or_else(|| KubeconfigFault::NoServer(context.cluster.clone()))?;
    let trust = if !server.starts_with("https://") {
        Trust::Plain
    } else if cluster.insecure_skip_tls_verify {
        Trust::Anything
    } else {
        let roots = pem(cluster.certificate_authority_data, cluster.certificate_authority, folder);
        Trust::Roots(roots.ok_or(KubeconfigFault::NoRoots(context.cluster))?)
    };
    let certificate = pem(user.client_certificate_data, user.client_certificate, folder);
    let key = pem(user.client_key_data, user.client_key, folder);
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(KubeconfigFault::HalfIdentity(wanted));
        }
    };
    let token_file = non_empty(user.token_file).map(|path| TokenSource::File(folder.join(path)));
    Ok(Settled {
        server,
        trust,
        identity,
        token: token_file.or_else(|| non_empty(user.token).map(TokenSource::Text)),
        server_name: non_empty(cluster.tls_server_name),
        namespace: non_empty(context.namespace).unwrap_or_else(|| "default".to_owned()),
    })
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Data wins over a file, as in kubectl.
fn pem(data: Option<ByteString>, file: Option<String>, folder: &Path) -> Option<Pem> {
    let data = data.map(|data| data.0).filter(|data| !data.is_empty());
    data.map(Pem::Inline).or_else(|| non_empty(file).map(|path| Pem::File(folder.join(PathBuf::from(path)))))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<ByteString>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    cluster: String,
    user: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<ByteString>,
    client_key: Option<String>,
    client_key_data: Option<ByteString>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    exec: Option<Present>,
    auth_provider: Option<Present>,
    username: Option<Present>,
    r#as: Option<Present>,
}

impl User {
    fn refuse_unsupported(&self) -> Result<(), KubeconfigFault> {
        let fields = [
            ("exec", &self.exec),
            ("auth-provider", &self.auth_provider),
            ("username", &self.username),
            ("as", &self.r#as),
        ];
        match fields.into_iter().find(|(_, value)| value.is_some()) {
            Some((field, _)) => Err(KubeconfigFault::Unsupported { field }),
            None => Ok(()),
        }
    }
}

/// A field whose content does not matter, because its presence is refused.
type Present = serde::de::IgnoredAny;
