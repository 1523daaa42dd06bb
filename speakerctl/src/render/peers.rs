//! The columns of `speakerctl peers`.

use k8s_openapi::jiff::Timestamp;

use super::{Column, Listed, Tone, column};
use crate::row::Row;
use crate::span;

impl Listed for Row {
    const LIST_KIND: &'static str = "PeerList";

    fn columns(wide: bool) -> Vec<Column<Self>> {
        columns(wide)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.node, self.session.peer)
    }
}

/// `-o wide` adds its own columns before the error, which is last because it may be long.
fn columns(wide: bool) -> Vec<Column<Row>> {
    let mut columns: Vec<Column<Row>> = vec![
        column("NODE", |row, _| Some(row.node.clone())),
        column("PEER", |row, _| Some(row.session.peer.clone())),
        column("ADDRESS", |row, _| Some(address(row))),
        column("AS", |row, _| Some(row.session.asn).filter(|asn| *asn != 0).map(|asn| asn.to_string())),
        Column { tone, ..column("STATE", |row, _| Some(row.session.state.clone())) },
        column("UPTIME", uptime),
        column("PREFIXES", |row, _| Some(row.session.prefixes_sent.to_string())),
        column("HOLD", |row, _| row.session.hold_time_seconds.map(interval)),
    ];
    if wide {
        let column = column::<Row>;
        columns.extend([
            column("KEEPALIVE", |row, _| row.session.keepalive_seconds.map(interval)),
            column("LOCAL-AS", |row, _| Some(row.session.local_asn.to_string())),
            column("LOCAL-ADDRESS", |row, _| row.session.local_address.clone()),
            column("ROUTER-ID", |row, _| row.session.router_id.clone()),
            column("BFD", |row, _| bfd(row)),
            column("UPS", |row, _| Some(row.session.established_count.to_string())),
            column("SENT", |row, _| Some(row.session.messages_sent.to_string())),
            column("RECEIVED", |row, _| Some(row.session.messages_received.to_string())),
            column("VERSION", |row, _| Some(row.speaker_version.clone())),
            column("WRITTEN", |row, now| row.last_written.map(|then| span::since(then, now))),
        ]);
    }
    columns.push(column("LAST-ERROR", last_error));
    columns
}

fn tone(row: &Row) -> Tone {
    if row.session.state == "Established" { Tone::Good } else { Tone::Bad }
}

/// The address alone on the BGP port, with the port otherwise.
fn address(row: &Row) -> String {
    let (address, port) = (&row.session.address, row.session.port);
    match port {
        179 => address.clone(),
        _ if address.contains(':') => format!("[{address}]:{port}"),
        _ => format!("{address}:{port}"),
    }
}

/// BGP's 0 means that the timer is off.
fn interval(seconds: u16) -> String {
    match seconds {
        0 => "off".to_owned(),
        _ => format!("{seconds}s"),
    }
}

/// The state of BFD, and how long it bears silence.
fn bfd(row: &Row) -> Option<String> {
    let state = row.session.bfd.as_ref()?;
    let detection = row.session.bfd_detection_milliseconds.map(|millis| format!(" {millis}ms"));
    Some(format!("{state}{}", detection.unwrap_or_default()))
}

/// How long the session has been Established; a session that is not up has no uptime.
fn uptime(row: &Row, now: Timestamp) -> Option<String> {
    let since = row.session.since.as_ref().filter(|_| row.session.state == "Established")?;
    Some(span::since(since.0, now))
}

fn last_error(row: &Row, now: Timestamp) -> Option<String> {
    let error = row.session.last_error.as_deref()?;
    let age = row.session.last_error_at.as_ref().map(|at| format!(" ({} ago)", span::since(at.0, now)));
    Some(format!("{error}{}", age.unwrap_or_default()))
}
