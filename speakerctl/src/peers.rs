//! `speakerctl peers`: asks once and prints, and with `--watch` goes on printing what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;

use crate::absence::Attendance;
use crate::args::{Output, PeersArgs, Place, ReachArgs, Said};
use crate::duplicate::{Duplicate, duplicates};
use crate::failure::Failure;
use crate::render::{Paint, Printer};
use crate::row::{self, Report, Row};
use crate::source::cluster::{Cluster, Turn};
use crate::source::socket;
use crate::{Outcome, nobody_reports, notice, write};

/// How often `--watch` asks a socket again; the API tells by itself.
const POLL: Duration = Duration::from_secs(1);

/// Runs the command to its end; with `--watch` that is when the reader stops it.
///
/// # Errors
/// Why there is no answer, or that it could not be written.
pub(crate) fn run(reach: &ReachArgs, said: Said, peers: &PeersArgs) -> Result<Outcome, Failure> {
    crate::ask(reach, said, async |place| match place {
        Place::Socket(path) => from_socket(path, reach, peers).await,
        Place::Cluster { tried } => from_cluster(tried, reach, peers).await,
    })
}

async fn from_socket(path: &Path, reach: &ReachArgs, peers: &PeersArgs) -> Result<Outcome, Failure> {
    let report = socket::ask(path, reach.request_timeout).await?;
    let others: Vec<String> = peers.nodes.iter().filter(|node| **node != report.node).cloned().collect();
    if !others.is_empty() {
        let (path, namespace) = (path.to_owned(), reach.namespace.clone());
        return Err(Failure::OtherNode { path, here: report.node, asked: others, namespace });
    }
    let mut screen = Screen::new(peers);
    screen.list(std::slice::from_ref(&report), || "No peers: no BGPPeer selects this node.".to_owned())?;
    if peers.watch {
        follow_socket(path, reach.request_timeout, &mut screen).await?;
    }
    Ok(screen.outcome(peers.check))
}

/// Asks again and again; a speaker that restarts is a thing to watch, so its silence is said once and does not end this.
async fn follow_socket(path: &Path, limit: Duration, screen: &mut Screen) -> Result<(), Failure> {
    let mut answers = true;
    loop {
        tokio::time::sleep(POLL).await;
        match socket::ask(path, limit).await {
            Ok(report) => {
                if !answers {
                    notice("the speaker answers again");
                }
                answers = true;
                screen.update(&report)?;
            }
            Err(failure) => {
                if answers {
                    notice(&format!("{failure}; still asking"));
                }
                answers = false;
            }
        }
    }
}

async fn from_cluster(
    tried: Option<&Path>,
    reach: &ReachArgs,
    peers: &PeersArgs,
) -> Result<Outcome, Failure> {
    let cluster = Cluster::connect(reach, tried.is_some(), &peers.nodes).await?;
    let reports = cluster.list().await?;
    let missing: Vec<String> =
        peers.nodes.iter().filter(|node| !reports.iter().any(|r| r.node == **node)).cloned().collect();
    let mut screen = Screen::new(peers);
    let twins = cluster.duplicates(&reports).await?;
    screen.attend(cluster.attendance(&reports).await?);
    if missing.is_empty() || !reports.is_empty() {
        let namespace = &reach.namespace;
        screen.list(&reports, || match reports.is_empty() {
            true => nobody_reports(namespace),
            false => "No peers: no BGPPeer selects a node.".to_owned(),
        })?;
        screen.tell_duplicates(twins);
    }
    if !missing.is_empty() {
        return Err(Failure::NodesUnknown { nodes: missing, namespace: reach.namespace.clone() });
    }
    if peers.watch {
        follow_cluster(&cluster, &mut screen, peers.nodes.is_empty()).await?;
    }
    Ok(screen.outcome(peers.check))
}

/// Only who sees all nodes sees what two of them have in common.
async fn follow_cluster(cluster: &Cluster, screen: &mut Screen, peers_of_all: bool) -> Result<(), Failure> {
    let mut turns = std::pin::pin!(cluster.watch());
    let mut named = None;
    while let Some(turn) = turns.next().await {
        match turn {
            Turn::Anew => named = Some(BTreeSet::new()),
            Turn::Report(report) => {
                screen.update(&report)?;
                if peers_of_all {
                    screen.look_for_duplicates();
                }
                if let Some(named) = &mut named {
                    named.insert(report.node);
                }
            }
            Turn::Gone(node) => screen.remove(&node),
            Turn::Complete => screen.keep_only(&named.take().unwrap_or_default()),
        }
    }
    Ok(())
}

