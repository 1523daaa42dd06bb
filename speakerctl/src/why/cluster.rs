//! The chain as far as the API has it: the Service itself, the controller's words, and what each speaker reports.

use std::collections::BTreeSet;
use std::path::Path;

use api::herald::{RoutePeer, Told, WhyLink, WhyReason, WhyReport, WithheldService};
use api::service::{Ingress, ServiceKey, ServiceView};

use crate::args::ReachArgs;
use crate::duplicate::Duplicate;
use crate::failure::Failure;
use crate::notice;
use crate::row::Report;
use crate::source::cluster::Cluster;

/// One report for each node asked about. A Service that no node could announce has one for the cluster.
pub(super) async fn ask(
    tried: Option<&Path>,
    reach: &ReachArgs,
    node: Option<&str>,
    service: &ServiceKey,
) -> Result<Vec<WhyReport>, Failure> {
    let nodes: Vec<String> = node.into_iter().map(str::to_owned).collect();
    let cluster = Cluster::connect(reach, tried.is_some(), &nodes).await?;
    let report = |node: &str, links| WhyReport { node: node.to_owned(), service: service.to_string(), links };
    let Some(object) = cluster.service(service).await? else {
        let text = format!("there is no Service {service}");
        return Ok(vec![report("every node", vec![WhyLink::fails(WhyReason::NotFound, text)])]);
    };
    let view = object.view();
    let mut links = Vec::new();
    if !of_service(&cluster, &view, &mut links).await? {
        return Ok(vec![report("every node", links)]);
    }
    let reports = cluster.list().await?;
    if let Some(missing) = node.filter(|_| reports.is_empty()) {
        let (nodes, namespace) = (vec![missing.to_owned()], reach.namespace.clone());
        return Err(Failure::NodesUnknown { nodes, namespace });
    }
    if reports.is_empty() {
        let text = format!("no speaker reports in namespace {}", reach.namespace);
        links.push(WhyLink::fails(WhyReason::NoReport, text));
        return Ok(vec![report("every node", links)]);
    }
    let twins = cluster.duplicates(&reports).await?;
    cluster.attendance(&reports).await?.notices().iter().for_each(|text| notice(text));
    let chain = |of: &Report| {
        let mut links = links.clone();
        on_node(of, service, &view, &twins, &mut links);
        report(&of.node, links)
    };
    Ok(reports.iter().map(chain).collect())
}

/// What does not depend on a node. Says whether it all holds.
async fn of_service(
    cluster: &Cluster,
    view: &ServiceView,
    links: &mut Vec<WhyLink>,
) -> Result<bool, Failure> {
    if !view.is_load_balancer() {
        let text = "the Service is not of type LoadBalancer";
        links.push(WhyLink::fails(WhyReason::NotLoadBalancer, text));
        return Ok(false);
    }
    let class = view.class.as_ref().map_or_else(
        || "is of type LoadBalancer".to_owned(),
        |class| format!("is of type LoadBalancer, of class {class}"),
    );
    links.push(WhyLink::holds("service", class));
    match &view.ingress {
        Ingress::Addresses(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let from =
                view.allocated_from_pool.as_ref().map(|pool| format!(" from IPAddressPool \"{pool}\""));
            let text = format!("has {}{}", addresses.join(", "), from.unwrap_or_default());
            links.push(WhyLink::holds("address", text));
            if let Some(lack) = view.condition.as_ref().filter(|condition| !condition.holds) {
                links.push(WhyLink::lacks(&lack.message));
            }
            Ok(true)
        }
        Ingress::Invalid(text) => {
            let text =
                format!("its status holds \"{text}\", which is no address; another controller wrote it");
            links.push(WhyLink::fails(WhyReason::InvalidIp, text));
            Ok(false)
        }
        Ingress::None => {
            links.push(pending(cluster, view).await?);
            Ok(false)
        }
    }
}

/// Why there is no address: the controller's condition, else its last warning, else the lack of a controller.
async fn pending(cluster: &Cluster, view: &ServiceView) -> Result<WhyLink, Failure> {
    let missing = |text: String| WhyLink::fails(WhyReason::NoIpAllocated, text);
    if let Some(condition) = view.condition.as_ref().filter(|condition| !condition.holds) {
        return Ok(missing(format!("the Service has no address: {}", condition.message)));
    }
    if let Some(warning) = cluster.warning(&view.key).await? {
        return Ok(missing(format!("the Service has no address: {warning}")));
    }
    Ok(match cluster.leader().await? {
        None => WhyLink::fails(
            WhyReason::NoController,
            "no controller holds the lease, so nobody gives addresses",
        ),
        Some(leader) => {
            let class = match &view.class {
                None => {
                    "a Service without a class is not its business when it runs with --load-balancer-class"
                }
                Some(_) => "its --load-balancer-class may be another than the Service's",
            };
            missing(format!(
                "the Service has no address, and the controller {leader} says nothing about it: {class}"
            ))
        }
    })
}

