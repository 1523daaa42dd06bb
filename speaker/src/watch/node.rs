//! The own Node: what is read of it, and whether it is about to leave the cluster. Pure.

use api::names::taint;
use api::selector::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};

use super::convert::{SlimMeta, null_is_default};
use crate::decide::snapshot::{Leaving, NodeFacts};

/// A Node as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimNode {
    #[serde(default, deserialize_with = "node_meta")]
    pub(super) metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    spec: SlimNodeSpec,
    #[serde(default, deserialize_with = "null_is_default")]
    status: SlimNodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct SlimNodeSpec {
    #[serde(default, deserialize_with = "null_is_default")]
    taints: Vec<SlimTaint>,
}

/// A taint as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SlimTaint {
    /// What repels.
    #[serde(default)]
    pub key: String,
    /// Empty where the taint has none.
    #[serde(default, deserialize_with = "null_is_default")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[serde(default)]
    pub effect: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct SlimNodeStatus {
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: Vec<SlimNodeCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct SlimNodeCondition {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
}

impl SlimNodeCondition {
    /// The kubelet has no condition of its own for a graceful shutdown in the versions of today: it says so in the
    /// message of `Ready`. A node that is not ready for any other reason does not leave. The condition of KEP-5683 is
    /// read as well.
    fn means_shutdown(&self) -> bool {
        let told = |kind, status| self.kind == kind && self.status == status;
        told("Ready", "False") && self.message.contains("node is shutting down")
            || told("GracefulNodeShutdownInProgress", "True")
    }
}

/// What this speaker knows of its own Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// What decisions are made from. A drain is not in it yet: when its stages begin is not the object's to say.
    pub facts: NodeFacts,
    /// `metadata.uid`, for the owner reference of the node's own objects.
    pub uid: String,
    /// Why the node is about to leave the cluster, if it is.
    pub leaving: Option<Leaving>,
}

impl SlimNode {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// What repels Pods.
    #[must_use]
    pub fn taints(&self) -> &[SlimTaint] {
        &self.spec.taints
    }

    /// Why the node is about to leave the cluster, if it is.
    #[must_use]
    pub fn leaving(&self) -> Option<Leaving> {
        let has = |wanted: &[&str]| self.taints().iter().any(|taint| wanted.contains(&taint.key.as_str()));
        if self.metadata.deletion_timestamp.is_some() {
            Some(Leaving::Deleted)
        } else if has(&[taint::TO_BE_DELETED]) {
            Some(Leaving::Autoscaler)
        } else if has(&[taint::KARPENTER_DISRUPTED, taint::KARPENTER_DISRUPTION]) {
            Some(Leaving::Karpenter)
        } else if has(&[taint::OUT_OF_SERVICE]) {
            Some(Leaving::OutOfService)
        } else if self.status.conditions.iter().any(SlimNodeCondition::means_shutdown) {
            Some(Leaving::ShuttingDown)
        } else {
            None
        }
    }

    /// What is known of the node.
    #[must_use]
    pub fn view(&self) -> NodeView {
        let unavailable = |condition: &SlimNodeCondition| {
            condition.kind == "NetworkUnavailable" && condition.status == "True"
        };
        NodeView {
            facts: NodeFacts {
                labels: self.metadata.labels.clone().unwrap_or_default(),
                network_unavailable: self.status.conditions.iter().any(unavailable),
                drain: None,
            },
            uid: self.metadata.uid.clone().unwrap_or_default(),
            leaving: self.leaving(),
        }
    }
}

fn node_meta<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    SlimMeta::<Labels>::deserialize(from).map(|meta| meta.with_labels(Some))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_node_is_reduced_to_labels_network_and_whether_it_leaves() {
        let view = |value: Value| serde_json::from_value::<SlimNode>(value).unwrap().view();
        let plain = view(json!({"metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}}}));
        assert_eq!(plain.facts.labels, Labels::from([("a".to_owned(), "b".to_owned())]));
        assert_eq!((plain.uid.as_str(), plain.facts.network_unavailable, plain.leaving), ("u", false, None));
        let condition = |kind: &str, status: &str| {
            view(json!({"status": {"conditions": [{"type": kind, "status": status}]}}))
                .facts
                .network_unavailable
        };
        assert!(condition("NetworkUnavailable", "True"));
        assert!(!condition("NetworkUnavailable", "False") && !condition("Ready", "True"));
        let leaving = |value: Value| view(value).leaving;
        let taint = |key: &str| leaving(json!({"spec": {"taints": [{"key": "x"}, {"key": key}]}}));
        assert_eq!(taint("ToBeDeletedByClusterAutoscaler"), Some(Leaving::Autoscaler));
        assert_eq!(taint("node.kubernetes.io/out-of-service"), Some(Leaving::OutOfService));
        assert_eq!(taint("karpenter.sh/disrupted"), Some(Leaving::Karpenter));
        assert_eq!(taint("karpenter.sh/disruption"), Some(Leaving::Karpenter));
        assert_eq!(taint("DeletionCandidateOfClusterAutoscaler"), None, "a candidate may stay");
        let ready = |status: &str, message: &str| {
            let condition =
                json!({"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": message});
            leaving(json!({"status": {"conditions": [condition]}}))
        };
        assert_eq!(ready("False", "node is shutting down"), Some(Leaving::ShuttingDown));
        assert_eq!(ready("False", "container runtime network not ready"), None);
        assert_eq!(ready("Unknown", "Kubelet stopped posting node status."), None);
        let maintained = json!({"type": "GracefulNodeShutdownInProgress", "status": "True"});
        assert_eq!(leaving(json!({"status": {"conditions": [maintained]}})), Some(Leaving::ShuttingDown));
        assert_eq!(taint("node.kubernetes.io/unschedulable"), None, "a cordon is no farewell");
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(leaving(deleted), Some(Leaving::Deleted));
        assert_eq!(leaving(json!({"spec": {"unschedulable": true, "taints": null}})), None);
    }
}
