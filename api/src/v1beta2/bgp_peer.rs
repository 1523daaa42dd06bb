//! `BGPPeer`: a router to which nodes keep a BGP session.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A router, and the BGP session with it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    status = "BGPPeerStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "BGPPeer is a router to which nodes keep a BGP session.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = "1")
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// AS number of the nodes in this session.
    #[serde(rename = "myASN")]
    pub my_asn: u32,
    /// AS number of the router. Either this or dynamicASN.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    pub peer_asn: Option<u32>,
    /// AS number shown to this router in place of myASN.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<u32>,
    /// Take the AS number from the router's OPEN: internal accepts only myASN, external accepts any other. Either this
    /// or peerASN.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// Address of the router, IPv4 or IPv6. Exactly one of this, interface, defaultGateway and peerRange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// Interface on which the router is found by its link-local address (unnumbered BGP): it is the one that sends
    /// router advertisements there. IPv4 routes then have an IPv6 next hop (RFC 8950). A router that learns the nodes
    /// in the same way hears of a node only if its speaker may send advertisements, too (capability NET_RAW).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Address of the node from which the session is opened. It must exist on the node. Unset leaves the choice to the
    /// routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// TCP port of the router. Unset or 0 means 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// How long the router may be silent before the session is given up: 0s (never) or 3s to 65535s. Unset proposes
    /// 15s. The smaller of both sides' proposals is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// How often we tell the router that we are there. Unset means a third of the hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// Longest wait between two attempts to connect, whole seconds from 1s to 65535s. Unset means 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<String>,
    /// BGP identifier of the nodes in this session, written as an IPv4 address. Only sensible for one node; unset
    /// takes a different one on each node.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Labels of the nodes that open the session; any one selector is enough, none means all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// TCP MD5 password of the session, readable by everyone who may read this object; passwordSecret is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Secret of type kubernetes.io/basic-auth, in the namespace of this object, whose key `password` is the TCP MD5
    /// password of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// Name of the BFDProfile for this session. A name that does not exist keeps the session down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Whether routes survive a planned restart of a node's speaker. Unset means true; false leaves the capability
    /// out. Cannot be changed from true to false or back; the field may be added and taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_graceful_restart: Option<bool>,
    /// The router is more than one hop away: BFD is then multihop (RFC 5883). The BGP session itself needs no setting,
    /// because packets always leave with TTL 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// Routing instance of the session. Accepted; this version does not open such sessions and says so in the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Without effect, kept for old manifests.
    #[serde(default, rename = "disableMP", skip_serializing_if = "Option::is_none")]
    pub disable_mp: Option<bool>,
    /// Announce IPv4 and IPv6 routes on this one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dual_stack_address_family: Option<bool>,
    /// Herald extension. The router is the default gateway of each node, in this family. In place of peerAddress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<GatewayFamily>,
    /// Herald extension. A network such as 10.0.2.0/24: each router in it may open a session with each node, at most 32
    /// on one node. In place of peerAddress; the nodes never dial and speak only after the router has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_range: Option<String>,
    /// Herald extension. Who opens the connection: Active (the node; default), Passive (the router) or Both. Unless it
    /// is Active, the node listens on listenPort and takes connections of this router only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_mode: Option<ConnectMode>,
    /// Herald extension. TCP port on which the node listens where connectMode or peerRange asks for it. Unset means 179,
    /// for which the speaker needs the capability NET_BIND_SERVICE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// Herald extension. Take only packets that have come over at most so many hops (RFC 5082), 1 for a router on the
    /// same network. The router must send with TTL 255 (FRR: ttl-security, BIRD: ttl security). Unset means no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// Herald extension. Check the routes that the router sends for faults, count and log them. They are never used. A fault
    /// for which RFC 7606 has no milder answer ends the session. Unset means false: updates are counted and dropped
    /// unread, and nothing in them can end the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspect_updates: Option<bool>,
    /// Herald extension. Secret of type kubernetes.io/basic-auth, in the namespace of this object, for signing the session
    /// with TCP-AO (RFC 5925) in place of a password: its key `password` is the master key, `sendID` and `recvID` are
    /// numbers from 0 to 255, `algorithm` is hmac-sha-1-96, aes-128-cmac-96 or hmac-sha-256-96. The kernel of each node
    /// must have CONFIG_TCP_AO; where it has not, the session stays down and says so.
    #[serde(default, rename = "tcpAOSecret", skip_serializing_if = "Option::is_none")]
    pub tcp_ao_secret: Option<SecretReference>,
}

/// Who opens the TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConnectMode {
    /// The node dials.
    Active,
    /// The router dials.
    Passive,
    /// Either; of two connections at once one is closed (RFC 4271 §6.8).
    Both,
}

/// The family of a default gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GatewayFamily {
    /// The IPv4 default route.
    IPv4,
    /// The IPv6 default route.
    IPv6,
}

/// Where the AS number of a router comes from when it is not written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// The router must be in our AS (iBGP).
    Internal,
    /// The router must be in another AS (eBGP).
    External,
}

/// Name of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret. Empty counts as no Secret at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ignored: the Secret is always looked up in the namespace of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Whether the peer was accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerStatus {
    /// Herald extension. Whether the peer was accepted, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