/// What the speaker of one node reports.
fn on_node(
    report: &Report,
    service: &ServiceKey,
    view: &ServiceView,
    duplicates: &BTreeSet<Duplicate>,
    links: &mut Vec<WhyLink>,
) {
    let name = service.to_string();
    let status = &report.status;
    for withheld in status.withheld.iter().filter(|withheld| withheld.service == name) {
        links.push(refusal(withheld));
        if withheld.address.is_none() {
            return;
        }
    }
    if status.removed {
        let text = "the speaker was removed from this node and has withdrawn its routes";
        links.push(WhyLink::fails(WhyReason::NoReport, text));
        return;
    }
    if status.sessions.is_empty() {
        links.push(WhyLink::fails(WhyReason::NoPeer, "no BGPPeer selects this node"));
        return;
    }
    let mut known = false;
    for route in status.routes.iter().filter(|route| route.services.contains(&name)) {
        known = true;
        if route.peers.is_empty() {
            let text =
                format!("no session of this node carries routes of the address family of {}", route.prefix);
            links.push(WhyLink::fails(WhyReason::FamilyNotCarried, text));
        }
        for peer in &route.peers {
            towards(report, &route.prefix, peer, duplicates, links);
        }
    }
    if !known {
        links.push(unlisted(report, view));
    }
}

/// What the decision refused; a speaker of another version may have reasons that are not known here.
fn refusal(withheld: &WithheldService) -> WhyLink {
    let link = match WhyReason::of_word(&withheld.reason) {
        Some(reason) => WhyLink::fails(reason, &withheld.message),
        None => WhyLink {
            subject: "decision".to_owned(),
            reason: Some(withheld.reason.clone()),
            text: withheld.message.clone(),
            ..WhyLink::default()
        },
    };
    link.about(withheld.address.as_ref())
}

/// How far a route is with one peer.
fn towards(
    report: &Report,
    prefix: &str,
    RoutePeer { peer, told }: &RoutePeer,
    duplicates: &BTreeSet<Duplicate>,
    links: &mut Vec<WhyLink>,
) {
    let session = report.status.sessions.iter().find(|session| session.peer == *peer);
    let state = session.map_or("gone", |session| session.state.as_str());
    let error = session.and_then(|session| session.last_error.as_ref());
    let link = match (state == "Established", told) {
        (true, Told::Sent | Told::Acknowledged) => WhyLink::holds("route", format!("{prefix} is sent")),
        (true, Told::SessionDown | Told::Pending) => {
            let text = format!("{prefix} was not sent yet when the speaker last reported");
            WhyLink::fails(WhyReason::Pending, text)
        }
        (false, _) => {
            for duplicate in duplicates.iter().filter(|duplicate| duplicate.concerns(&report.node, peer)) {
                let link = WhyLink::fails(WhyReason::DuplicateRouterId, duplicate.to_string());
                links.push(link.towards(peer));
            }
            let why = error.map(|error| format!(": {error}")).unwrap_or_default();
            WhyLink::fails(WhyReason::SessionDown, format!("is {state}{why}"))
        }
    };
    links.push(link.towards(peer));
}

