//! `BGPPeer` as the deprecated `metallb.io/v1beta1` shows it: the same fields as `v1beta2`, under the older version.
//!
//! Both versions have one schema, so that reading and writing through the old one loses nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::v1beta2::{BGPPeerSpec, BGPPeerStatus};

/// A router to which nodes keep a BGP session, in the deprecated version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BGPPeer {
    /// Name, namespace, labels and the rest of the metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The router and the session with it.
    pub spec: BGPPeerSpec,
    /// Whether the peer was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BGPPeerStatus>,
}

crate::stands_for!(BGPPeer, crate::v1beta2::BGPPeer, version "v1beta1".into());

/// The same peer in the current version.
impl From<BGPPeer> for crate::v1beta2::BGPPeer {
    fn from(old: BGPPeer) -> Self {
        Self { metadata: old.metadata, spec: old.spec, status: old.status }
    }
}
