use api::herald::{SessionState, SpeakerStateStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::row::Row;
use crate::row::{Report, rows};

const NOW: i64 = 1_800_000_000;

fn at(seconds_ago: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds_ago).unwrap()
}

fn established() -> SessionState {
    SessionState {
        peer: "router".to_owned(),
        address: "10.0.2.1".to_owned(),
        port: 179,
        asn: 65530,
        local_asn: 64500,
        state: "Established".to_owned(),
        since: Some(Time(at(332))),
        prefixes_sent: 12,
        hold_time_seconds: Some(15),
        keepalive_seconds: Some(5),
        router_id: Some("10.0.2.1".to_owned()),
        local_router_id: Some("10.0.2.11".to_owned()),
        local_address: Some("10.0.2.11".to_owned()),
        last_error: None,
        last_error_at: None,
        established_count: 1,
        messages_sent: 70,
        messages_received: 68,
        bfd: Some("Up".to_owned()),
        bfd_detection_milliseconds: Some(900),
        bfd_message: None,
    }
}

fn refused() -> SessionState {
    SessionState {
        peer: "backup".to_owned(),
        address: "fd00:2::1".to_owned(),
        port: 1179,
        asn: 65531,
        local_asn: 64500,
        state: "Active".to_owned(),
        since: Some(Time(at(40))),
        last_error: Some("connection refused".to_owned()),
        last_error_at: Some(Time(at(7))),
        ..SessionState::default()
    }
}

fn report(node: &str, written: Option<Timestamp>, sessions: Vec<SessionState>) -> Report {
    let status =
        SpeakerStateStatus { version: "0.1.0".to_owned(), sessions, ..SpeakerStateStatus::default() };
    Report { node: node.to_owned(), written, status }
}

fn two_nodes() -> Vec<Row> {
    rows(&[
        report("worker-2", Some(at(9)), vec![established()]),
        report("pi", Some(at(9)), vec![established(), refused()]),
    ])
}

fn check(output: Output, heads: bool, rows: &[Row], expected: &str) {
    let text = Printer::new(output, heads, Paint::Plain).list(rows, at(0));
    assert_eq!(text, expected, "\n--- printed:\n{text}--- expected:\n{expected}");
}

#[test]
fn a_table_is_sorted_by_node_and_peer_with_three_spaces_between_columns() {
    check(
        Output::Table,
        true,
        &two_nodes(),
        "\
NODE       PEER     ADDRESS            AS      STATE         UPTIME   PREFIXES   HOLD   LAST-ERROR
pi         backup   [fd00:2::1]:1179   65531   Active        -        0          -      connection refused (7s ago)
pi         router   10.0.2.1           65530   Established   5m32s    12         15s    -
worker-2   router   10.0.2.1           65530   Established   5m32s    12         15s    -
",
    );
}

#[test]
fn wide_adds_columns_and_keeps_the_error_last() {
    check(
        Output::Wide,
        true,
        &rows(&[report("pi", Some(at(60)), vec![established()])]),
        "\
NODE   PEER     ADDRESS    AS      STATE         UPTIME   PREFIXES   HOLD   KEEPALIVE   LOCAL-AS   LOCAL-ADDRESS   \
ROUTER-ID   BFD        UPS   SENT   RECEIVED   VERSION   WRITTEN   LAST-ERROR
pi     router   10.0.2.1   65530   Established   5m32s    12         15s    5s          64500      10.0.2.11       \
10.0.2.1    Up 900ms   1     70     68         0.1.0     60s       -
",
    );
}

#[test]
fn heads_can_be_left_out_and_no_rows_print_nothing() {
    let one = rows(&[report("pi", None, vec![refused()])]);
    let line = "pi   backup   [fd00:2::1]:1179   65531   Active   -   0   -   connection refused (7s ago)\n";
    check(Output::Table, false, &one, line);
    check(Output::Table, true, &[], "");
    check(Output::Name, true, &[], "");
}

#[test]
fn names_are_node_and_peer() {
    check(Output::Name, true, &two_nodes(), "pi/backup\npi/router\nworker-2/router\n");
}

#[test]
fn json_is_a_list_with_a_kind_and_unknown_values_are_absent() {
    check(
        Output::Json,
        true,
        &rows(&[report("pi", Some(at(60)), vec![refused()])]),
        r#"{
  "apiVersion": "herald-lb.io/v1beta1",
  "kind": "PeerList",
  "items": [
    {
      "node": "pi",
      "speakerVersion": "0.1.0",
      "lastWritten": "2027-01-15T07:59:00Z",
      "peer": "backup",
      "address": "fd00:2::1",
      "port": 1179,
      "asn": 65531,
      "localAsn": 64500,
      "state": "Active",
      "since": "2027-01-15T07:59:20Z",
      "prefixesSent": 0,
      "lastError": "connection refused",
      "lastErrorAt": "2027-01-15T07:59:53Z",
      "establishedCount": 0,
      "messagesSent": 0,
      "messagesReceived": 0
    }
  ]
}
"#,
    );
    check(
        Output::Json,
        true,
        &[],
        "{\n  \"apiVersion\": \"herald-lb.io/v1beta1\",\n  \"kind\": \"PeerList\",\n  \"items\": []\n}\n",
    );
}

#[test]
fn yaml_says_the_same_as_json() {
    let text = Printer::new(Output::Yaml, true, Paint::Plain).list(&two_nodes(), at(0));
    let from_yaml: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let json = Printer::new(Output::Json, true, Paint::Plain).list(&two_nodes(), at(0));
    let from_json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(from_yaml, from_json, "{text}");
}

#[test]
fn a_router_cannot_steer_the_terminal() {
    let mut session = refused();
    session.last_error = Some("router sent \u{1b}[2Jbye\r\n\u{202e}".to_owned());
    session.last_error_at = None;
    let text = Printer::new(Output::Table, false, Paint::Plain)
        .list(&rows(&[report("pi", None, vec![session])]), at(0));
    assert!(text.ends_with("router sent \u{fffd}[2Jbye\u{fffd}\u{fffd}\u{fffd}\n"), "{text:?}");
}

#[test]
fn zero_is_a_timer_that_is_off_and_an_as_that_is_not_known() {
    let mut session = established();
    (session.hold_time_seconds, session.asn) = (Some(0), 0);
    let text = Printer::new(Output::Table, false, Paint::Plain)
        .list(&rows(&[report("pi", None, vec![session])]), at(0));
    assert_eq!(text, "pi   router   10.0.2.1   -   Established   5m32s   12   off   -\n");
}

#[test]
fn later_changes_stay_under_the_first_heads() {
    let mut printer = Printer::new(Output::Table, true, Paint::Plain);
    printer.list(&two_nodes(), at(0));
    let change = printer.change(&rows(&[report("pi", None, vec![refused()])])[0], at(0));
    assert_eq!(
        change,
        "pi         backup   [fd00:2::1]:1179   65531   Active        -        0          -      connection refused (7s ago)\n",
    );
}

#[test]
fn counters_and_the_time_of_writing_are_no_change_to_a_reader() {
    let row = |sent: u64, prefixes: u32, written: i64| {
        let session = SessionState { messages_sent: sent, prefixes_sent: prefixes, ..established() };
        rows(&[report("pi", Some(at(written)), vec![session])]).remove(0)
    };
    assert!(row(70, 12, 9).reads_like(&row(71, 12, 0)));
    assert!(!row(70, 12, 9).reads_like(&row(70, 13, 9)));
}