/// What the reader has seen, and how it is printed.
struct Screen {
    printer: Printer,
    tabular: bool,
    shown: BTreeMap<(String, String), Row>,
    duplicates: BTreeSet<Duplicate>,
    /// Whether the nodes behind the reports are there, as far as that was asked.
    attended: bool,
}

impl Screen {
    fn new(peers: &PeersArgs) -> Self {
        let tabular = match peers.output {
            Output::Table | Output::Wide => true,
            Output::Json | Output::Yaml | Output::Name => false,
        };
        Self {
            printer: Printer::new(peers.output, !peers.no_headers, Paint::of_stdout()),
            tabular,
            shown: BTreeMap::new(),
            duplicates: BTreeSet::new(),
            attended: true,
        }
    }

    /// Says which reports are of nodes that are not there or not ready.
    fn attend(&mut self, attendance: Attendance) {
        attendance.notices().iter().for_each(|text| notice(text));
        self.attended = attendance.is_well();
    }

    /// The first list. Where a table would be empty or would leave a node out, a notice says so.
    fn list(&mut self, reports: &[Report], when_empty: impl Fn() -> String) -> Result<(), Failure> {
        let rows = row::rows(reports);
        write(&self.printer.list(&rows, Timestamp::now()))?;
        if rows.is_empty() {
            notice(&when_empty());
        } else if self.tabular {
            let idle: Vec<&str> =
                reports.iter().filter(|r| r.status.sessions.is_empty()).map(|r| r.node.as_str()).collect();
            if let Some(text) = without_peers(&idle) {
                notice(&text);
            }
        }
        self.shown = rows.into_iter().map(owned_key).collect();
        Ok(())
    }

    /// What `--check` makes of the list. No session at all is not well either: a script that asks expects some.
    fn outcome(&self, check: bool) -> Outcome {
        let up = |row: &Row| row.session.state == "Established";
        let well = !self.shown.is_empty()
            && self.shown.values().all(up)
            && self.duplicates.is_empty()
            && self.attended;
        Outcome::of(!check || well)
    }

    /// Says which router IDs several nodes show, each once as long as it lasts.
    fn tell_duplicates(&mut self, found: BTreeSet<Duplicate>) {
        for duplicate in found.difference(&self.duplicates) {
            notice(&format!("warning: {duplicate}."));
        }
        self.duplicates = found;
    }

    fn look_for_duplicates(&mut self) {
        let found = duplicates(self.shown.values().map(|row| (row.node.as_str(), &row.session)));
        self.tell_duplicates(found);
    }

    /// Prints the sessions of one node that differ from what was shown.
    fn update(&mut self, report: &Report) -> Result<(), Failure> {
        let fresh: BTreeMap<_, _> = report.rows().into_iter().map(owned_key).collect();
        let gone: Vec<_> = self
            .shown
            .keys()
            .filter(|key| key.0 == report.node && !fresh.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            notice(&format!("peer {} is gone from node {}", key.1, key.0));
            self.shown.remove(&key);
        }
        for (key, row) in fresh {
            if !self.shown.get(&key).is_some_and(|shown| shown.reads_like(&row)) {
                write(&self.printer.change(&row, Timestamp::now()))?;
                self.shown.insert(key, row);
            }
        }
        Ok(())
    }

    /// Every node that still reports was named.
    fn keep_only(&mut self, named: &BTreeSet<String>) {
        let gone: BTreeSet<String> =
            self.shown.keys().map(|(node, _)| node).filter(|node| !named.contains(*node)).cloned().collect();
        for node in gone {
            self.remove(&node);
        }
    }

    /// The node's report is gone, and its sessions with it.
    fn remove(&mut self, node: &str) {
        notice(&format!("node {node} is gone: its SpeakerState was deleted"));
        self.shown.retain(|key, _| key.0 != node);
    }
}

fn owned_key(row: Row) -> ((String, String), Row) {
    let (node, peer) = row.key();
    ((node.to_owned(), peer.to_owned()), row)
}

fn without_peers(nodes: &[&str]) -> Option<String> {
    (!nodes.is_empty()).then(|| format!("No peers on {}.", row::named(nodes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_without_peers_are_named_up_to_ten() {
        let check = |count: usize, expected: Option<&str>| {
            let names: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(without_peers(&names).as_deref(), expected, "{count} nodes");
        };
        check(0, None);
        check(1, Some("No peers on n0."));
        check(2, Some("No peers on n0, n1."));
        check(12, Some("No peers on n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more."));
    }
}
