//! Login programs: what they are told, what is made of what they say, and when they run again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::endpoint::{TokenSource, Trust};
use super::super::kubeconfig::{Part, settle};
use super::super::login::{Login, LoginFault, Logins, parse};

const V1: &str = "client.authentication.k8s.io/v1";

/// The token of an answer and the octets of its certificate, or what is wrong with it.
fn outcome(status: &serde_json::Value) -> String {
    let text = json!({ "apiVersion": V1, "kind": "ExecCredential", "status": status }).to_string();
    match parse(text.as_bytes(), V1) {
        Ok(answer) => format!(
            "{} {} {:?}",
            answer.token.unwrap_or_default(),
            answer.identity.map(|(certificate, key)| format!("{certificate}+{key}")).unwrap_or_default(),
            answer.until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok())
        ),
        Err(reason) => reason,
    }
}

#[test]
fn an_answer_is_a_token_a_certificate_or_both() {
    for (status, expected) in [
        (json!({ "token": "t" }), "t  None"),
        (json!({ "token": "t", "expirationTimestamp": "1970-01-01T00:02:00Z" }), "t  Some(120s)"),
        (json!({ "clientCertificateData": "c", "clientKeyData": "k" }), " c+k None"),
        (
            json!({ "token": "t", "clientCertificateData": "c" }),
            "it has a client certificate or a client key",
        ),
        (json!({ "token": "", "clientKeyData": "k" }), "it has a client certificate or a client key"),
        (json!({ "token": "" }), "it has neither a token nor a client certificate"),
        (json!({}), "it has neither"),
        (json!(null), "it has no status"),
        (json!({ "token": 7 }), "it is no ExecCredential (line 1, column"),
    ] {
        let outcome = outcome(&status);
        assert!(outcome.starts_with(expected), "{status}: {outcome}");
    }
}

#[test]
fn an_answer_of_another_kind_or_version_is_refused_unquoted() {
    for text in [
        "",
        "secret",
        "{\"secret\": [",
        "{\"kind\": \"Secret\", \"apiVersion\": \"v1\", \"token\": \"secret\"}",
    ] {
        let reason = parse(text.as_bytes(), V1).err().unwrap();
        assert!(reason.starts_with("it is no ExecCredential"), "{text}: {reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
}

/// A user whose login program is a script of the shell.
fn kubeconfig(script: &str, more: &str) -> String {
    format!(
        "current-context: x
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
clusters:
- name: c
  cluster:
    server: https://127.0.0.1:1
    insecure-skip-tls-verify: true
    tls-server-name: home
    extensions:
    - name: client.authentication.k8s.io/exec
      extension: {{audience: herald, tries: 3, quiet: true, since: '2026'}}
users:
- name: u
  user:
    exec:
      apiVersion: {V1}
      command: sh
      args: [-c, {script:?}]
      env: [{{name: GREETING, value: hello}}]
      {more}
"
    )
}

#[test]
fn a_daemon_refuses_to_log_in() {
    let part = Part::read(&kubeconfig("exit 0", ""), Path::new("/")).unwrap();
    let fault = settle(&[part], None, Logins::Refuse).unwrap_err().to_string();
    assert!(fault.contains("exec is not supported: give the daemon a service account token"), "{fault}");
}

#[test]
fn a_program_that_gives_nothing_is_named_with_the_reason() {
    let failure = |script: &str, change: (&str, &str)| {
        let text = kubeconfig(script, "installHint: see the handbook").replace(change.0, change.1);
        let part = Part::read(&text, Path::new("/")).unwrap();
        let settled = settle(&[part], None, Logins::Run).unwrap();
        settled.credentials.settle(&settled.trust).unwrap_err().to_string()
    };
    let none = ("", "");
    for (script, change, expected) in [
        ("exit 3", none, "user \"u\": its login program sh failed (exit status: 3)"),
        (
            "echo secret",
            none,
            "the answer of its login program sh cannot be used: it is no ExecCredential (line 1",
        ),
        ("", ("command: sh", "command: herald-nowhere"), "herald-nowhere cannot be started: No such file"),
        ("", ("command: sh", "command: herald-nowhere"), "(os error 2); see the handbook"),
        ("", ("command: sh", "command: ./sh"), "its login program /./sh cannot be started"),
        ("", ("k8s.io/v1", "k8s.io/v1alpha1"), "has the interface \"client.authentication.k8s.io/v1alpha1\""),
    ] {
        let said = failure(script, change);
        assert!(said.contains(expected), "{script:?}: {said}");
    }
}

#[test]
fn a_program_is_told_of_the_cluster_where_it_wants_to_know() {
    let login = |cluster| Login {
        command: "x".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
        api_version: V1.to_owned(),
        may_ask: true,
        cluster,
        install_hint: None,
    };
    let kind = json!({ "apiVersion": V1, "kind": "ExecCredential", "spec": { "interactive": true } });
    assert_eq!(login(None).information(true), kind);

    // The program hands on what it was told, as its token.
    let script = "printf '{\"apiVersion\":\"%s\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"%s %s\"}}' \
         client.authentication.k8s.io/v1 $GREETING $(printf %s \"$KUBERNETES_EXEC_INFO\" | base64 -w0)";
    let part = Part::read(&kubeconfig(script, "provideClusterInfo: true"), Path::new("/")).unwrap();
    let settled = settle(&[part], None, Logins::Run).unwrap();
    assert!(matches!(settled.trust, Trust::Anything));
    let (_, token) = settled.credentials.settle(&settled.trust).unwrap();
    let Some(TokenSource::Login(session)) = token else { panic!("{token:?}") };
    let token = session.at(SystemTime::now()).token.unwrap();
    let encoded = token.strip_prefix("hello ").unwrap();
    let octets: k8s_openapi::ByteString = serde_json::from_value(json!(encoded)).unwrap();
    let told: serde_json::Value = api::json::from_octets(&octets.0).unwrap();
    let cluster = json!({
        "server": "https://127.0.0.1:1",
        "tls-server-name": "home",
        "insecure-skip-tls-verify": true,
        "config": { "audience": "herald", "tries": 3, "quiet": true, "since": "2026" },
    });
    assert_eq!(told["spec"], json!({ "interactive": false, "cluster": cluster }));
}

#[test]
fn a_program_runs_again_when_its_answer_has_run_out_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let script = format!(
        "echo >> {count}; test $(wc -l < {count}) -le 2 || exit 1; \
         printf '{{\"apiVersion\":\"{V1}\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\",\
         \"expirationTimestamp\":\"2033-05-18T03:33:20Z\"}}}}' $(wc -l < {count})",
        count = count.display()
    );
    let login = Login {
        command: "sh".into(),
        arguments: vec!["-c".to_owned(), script],
        environment: Vec::new(),
        api_version: V1.to_owned(),
        may_ask: false,
        cluster: None,
        install_hint: None,
    };
    let session = login.start().unwrap_or_else(|fault: LoginFault| panic!("{fault}"));
    let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let token = |now| session.at(now).token.unwrap();
    assert_eq!(token(ends - Duration::from_secs(1)), "1");
    assert_eq!(token(ends), "2");
    // The third time it fails: what it said before stays in use.
    assert_eq!(token(ends), "2");
}
