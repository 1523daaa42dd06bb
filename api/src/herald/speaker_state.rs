//! `SpeakerState`: what one node's speaker does, in one small object.
//!
//! The same structure answers `GET /state` on the speaker's local socket, so that it can be read when the API server
//! is away.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::RouteState;
use crate::absent::may_be_absent;
use crate::schema;

/// Most withheld Services that one object lists; `withheldTotal` counts all of them.
pub const MAX_WITHHELD_LISTED: usize = 100;
/// Most routes that one object lists; `announcedPrefixes` counts their prefixes.
pub const MAX_ROUTES_LISTED: usize = 100;
/// Most connected networks that one object lists.
pub const MAX_NETWORKS_LISTED: usize = 32;

/// Nothing: this kind only has a status.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "herald-lb.io",
    version = "v1beta1",
    kind = "SpeakerState",
    plural = "speakerstates",
    shortname = "hss",
    namespaced,
    status = "SpeakerStateStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "SpeakerState tells what the speaker of the node of the same name does: its BGP sessions, how many prefixes it announces, and which Services it does not announce and why.",
    printcolumn(name = "Sessions", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Announced", type_ = "integer", json_path = ".status.announcedPrefixes"),
    printcolumn(name = "Withheld", type_ = "integer", json_path = ".status.withheldTotal"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(remote = "Self")]
pub struct SpeakerStateSpec {}

may_be_absent!(SpeakerStateSpec);

/// The BGPPeer of a session, by the session's name: that is the BGPPeer's own, and `NAME@ADDRESS` for each router of a
/// `peerRange` that has called.
#[must_use]
pub fn peer_of(session: &str) -> &str {
    session.split_once('@').map_or(session, |(peer, _)| peer)
}

/// What the speaker does at the moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerStateStatus {
    /// Version of the speaker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Established sessions out of all, for example `1/2`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Whether the speaker was removed from this node: its routes are withdrawn, its sessions ended, and this is its last word.
    #[serde(default, skip_serializing_if = "is_false")]
    pub removed: bool,
    /// The sessions, one for each BGPPeer that selects this node, sorted by peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionState>,
    /// Number of different prefixes that are announced on at least one session.
    #[serde(default)]
    pub announced_prefixes: u32,
    /// What routers are told, sorted by prefix; the first 100 routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteState>,
    /// Networks that the interfaces of this node are connected to, sorted; the first 32. The controller compares pools
    /// with them: machines in such a network do not ask a router for the addresses in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connected_networks: Vec<String>,
    /// Services that this node does not announce, and addresses of those that it announces in part, sorted by name; the
    /// first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<WithheldService>,
    /// Number of Services that this node does not announce at all, those beyond the list included.
    #[serde(default)]
    pub withheld_total: u32,
}

// serde hands a reference.
fn is_false(value: &bool) -> bool {
    !*value
}

impl SpeakerStateStatus {
    /// Established sessions out of all, as the field `summary` shows them.
    #[must_use]
    pub fn session_summary(sessions: &[SessionState]) -> String {
        let established = sessions.iter().filter(|session| session.state == "Established").count();
        format!("{established}/{}", sessions.len())
    }
}

/// One BGP session of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionState {
    /// Name of the BGPPeer.
    pub peer: String,
    /// Address of the router.
    #[serde(default)]
    pub address: String,
    /// TCP port of the router.
    #[serde(default)]
    pub port: u16,
    /// AS number of the router; 0 while it is not known yet.
    #[serde(default)]
    pub asn: u32,
    /// AS number that we show to the router.
    #[serde(default)]
    pub local_asn: u32,
    /// Idle, Connect, Active, OpenSent, OpenConfirm, Established, or Refused when the peer may not be dialled.
    pub state: String,
    /// Since when the session is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Time>,
    /// Number of prefixes that the router has been told.
    #[serde(default)]
    pub prefixes_sent: u32,
    /// Hold time agreed with the router, in seconds; 0 means off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time_seconds: Option<u16>,
    /// Interval of our KEEPALIVEs, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_seconds: Option<u16>,
    /// BGP identifier of the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// BGP identifier that we show to the router; unset while nothing is tried. Two nodes with one AS number must not
    /// have the same (RFC 6286).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_router_id: Option<String>,
    /// Our address in the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<String>,
    /// Why the session last went down or does not come up, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_error_at: Option<Time>,
    /// How often the session came up since the speaker started.
    #[serde(default)]
    pub established_count: u32,
    /// BGP messages sent since the speaker started.
    #[serde(default)]
    pub messages_sent: u64,
    /// BGP messages received since the speaker started.
    #[serde(default)]
    pub messages_received: u64,
    /// State of the BFD session beside this one: Up, Init, Down, or AdminDown when it is switched off on the router.
    /// Unset where the BGPPeer names no BFD profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<String>,
    /// How long BFD bears silence, as agreed with the router, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_detection_milliseconds: Option<u32>,
    /// Why BFD is not up, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_message: Option<String>,
}

/// A Service that the node does not announce, or one address of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WithheldService {
    /// Namespace and name, with a slash between them.
    pub service: String,
    /// The address, where others of the Service are announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The reason in one word, as in logs and metrics.
    pub reason: String,
    /// The reason in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The answer of the speaker's local socket to `GET /state`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerReport {
    /// Name of the node.
    pub node: String,
    /// What the speaker does at the moment.
    pub status: SpeakerStateStatus,
}
