//! What is read of the network around the pools: addresses and pod networks of nodes, the cluster's Service networks, and
//! the networks that nodes are connected to, as their speakers report them.
//!
//! Leaves out what follows from them.

use std::net::IpAddr;

use api::herald::SpeakerState;
use api::range::AddressRange;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// What matters of a Node or a ServiceCIDR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Addresses of the node itself.
    pub(crate) addresses: Vec<IpAddr>,
    /// Networks inside the cluster.
    pub(crate) networks: Vec<AddressRange>,
}

/// A Node with only the fields that matter here. Every field may be absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNode {
    #[serde(deserialize_with = "name_and_version")]
    metadata: ObjectMeta,
    spec: Option<NodeSpec>,
    status: Option<NodeStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeSpec {
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    address: Option<String>,
}

impl SlimNode {
    pub(crate) fn place(&self) -> Place {
        let texts = self.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let addresses = texts.filter_map(|one| one.address.as_deref()?.parse().ok());
        let networks = self.spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten());
        Place { addresses: addresses.collect(), networks: ranges(networks) }
    }
}

/// A ServiceCIDR, likewise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimServiceCidr {
    #[serde(deserialize_with = "name_and_version")]
    metadata: ObjectMeta,
    spec: Option<CidrSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct CidrSpec {
    cidrs: Option<Vec<String>>,
}

impl SlimServiceCidr {
    pub(crate) fn place(&self) -> Place {
        let networks = self.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
        Place { addresses: Vec::new(), networks: ranges(networks) }
    }
}

/// A SpeakerState, likewise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimSpeakerState {
    #[serde(deserialize_with = "name_and_version")]
    metadata: ObjectMeta,
    status: Option<SpeakerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpeakerStatus {
    connected_networks: Option<Vec<String>>,
}

impl SlimSpeakerState {
    /// The networks that the node of the same name is connected to.
    pub(crate) fn place(&self) -> Place {
        let networks = self.status.iter().flat_map(|status| status.connected_networks.iter().flatten());
        Place { addresses: Vec::new(), networks: ranges(networks) }
    }
}

/// What is no network is left out: it is for the API server to say so.
fn ranges<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<AddressRange> {
    texts.filter_map(|text| AddressRange::parse(text).ok()).collect()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    name: Option<String>,
    resource_version: Option<String>,
}

fn name_and_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let head = Option::<Head>::deserialize(deserializer)?.unwrap_or_default();
    Ok(ObjectMeta { name: head.name, resource_version: head.resource_version, ..ObjectMeta::default() })
}

api::stands_for!(SlimNode, Node);
api::stands_for!(SlimServiceCidr, ServiceCIDR);
api::stands_for!(SlimSpeakerState, SpeakerState);
api::from_json!(SlimNode, SlimServiceCidr, SlimSpeakerState);

#[cfg(test)]
mod tests {
    use kube::Resource as _;

    use super::*;

    #[test]
    fn of_a_node_its_addresses_and_pod_networks_are_read() {
        let node: SlimNode = serde_json::from_str(
            r#"{"metadata":{"name":"n1","resourceVersion":"7","managedFields":[]},
                "spec":{"podCIDR":"10.42.0.0/24","podCIDRs":["10.42.0.0/24","fd42::/64"]},
                "status":{"addresses":[{"type":"InternalIP","address":"10.0.2.11"},{"type":"Hostname","address":"n1"}]}}"#,
        )
        .unwrap();
        assert_eq!(node.meta().name.as_deref(), Some("n1"));
        let place = node.place();
        assert_eq!(place.addresses, ["10.0.2.11".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            place.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.42.0.0/24", "fd42::/64"]
        );
        let empty: SlimNode = serde_json::from_str(r#"{"metadata":null,"spec":null,"status":null}"#).unwrap();
        assert_eq!(empty.place(), Place::default());
    }

    #[test]
    fn of_a_speaker_state_the_connected_networks_are_read() {
        let state: SlimSpeakerState = serde_json::from_str(
            r#"{"metadata":{"name":"n1"},"spec":{},
                "status":{"version":"0.1.0","sessions":[{"peer":"router"}],"connectedNetworks":["10.0.2.0/23","no network"]}}"#,
        )
        .unwrap();
        assert_eq!(state.place().networks, [AddressRange::parse("10.0.2.0/23").unwrap()]);
        let older: SlimSpeakerState = serde_json::from_str(r#"{"status":{"version":"0.0.9"}}"#).unwrap();
        assert_eq!(older.place(), Place::default());
        assert_eq!(SlimSpeakerState::plural(&()), "speakerstates");
    }

    #[test]
    fn of_a_service_cidr_its_networks_are_read() {
        let cidr: SlimServiceCidr =
            serde_json::from_str(r#"{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16"]}}"#)
                .unwrap();
        assert_eq!(cidr.place().networks.len(), 1);
        assert_eq!(SlimServiceCidr::plural(&()), "servicecidrs");
    }
}
