//! `speakerctl routes`: what routers are told, asked once and printed, and with `--watch` what changes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use api::herald::{RoutesReport, peer_of};
use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;

use crate::args::{Place, ReachArgs, RoutesArgs, Said, called};
use crate::failure::Failure;
use crate::render::{Paint, Printer};
use crate::row::{Report, RouteRow};
use crate::source::cluster::{Cluster, Turn};
use crate::source::socket;
use crate::{Outcome, nobody_reports, notice, write};

/// How often `--watch` asks a socket again; the API tells by itself.
const POLL: Duration = Duration::from_secs(1);

/// Runs the command to its end; with `--watch` that is when the reader stops it.
///
/// # Errors
/// Why there is no answer, or that it could not be written.
pub(crate) fn run(reach: &ReachArgs, said: Said, args: &RoutesArgs) -> Result<Outcome, Failure> {
    let filter = Filter::read(args)?;
    crate::ask(reach, said, async |place| {
        let screen = Screen::new(args, filter);
        match place {
            Place::Socket(path) => from_socket(path, reach, args, screen).await,
            Place::Cluster { tried } => from_cluster(tried, reach, args, screen).await,
        }
    })
}

async fn from_socket(
    path: &Path,
    reach: &ReachArgs,
    args: &RoutesArgs,
    mut screen: Screen,
) -> Result<Outcome, Failure> {
    let limit = reach.request_timeout;
    let report: RoutesReport = socket::ask_for(path, "/routes", limit).await?;
    let others: Vec<String> = args.nodes.iter().filter(|node| **node != report.node).cloned().collect();
    if !others.is_empty() {
        let (path, namespace) = (path.to_owned(), reach.namespace.clone());
        return Err(Failure::OtherNode { path, here: report.node, asked: others, namespace });
    }
    if !report.synced {
        notice("the speaker has not read the cluster completely yet; it announces nothing before that");
    }
    screen.list(rows(report), no_routes)?;
    if args.watch {
        follow_socket(path, limit, &mut screen).await?;
    }
    Ok(screen.outcome(args.check))
}

/// Asks again and again; a speaker that restarts is a thing to watch, so its silence is said once and does not end this.
async fn follow_socket(path: &Path, limit: Duration, screen: &mut Screen) -> Result<(), Failure> {
    let mut answers = true;
    loop {
        tokio::time::sleep(POLL).await;
        let answer = socket::ask_for::<RoutesReport>(path, "/routes", limit).await;
        match (&answer, answers) {
            (Ok(_), false) => notice("the speaker answers again"),
            (Err(failure), true) => notice(&format!("{failure}; still asking")),
            (Ok(_), true) | (Err(_), false) => {}
        }
        answers = answer.is_ok();
        if let Ok(report) = answer {
            let node = report.node.clone();
            screen.update(&node, rows(report))?;
        }
    }
}

fn no_routes() -> String {
    format!("No routes. Why a Service is not announced: {} why NAMESPACE/NAME", called())
}

fn rows(report: RoutesReport) -> Vec<RouteRow> {
    let RoutesReport { node, routes, .. } = report;
    let row = |route| RouteRow { node: node.clone(), last_written: None, route };
    routes.into_iter().map(row).collect()
}

async fn from_cluster(
    tried: Option<&Path>,
    reach: &ReachArgs,
    args: &RoutesArgs,
    mut screen: Screen,
) -> Result<Outcome, Failure> {
    let cluster = Cluster::connect(reach, tried.is_some(), &args.nodes).await?;
    let reports = cluster.list().await?;
    let unheard = |node: &&String| !reports.iter().any(|report| report.node == **node);
    let missing: Vec<String> = args.nodes.iter().filter(unheard).cloned().collect();
    if !missing.is_empty() {
        return Err(Failure::NodesUnknown { nodes: missing, namespace: reach.namespace.clone() });
    }
    let attendance = cluster.attendance(&reports).await?;
    attendance.notices().iter().for_each(|text| notice(text));
    reports.iter().filter_map(cut).for_each(|text| notice(&text));
    screen.list(reports.iter().flat_map(Report::routes).collect(), || match reports.is_empty() {
        true => nobody_reports(&reach.namespace),
        false => no_routes(),
    })?;
    if args.watch {
        let mut turns = std::pin::pin!(cluster.watch());
        while let Some(turn) = turns.next().await {
            match turn {
                Turn::Report(report) => screen.update(&report.node, report.routes())?,
                Turn::Gone(node) => screen.update(&node, Vec::new())?,
                Turn::Anew | Turn::Complete => {}
            }
        }
    }
    Ok(if args.check && !attendance.is_well() { Outcome::NotWell } else { screen.outcome(args.check) })
}

/// A SpeakerState lists the first routes only.
fn cut(report: &Report) -> Option<String> {
    let mut listed: Vec<&str> = report.status.routes.iter().map(|route| route.prefix.as_str()).collect();
    listed.dedup();
    let (node, all) = (&report.node, report.status.announced_prefixes);
    (usize::try_from(all).is_ok_and(|all| all > listed.len()) && !listed.is_empty()).then(|| {
        let count = listed.len();
        format!("{node} announces {all} prefixes, the first {count} are listed; its speaker's socket has all: kubectl exec POD -- /speakerctl routes")
    })
}

/// What is wanted of all routes.
#[derive(Debug, Default)]
struct Filter {
    network: Option<IpNet>,
    service: Option<String>,
    peer: Option<String>,
}

