//! The answer to `GET /why`: the chain of facts behind one Service on this node, from its type to the wire. Pure.
//!
//! The first part is what the decision itself found ([`crate::decide::explain`]), the second what sessions say. No rule
//! is evaluated here.

use api::herald::{Told, WhyLink, WhyReason, WhyReport};
use api::service::ServiceKey;

use super::routes::told;
use crate::decide::Explanation;
use crate::decide::verdict::{Announcement, Verdict};
use crate::decide::why::{Finding, Step};
use crate::plan::{PeerPlan, Plan, SessionPhase, SessionRow, SessionTable};

/// Why the Service is announced from this node, or is not. `explanation` is `None` where the speaker knows no such
/// Service.
#[must_use]
pub fn why(
    node: &str,
    service: &ServiceKey,
    explanation: Option<&Explanation>,
    plan: &Plan,
    table: &SessionTable,
) -> WhyReport {
    let links = match explanation {
        Some(explanation) => links(explanation, plan, table),
        None => vec![unknown(plan)],
    };
    WhyReport { node: node.to_owned(), service: service.to_string(), links }
}

/// A speaker that has not read everything knows nothing; one that has knows all Services of its class.
fn unknown(plan: &Plan) -> WhyLink {
    if plan.synced {
        let text = "there is no such Service of type LoadBalancer and of this speaker's load balancer class";
        WhyLink::fails(WhyReason::NotFound, text)
    } else {
        let text = "the speaker has not read the cluster completely yet; nothing is decided";
        WhyLink::fails(WhyReason::NotSynced, text)
    }
}

fn links(explanation: &Explanation, plan: &Plan, table: &SessionTable) -> Vec<WhyLink> {
    let mut links: Vec<WhyLink> = explanation
        .steps
        .iter()
        .map(|Step { address, outcome }| {
            let link = match outcome {
                Ok(Finding::Lacks(words)) => WhyLink::lacks(words),
                Ok(finding) => WhyLink::holds(finding.subject(), finding.to_string()),
                Err(reason) => WhyLink::fails(reason.kind(), reason.to_string()),
            };
            link.about(*address)
        })
        .collect();
    match &explanation.verdict {
        Verdict::Withhold(_) => {}
        Verdict::Announce { announcements, .. } => {
            if plan.peers.is_empty() {
                let text = "no BGPPeer selects this node";
                links.push(WhyLink::fails(WhyReason::NoPeer, text));
            }
            for (name, peer) in &plan.peers {
                towards(name, peer, row_of(name, table), announcements, &mut links);
            }
        }
    }
    links
}

/// The row of a peer; of a network of routers the first that has called.
fn row_of<'a>(name: &str, table: &'a SessionTable) -> Option<&'a SessionRow> {
    let caller = || {
        let mut rows = table.sessions.iter();
        rows.find(|(row, _)| row.split_once('@').is_some_and(|(object, _)| object == name))
    };
    table.sessions.get(name).or_else(|| caller().map(|(_, row)| row))
}

/// The part of the chain that is about one peer.
fn towards(
    name: &str,
    peer: &PeerPlan,
    row: Option<&SessionRow>,
    announcements: &[Announcement],
    links: &mut Vec<WhyLink>,
) {
    let meant: Vec<&Announcement> =
        announcements.iter().filter(|announcement| announcement.terms.reaches(name)).collect();
    let Some(first) = meant.first() else {
        let text = "the BGPAdvertisements of this Service name other peers";
        links.push(WhyLink::fails(WhyReason::PeerNotSelected, text).towards(name));
        return;
    };
    let text = format!("{} is told by BGPAdvertisement \"{}\"", peer.peer.router, first.terms.advertisement);
    links.push(WhyLink::holds("peer", text).towards(name));
    let (holds, text) = session(row);
    let link =
        if holds { WhyLink::holds("session", text) } else { WhyLink::fails(WhyReason::SessionDown, text) };
    links.push(link.towards(name));
    if !holds {
        return;
    }
    let told = told(peer, row);
    for announcement in meant {
        let prefix = announcement.prefix;
        let link = match (peer.routes.get(&prefix), told) {
            (None, _) => WhyLink::fails(WhyReason::Pending, format!("{prefix} is not in the plan yet")),
            (Some(_), Told::Pending | Told::SessionDown) => {
                let why =
                    row.and_then(|row| row.last_error.as_ref()).map(|fault| format!(": {}", fault.text));
                let text = format!("{prefix} is not written to the session yet{}", why.unwrap_or_default());
                WhyLink::fails(WhyReason::Pending, text)
            }
            (Some(_), Told::Sent) => WhyLink::holds("route", format!("{prefix} is sent")),
            (Some(_), Told::Acknowledged) => {
                WhyLink::holds("route", format!("{prefix} is sent, and acknowledged by the router's TCP"))
            }
        };
        links.push(link.about(Some(announcement.address)).towards(name));
    }
}

fn session(row: Option<&SessionRow>) -> (bool, String) {
    let Some(row) = row else { return (false, "is about to be opened".to_owned()) };
    if row.phase == SessionPhase::Established {
        return (true, "is Established".to_owned());
    }
    let why = row.last_error.as_ref().map(|fault| format!(": {}", fault.text));
    (false, format!("is {}{}", row.phase.word(), why.unwrap_or_default()))
}
