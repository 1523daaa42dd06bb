//! Kubeconfig files: read, joined as `KUBECONFIG` joins them, and followed from a context to an endpoint.
//!
//! A field that would change what a request means and is not known here is refused with a sentence, never passed over. What stands
//! in contexts, clusters and users other than the wanted ones does not matter.

mod tree;
mod user;

use std::path::{Path, PathBuf};

use self::tree::{Node, SyntaxFault};
use self::user::{Credentials, User};
use super::endpoint::{Base, ConnectError, Endpoint, Pem, Trust};
use super::login::{LoginFault, Logins};

/// Larger files are no kubeconfig.
const LARGEST: u64 = 4 << 20;

/// What is wrong with a kubeconfig.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KubeconfigFault {
    /// Not the YAML that is expected.
    #[error("it cannot be read as YAML of the expected form: {0}")]
    Syntax(#[from] SyntaxFault),
    /// Larger than any real one.
    #[error("it is larger than {LARGEST} octets, which no kubeconfig is")]
    TooLarge,
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
    #[error("{field} is not supported: {instead}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The login program of the user gave no credentials.
    #[error("user \"{user}\": {fault}")]
    Login {
        /// The user's name in the kubeconfig.
        user: String,
        /// What went wrong.
        fault: LoginFault,
    },
}

/// Reads the file `path`, or the files that it joins as `KUBECONFIG` does, and follows `context`, else the current one.
pub(super) fn read(path: &Path, context: Option<&str>, logins: Logins) -> Result<Endpoint, ConnectError> {
    let mut parts = Vec::new();
    for file in files(path) {
        let wrong = |fault| ConnectError::Kubeconfig { path: file.display().to_string(), fault };
        let text = text_of(&file)?;
        parts.push(Part::read(&text, file.parent().unwrap_or(&file)).map_err(wrong)?);
    }
    let wrong = |fault| ConnectError::Kubeconfig { path: path.display().to_string(), fault };
    let settled = settle(&parts, context, logins).map_err(wrong)?;
    let (identity, token) = settled.credentials.settle(&settled.trust).map_err(wrong)?;
    Ok(Endpoint {
        base: Base::try_new(&settled.server)?,
        trust: settled.trust,
        identity,
        token,
        impersonation: settled.impersonation,
        server_name: settled.server_name,
        namespace: settled.namespace,
    })
}

/// Of several files those that do not exist are passed over, as kubectl does, unless that are all.
fn files(path: &Path) -> Vec<PathBuf> {
    let there: Vec<PathBuf> = if path.exists() {
        Vec::new()
    } else {
        std::env::split_paths(path).filter(|one| !one.as_os_str().is_empty() && one.exists()).collect()
    };
    if there.is_empty() { vec![path.to_owned()] } else { there }
}

fn text_of(path: &Path) -> Result<String, ConnectError> {
    let unreadable =
        |error| ConnectError::File { what: "kubeconfig", path: path.display().to_string(), error };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LARGEST {
        let fault = KubeconfigFault::TooLarge;
        return Err(ConnectError::Kubeconfig { path: path.display().to_string(), fault });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// One file.
#[derive(Debug)]
pub(super) struct Part {
    root: Node,
    /// Relative file names count from here.
    folder: PathBuf,
}

impl Part {
    /// Takes a text apart.
    pub(super) fn read(text: &str, folder: &Path) -> Result<Self, KubeconfigFault> {
        Ok(Self { root: tree::read(text)?, folder: folder.to_owned() })
    }

    /// `name`'s entry of a list, without the name. An entry that says nothing is there all the same.
    fn entry(&self, list: &str, kind: &str, name: &str) -> Result<Option<&Node>, KubeconfigFault> {
        for one in self.root.list(list)? {
            if one.text("name")?.as_deref() == Some(name) {
                return Ok(Some(one.get(kind)?.unwrap_or(&tree::NOTHING)));
            }
        }
        Ok(None)
    }
}

/// What a context comes to, before the server's address is checked and anybody has logged in.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) server: String,
    pub(super) trust: Trust,
    pub(super) credentials: Credentials,
    pub(super) impersonation: Vec<(&'static str, String)>,
    pub(super) server_name: Option<String>,
    pub(super) namespace: String,
}

/// Follows the wanted context through the files; where two have an entry of one name, the first one's counts.
pub(super) fn settle(
    parts: &[Part],
    context: Option<&str>,
    logins: Logins,
) -> Result<Settled, KubeconfigFault> {
    let wanted = match context {
        Some(name) => name.to_owned(),
        None => current_context(parts)?,
    };
    let (context, _) = find(parts, "contexts", "context", &wanted)?;
    let cluster_name = context.text("cluster")?.unwrap_or_default();
    let (cluster, folder) = find(parts, "clusters", "cluster", &cluster_name)?;
    if cluster.get("proxy-url")?.is_some() {
        let instead = "name a server that is reached without a proxy";
        return Err(KubeconfigFault::Unsupported { field: "proxy-url", instead });
    }
    let server = cluster.text("server")?.ok_or_else(|| KubeconfigFault::NoServer(cluster_name.clone()))?;
    let trust = if !server.starts_with("https://") {
        Trust::Plain
    } else if cluster.flag("insecure-skip-tls-verify")? {
        Trust::Anything
    } else {
        let roots = pem(cluster, "certificate-authority", folder)?;
        Trust::Roots(roots.ok_or_else(|| KubeconfigFault::NoRoots(cluster_name.clone()))?)
    };
    let user = match context.text("user")? {
        Some(name) => {
            let (user, folder) = find(parts, "users", "user", &name)?;
            User::read(&name, user, folder, logins, cluster)?
        }
        None => User::default(),
    };
    Ok(Settled {
        server,
        trust,
        credentials: user.credentials,
        impersonation: user.impersonation,
        server_name: cluster.text("tls-server-name")?,
        namespace: context.text("namespace")?.unwrap_or_else(|| "default".to_owned()),
    })
}

fn current_context(parts: &[Part]) -> Result<String, KubeconfigFault> {
    for part in parts {
        if let Some(name) = part.root.text("current-context")? {
            return Ok(name);
        }
    }
    Err(KubeconfigFault::NoCurrentContext)
}

fn find<'a>(
    parts: &'a [Part],
    list: &str,
    kind: &'static str,
    name: &str,
) -> Result<(&'a Node, &'a Path), KubeconfigFault> {
    for part in parts {
        if let Some(node) = part.entry(list, kind, name)? {
            return Ok((node, &part.folder));
        }
    }
    Err(KubeconfigFault::Unknown { kind, name: name.to_owned() })
}

/// `FIELD-data` wins over the file `FIELD`, as in kubectl.
fn pem(node: &Node, field: &str, folder: &Path) -> Result<Option<Pem>, SyntaxFault> {
    if let Some(data) = node.octets(&format!("{field}-data"))? {
        return Ok(Some(Pem::Inline(data)));
    }
    Ok(node.text(field)?.map(|path| Pem::File(folder.join(path))))
}