impl Filter {
    fn read(args: &RoutesArgs) -> Result<Self, Failure> {
        let network = args.prefix.as_ref().map(|text| {
            let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            parsed.map_err(|_| Failure::NoPrefix { text: text.clone() })
        });
        let service = args.service.as_ref().map(|name| match name.contains('/') {
            true => name.clone(),
            false => format!("default/{name}"),
        });
        Ok(Self { network: network.transpose()?, service, peer: args.peer.clone() })
    }

    /// The row as far as it is wanted.
    fn pass(&self, mut row: RouteRow) -> Option<RouteRow> {
        if let Some(wanted) = &self.network {
            let prefix: IpNet = row.route.prefix.parse().ok()?;
            if prefix != *wanted && !prefix.contains(wanted) {
                return None;
            }
        }
        if self.service.as_ref().is_some_and(|wanted| !row.route.services.contains(wanted)) {
            return None;
        }
        if let Some(wanted) = &self.peer {
            row.route.peers.retain(|peer| peer.peer == *wanted || peer_of(&peer.peer) == wanted);
            if row.route.peers.is_empty() {
                return None;
            }
        }
        Some(row)
    }
}

type Key = (String, String, Vec<String>);

/// What the reader has seen, and how it is printed.
struct Screen {
    printer: Printer,
    filter: Filter,
    shown: BTreeMap<Key, RouteRow>,
}

impl Screen {
    fn new(args: &RoutesArgs, filter: Filter) -> Self {
        let printer = Printer::new(args.output, !args.no_headers, Paint::of_stdout());
        Self { printer, filter, shown: BTreeMap::new() }
    }

    fn list(&mut self, rows: Vec<RouteRow>, when_empty: impl Fn() -> String) -> Result<(), Failure> {
        let mut rows: Vec<RouteRow> = rows.into_iter().filter_map(|row| self.filter.pass(row)).collect();
        rows.sort_by(|a, b| a.node.cmp(&b.node));
        write(&self.printer.list(&rows, Timestamp::now()))?;
        if rows.is_empty() {
            notice(&when_empty());
        }
        self.shown = rows.into_iter().map(|row| (key(&row), row)).collect();
        Ok(())
    }

    /// Prints what differs from what was shown of this node.
    fn update(&mut self, node: &str, rows: Vec<RouteRow>) -> Result<(), Failure> {
        let fresh: BTreeMap<Key, RouteRow> =
            rows.into_iter().filter_map(|row| self.filter.pass(row)).map(|row| (key(&row), row)).collect();
        let gone: Vec<Key> =
            self.shown.keys().filter(|key| key.0 == node && !fresh.contains_key(key)).cloned().collect();
        for key in gone {
            notice(&format!("{} is withdrawn from node {}", key.1, key.0));
            self.shown.remove(&key);
        }
        for (key, row) in fresh {
            if self.shown.get(&key).is_none_or(|shown| shown.route != row.route) {
                write(&self.printer.change(&row, Timestamp::now()))?;
                self.shown.insert(key, row);
            }
        }
        Ok(())
    }

    /// What `--check` makes of the list.
    fn outcome(&self, check: bool) -> Outcome {
        let told = |row: &RouteRow| row.route.is_told();
        Outcome::of(!check || !self.shown.is_empty() && self.shown.values().all(told))
    }
}

fn key(row: &RouteRow) -> Key {
    let (node, prefix, communities) = row.key();
    (node.to_owned(), prefix.to_owned(), communities.to_vec())
}

#[cfg(test)]
mod tests {
    use api::herald::{RoutePeer, RouteState, Told};

    use super::*;

    #[test]
    fn routes_are_picked_by_prefix_service_and_peer() {
        let peer = |peer: &str| RoutePeer { peer: peer.to_owned(), told: Told::Sent };
        let route = RouteState {
            prefix: "10.0.4.0/24".to_owned(),
            peers: vec![peer("a"), peer("b")],
            services: vec!["default/web".to_owned()],
            ..RouteState::default()
        };
        let row = RouteRow { node: "n1".to_owned(), last_written: None, route };
        let check = |filter: Filter, expected: Option<usize>| {
            let passed = filter.pass(row.clone());
            assert_eq!(passed.map(|row| row.route.peers.len()), expected, "{filter:?}");
        };
        let network = |text: &str| Filter { network: Some(text.parse().unwrap()), ..Filter::default() };
        check(Filter::default(), Some(2));
        check(network("10.0.4.7/32"), Some(2));
        check(network("10.0.4.0/24"), Some(2));
        check(network("10.0.0.0/16"), None);
        check(network("10.0.5.1/32"), None);
        check(Filter { service: Some("default/web".to_owned()), ..Filter::default() }, Some(2));
        check(Filter { service: Some("shop/web".to_owned()), ..Filter::default() }, None);
        check(Filter { peer: Some("b".to_owned()), ..Filter::default() }, Some(1));
        check(Filter { peer: Some("c".to_owned()), ..Filter::default() }, None);
        let mut row = row;
        row.route.peers = vec![peer("net@10.0.2.1"), peer("net@10.0.2.2"), peer("other")];
        let passed = Filter { peer: Some("net".to_owned()), ..Filter::default() }.pass(row);
        assert_eq!(passed.map(|row| row.route.peers.len()), Some(2), "the routers of a network");
    }
}
