//! A user of a kubeconfig: certificate, token or login program, and whom to act as.
//!
//! Leaves out the program itself (`login`); nothing is run or read from disk before `Credentials::settle`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::tree::{Node, SyntaxFault};
use super::{KubeconfigFault, pem};
use crate::client::endpoint::{Identity, TokenSource, Trust};
use crate::client::login::{Login, Logins};

/// What a daemon is told that is to log in as a person does.
const FOR_DAEMONS: &str = "give the daemon a service account token, a token file or a client certificate";

/// Who we are.
#[derive(Default)]
pub(super) struct User {
    pub(super) credentials: Credentials,
    /// Whom to act as (`as` and its like): names and values of headers.
    pub(super) impersonation: Vec<(&'static str, String)>,
}

impl User {
    /// Takes the fields of the user `name`; relative file names count from `folder`.
    pub(super) fn read(
        name: &str,
        user: &Node,
        folder: &Path,
        logins: Logins,
        cluster: &Node,
    ) -> Result<Self, KubeconfigFault> {
        refuse_unsupported(user)?;
        let impersonation = impersonation(user)?;
        if let Some(exec) = user.get("exec")? {
            let Logins::Run = logins else {
                return Err(KubeconfigFault::Unsupported { field: "exec", instead: FOR_DAEMONS });
            };
            let told = exec.flag("provideClusterInfo")?.then(|| about(cluster)).transpose()?;
            let login = login(exec, folder, told)?;
            let credentials = Credentials::Login { user: name.to_owned(), login };
            return Ok(Self { credentials, impersonation });
        }
        let certificate = pem(user, "client-certificate", folder)?;
        let key = pem(user, "client-key", folder)?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(KubeconfigFault::HalfIdentity(name.to_owned()));
            }
        };
        let token = match (user.text("tokenFile")?, user.text("token")?, user.text("username")?) {
            (Some(path), _, _) => Some(TokenSource::File(folder.join(path))),
            (None, Some(token), _) => Some(TokenSource::Text(token)),
            (None, None, Some(user_name)) => Some(TokenSource::Password {
                user_name,
                password: user.text("password")?.unwrap_or_default(),
            }),
            (None, None, None) => None,
        };
        Ok(Self { credentials: Credentials::Given { identity, token }, impersonation })
    }
}

/// How to show who we are.
#[derive(Debug)]
pub(in crate::client) enum Credentials {
    /// As the file or the files that it names have it.
    Given { identity: Option<Identity>, token: Option<TokenSource> },
    /// A program has to be asked.
    Login { user: String, login: Login },
}

impl Default for Credentials {
    fn default() -> Self {
        Self::Given { identity: None, token: None }
    }
}

impl Credentials {
    /// Runs the login program, if there is one. `trust` is what the program is told of the cluster, too.
    pub(in crate::client) fn settle(
        self,
        trust: &Trust,
    ) -> Result<(Option<Identity>, Option<TokenSource>), KubeconfigFault> {
        match self {
            Self::Given { identity, token } => Ok((identity, token)),
            Self::Login { user, mut login } => {
                if let Some(cluster) = &mut login.cluster {
                    tell(cluster, trust);
                }
                let session = login.start().map_err(|fault| KubeconfigFault::Login { user, fault })?;
                let identity = session.has_identity().then(|| Identity::of(&session));
                Ok((identity, session.has_token().then_some(TokenSource::Login(session))))
            }
        }
    }
}

fn refuse_unsupported(user: &Node) -> Result<(), KubeconfigFault> {
    for (field, instead) in [
        ("auth-provider", "kubectl has dropped it, too: name a login program under exec"),
        ("as-user-extra", "name the user and its groups alone"),
    ] {
        if user.get(field)?.is_some() {
            return Err(KubeconfigFault::Unsupported { field, instead });
        }
    }
    Ok(())
}

fn impersonation(user: &Node) -> Result<Vec<(&'static str, String)>, KubeconfigFault> {
    let mut headers = Vec::new();
    for (field, header) in [("as", "impersonate-user"), ("as-uid", "impersonate-uid")] {
        headers.extend(user.text(field)?.map(|value| (header, value)));
    }
    for group in user.list("as-groups")? {
        headers.push(("impersonate-group", group.as_text()?.to_owned()));
    }
    Ok(headers)
}

fn login(exec: &Node, folder: &Path, told: Option<Value>) -> Result<Login, KubeconfigFault> {
    let mut environment = Vec::new();
    for one in exec.list("env")? {
        if let Some(name) = one.text("name")? {
            environment.push((name, one.text("value")?.unwrap_or_default()));
        }
    }
    let arguments = exec.list("args")?.iter().map(|one| Ok(one.as_text()?.to_owned()));
    let arguments = arguments.collect::<Result<_, SyntaxFault>>()?;
    let command = exec.text("command")?.ok_or_else(|| exec.wrong("a command"))?;
    Ok(Login {
        // A name without a slash is looked for in PATH.
        command: if command.contains('/') { folder.join(command) } else { PathBuf::from(command) },
        arguments,
        environment,
        api_version: exec.text("apiVersion")?.unwrap_or_default(),
        may_ask: exec.text("interactiveMode")?.as_deref() != Some("Never"),
        cluster: told,
        install_hint: exec.text("installHint")?,
    })
}

/// What a login program is told of the cluster, if it wants to know: what stands in the file.
fn about(cluster: &Node) -> Result<Value, SyntaxFault> {
    let mut told = Map::new();
    for field in ["server", "tls-server-name"] {
        told.extend(cluster.text(field)?.map(|text| (field.to_owned(), text.into())));
    }
    for extension in cluster.list("extensions")? {
        if extension.text("name")?.as_deref() == Some("client.authentication.k8s.io/exec") {
            told.extend(extension.get("extension")?.map(|config| ("config".to_owned(), config.json())));
        }
    }
    Ok(told.into())
}

/// And which certificates are accepted, as they are now.
fn tell(cluster: &mut Value, trust: &Trust) {
    match trust {
        Trust::Roots(pem) => {
            // One that cannot be read is said where the connection is made.
            let roots = pem.read("the cluster's root certificate").unwrap_or_default();
            cluster["certificate-authority-data"] =
                serde_json::to_value(k8s_openapi::ByteString(roots)).unwrap_or_default();
        }
        Trust::Anything => cluster["insecure-skip-tls-verify"] = true.into(),
        Trust::Plain => {}
    }
}
