//! A user of a kubeconfig: certificate, token or login program, and whom to act as.
//!
//! Leaves out running the program (`login`).

use std::path::{Path, PathBuf};

use super::tree::{Node, SyntaxFault};
use super::{KubeconfigFault, pem};
use crate::client::endpoint::{Identity, TokenSource, Trust};
use crate::client::login::{Login, Logins};

/// What a daemon is told that is to log in as a person does.
const FOR_DAEMONS: &str = "give the daemon a service account token, a token file or a client certificate";

/// Who we are.
#[derive(Default)]
pub(super) struct User {
    pub(super) identity: Option<Identity>,
    pub(super) token: Option<TokenSource>,
    /// Whom to act as (`as` and its like): names and values of headers.
    pub(super) impersonation: Vec<(&'static str, String)>,
}

impl User {
    /// Takes the fields of the user `name`; relative file names count from `folder`. A login program runs here.
    pub(super) fn read(
        name: &str,
        user: &Node,
        folder: &Path,
        logins: Logins,
        cluster: &Node,
        trust: &Trust,
    ) -> Result<Self, KubeconfigFault> {
        refuse_unsupported(user)?;
        let impersonation = impersonation(user)?;
        if let Some(exec) = user.get("exec")? {
            let Logins::Run = logins else {
                return Err(KubeconfigFault::Unsupported { field: "exec", instead: FOR_DAEMONS });
            };
            let failed = |fault| KubeconfigFault::Login { user: name.to_owned(), fault };
            let told = exec.flag("provideClusterInfo")?.then(|| about(cluster, trust)).transpose()?;
            let session = login(exec, folder, told)?.start().map_err(failed)?;
            return Ok(Self {
                identity: session.has_identity().then(|| Identity::of(&session)),
                token: session.has_token().then(|| TokenSource::Login(session.clone())),
                impersonation,
            });
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
        Ok(Self { identity, token, impersonation })
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

fn login(exec: &Node, folder: &Path, told: Option<serde_json::Value>) -> Result<Login, KubeconfigFault> {
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

/// What a login program is told of the cluster, if it wants to know.
fn about(cluster: &Node, trust: &Trust) -> Result<serde_json::Value, SyntaxFault> {
    let mut told = serde_json::Map::new();
    for field in ["server", "tls-server-name"] {
        told.extend(cluster.text(field)?.map(|text| (field.to_owned(), text.into())));
    }
    match trust {
        Trust::Roots(pem) => {
            // One that cannot be read is said where the connection is made.
            let roots = pem.read("the cluster's root certificate").unwrap_or_default();
            let text = serde_json::to_value(k8s_openapi::ByteString(roots)).unwrap_or_default();
            told.insert("certificate-authority-data".to_owned(), text);
        }
        Trust::Anything => _ = told.insert("insecure-skip-tls-verify".to_owned(), true.into()),
        Trust::Plain => {}
    }
    for extension in cluster.list("extensions")? {
        if extension.text("name")?.as_deref() == Some("client.authentication.k8s.io/exec") {
            told.extend(extension.get("extension")?.map(|config| ("config".to_owned(), config.json())));
        }
    }
    Ok(told.into())
}
