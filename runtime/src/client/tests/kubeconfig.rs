//! Kubeconfig text in, endpoint or sentence out.

use std::path::Path;

use super::super::endpoint::{Base, Endpoint, Trust};
use super::super::kubeconfig::{KubeconfigFault, Part, Settled, read, settle};
use super::super::login::Logins;

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
- name: nobody
  user:
preferences: {}
extensions: [{name: x, extension: {y: z}}]
";

/// What texts of several folders come to.
fn settled(
    texts: &[(&str, &str)],
    context: Option<&str>,
    logins: Logins,
) -> Result<Settled, KubeconfigFault> {
    let parts: Result<Vec<Part>, _> =
        texts.iter().map(|(text, folder)| Part::read(text, Path::new(folder))).collect();
    settle(&parts?, context, logins)
}

/// The outcome of a text, in one line.
fn outcome(text: &str) -> String {
    match settled(&[(text, "/etc/herald")], None, Logins::Refuse) {
        Ok(settled) => {
            let (identity, token) = settled.credentials.settle(&settled.trust).unwrap();
            format!(
                "{} trust {:?} identity {identity:?} token {token:?} name {:?} namespace {}",
                settled.server, settled.trust, settled.server_name, settled.namespace
            )
        }
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
        (("user: admin", "user: nobody"), "identity None token None"),
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
            "refused: it cannot be read as YAML of the expected form: line 9: expected base64",
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
        (("token: secret", "as: x\n    as-user-extra: {a: [b]}"), "refused: as-user-extra is not supported"),
        (("token: secret\n    tokenFile: run/token", "username: me"), "token Some(Password(of me))"),
        (("token: secret\n    tokenFile: run/token", "token: 0123"), "token Some(Text(redacted))"),
        (("name: k3s\n", "name: k3s\n  name: k3s\n"), "line 7: this key stands here twice"),
        (("certificate-authority: ca.crt", "<<: {a: b}"), "line 9: merge keys (<<) are not read"),
        (
            ("certificate-authority: ca.crt", "insecure-skip-tls-verify: maybe"),
            "line 9: expected true or false",
        ),
        (("cluster: k3s, user", "cluster: [k3s], user"), "line 12: expected text"),
        (("users:\n", "users: 7\nothers:\n"), "line 15: expected a list"),
        (("preferences: {}", "---\npreferences: {}"), "line 24: a second document"),
        (("preferences: {}", "x: &x [*x]"), "line 24: an alias within what it repeats"),
        (("name: admin", "name: &who admin"), "token Some(File(/etc/herald/run/token))"),
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
fn an_alias_repeats_what_its_anchor_names() {
    let text =
        USUAL.replacen("{cluster: k3s, user: admin, namespace: lb}", "&home {cluster: k3s, user: admin}", 1);
    let text = text.replacen("{cluster: nowhere, user: nobody}", "*home", 1);
    let of = |context| settled(&[(&text, "/")], Some(context), Logins::Refuse).unwrap().server;
    assert_eq!(of("other"), of("home"));
}

#[test]
fn repeating_what_repeats_and_nesting_without_end_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = vec![format!("*a{}", level - 1); 8].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(outcome(&bomb).contains("more than 200000 values"), "{}", outcome(&bomb));
    let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(outcome(&deep).contains("more than 64 levels"), "{}", outcome(&deep));
}

#[test]
fn the_first_of_several_files_wins_and_paths_count_from_their_own_file() {
    let second = USUAL
        .replace("current-context: home", "current-context: other")
        .replace("namespace: lb", "namespace: second")
        .replace("{cluster: nowhere, user: nobody}", "{cluster: k3s, user: other}")
        .replace("- name: admin", "- name: other");
    let first = USUAL.replace("- name: other\n  context: {cluster: nowhere, user: nobody}\n", "");
    let texts: [(&str, &str); 2] = [(&first, "/one"), (&second, "/two")];
    let of = |context| settled(&texts, context, Logins::Refuse).unwrap();
    assert_eq!(of(None).namespace, "lb");
    let other = of(Some("other"));
    assert_eq!(format!("{:?}", other.trust), "Roots(File(/one/ca.crt))");
    assert_eq!(
        format!("{:?}", other.credentials.settle(&other.trust).unwrap().1),
        "Some(File(/two/run/token))"
    );
    let unknown = settled(&texts, Some("work"), Logins::Refuse).unwrap_err();
    assert_eq!(unknown, KubeconfigFault::Unknown { kind: "context", name: "work".to_owned() });
}

#[test]
fn whom_to_act_as_becomes_headers() {
    let text = USUAL.replacen("token: secret", "as: jane\n    as-uid: u7\n    as-groups: [ops, 42]", 1);
    let headers = settled(&[(&text, "/")], None, Logins::Refuse).unwrap().impersonation;
    let headers: Vec<String> = headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let expected =
        ["impersonate-user: jane", "impersonate-uid: u7", "impersonate-group: ops", "impersonate-group: 42"];
    assert_eq!(headers, expected);
}

#[test]
fn of_joined_files_those_that_are_missing_are_passed_over_unless_all_are() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("config");
    std::fs::write(
        &there,
        USUAL.replace("client-key: /keys/admin.key", "").replace("client-certificate-data: UEVN", ""),
    )
    .unwrap();
    let joined = format!("/nonexistent/a:{}:/nonexistent/b", there.display());
    let endpoint = read(Path::new(&joined), None, Logins::Refuse).unwrap();
    assert_eq!(endpoint.base.authority.as_str(), "10.0.2.11:6443");
    for missing in ["/nonexistent/config", "/nonexistent/a:/nonexistent/b"] {
        let error = read(Path::new(missing), None, Logins::Refuse).unwrap_err().to_string();
        assert!(error.contains(&format!("kubeconfig {missing} cannot be read")), "{error}");
    }
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
