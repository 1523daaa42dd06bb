//! The built program: what it prints, where, and with which exit code.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

const PROGRAM: &str = env!("CARGO_BIN_EXE_speakerctl");

const REPORT: &str = r#"{
  "node": "pi",
  "status": {
    "version": "0.1.0",
    "sessions": [
      {"peer": "router", "address": "10.0.2.1", "port": 179, "asn": 65530, "localAsn": 64500, "state": "Established",
       "prefixesSent": 3, "holdTimeSeconds": 15, "keepaliveSeconds": 5},
      {"peer": "backup", "address": "10.0.2.2", "port": 179, "asn": 65530, "localAsn": 64500, "state": "Refused",
       "lastError": "Secret \"bgp\" is missing"}
    ]
  }
}"#;

/// A socket that gives each caller the next of these answers, octet for octet, and the last one for ever.
struct Speaker {
    folder: tempfile::TempDir,
    questions: mpsc::Receiver<String>,
}

impl Speaker {
    fn start(answers: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the socket");
        let listener = UnixListener::bind(folder.path().join("speaker.sock")).expect("a socket in it");
        let (asked, questions) = mpsc::channel();
        thread::spawn(move || {
            let mut turn = 0;
            while let Ok((mut stream, _)) = listener.accept() {
                let mut question = Vec::new();
                let mut octets = [0; 1024];
                while !question.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut octets) {
                        Ok(count) if count > 0 => question.extend_from_slice(&octets[..count]),
                        _ => break,
                    }
                }
                asked.send(String::from_utf8_lossy(&question).into_owned()).ok();
                stream.write_all(answers[turn.min(answers.len() - 1)].as_bytes()).ok();
                turn += 1;
            }
        });
        Self { folder, questions }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("speaker.sock")
    }
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Runs the program in an environment that names neither a cluster nor a socket.
fn run(arguments: &[&str], socket: Option<&Path>) -> Output {
    command(arguments, socket).output().expect("the built program runs")
}

fn command(arguments: &[&str], socket: Option<&Path>) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().env("HOME", "/nowhere").stdin(Stdio::null());
    if let Some(socket) = socket {
        command.arg("--socket").arg(socket);
    }
    command
}

fn check(output: &Output, code: i32, stdout: &str, stderr_has: &[&str]) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((output.status.code(), out.as_ref()), (Some(code), stdout), "stderr: {err}");
    for wanted in stderr_has {
        assert!(err.contains(wanted), "{wanted:?} is not in stderr: {err}");
    }
    assert_eq!(err.is_empty(), stderr_has.is_empty(), "stderr: {err}");
}

#[test]
fn peers_of_this_node_come_from_the_socket() {
    let speaker = Speaker::start(vec![ok(REPORT)]);
    let table = "\
NODE   PEER     ADDRESS    AS      STATE         UPTIME   PREFIXES   HOLD   LAST-ERROR
pi     backup   10.0.2.2   65530   Refused       -        0          -      Secret \"bgp\" is missing
pi     router   10.0.2.1   65530   Established   -        3          15s    -
";
    check(&run(&["peers"], Some(&speaker.socket())), 0, table, &[]);
    let question = speaker.questions.recv().unwrap();
    assert!(question.starts_with("GET /state HTTP/1.1\r\n"), "{question}");
    check(&run(&["peers", "pi", "-o", "name"], Some(&speaker.socket())), 0, "pi/backup\npi/router\n", &[]);
}

#[test]
fn the_socket_may_be_named_in_the_environment() {
    let speaker = Speaker::start(vec![ok(REPORT)]);
    let output =
        command(&["peers", "-o", "name"], None).env("HERALD_SOCKET", speaker.socket()).output().unwrap();
    check(&output, 0, "pi/backup\npi/router\n", &[]);
}

#[test]
fn json_from_the_socket_is_a_peer_list() {
    let speaker = Speaker::start(vec![ok(REPORT)]);
    let output = run(&["peers", "-o", "json"], Some(&speaker.socket()));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"herald-lb.io/v1beta1".into(), &"PeerList".into()));
    assert_eq!(list["items"][1]["peer"], "router");
    assert_eq!(list["items"][1]["prefixesSent"], 3);
}

