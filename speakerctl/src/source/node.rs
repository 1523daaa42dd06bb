//! A Node, reduced to its name and to what it says of its readiness.
//!
//! A Node of a real cluster has kilobytes of images and addresses; they are passed over while reading.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;

/// What is read of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimNode {
    metadata: ObjectMeta,
    status: Option<NodeStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    conditions: Option<Vec<NodeCondition>>,
}

/// One condition of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeCondition {
    #[serde(rename = "type")]
    kind: String,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    pub(crate) last_transition_time: Option<Time>,
}

impl SlimNode {
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its condition `Ready`; `None` where nobody has written one yet.
    pub(crate) fn readiness(&self) -> Option<&NodeCondition> {
        let conditions = self.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.kind == "Ready")
    }
}

api::stands_for!(SlimNode, k8s_openapi::api::core::v1::Node);
