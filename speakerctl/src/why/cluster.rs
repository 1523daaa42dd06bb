//! The chain as far as the API has it: the Service itself, the controller's words, and what each speaker reports.

use std::path::Path;

use api::herald::{Told, WhyLink, WhyReport};
use api::service::{Ingress, ServiceKey, ServiceView};

use crate::args::ReachArgs;
use crate::failure::Failure;
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
        return Ok(vec![report("every node", vec![WhyLink::fails("service", "notFound", text)])]);
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
        links.push(WhyLink::fails("speaker", "noReport", text));
        return Ok(vec![report("every node", links)]);
    }
    let chain = |of: &Report| {
        let mut links = links.clone();
        on_node(of, service, &view, &mut links);
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
        links.push(WhyLink::fails("service", "notLoadBalancer", text));
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
            Ok(true)
        }
        Ingress::Invalid(text) => {
            let text =
                format!("its status holds \"{text}\", which is no address; another controller wrote it");
            links.push(WhyLink::fails("address", "invalidIP", text));
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
    let missing = |text: String| WhyLink::fails("address", "noIPAllocated", text);
    if let Some(condition) = view.condition.as_ref().filter(|condition| !condition.holds) {
        return Ok(missing(format!("the Service has no address: {}", condition.message)));
    }
    if let Some(warning) = cluster.warning(&view.key).await? {
        return Ok(missing(format!("the Service has no address: {warning}")));
    }
    Ok(match cluster.leader().await? {
        None => WhyLink::fails(
            "controller",
            "noController",
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
fn on_node(report: &Report, service: &ServiceKey, view: &ServiceView, links: &mut Vec<WhyLink>) {
    let name = service.to_string();
    let status = &report.status;
    if let Some(withheld) = status.withheld.iter().find(|withheld| withheld.service == name) {
        links.push(WhyLink::fails(subject(&withheld.reason), &withheld.reason, withheld.message.clone()));
        return;
    }
    if status.sessions.is_empty() {
        links.push(WhyLink::fails("peer", "noPeer", "no BGPPeer selects this node"));
        return;
    }
    let mut known = false;
    for route in status.routes.iter().filter(|route| route.services.contains(&name)) {
        known = true;
        for peer in &route.peers {
            let session = status.sessions.iter().find(|session| session.peer == peer.peer);
            let state = session.map_or("gone", |session| session.state.as_str());
            let error = session.and_then(|session| session.last_error.as_ref());
            let link = match (state == "Established", peer.told) {
                (true, Told::Sent | Told::Acknowledged) => {
                    WhyLink::holds("route", format!("{} is sent", route.prefix))
                }
                (true, Told::SessionDown | Told::Pending) => {
                    let text = format!("{} was not sent yet when the speaker last reported", route.prefix);
                    WhyLink::fails("route", "pending", text)
                }
                (false, _) => {
                    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
                    WhyLink::fails("session", "sessionDown", format!("is {state}{why}"))
                }
            };
            links.push(link.towards(&peer.peer));
        }
    }
    if !known {
        links.push(unlisted(report, view));
    }
}

/// The Service is neither among the routes nor among what is withheld.
fn unlisted(report: &Report, view: &ServiceView) -> WhyLink {
    let status = &report.status;
    let listed = status.withheld.len();
    let all = usize::try_from(status.withheld_total).unwrap_or(usize::MAX);
    let routes = usize::try_from(status.announced_prefixes).unwrap_or(usize::MAX);
    if all > listed || routes > status.routes.len() {
        let text = "the SpeakerState lists only the first Services and routes, and not this one; ask the speaker itself";
        return WhyLink::fails("speaker", "notListed", text);
    }
    match &view.class {
        Some(class) => {
            let text = format!(
                "the speaker does not serve class {class}, or has not reported since it saw the Service"
            );
            WhyLink::fails("service", "classNotOurs", text)
        }
        None => {
            let text = "no session of this node is meant by the BGPAdvertisements, or the speaker has not reported since it saw the Service";
            WhyLink::fails("peer", "notListed", text)
        }
    }
}

/// What a reason is about; a speaker of another version may have reasons that are not known here.
fn subject(reason: &str) -> &'static str {
    match reason {
        "serviceDeleted" | "notLoadBalancer" => "service",
        "noIPAllocated" | "invalidIP" | "loadBalancerIPChanged" => "address",
        "ipNotAllowed" => "pool",
        "notChosen" => "width",
        "noLocalEndpoints" | "noEndpoints" => "endpoints",
        "nodeNetworkUnavailable" | "nodeLabeledExcludeBalancers" | "draining" | "nodeBeingDeleted" => "node",
        _ => "advertisement",
    }
}