#[test]
fn a_speaker_without_peers_is_said_to_have_none() {
    let speaker = Speaker::start(vec![ok(r#"{"node":"pi","status":{}}"#)]);
    check(&run(&["peers"], Some(&speaker.socket())), 0, "", &["No peers: no BGPPeer selects this node."]);
}

#[test]
fn another_node_is_not_asked_through_this_socket() {
    let speaker = Speaker::start(vec![ok(REPORT)]);
    let wanted =
        ["error: the socket", "belongs to the speaker of node pi, not of nas", "hint: ask the API instead"];
    check(&run(&["peers", "pi", "nas"], Some(&speaker.socket())), 1, "", &wanted);
}

#[test]
fn a_socket_that_cannot_answer_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.sock");
    check(
        &run(&["peers"], Some(&absent)),
        1,
        "",
        &["there is no such file", "hint: run this in the speaker's container"],
    );

    let left_behind = folder.path().join("left-behind.sock");
    drop(UnixListener::bind(&left_behind).unwrap());
    check(
        &run(&["peers"], Some(&left_behind)),
        1,
        "",
        &["nothing listens on it", "hint: look at the speaker's log"],
    );

    let mute = folder.path().join("mute.sock");
    let _listener = UnixListener::bind(&mute).unwrap();
    let output = run(&["peers", "--request-timeout", "100ms"], Some(&mute));
    check(&output, 1, "", &["nothing came within 100ms", "hint: look at the speaker's log"]);
}

#[test]
fn an_answer_that_is_no_report_is_refused_with_a_reason() {
    let answer = |text: &str, wanted: &[&str]| {
        let speaker = Speaker::start(vec![text.to_owned()]);
        check(&run(&["peers"], Some(&speaker.socket())), 1, "", wanted);
    };
    answer(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        &["it answered 404 Not Found", "hint: is this"],
    );
    answer("SSH-2.0-OpenSSH_9.2\r\n", &["it did not speak HTTP", "hint: is this"]);
    answer(
        &ok("[]"),
        &["not a report of this version's form", "hint: use the speakerctl of the same version"],
    );
}

#[test]
fn watch_prints_a_session_again_when_it_changes() {
    let down = REPORT.replace(r#""state": "Established""#, r#""state": "Idle""#);
    let speaker = Speaker::start(vec![ok(REPORT), ok(REPORT), ok(&down)]);
    let mut child = command(&["peers", "-w", "--no-headers"], Some(&speaker.socket()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The fourth question can only come after the third answer was printed.
    for _ in 0..4 {
        speaker.questions.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let expected = "\
pi   backup   10.0.2.2   65530   Refused       -   0   -     Secret \"bgp\" is missing
pi   router   10.0.2.1   65530   Established   -   3   15s   -
pi   router   10.0.2.1   65530   Idle          -   3   15s   -
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn without_a_socket_and_a_cluster_the_error_names_both() {
    let wanted = ["no answer from the Kubernetes API", "/run/herald/speaker.sock", "hint: give --kubeconfig"];
    check(&run(&["peers"], None), 1, "", &wanted);
}

#[test]
fn an_api_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
contexts: [{name: home, context: {cluster: c, user: u}}]
current-context: home
",
    )
    .unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let limit = ["--request-timeout", "2s"];
    let output = run(&["peers", "--kubeconfig", kubeconfig, limit[0], limit[1]], None);
    check(
        &output,
        1,
        "",
        &[
            "error: no answer from the Kubernetes API: ",
            "hint: on each node the speaker itself still answers",
        ],
    );
    let output = run(&["peers", "--kubeconfig", kubeconfig, "--context", "work"], None);
    check(
        &output,
        1,
        "",
        &["error: no answer from the Kubernetes API: ", "\"work\"", "hint: list the contexts"],
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_read_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, "users:\n- user: [token: secret\n").unwrap();
    let output = run(&["peers", "--kubeconfig", kubeconfig.to_str().unwrap()], None);
    check(
        &output,
        1,
        "",
        &["error: no answer from the Kubernetes API: ", "hint: compare with what kubectl reads"],
    );
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    let absent = folder.path().join("absent");
    let absent = absent.to_str().unwrap();
    let wanted = format!("kubeconfig {absent} cannot be read: No such file");
    check(
        &run(&["peers", "--kubeconfig", absent], None),
        1,
        "",
        &[&wanted, "hint: give the path of the file"],
    );
}

#[test]
fn wrong_usage_ends_with_two_and_help_with_zero() {
    let code = |arguments: &[&str], expected: i32| {
        let output = run(arguments, None);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    code(&[], 2);
    code(&["pears"], 2);
    code(&["peers", "--sokcet", "x"], 2);
    code(&["peers", "-o", "xml"], 2);
    code(&["peers", "--request-timeout", "0"], 2);
    code(&["peers", "--socket", "x", "--context", "y"], 2);
    code(&["--help"], 0);
    code(&["peers", "--help"], 0);
}

#[test]
fn version_is_printed_by_the_command_and_by_the_flag() {
    let own = env!("CARGO_PKG_VERSION");
    let expected = format!("speakerctl {own}\n");
    check(&run(&["version", "--client"], None), 0, &expected, &[]);
    check(&run(&["--version"], None), 0, &expected, &[]);
    check(&run(&["version"], None), 0, &expected, &["speakers: no answer from the Kubernetes API"]);
    check(&run(&["version", "--check"], None), 3, &expected, &["speakers: no answer"]);
}

#[test]
fn a_speaker_of_another_version_is_told() {
    let own = env!("CARGO_PKG_VERSION");
    let of = |version: &str| {
        Speaker::start(vec![ok(&format!(r#"{{"node":"pi","status":{{"version":"{version}"}}}}"#))])
    };
    let same = of(own);
    let expected = format!("speakerctl {own}\nspeaker {own} on pi\n");
    check(&run(&["version", "--check"], Some(&same.socket())), 0, &expected, &[]);
    let other = of("99.0.0");
    let expected = format!("speakerctl {own}\nspeaker 99.0.0 on pi\n");
    let warning = ["warning: the speakers are of version 99.0.0", "use the speakerctl of their image"];
    check(&run(&["version"], Some(&other.socket())), 0, &expected, &warning);
    check(&run(&["version", "--check"], Some(&other.socket())), 3, &expected, &warning);
}

#[test]
fn a_script_is_told_by_the_exit_code_whether_all_sessions_are_up() {
    let code = |report: &str, expected: i32| {
        let speaker = Speaker::start(vec![ok(report)]);
        let output = run(&["peers", "--check", "-o", "name"], Some(&speaker.socket()));
        assert_eq!(output.status.code(), Some(expected), "{report}");
    };
    code(REPORT, 3);
    code(&REPORT.replace(r#""state": "Refused""#, r#""state": "Established""#), 0);
    code(r#"{"node":"pi","status":{}}"#, 3);
}

const ROUTES: &str = r#"{"node": "pi", "synced": true, "routes": [
  {"prefix": "10.0.4.1/32", "localPref": 200, "communities": ["65535:65281"],
   "peers": [{"peer": "backup", "told": "sessionDown"}, {"peer": "router", "told": "sent"}],
   "services": ["shop/web"], "servicesTotal": 1},
  {"prefix": "10.0.4.2/32", "med": 5, "prepend": 2, "peers": [{"peer": "router", "told": "acknowledged"}],
   "services": ["shop/db", "shop/mail"], "servicesTotal": 19}
]}"#;

#[test]
fn routes_of_this_node_come_from_the_socket() {
    let speaker = Speaker::start(vec![ok(ROUTES)]);
    let table = "\
NODE   PREFIX        PEERS                              SERVICES                        ATTRIBUTES
pi     10.0.4.1/32   router sent; backup session-down   shop/web                        localPref=200 communities=65535:65281
pi     10.0.4.2/32   router acked                       shop/db,shop/mail and 17 more   med=5 prepend=2
";
    check(&run(&["routes"], Some(&speaker.socket())), 0, table, &[]);
    let question = speaker.questions.recv().unwrap();
    assert!(question.starts_with("GET /routes HTTP/1.1\r\n"), "{question}");
    let names = |arguments: &[&str], code: i32, expected: &str| {
        let all: Vec<&str> = ["routes", "-o", "name"].iter().chain(arguments).copied().collect();
        let notices: &[&str] = if expected.is_empty() { &["No routes."] } else { &[] };
        check(&run(&all, Some(&speaker.socket())), code, expected, notices);
    };
    names(&[], 0, "pi/10.0.4.1/32\npi/10.0.4.2/32\n");
    names(&["--service", "shop/db"], 0, "pi/10.0.4.2/32\n");
    names(&["--prefix", "10.0.4.1"], 0, "pi/10.0.4.1/32\n");
    names(&["--peer", "backup"], 0, "pi/10.0.4.1/32\n");
    names(&["--check"], 3, "pi/10.0.4.1/32\npi/10.0.4.2/32\n");
    names(&["--check", "--peer", "router"], 0, "pi/10.0.4.1/32\npi/10.0.4.2/32\n");
    names(&["--peer", "nobody"], 0, "");
    let wrong = run(&["routes", "--prefix", "home"], Some(&speaker.socket()));
    check(&wrong, 2, "", &["\"home\" is neither an address nor a prefix", "hint: write for example"]);
}

const WHY: &str = r#"{"node": "pi", "service": "shop/web", "links": [
  {"subject": "service", "holds": true, "text": "is of type LoadBalancer and of this speaker's class"},
  {"subject": "address", "holds": false, "reason": "noIPAllocated",
   "text": "the Service has no address: no available IPs: pool \"home\" is full (512 of 512)"}
]}"#;

#[test]
fn why_prints_the_chain_up_to_what_does_not_hold_and_the_next_command() {
    let speaker = Speaker::start(vec![ok(WHY)]);
    let text = "\
shop/web from pi: not announced
  ok  service  is of type LoadBalancer and of this speaker's class
  NO  address  the Service has no address: no available IPs: pool \"home\" is full (512 of 512) (noIPAllocated)
  next: kubectl -n shop describe service web
";
    check(&run(&["why", "shop/web"], Some(&speaker.socket())), 3, text, &[]);
    let question = speaker.questions.recv().unwrap();
    assert!(question.starts_with("GET /why?service=shop/web HTTP/1.1\r\n"), "{question}");
    let output = run(&["why", "shop/web", "-o", "json"], Some(&speaker.socket()));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["verdict"]), (&"WhyList".into(), &"notAnnounced".into()));
    assert_eq!(list["items"][0]["broken"]["reason"], "noIPAllocated");
    let other = run(&["why", "shop/web", "--node", "nas"], Some(&speaker.socket()));
    check(&other, 1, "", &["belongs to the speaker of node pi, not of nas", "hint: ask the API instead"]);
    let wrong = run(&["why", "a/b/c"], Some(&speaker.socket()));
    check(&wrong, 2, "", &["\"a/b/c\" names no Service", "hint: write NAME or NAMESPACE/NAME"]);
}

#[test]
fn completion_and_manual_pages_know_all_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completion", shell], None);
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && script.contains("routes") && script.contains("why"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    check(&run(&["man", folder.path().join("man1").to_str().unwrap()], None), 0, "", &[]);
    for page in ["speakerctl.1", "speakerctl-peers.1", "speakerctl-routes.1", "speakerctl-why.1"] {
        let text = std::fs::read_to_string(folder.path().join("man1").join(page)).expect(page);
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn as_a_plugin_it_speaks_of_itself_as_kubectl_herald() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-herald");
    std::os::unix::fs::symlink(PROGRAM, &plugin).unwrap();
    let output = Command::new(&plugin).args(["peers", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.contains("Usage: kubectl herald peers [OPTIONS] [NODE]..."), "{help}");
}

#[test]
fn kubectl_gets_its_suggestions_under_the_name_that_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl_complete-herald");
    std::os::unix::fs::symlink(PROGRAM, &plugin).unwrap();
    let output = Command::new(&plugin).args(["peers", "--no-h"]).output().unwrap();
    check(&output, 0, "--no-headers\tLeave out the line of column heads\n:4\n", &[]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let speaker = Speaker::start(vec![ok(REPORT)]);
    let mut child = command(&["peers"], Some(&speaker.socket()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
