//! `BGPAdvertisement`: how the addresses of pools are told to routers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::absent::may_be_absent;
use crate::schema;

/// How the addresses of some pools are announced by BGP.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    status = "BGPAdvertisementStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "BGPAdvertisement says how the addresses of pools are announced to BGP routers.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(
        name = "Node Selectors",
        type_ = "string",
        json_path = ".spec.nodeSelectors",
        priority = "10"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "10")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct BGPAdvertisementSpec {
    /// Prefix length of announced IPv4 routes. 32 announces each address by itself; a smaller number announces the
    /// network around it, which must lie inside the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation_length: Option<i32>,
    /// Prefix length of announced IPv6 routes; 128 announces each address by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation_length_v6: Option<i32>,
    /// LOCAL_PREF of the routes on iBGP sessions. Unset or 0 means 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// Communities of the routes: `64500:100`, `large:64500:1:2`, or an alias that a Community object defines. Herald
    /// extension: the names no-export, no-advertise, no-export-subconfed, no-peer, no-llgr, blackhole and
    /// graceful-shutdown are known, unless a Community object defines them otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// Names of the pools to announce.
    #[serde(default, rename = "ipAddressPools", skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pools: Vec<String>,
    /// Labels of further pools to announce; any one selector is enough. With neither names nor selectors, every pool
    /// is announced.
    #[serde(default, rename = "ipAddressPoolSelectors", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Labels of the nodes that announce; any one selector is enough, none means all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Names of the BGPPeers that are told; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Labels of the Services to announce; any one selector is enough, none means all. Cannot be combined with
    /// aggregation, because a network carries other Services too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Herald extension. MULTI_EXIT_DISC of the routes: among paths from one AS routers prefer the lowest. Unset sends
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// Herald extension. How often our AS number stands in the path of eBGP routes beyond the one time, 0 to 32: routers
    /// prefer shorter paths.
    #[serde(default, rename = "asPathPrepend", skip_serializing_if = "Option::is_none")]
    pub as_path_prepend: Option<u8>,
    /// Herald extension. Asks routers to prefer any other way to these addresses: the community GRACEFUL_SHUTDOWN
    /// (65535:0) and LOCAL_PREF 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub graceful_shutdown: bool,
    /// Herald extension. What the link bandwidth community follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_bandwidth: Option<LinkBandwidth>,
    /// Herald extension. What happens to the routes of a Service without a ready endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_endpoints: Option<WithoutEndpoints>,
    /// Herald extension. At most so many nodes announce an address, 1 to 1024: the same ones on every look, chosen among
    /// those that could, evenly over all addresses. Unset lets every node announce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<u16>,
}

/// Herald extension. Endpoints sends each route of a Service with externalTrafficPolicy Local with the link bandwidth
/// community, 1 Gbit/s for each ready endpoint on the node, so that routers which know it (FRR and what is built on it)
/// spread traffic by endpoints and not by nodes. Off sends none. Unset means Off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum LinkBandwidth {
    /// It is not sent.
    #[default]
    Off,
    /// The number of ready endpoints on the node.
    Endpoints,
}

/// Herald extension. What happens to a Service with externalTrafficPolicy Cluster that has no ready endpoint: Withdraw,
/// or Keep, where the nodes refuse connections instead of the router. Unset means Withdraw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WithoutEndpoints {
    /// They are withdrawn.
    #[default]
    Withdraw,
    /// They stay.
    Keep,
}

may_be_absent!(BGPAdvertisementSpec);

/// Whether the advertisement was accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPAdvertisementStatus {
    /// Herald extension. Whether the advertisement was accepted, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
