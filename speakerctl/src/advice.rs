//! The next command to try, by the reason that does not hold.

use api::service::ServiceKey;

/// What to run or look at next; `None` where the sentence of the reason says all there is.
pub(crate) fn next(reason: &str, service: &ServiceKey, node: &str, namespace: &str) -> Option<String> {
    let ServiceKey { namespace: of, name } = service;
    let service_object = || format!("kubectl -n {of} describe service {name}");
    let advertisements = || format!("kubectl -n {namespace} get bgpadvertisements -o wide");
    Some(match reason {
        "notFound" | "classNotOurs" => format!("kubectl -n {of} get service {name} -o wide"),
        "notLoadBalancer" | "noIPAllocated" | "invalidIP" => service_object(),
        "noController" => format!("kubectl -n {namespace} get pods -l component=controller"),
        "ipNotAllowed" => format!("kubectl -n {namespace} get ipaddresspools"),
        "notChosen" | "notOwner" | "noMatchingAdvertisement" | "peerNotSelected" => advertisements(),
        "conflictingAdvertisements" => format!("kubectl -n {namespace} get bgpadvertisements -o yaml"),
        "advertisementWithheld" => {
            format!("kubectl -n {namespace} describe bgpadvertisements")
        }
        "nodeNetworkUnavailable" | "nodeLabeledExcludeBalancers" | "draining" | "nodeBeingDeleted" => {
            format!("kubectl describe node {node}")
        }
        "noLocalEndpoints" | "noEndpoints" => {
            format!("kubectl -n {of} get endpointslices -l kubernetes.io/service-name={name} -o wide")
        }
        "noPeer" => format!("kubectl -n {namespace} get bgppeers -o yaml"),
        "sessionDown" => format!("speakerctl peers {node} -n {namespace}"),
        "pending" => format!("speakerctl routes {node} --watch -n {namespace}"),
        "notSynced" | "silent" | "noReport" => {
            format!(
                "kubectl -n {namespace} get pods -l component=speaker --field-selector spec.nodeName={node}"
            )
        }
        "notListed" => format!(
            "kubectl -n {namespace} exec POD -- /speakerctl why {of}/{name}, with the speaker's Pod on node {node}"
        ),
        _ => return None,
    })
}
