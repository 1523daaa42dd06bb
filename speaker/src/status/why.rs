//! The answer to `GET /why`: the chain of facts behind one Service on this node, from its type to the wire. Pure.
//!
//! The first part is what the decision itself found ([`crate::decide::explain`]), the second what sessions say. No rule
//! is evaluated here.

use std::collections::BTreeSet;

use api::herald::{Told, WhyLink, WhyReason, WhyReport};
use api::service::ServiceKey;
use bgp_proto::Family;

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
                towards(name, peer, announcements, table, &mut links);
            }
            for announcement in announcements.iter().filter(|one| !may_be_carried(one, plan, table)) {
                let (prefix, family) = (announcement.prefix, word(announcement.prefix.family()));
                let text = format!(
                    "{prefix} goes over no session of this node: none of those that are meant carries {family} routes; \
                     a BGPPeer with an {family} address does, or one with dualStackAddressFamily"
                );
                let link = WhyLink::fails(WhyReason::FamilyNotCarried, text);
                links.push(link.about(Some(announcement.address)));
            }
        }
    }
    links
}

/// Whether some session is there for it, up or not. Where the sessions of a peer are not known yet, or no peer is meant,
/// the lack is another one.
fn may_be_carried(announcement: &Announcement, plan: &Plan, table: &SessionTable) -> bool {
    let mut meant = plan.peers.keys().filter(|peer| announcement.terms.reaches(peer)).peekable();
    let family = announcement.prefix.family();
    let carries = |peer: &String| {
        let mut rows = table.rows_of(peer).peekable();
        rows.peek().is_none() || rows.any(|(_, row)| row.carries.contains(family))
    };
    meant.peek().is_none() || meant.any(carries)
}

/// The part of the chain that is about one peer.
fn towards(
    name: &str,
    peer: &PeerPlan,
    announcements: &[Announcement],
    table: &SessionTable,
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
    let mut rows = table.rows_of(name).peekable();
    if rows.peek().is_none() {
        links.push(WhyLink::fails(WhyReason::SessionDown, "is about to be opened").towards(name));
    }
    for (name, row) in rows {
        over(name, row, peer, &meant, links);
    }
}

/// The part of the chain that is about one session.
fn over(name: &str, row: &SessionRow, peer: &PeerPlan, meant: &[&Announcement], links: &mut Vec<WhyLink>) {
    let mut carried =
        meant.iter().filter(|announcement| row.carries.contains(announcement.prefix.family())).peekable();
    if carried.peek().is_none() {
        let families: BTreeSet<_> = meant.iter().map(|announcement| announcement.prefix.family()).collect();
        let families: Vec<_> = families.into_iter().map(word).collect();
        let text = format!("carries no {} routes, so nothing of this Service", families.join(" and "));
        links.push(WhyLink::holds("session", text).towards(name));
        return;
    }
    let (holds, text) = session(row);
    let link =
        if holds { WhyLink::holds("session", text) } else { WhyLink::fails(WhyReason::SessionDown, text) };
    links.push(link.towards(name));
    if !holds {
        return;
    }
    for announcement in carried {
        let prefix = announcement.prefix;
        let told = peer.routes.get(&prefix).map(|attrs| told(row, prefix, attrs));
        let link = match told {
            None => WhyLink::fails(WhyReason::Pending, format!("{prefix} is not in the plan yet")),
            Some(None | Some(Told::Pending | Told::SessionDown)) => {
                let why = row.last_error.as_ref().map(|fault| format!(": {}", fault.text));
                let text = format!("{prefix} is not written to the session yet{}", why.unwrap_or_default());
                WhyLink::fails(WhyReason::Pending, text)
            }
            Some(Some(Told::Sent)) => WhyLink::holds("route", format!("{prefix} is sent")),
            Some(Some(Told::Acknowledged)) => {
                WhyLink::holds("route", format!("{prefix} is sent, and acknowledged by the router's TCP"))
            }
        };
        links.push(link.about(Some(announcement.address)).towards(name));
    }
}

fn word(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "IPv4",
        Family::Ipv6Unicast => "IPv6",
    }
}

fn session(row: &SessionRow) -> (bool, String) {
    if row.phase == SessionPhase::Established {
        return (true, "is Established".to_owned());
    }
    let why = row.last_error.as_ref().map(|fault| format!(": {}", fault.text));
    (false, format!("is {}{}", row.phase.word(), why.unwrap_or_default()))
}