/// The Service is neither among the routes nor among what is withheld.
fn unlisted(report: &Report, view: &ServiceView) -> WhyLink {
    let status = &report.status;
    let listed = status.withheld.iter().filter(|withheld| withheld.address.is_none()).count();
    let all = usize::try_from(status.withheld_total).unwrap_or(usize::MAX);
    let routes = usize::try_from(status.announced_prefixes).unwrap_or(usize::MAX);
    if all > listed || routes > status.routes.len() {
        let text = "the SpeakerState lists only the first Services and routes, and not this one; ask the speaker itself";
        return WhyLink::fails(WhyReason::NotListed, text);
    }
    match &view.class {
        Some(class) => {
            let text = format!(
                "the speaker does not serve class {class}, or has not reported since it saw the Service"
            );
            WhyLink::fails(WhyReason::ClassNotOurs, text)
        }
        None => {
            let text = "no session of this node is meant by the BGPAdvertisements, or the speaker has not reported since it saw the Service";
            WhyLink::fails(WhyReason::NotListed, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::duplicate::duplicates;

    /// What a node's report says of `shop/web`, one line a link.
    fn told(node: &str, reports: &[Report]) -> Vec<String> {
        let view = ServiceView { key: ServiceKey::new("shop", "web"), ..ServiceView::default() };
        let twins = duplicates(reports.iter().flat_map(Report::sessions));
        let mut links = Vec::new();
        let of = reports.iter().find(|report| report.node == node).unwrap();
        on_node(of, &view.key, &view, &twins, &mut links);
        let line = |link: WhyLink| {
            let about = [link.peer, link.address].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let text: String = link.text.chars().take(50).collect();
            format!("{} {} [{about}] {text}", link.subject, link.reason.as_deref().unwrap_or("ok"))
        };
        links.into_iter().map(line).collect()
    }

    fn report(node: &str, status: serde_json::Value) -> Report {
        let status = serde_json::from_value(status).unwrap();
        Report { node: node.to_owned(), written: None, status }
    }

    fn session(state: &str, router_id: &str) -> serde_json::Value {
        json!({"peer": "tor", "state": state, "localAsn": 64500, "localRouterId": router_id, "lastError": "refused"})
    }

    fn route() -> serde_json::Value {
        json!({"prefix": "10.0.4.1/32", "peers": [{"peer": "tor", "told": "sent"}], "services": ["shop/web"]})
    }

    #[test]
    fn the_router_id_of_another_node_stands_before_the_session_that_it_keeps_down() {
        let node = |name: &str, state: &str| {
            report(name, json!({"sessions": [session(state, "10.9.9.9")], "routes": [route()]}))
        };
        let reports = [node("n1", "Established"), node("n2", "Active")];
        let expected = [
            "session duplicateRouterID [tor] nodes n1, n2 show one router ID, 10.9.9.9, in AS 6",
            "session sessionDown [tor] is Active: refused",
        ];
        assert_eq!(told("n2", &reports), expected);
        assert_eq!(told("n1", &reports), ["route ok [tor] 10.0.4.1/32 is sent"], "what is up is told");
    }

    #[test]
    fn an_address_that_stays_behind_is_told_beside_the_one_that_is_announced() {
        let withheld = json!([
            {"service": "shop/db", "reason": "noEndpoints", "message": "of another Service"},
            {"service": "shop/web", "address": "fd00::1", "reason": "noEndpoints", "message": "no IPv6 endpoint"},
        ]);
        let sessions = json!([session("Established", "10.0.2.11")]);
        let status =
            json!({"sessions": sessions, "routes": [route()], "withheld": withheld, "withheldTotal": 1});
        let expected =
            ["endpoints noEndpoints [fd00::1] no IPv6 endpoint", "route ok [tor] 10.0.4.1/32 is sent"];
        assert_eq!(told("n1", &[report("n1", status)]), expected);
    }

    #[test]
    fn a_route_that_no_session_carries_breaks_the_chain() {
        let route = json!({"prefix": "fd00::1/128", "peers": [], "services": ["shop/web"]});
        let status = json!({"sessions": [session("Established", "10.0.2.11")], "routes": [route]});
        let expected = ["route familyNotCarried [] no session of this node carries routes of the addr"];
        assert_eq!(told("n1", &[report("n1", status)]), expected);
    }

    #[test]
    fn a_speaker_that_was_removed_announces_nothing() {
        let status = json!({"removed": true, "summary": "0/0"});
        let expected = ["speaker noReport [] the speaker was removed from this node and has wit"];
        assert_eq!(told("n1", &[report("n1", status)]), expected);
    }

    #[test]
    fn a_refusal_of_the_whole_service_ends_the_chain_whatever_its_word_is() {
        let check = |reason: &str, expected: &str| {
            let withheld = json!([{"service": "shop/web", "reason": reason, "message": "the sentence"}]);
            let status =
                json!({"sessions": [session("Idle", "10.0.2.11")], "withheld": withheld, "withheldTotal": 1});
            assert_eq!(told("n1", &[report("n1", status)]), [expected]);
        };
        for reason in WhyReason::ALL {
            check(reason.word(), &format!("{} {} [] the sentence", reason.subject(), reason.word()));
        }
        check("ofTomorrow", "decision ofTomorrow [] the sentence");
    }
}
