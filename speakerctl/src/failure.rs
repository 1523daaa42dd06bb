//! Why there is no answer: a sentence that says what was tried, and a hint that says what to do next.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use runtime::client::{CallError, ConnectError, KubeconfigFault};

use crate::args::{BothPlaces, DEFAULT_SOCKET};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Usage(#[from] BothPlaces),
    #[error("no answer from the speaker's socket {path}: {fault}")]
    Socket { path: PathBuf, fault: SocketFault },
    #[error("no answer from the Kubernetes API{also}: {fault}")]
    Cluster { also: Tried, namespace: String, fault: ClusterFault },
    #[error("no speaker reports from {}", .nodes.join(", "))]
    NodesUnknown { nodes: Vec<String>, namespace: String },
    #[error("the socket {path} belongs to the speaker of node {here}, not of {}", .asked.join(", "))]
    OtherNode { path: PathBuf, here: String, asked: Vec<String>, namespace: String },
    #[error("{text:?} names no Service")]
    NoServiceName { text: String },
    #[error("{text:?} is neither an address nor a prefix")]
    NoPrefix { text: String },
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

/// What was looked for before the API was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tried {
    pub(crate) default_socket: bool,
}

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.default_socket {
            write!(f, " (asked because there is no socket {DEFAULT_SOCKET} here)")
        } else {
            Ok(())
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketFault {
    #[error("there is no such file")]
    Absent,
    #[error("permission denied")]
    Forbidden,
    #[error("nothing listens on it; the speaker does not run")]
    Deaf,
    #[error("nothing came within {0:?}")]
    Silent(Duration),
    #[error("it answered {0}, expected 200 OK")]
    Refused(http::StatusCode),
    #[error("it answered more than {0} octets")]
    TooLong(usize),
    #[error("it did not speak HTTP: {0}")]
    NotHttp(hyper::Error),
    #[error("its answer is not a report of this version's form: {0}")]
    NotAReport(serde_json::Error),
    #[error("{0}")]
    Other(io::Error),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterFault {
    #[error("{0}")]
    Client(Box<ConnectError>),
    #[error("{0:?} passed")]
    Slow(Duration),
    #[error("you may not read {what} in namespace {namespace}")]
    Forbidden { what: &'static str, namespace: String },
    #[error("it does not accept your credentials")]
    Unauthorized,
    #[error("it does not know speakerstates.herald-lb.io")]
    NoSuchKind,
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    /// What to do next, in one line. `program` is how the caller knows this program, `home` the namespace that was asked about.
    pub(crate) fn hint(&self, program: &str, home: &str) -> Option<String> {
        match self {
            Self::Usage(_) => Some(format!("{program} --help says which place is asked when")),
            Self::Socket { fault, .. } => fault.hint(home),
            Self::Cluster { fault, namespace, .. } => fault.hint(namespace),
            Self::NodesUnknown { nodes, namespace } => Some(no_report_hint(nodes, namespace)),
            Self::OtherNode { asked, namespace, .. } => {
                Some(format!("ask the API instead: {program} peers -n {namespace} {}", asked.join(" ")))
            }
            Self::NoServiceName { .. } => {
                Some("write NAME or NAMESPACE/NAME, for example shop/web".to_owned())
            }
            Self::NoPrefix { .. } => Some("write for example 10.0.4.1 or 10.0.4.0/24".to_owned()),
            Self::Start(_) | Self::Output(_) => None,
        }
    }

    /// 2 for wrong usage, 1 for the rest.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoServiceName { .. } | Self::NoPrefix { .. } => 2,
            Self::Socket { .. }
            | Self::Cluster { .. }
            | Self::NodesUnknown { .. }
            | Self::OtherNode { .. }
            | Self::Start(_)
            | Self::Output(_) => 1,
        }
    }

    /// Whether the reader of our output went away, as `head` does; that is no failure.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl SocketFault {
    /// The fault behind an error of connecting to the socket.
    pub(crate) fn from_connect(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::Absent
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Forbidden
        } else if kind == io::ErrorKind::ConnectionRefused {
            Self::Deaf
        } else {
            Self::Other(error)
        }
    }

    fn hint(&self, home: &str) -> Option<String> {
        let words = match self {
            Self::Absent => {
                "run this in the speaker's container (kubectl exec), or leave --socket out to ask the API"
            }
            Self::Forbidden => "run this as root or as the speaker's user",
            Self::Deaf | Self::Silent(_) => {
                return Some(format!(
                    "look at the speaker's log: kubectl -n {home} logs -l component=speaker --prefix"
                ));
            }
            Self::Refused(_) | Self::NotHttp(_) | Self::TooLong(_) => {
                "is this the socket of a Herald speaker? its default is /run/herald/speaker.sock"
            }
            Self::NotAReport(_) => "use the speakerctl of the same version as the speaker",
            Self::Other(_) => return None,
        };
        Some(words.to_owned())
    }
}

