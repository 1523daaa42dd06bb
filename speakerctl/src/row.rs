//! One line of the answer: a session or a route, the node it is on, and what is known about the report it came in.
//!
//! Printing is `render`'s; where reports come from is `source`'s.

use api::herald::{RouteState, SessionState, SpeakerStateStatus};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

/// What one speaker says about itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) node: String,
    /// When the SpeakerState object was last written; `None` when the speaker itself answered just now. Speakers write
    /// on a change only, so an old time is no sign of a fault.
    pub(crate) written: Option<Timestamp>,
    pub(crate) status: SpeakerStateStatus,
}

/// A session as `-o json` and `-o yaml` show it; the table is made from the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) node: String,
    pub(crate) speaker_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_written: Option<Timestamp>,
    #[serde(flatten)]
    pub(crate) session: SessionState,
}

/// A route as `-o json` and `-o yaml` show it; the table is made from the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteRow {
    pub(crate) node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_written: Option<Timestamp>,
    #[serde(flatten)]
    pub(crate) route: RouteState,
}

impl RouteRow {
    /// What names a route: its node, its prefix, and what is said of it to whom.
    pub(crate) fn key(&self) -> (&str, &str, &[String]) {
        (&self.node, &self.route.prefix, &self.route.communities)
    }
}

impl Report {
    /// The routes that the report lists, in the order of their prefixes.
    pub(crate) fn routes(&self) -> Vec<RouteRow> {
        let row = |route: &RouteState| RouteRow {
            node: self.node.clone(),
            last_written: self.written,
            route: route.clone(),
        };
        self.status.routes.iter().map(row).collect()
    }

    /// The sessions, each with the name of its node.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&str, &SessionState)> {
        self.status.sessions.iter().map(|session| (self.node.as_str(), session))
    }

    /// One row a session, in the order of the peers' names.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.status.sessions.iter().map(|session| self.row(session)).collect();
        rows.sort_by(|a, b| a.key().cmp(&b.key()));
        rows
    }

    fn row(&self, session: &SessionState) -> Row {
        Row {
            node: self.node.clone(),
            speaker_version: self.status.version.clone(),
            last_written: self.written,
            session: session.clone(),
        }
    }
}

impl Row {
    /// What names a session: its node and its BGPPeer.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.node, &self.session.peer)
    }

    /// Whether a reader of the table would see no difference but counters and the passing of time.
    pub(crate) fn reads_like(&self, other: &Self) -> bool {
        let quiet = |row: &Self| {
            let mut row = row.clone();
            row.last_written = None;
            row.session.messages_sent = 0;
            row.session.messages_received = 0;
            row
        };
        quiet(self) == quiet(other)
    }
}

/// All rows of all reports, by node and peer.
pub(crate) fn rows(reports: &[Report]) -> Vec<Row> {
    let mut rows: Vec<Row> = reports.iter().flat_map(Report::rows).collect();
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    rows
}

/// Nodes that one sentence names before it only counts.
const NAMED_NODES: usize = 10;

/// The nodes of a sentence: the first few by name, the others by their number.
pub(crate) fn named(nodes: &[&str]) -> String {
    let first = nodes.get(..NAMED_NODES).unwrap_or(nodes).join(", ");
    match nodes.len().saturating_sub(NAMED_NODES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
