//! Rows to text: kubectl-style tables, and JSON, YAML and names for scripts. No clock, no terminal, no colour.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::args::Output;
use crate::row::Row;
use crate::span;

/// The kind that `-o json` and `-o yaml` print; fields are only ever added to it.
const LIST_KIND: &str = "PeerList";
const LIST_VERSION: &str = "herald-lb.io/v1beta1";

/// Prints rows, first as one list, then change by change. Keeps the widths of the columns, so that later lines stay
/// under the same heads.
pub(crate) struct Printer {
    output: Output,
    heads: bool,
    widths: Vec<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [Row],
}

impl Printer {
    pub(crate) fn new(output: Output, heads: bool) -> Self {
        Self { output, heads, widths: Vec::new() }
    }

    /// The whole list; empty for a table without rows.
    pub(crate) fn list(&mut self, rows: &[Row], now: Timestamp) -> String {
        let list = PeerList { api_version: LIST_VERSION, kind: LIST_KIND, items: rows };
        match self.output {
            Output::Table | Output::Wide => self.table(rows, now, self.heads),
            Output::Json => json(&list),
            Output::Yaml => yaml(&list),
            Output::Name => rows.iter().map(name).collect(),
        }
    }

    /// One row that is new or has changed; JSON and YAML print it as a document of its own.
    pub(crate) fn change(&mut self, row: &Row, now: Timestamp) -> String {
        match self.output {
            Output::Table | Output::Wide => self.table(std::slice::from_ref(row), now, false),
            Output::Json => json(row),
            Output::Yaml => format!("---\n{}", yaml(row)),
            Output::Name => name(row),
        }
    }

    fn table(&mut self, rows: &[Row], now: Timestamp, heads: bool) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let columns = columns(self.output == Output::Wide);
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(rows.len() + 1);
        if heads {
            lines.push(columns.iter().map(|column| column.head.to_owned()).collect());
        }
        lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(column, row, now)).collect()));
        self.widths.resize(columns.len(), 0);
        for line in &lines {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        lines.iter().map(|line| self.line(line)).collect()
    }

    /// Cells padded to their columns with three spaces between; nothing after the last.
    fn line(&self, cells: &[String]) -> String {
        let padded: Vec<String> =
            cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("   ").trim_end())
    }
}

struct Column {
    head: &'static str,
    text: fn(&Row, Timestamp) -> Option<String>,
}

fn cell(column: &Column, row: &Row, now: Timestamp) -> String {
    (column.text)(row, now)
        .filter(|text| !text.is_empty())
        .map_or_else(|| "-".to_owned(), |text| printable(&text))
}

/// The columns in order; `-o wide` adds its own before the error, which is last because it may be long.
fn columns(wide: bool) -> Vec<Column> {
    let column = |head, text| Column { head, text };
    let mut columns = vec![
        column("NODE", |row, _| Some(row.node.clone())),
        column("PEER", |row, _| Some(row.session.peer.clone())),
        column("ADDRESS", |row, _| Some(address(row))),
        column("AS", |row, _| Some(row.session.asn).filter(|asn| *asn != 0).map(|asn| asn.to_string())),
        column("STATE", |row, _| Some(row.session.state.clone())),
        column("UPTIME", uptime),
        column("PREFIXES", |row, _| Some(row.session.prefixes_sent.to_string())),
        column("HOLD", |row, _| row.session.hold_time_seconds.map(interval)),
    ];
    if wide {
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

/// A router chooses part of these texts (RFC 9003), so nothing that steers a terminal passes.
fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

fn name(row: &Row) -> String {
    format!("{}/{}\n", printable(&row.node), printable(&row.session.peer))
}

fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("text and numbers always have a JSON form");
    text.push('\n');
    text
}

fn yaml(value: &impl Serialize) -> String {
    let mut text = serde_saphyr::to_string(value).expect("text and numbers always have a YAML form");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
