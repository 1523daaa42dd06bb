//! How long texts and lists may be, bounds of numbers, and the defaults that MetalLB has.
//!
//! Every text and list has an upper limit, because the API server counts the cost of the rules with it. The limits are
//! far above what people write; they refuse no manifest that MetalLB could act on.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::at;

const MAX_TEXT: u32 = 1024;
const MAX_LIST: u32 = 1024;
const MAX_MAP: u32 = 256;

/// Gives everything below this schema the general limits.
pub(crate) fn bound(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    let limit = match node.get("type").and_then(Value::as_str) {
        Some("string") if !node.contains_key("enum") && !node.contains_key("format") => {
            Some(("maxLength", MAX_TEXT))
        }
        Some("array") => Some(("maxItems", MAX_LIST)),
        Some("object") if node.contains_key("additionalProperties") => Some(("maxProperties", MAX_MAP)),
        Some(_) | None => None,
    };
    if let Some((key, limit)) = limit {
        node.entry(key).or_insert_with(|| json!(limit));
    }
    for child in
        node.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
    {
        bound(child);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            bound(child);
        }
    }
}

/// Gives the fields of this kind what is special about them.
///
/// # Errors
/// A field that does not exist.
pub(crate) fn apply(kind: &str, schema: &mut Value) -> Result<()> {
    for (of, path, special) in specials() {
        if of == kind {
            let node = at(schema, path)?.as_object_mut().with_context(|| format!("{path} has a schema"))?;
            let special = special.as_object().with_context(|| format!("what is special about {path}"))?;
            node.extend(special.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    Ok(())
}

fn specials() -> Vec<(&'static str, &'static str, Value)> {
    let interval = || json!({ "format": "int32", "minimum": 10, "maximum": 60000 });
    let timer = || json!({ "maxLength": 64 });
    let address = || json!({ "maxLength": 64 });
    vec![
        ("IPAddressPool", "spec.addresses", json!({ "maxItems": 2048 })),
        ("IPAddressPool", "spec.addresses[]", json!({ "maxLength": 128 })),
        ("IPAddressPool", "spec.autoAssign", json!({ "default": true })),
        ("IPAddressPool", "spec.avoidBuggyIPs", json!({ "default": false })),
        ("IPAddressPool", "spec.excluded[]", json!({ "maxLength": 128 })),
        ("IPAddressPool", "spec.reserved[].address", address()),
        ("IPAddressPool", "spec.reserved[].namespace", json!({ "maxLength": 253 })),
        ("IPAddressPool", "spec.reserved[].service", json!({ "maxLength": 253 })),
        ("IPAddressPool", "spec.releaseQuarantine", timer()),
        ("IPAddressPool", "spec.serviceAllocation.namespaces[]", json!({ "maxLength": 253 })),
        ("BGPPeer", "spec.localASN", json!({ "minimum": 1 })),
        ("BGPPeer", "spec.peerPort", json!({ "default": 179 })),
        ("BGPPeer", "spec.peerAddress", address()),
        ("BGPPeer", "spec.sourceAddress", address()),
        ("BGPPeer", "spec.routerID", address()),
        ("BGPPeer", "spec.interface", json!({ "maxLength": 64 })),
        ("BGPPeer", "spec.peerRange", address()),
        ("BGPPeer", "spec.listenPort", json!({ "minimum": 1, "maximum": 65535 })),
        ("BGPPeer", "spec.ttlSecurity", json!({ "minimum": 1, "maximum": 254 })),
        ("BGPPeer", "spec.holdTime", timer()),
        ("BGPPeer", "spec.keepaliveTime", timer()),
        ("BGPPeer", "spec.connectTime", timer()),
        ("BGPAdvertisement", "spec.aggregationLength", json!({ "minimum": 1, "maximum": 32, "default": 32 })),
        (
            "BGPAdvertisement",
            "spec.aggregationLengthV6",
            json!({ "minimum": 0, "maximum": 128, "default": 128 }),
        ),
        ("BGPAdvertisement", "spec.asPathPrepend", json!({ "format": "int32", "minimum": 0, "maximum": 32 })),
        ("BGPAdvertisement", "spec.maxNodes", json!({ "format": "int32", "minimum": 1, "maximum": 1024 })),
        ("BGPAdvertisement", "spec.communities", json!({ "maxItems": 512 })),
        ("BGPAdvertisement", "spec.communities[]", json!({ "maxLength": 253 })),
        ("BGPAdvertisement", "spec.ipAddressPools[]", json!({ "maxLength": 253 })),
        ("BGPAdvertisement", "spec.peers[]", json!({ "maxLength": 253 })),
        ("Community", "spec.communities[].name", json!({ "maxLength": 253 })),
        ("Community", "spec.communities[].value", json!({ "maxLength": 64 })),
        ("L2Advertisement", "spec.ipAddressPools[]", json!({ "maxLength": 253 })),
        ("L2Advertisement", "spec.preferredNodeSelectors[].weight", json!({ "minimum": 1, "maximum": 100 })),
        ("BFDProfile", "spec.receiveInterval", interval()),
        ("BFDProfile", "spec.transmitInterval", interval()),
        ("BFDProfile", "spec.echoInterval", interval()),
        ("BFDProfile", "spec.detectMultiplier", json!({ "format": "int32", "minimum": 2, "maximum": 255 })),
        ("BFDProfile", "spec.minimumTtl", json!({ "format": "int32", "minimum": 1, "maximum": 254 })),
        ("ConfigurationState", "status.errorSummary", json!({ "maxLength": 65536 })),
        ("SpeakerState", "status.withheld", json!({ "maxItems": 100 })),
        ("SpeakerState", "status.routes", json!({ "maxItems": 100 })),
        ("SpeakerState", "status.sessions[].lastError", json!({ "maxLength": 4096 })),
    ]
}