impl ClusterFault {
    /// Sorts what the server or the way to it said.
    pub(crate) fn of_call(error: CallError, what: &'static str, namespace: &str) -> Self {
        match error {
            CallError::Refused(status) => match status.code {
                401 => Self::Unauthorized,
                403 => Self::Forbidden { what, namespace: namespace.to_owned() },
                404 => Self::NoSuchKind,
                code => Self::Refused(format!("{} ({code})", status.message)),
            },
            CallError::TimedOut { limit } => Self::Slow(limit),
            CallError::Unreachable(_) | CallError::Unreadable(_) | CallError::NotSent(_) => {
                Self::Unreachable(error.to_string())
            }
        }
    }

    fn hint(&self, namespace: &str) -> Option<String> {
        match self {
            Self::Client(error) => client_hint(error).map(str::to_owned),
            Self::Slow(_) | Self::Unreachable(_) => Some(
                "on each node the speaker itself still answers through its socket: see --socket".to_owned(),
            ),
            Self::Forbidden { what, .. } => {
                Some(format!("check with: kubectl auth can-i list {what} -n {namespace}"))
            }
            Self::Unauthorized => {
                Some("check the user of the kubeconfig context: kubectl auth whoami".to_owned())
            }
            Self::NoSuchKind => {
                Some("Herald's CRDs are not installed: kubectl apply -f herald.yaml".to_owned())
            }
            Self::Refused(_) => None,
        }
    }
}

/// What to do about a client that cannot be made; `None` where the error says it.
fn client_hint(error: &ConnectError) -> Option<&'static str> {
    match error {
        ConnectError::NotInCluster { .. } => Some(
            "give --kubeconfig (or set KUBECONFIG), or run this in a speaker's container to ask it through its socket",
        ),
        ConnectError::File { what: "kubeconfig", .. } | ConnectError::NoKubeconfig { .. } => {
            Some("give the path of the file: --kubeconfig FILE, or KUBECONFIG")
        }
        ConnectError::Kubeconfig { fault, .. } => match fault {
            KubeconfigFault::Unknown { kind: "context", .. } => {
                Some("list the contexts with: kubectl config get-contexts")
            }
            KubeconfigFault::Login { .. } => {
                Some("does kubectl get the same user's credentials? try: kubectl auth whoami")
            }
            KubeconfigFault::Unsupported { .. } => {
                Some("give a kubeconfig without that field, or ask a speaker through its socket")
            }
            KubeconfigFault::NoCurrentContext => None,
            KubeconfigFault::Syntax(_)
            | KubeconfigFault::TooLarge
            | KubeconfigFault::Unknown { .. }
            | KubeconfigFault::NoServer(_)
            | KubeconfigFault::NoRoots(_)
            | KubeconfigFault::HalfIdentity(_) => {
                Some("compare with what kubectl reads: kubectl config view --minify")
            }
        },
        ConnectError::File { .. }
        | ConnectError::Server { .. }
        | ConnectError::Certificate { .. }
        | ConnectError::Impersonation { .. }
        | ConnectError::Token { .. } => Some("compare with what kubectl reads: kubectl config view --minify"),
    }
}

fn no_report_hint(nodes: &[String], namespace: &str) -> String {
    let node = nodes.first().map_or("NODE", String::as_str);
    format!(
        "is that the name of a node (kubectl get nodes), and does a speaker run there? kubectl -n {namespace} get pods -l component=speaker --field-selector spec.nodeName={node}"
    )
}
