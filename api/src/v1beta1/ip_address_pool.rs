//! `IPAddressPool`: the addresses that may be given to Services.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Addresses that may be given to Services of type LoadBalancer.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    plural = "ipaddresspools",
    namespaced,
    status = "IPAddressPoolStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "IPAddressPool is a set of addresses that may be given to Services of type LoadBalancer.",
    printcolumn(name = "Auto Assign", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Avoid Buggy IPs", type_ = "boolean", json_path = ".spec.avoidBuggyIPs"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// The addresses: CIDRs (`10.0.4.0/23`) or ranges (`10.0.4.1-10.0.4.99`), IPv4 and IPv6 side by side. They are
    /// handed out in the order written here, lowest address first.
    pub addresses: Vec<String>,
    /// Whether Services get an address from here without asking for this pool. Unset means true. With false, only a
    /// Service that names the pool or one of its addresses gets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_assign: Option<bool>,
    /// Leave out IPv4 addresses that end in .0 or .255, because some old routers drop traffic to them.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Which Services may use this pool. Unset means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
    /// Herald extension. Addresses that are never handed out: a DHCP range, printers, a gateway. Networks, ranges or
    /// single addresses. One that is in use already stays with its Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<String>,
    /// Herald extension. Addresses that wait for one Service each, also before it exists and after it is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<Reservation>,
    /// Herald extension. Leave out the first and last address of each IPv4 network written above, and the all-zero
    /// host of each IPv6 network. One that is in use already stays with its Service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_network_and_broadcast: bool,
    /// Herald extension. What an edit of the pool does to addresses in use that it no longer hands out: Keep leaves them
    /// with their Services, Renumber gives the Services new ones. Unset means what the controller is set to (Keep).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit_policy: Option<EditPolicy>,
    /// Herald extension. How long a released address rests before another Service gets it, such as 60s; 0s turns it
    /// off. Only a Service of the same namespace and name gets it back earlier. Skipped when nothing else is left.
    /// Unset means what the controller is set to (60s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_quarantine: Option<String>,
    /// Herald extension. No new addresses from here; Services keep the ones they have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Herald extension. Which free address is handed out: Lowest, or Spread (a place that follows from the Service's
    /// namespace and name, so that addresses are rarely used by two Services one after the other). Unset means Lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
}

/// An address that waits for one Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// An address of this pool.
    pub address: String,
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
}

/// What an edit of a pool does to addresses in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum EditPolicy {
    /// Services keep them.
    #[default]
    Keep,
    /// Services get new ones, as with MetalLB.
    Renumber,
}

/// Which free address of a pool is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Selection {
    /// The lowest of the first range that has one.
    #[default]
    Lowest,
    /// One whose place follows from the Service's namespace and name.
    Spread,
}

/// Which Services may use a pool, and which pool they try first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Order among the pools that fit a Service: the lower number is tried first, 0 or unset last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Namespaces whose Services may use the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Labels of further namespaces whose Services may use the pool; any one selector is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Labels of the Services that may use the pool; any one selector is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

/// How full the pool is, and whether it was accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolStatus {
    /// Number of IPv4 addresses in use.
    #[serde(default, rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// Number of IPv6 addresses in use.
    #[serde(default, rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// Number of IPv4 addresses still free.
    #[serde(default, rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// Number of IPv6 addresses still free; a very large pool shows the largest 64-bit number.
    #[serde(default, rename = "availableIPv6")]
    pub available_ipv6: i64,
    /// Herald extension. Released addresses that rest: nobody else gets them before their time, as long as others are
    /// left. A controller that takes over reads them here. At most 100, those that rest longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub resting: Vec<RestingAddress>,
    /// Herald extension. Whether the pool was accepted, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A released address that rests before another Service gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestingAddress {
    /// The address.
    pub address: String,
    /// Namespace of the Service that had it, and gets it back at any moment.
    pub namespace: String,
    /// Name of that Service.
    pub service: String,
    /// When the rest ends, as RFC 3339 has it, in whole seconds.
    pub until: String,
}
