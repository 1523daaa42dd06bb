//! Kubeconfig text in, endpoint or sentence out.

use std::path::Path;

use super::super::endpoint::{Base, Endpoint, Trust};
use super::super::kubeconfig::{KubeconfigFault, settle};

const USUAL: &str = "
apiVersion: v1
kind: Config
current-context: home
clusters:
- name: k3s
  cluster:
    server: https://10.0.2.11:6443
    certificate-authority: ca.crt
contexts:
- name: home
  context: {cluster: k3s, user: admin, namespace: lb}
- name: other
  context: {cluster: nowhere, user: nobody}
users:
- name: admin
  user:
    client-certificate-data: UEVN
    client-key: /keys/admin.key
    token: secret
    tokenFile: run/token
preferences: {}
extensions: [{name: x, extension: {y: z}}]
";

/// The outcome of a text, in one line.
fn outcome(text: &str) -> String {
    match settle(text, Path::new("/etc/herald")) {
        Ok(settled) => format!(
            "{} trust {:?} identity {:?} token {:?} name {:?} namespace {}",
            settled.server,
            settled.trust,
            settled.identity,
            settled.token,
            settled.server_name,
            settled.namespace
        ),
        Err(fault) => format!("refused: {fault}"),
    }
}

fn check(change: (&str, &str), expected: &str) {
    assert!(USUAL.contains(change.0), "the text to change is there: {}", change.0);
    let outcome = outcome(&USUAL.replacen(change.0, change.1, 1));
    assert!(outcome.contains(expected), "{change:?}:\n  {outcome}\n  does not contain\n  {expected}");
}

#[test]
fn a_usual_file_is_followed_from_its_current_context() {
    assert_eq!(
        outcome(USUAL),
        "https://10.0.2.11:6443 trust Roots(File(/etc/herald/ca.crt)) \
         identity Some(Identity { certificate: Inline(3 octets), key: File(/keys/admin.key) }) \
         token Some(File(/etc/herald/run/token)) name None namespace lb"
    );
}

#[test]
fn each_field_has_its_effect_or_its_sentence() {
    for (change, expected) in [
        (("current-context: home", "current-context: ''"), "refused: it names no current-context"),
        (("current-context: home", "current-context: work"), "refused: there is no context named \"work\""),
        (
            ("current-context: home", "current-context: other"),
            "refused: there is no cluster named \"nowhere\"",
        ),
        (("user: admin", "user: root"), "refused: there is no user named \"root\""),
        (("user: admin, ", ""), "identity None token None"),
        ((", namespace: lb", ""), "namespace default"),
        (("    server: https://10.0.2.11:6443\n", ""), "refused: cluster \"k3s\" names no server"),
        (("certificate-authority: ca.crt", "x: y"), "refused: cluster \"k3s\" has neither"),
        (("certificate-authority: ca.crt", "insecure-skip-tls-verify: true"), "trust Anything"),
        (("server: https://10.0.2.11:6443", "server: http://127.0.0.1:8001"), "trust Plain"),
        (
            ("certificate-authority: ca.crt", "certificate-authority-data: UEVNWA=="),
            "Roots(Inline(4 octets))",
        ),
        (
            ("certificate-authority: ca.crt", "certificate-authority-data: '!'"),
            "refused: it cannot be read as YAML",
        ),
        (
            ("certificate-authority: ca.crt", "certificate-authority: a\n    tls-server-name: kubernetes"),
            "name Some(\"kubernetes\")",
        ),
        (("certificate-authority: ca.crt", "proxy-url: http://p"), "refused: proxy-url is not supported"),
        (("    client-key: /keys/admin.key\n", ""), "but not both"),
        (("    tokenFile: run/token\n", ""), "token Some(Text(redacted))"),
        (("token: secret", "exec: {command: aws}"), "refused: exec is not supported: give the daemon"),
        (("token: secret", "auth-provider: {name: gcp}"), "refused: auth-provider is not supported"),
        (("token: secret", "username: me"), "refused: username is not supported"),
        (("token: secret", "as: somebody"), "refused: as is not supported"),
    ] {
        check(change, expected);
    }
}

#[test]
fn text_that_is_no_kubeconfig_is_refused() {
    for text in ["", "[]", "hello", "clusters: 7", "\u{0}", "a: &a [*a]"] {
        assert!(outcome(text).starts_with("refused: it "), "{text:?}: {}", outcome(text));
    }
}

#[test]
fn several_files_and_missing_files_say_so() {
    let missing = super::super::kubeconfig::read(Path::new("/nonexistent/config")).unwrap_err().to_string();
    assert!(missing.contains("kubeconfig /nonexistent/config cannot be read"), "{missing}");
    let several = super::super::kubeconfig::read(Path::new("/a:/b")).unwrap_err().to_string();
    assert!(several.contains(&KubeconfigFault::SeveralFiles.to_string()), "{several}");
}

#[test]
fn server_addresses_are_taken_apart_or_refused() {
    let base = |text: &str| {
        Base::try_new(text).map(|base| format!("{} {} {:?}", base.scheme, base.authority, base.prefix)).ok()
    };
    for (text, expected) in [
        ("https://10.0.2.11:6443", Some("https 10.0.2.11:6443 \"\"")),
        ("https://[fd00::1]:6443/", Some("https [fd00::1]:6443 \"\"")),
        ("https://rancher.example/k8s/clusters/c-1/", Some("https rancher.example \"/k8s/clusters/c-1\"")),
        ("10.0.2.11:8080", Some("http 10.0.2.11:8080 \"\"")),
        ("ftp://10.0.2.11", None),
        ("https://", None),
        ("https:// x", None),
        ("", None),
    ] {
        assert_eq!(base(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn in_a_pod_the_environment_and_the_mounted_files_say_everything() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("namespace"), "metallb-system\n").unwrap();
    let env = |host: &'static str| {
        move |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()).filter(|host| !host.is_empty()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        }
    };
    for (host, authority) in [("10.96.0.1", "10.96.0.1:443"), ("fd00:10:96::1", "[fd00:10:96::1]:443")] {
        let endpoint = Endpoint::in_cluster(folder.path(), env(host)).unwrap();
        assert_eq!(endpoint.base.authority.as_str(), authority);
        assert_eq!(endpoint.namespace, "metallb-system");
        assert!(matches!(endpoint.trust, Trust::Roots(_)));
    }
    let error = Endpoint::in_cluster(folder.path(), env("")).unwrap_err().to_string();
    assert!(error.contains("KUBERNETES_SERVICE_HOST is not set"), "{error}");
}
