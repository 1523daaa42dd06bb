//! Rows to text: kubectl-style tables, and JSON, YAML and names for scripts. No clock and no terminal: whether there is
//! colour is an argument.

mod paint;
mod peers;
mod routes;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::args::Output;
pub(crate) use paint::{Paint, Tone};

/// The version of what `-o json` and `-o yaml` print; fields are only ever added to it.
const LIST_VERSION: &str = "herald-lb.io/v1beta1";

/// What can be listed.
pub(crate) trait Listed: Serialize + Sized {
    /// The kind that `-o json` and `-o yaml` print.
    const LIST_KIND: &'static str;

    /// The columns in order; `-o wide` has more.
    fn columns(wide: bool) -> Vec<Column<Self>>;

    /// What `-o name` prints.
    fn name(&self) -> String;
}

/// One column of a table.
pub(crate) struct Column<R> {
    head: &'static str,
    text: fn(&R, Timestamp) -> Option<String>,
    tone: fn(&R) -> Tone,
}

/// A column without colour.
fn column<R>(head: &'static str, text: fn(&R, Timestamp) -> Option<String>) -> Column<R> {
    Column { head, text, tone: |_| Tone::Plain }
}

/// Prints rows, first as one list, then change by change. Keeps the widths of the columns, so that later lines stay
/// under the same heads.
pub(crate) struct Printer {
    output: Output,
    heads: bool,
    paint: Paint,
    widths: Vec<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a, R> {
    api_version: &'static str,
    kind: &'static str,
    items: &'a [R],
}

impl Printer {
    pub(crate) fn new(output: Output, heads: bool, paint: Paint) -> Self {
        Self { output, heads, paint, widths: Vec::new() }
    }

    /// The whole list; empty for a table without rows.
    pub(crate) fn list<R: Listed>(&mut self, rows: &[R], now: Timestamp) -> String {
        let list = List { api_version: LIST_VERSION, kind: R::LIST_KIND, items: rows };
        match self.output {
            Output::Table | Output::Wide => self.table(rows, now, self.heads),
            Output::Json => json(&list),
            Output::Yaml => yaml(&list),
            Output::Name => rows.iter().map(name).collect(),
        }
    }

    /// One row that is new or has changed; JSON and YAML print it as a document of its own.
    pub(crate) fn change<R: Listed>(&mut self, row: &R, now: Timestamp) -> String {
        match self.output {
            Output::Table | Output::Wide => self.table(std::slice::from_ref(row), now, false),
            Output::Json => json(row),
            Output::Yaml => format!("---\n{}", yaml(row)),
            Output::Name => name(row),
        }
    }

    fn table<R: Listed>(&mut self, rows: &[R], now: Timestamp, heads: bool) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let columns = R::columns(self.output == Output::Wide);
        let mut lines: Vec<Vec<(String, Tone)>> = Vec::with_capacity(rows.len() + 1);
        if heads {
            lines.push(columns.iter().map(|column| (column.head.to_owned(), Tone::Plain)).collect());
        }
        lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(column, row, now)).collect()));
        self.widths.resize(columns.len(), 0);
        for line in &lines {
            for (width, (cell, _)) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        lines.iter().map(|line| self.line(line)).collect()
    }

    /// Cells padded to their columns with three spaces between; nothing after the last.
    fn line(&self, cells: &[(String, Tone)]) -> String {
        let mut line = String::new();
        for ((cell, tone), width) in cells.iter().zip(&self.widths) {
            line.push_str(&self.paint.text(cell, *tone));
            let padding = width.saturating_sub(cell.chars().count()) + 3;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        format!("{}\n", line.trim_end())
    }
}

fn cell<R>(column: &Column<R>, row: &R, now: Timestamp) -> (String, Tone) {
    let text = (column.text)(row, now).filter(|text| !text.is_empty());
    (text.map_or_else(|| "-".to_owned(), |text| printable(&text)), (column.tone)(row))
}

/// A router chooses part of these texts (RFC 9003), so nothing that steers a terminal passes.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

fn name<R: Listed>(row: &R) -> String {
    format!("{}\n", printable(&row.name()))
}

pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("text and numbers always have a JSON form");
    text.push('\n');
    text
}

pub(crate) fn yaml(value: &impl Serialize) -> String {
    let mut text = serde_saphyr::to_string(value).expect("text and numbers always have a YAML form");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
