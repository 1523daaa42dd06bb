//! Login programs of a kubeconfig (`exec`, KEP-541): credentials that another program gives, asked for anew when they have run out.
//!
//! Leaves out what the credentials are used for. Only a person's client runs such programs: they may ask on the terminal, and
//! what waits for the client waits for them.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde_json::{Value, json};

/// The versions of the answer that kubectl knows, too.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/// Octets of an answer; certificates are a few thousand.
const LONGEST: u64 = 1 << 20;

/// Whether login programs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logins {
    /// They are refused with a sentence: a daemon has nobody to ask.
    Refuse,
    /// They are run.
    Run,
}

/// A program and how to call it.
#[derive(Debug)]
pub(super) struct Login {
    /// A path, or a name that is looked for in `PATH`.
    pub(super) command: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Besides our own environment.
    pub(super) environment: Vec<(String, String)>,
    pub(super) api_version: String,
    /// It may read the terminal, where there is one.
    pub(super) may_ask: bool,
    /// What it is told of the cluster.
    pub(super) cluster: Option<Value>,
    /// What to say where it is missing.
    pub(super) install_hint: Option<String>,
}

/// Why a login program gave no credentials.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoginFault {
    /// It wants another version of the interface.
    #[error("its login program has the interface \"{0}\": {first} and {second} are known", first = VERSIONS[0], second = VERSIONS[1])]
    Version(String),
    /// It could not be started.
    #[error("its login program {command} cannot be started: {reason}{hint}")]
    Start {
        /// The program.
        command: String,
        /// The operating system's word.
        reason: String,
        /// What the kubeconfig says about installing it.
        hint: String,
    },
    /// It ended with an error; its own words went to the terminal.
    #[error("its login program {command} failed ({status})")]
    Failed {
        /// The program.
        command: String,
        /// How it ended.
        status: String,
    },
    /// What it printed cannot be used.
    #[error("the answer of its login program {command} cannot be used: {reason}")]
    Answer {
        /// The program.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a login program said.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) token: Option<String>,
    /// PEM text of a client certificate and of its key.
    pub(super) identity: Option<(String, String)>,
    /// When it runs out; `None`: the server will say.
    pub(super) until: Option<SystemTime>,
}

impl Login {
    /// Runs the program for the first time.
    pub(super) fn start(self) -> Result<Session, LoginFault> {
        let answer = self.run()?;
        Ok(Session(Arc::new(Inner { login: self, answer: Mutex::new(answer) })))
    }

    fn run(&self) -> Result<Answer, LoginFault> {
        let command = self.command.display().to_string();
        if !VERSIONS.contains(&self.api_version.as_str()) {
            return Err(LoginFault::Version(self.api_version.clone()));
        }
        let asks = self.may_ask && std::io::stdin().is_terminal();
        let failed = |error: std::io::Error| LoginFault::Start {
            command: command.clone(),
            reason: error.to_string(),
            hint: self.install_hint.as_ref().map(|hint| format!("; {}", hint.trim())).unwrap_or_default(),
        };
        let mut program = Command::new(&self.command)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", self.information(asks).to_string())
            .stdin(if asks { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut text = Vec::new();
        let read = match program.stdout.take() {
            Some(output) => output.take(LONGEST).read_to_end(&mut text).map(drop),
            None => Ok(()),
        };
        // Waited for in any case, so that it leaves nothing behind.
        let status = program.wait().map_err(failed)?;
        read.map_err(failed)?;
        if !status.success() {
            return Err(LoginFault::Failed { command, status: status.to_string() });
        }
        parse(&text, &self.api_version).map_err(|reason| LoginFault::Answer { command, reason })
    }

    /// What the program finds in its environment.
    pub(super) fn information(&self, asks: bool) -> Value {
        let mut spec = json!({ "interactive": asks });
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = cluster.clone();
        }
        json!({ "apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec })
    }
}

/// Credentials of a login program, for as long as the client lives.
#[derive(Clone)]
pub(super) struct Session(Arc<Inner>);

struct Inner {
    login: Login,
    answer: Mutex<Answer>,
}

impl Session {
    pub(super) fn has_token(&self) -> bool {
        self.last().token.is_some()
    }

    pub(super) fn has_identity(&self) -> bool {
        self.last().identity.is_some()
    }

    /// What holds at `now`: the program runs again if the last answer has run out.
    pub(super) fn at(&self, now: SystemTime) -> Answer {
        let last = self.last();
        if last.until.is_some_and(|until| until <= now) { self.anew() } else { last }
    }

    /// Runs the program again. What it said before stays in use where it fails.
    pub(super) fn anew(&self) -> Answer {
        match self.0.login.run() {
            Ok(answer) => *self.0.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer,
            Err(fault) => tracing::warn!(%fault, "no new credentials: the old ones stay in use"),
        }
        self.last()
    }

    fn last(&self) -> Answer {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.0.login.command.display())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    kind: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<Time>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Reads what a program printed. The reason never quotes it.
pub(super) fn parse(text: &[u8], api_version: &str) -> Result<Answer, String> {
    let said: ExecCredential = api::json::from_octets(text).map_err(|error| {
        format!("it is no ExecCredential (line {}, column {})", error.line(), error.column())
    })?;
    if said.kind != "ExecCredential" || said.api_version != api_version {
        return Err(format!("it is no ExecCredential of {api_version}"));
    }
    let status = said.status.ok_or("it has no status")?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = filled(status.token);
    let identity = match (filled(status.client_certificate_data), filled(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err("it has a client certificate or a client key, but not both".to_owned());
        }
    };
    if token.is_none() && identity.is_none() {
        return Err("it has neither a token nor a client certificate".to_owned());
    }
    Ok(Answer { token, identity, until: status.expiration_timestamp.map(|time| time.0.into()) })
}
