//! The next command to try, by the reason that does not hold.

use api::herald::WhyReason;
use api::service::ServiceKey;

/// What to run or look at next; `None` where the sentence of the reason says all there is, and for a reason of another
/// version.
pub(crate) fn next(reason: &str, service: &ServiceKey, node: &str, namespace: &str) -> Option<String> {
    let (of, name) = service.parts();
    let herald = |what: &str| format!("kubectl -n {namespace} {what}");
    Some(match WhyReason::of_word(reason)? {
        WhyReason::Usage | WhyReason::ServiceDeleted | WhyReason::LoadBalancerIpChanged => return None,
        WhyReason::NotFound | WhyReason::ClassNotOurs => {
            format!("kubectl -n {of} get service {name} -o wide")
        }
        WhyReason::NotLoadBalancer | WhyReason::NoIpAllocated | WhyReason::InvalidIp => {
            format!("kubectl -n {of} describe service {name}")
        }
        WhyReason::NoController => herald("get pods -l component=controller"),
        WhyReason::IpNotAllowed => herald("get ipaddresspools"),
        WhyReason::NotChosen
        | WhyReason::NotOwner
        | WhyReason::NoMatchingAdvertisement
        | WhyReason::PeerNotSelected => herald("get bgpadvertisements -o wide"),
        WhyReason::ConflictingAdvertisements => herald("get bgpadvertisements -o yaml"),
        WhyReason::AdvertisementWithheld => herald("describe bgpadvertisements"),
        WhyReason::NodeNetworkUnavailable
        | WhyReason::NodeLabeledExcludeBalancers
        | WhyReason::Draining
        | WhyReason::NodeBeingDeleted => format!("kubectl describe node {node}"),
        WhyReason::NoLocalEndpoints | WhyReason::NoEndpoints => {
            format!("kubectl -n {of} get endpointslices -l kubernetes.io/service-name={name} -o wide")
        }
        WhyReason::NoPeer | WhyReason::DuplicateRouterId | WhyReason::FamilyNotCarried => {
            herald("get bgppeers -o yaml")
        }
        WhyReason::SessionDown => format!("speakerctl peers {node} -n {namespace}"),
        WhyReason::Pending => format!("speakerctl routes {node} --watch -n {namespace}"),
        WhyReason::NotSynced | WhyReason::Silent | WhyReason::NoReport => {
            herald(&format!("get pods -l component=speaker --field-selector spec.nodeName={node}"))
        }
        WhyReason::NotListed => {
            herald(&format!("exec POD -- /speakerctl why {of}/{name}, with the speaker's Pod on node {node}"))
        }
    })
}
