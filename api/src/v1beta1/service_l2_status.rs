//! `ServiceL2Status`: which node announces a Service by ARP and NDP. Herald never writes one.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::absent::may_be_absent;

/// Nothing: this kind only has a status.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ServiceL2Status",
    plural = "servicel2statuses",
    namespaced,
    status = "ServiceL2StatusStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "ServiceL2Status tells which node announces a Service by ARP and NDP.",
    printcolumn(name = "Allocated Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Service Name", type_ = "string", json_path = ".status.serviceName"),
    printcolumn(name = "Service Namespace", type_ = "string", json_path = ".status.serviceNamespace")
)]
#[serde(remote = "Self")]
pub struct ServiceL2StatusSpec {}

may_be_absent!(ServiceL2StatusSpec);

/// Which node announces the Service, and on which interfaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceL2StatusStatus {
    /// Node that announces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Name of the Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// Namespace of the Service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_namespace: String,
    /// Interfaces on which the node answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<L2Interface>,
}

/// A network interface of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct L2Interface {
    /// Name of the interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}
