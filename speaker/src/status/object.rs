//! The two objects that every speaker writes, as the JSON of a server-side apply. Pure.

use std::collections::BTreeSet;

use api::config::ObjectRef;
use api::herald::{SpeakerState, SpeakerStateStatus};
use api::names::condition::{ConditionReason, ConditionType};
use api::names::{ABLE_ANNOTATION, label, speaker_configuration_state};
use api::v1beta1::{ConfigurationState, ConfigurationStateStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use runtime::status::{Truth, Wanted, set_condition};
use serde_json::{Value, json};

use crate::watch::configuration::ConfigReport;

/// The longest summary of complaints, in octets; what is beyond is counted.
const LONGEST_SUMMARY: usize = 4096;

/// Whose objects these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Herald's namespace.
    pub namespace: String,
    /// The node's name.
    pub node: String,
    /// The Node's uid: the objects go with it, and outlive a Pod.
    pub node_uid: String,
}

impl Owner {
    /// The SpeakerState without its status.
    #[must_use]
    pub fn speaker_state(&self) -> Value {
        let mut object = head::<SpeakerState>(&self.node, &self.namespace);
        object["metadata"]["ownerReferences"] = self.reference();
        object["spec"] = json!({});
        object
    }

    /// The ConfigurationState without its status, with what the node could announce where not all nodes are to.
    #[must_use]
    pub fn configuration_state(&self, able: &BTreeSet<String>) -> Value {
        let mut object =
            head::<ConfigurationState>(&speaker_configuration_state(&self.node), &self.namespace);
        object["metadata"]["ownerReferences"] = self.reference();
        object["metadata"]["labels"] = json!({
            (label::COMPONENT_TYPE): label::COMPONENT_SPEAKER,
            (label::NODE_NAME): self.node,
        });
        if !able.is_empty() {
            let names: Vec<&str> = able.iter().map(String::as_str).collect();
            object["metadata"]["annotations"] = json!({ (ABLE_ANNOTATION): names.join(",") });
        }
        object["spec"] = json!({});
        object
    }

    /// The status of the SpeakerState.
    #[must_use]
    pub fn speaker_status(&self, status: &SpeakerStateStatus) -> Value {
        let mut object = head::<SpeakerState>(&self.node, &self.namespace);
        object["status"] = json!(status);
        object
    }

    /// The status of the ConfigurationState.
    #[must_use]
    pub fn configuration_status(&self, status: &ConfigurationStateStatus) -> Value {
        let mut object =
            head::<ConfigurationState>(&speaker_configuration_state(&self.node), &self.namespace);
        object["status"] = json!(status);
        object
    }

    pub(super) fn reference(&self) -> Value {
        json!([{"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": self.node_uid}])
    }
}

pub(super) fn head<K: Resource<DynamicType = ()>>(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": namespace},
    })
}

/// What the ConfigurationState says, given what it said before (the time of its transition stays while its verdict
/// does).
#[must_use]
pub fn configuration_status(
    report: &ConfigReport,
    before: &[Condition],
    now: &Time,
) -> ConfigurationStateStatus {
    let complaints: Vec<String> = report.complaints().map(complaint).collect();
    let summary = summary(&complaints);
    let valid = complaints.is_empty();
    let (result, reason) = match (report.loaded, valid) {
        (false, _) => ("Unknown", ConditionReason::InfraError),
        (true, true) => ("Valid", ConditionReason::Reconciled),
        (true, false) => ("Invalid", ConditionReason::ConfigurationError),
    };
    let message = if valid { "all configuration objects are in force as written" } else { &summary };
    let wanted = Wanted {
        kind: ConditionType::ConfigReconcilerValid.as_str(),
        status: if report.loaded { Truth::from(valid) } else { Truth::Unknown },
        reason: reason.as_str(),
        message: if report.loaded { message } else { "the configuration objects have not been read yet" },
        observed_generation: None,
    };
    let mut conditions: Vec<Condition> =
        before.iter().filter(|condition| condition.type_ == wanted.kind).cloned().collect();
    set_condition(&mut conditions, &wanted, now);
    ConfigurationStateStatus { result: result.to_owned(), error_summary: summary, conditions }
}

fn complaint((object, text): (&ObjectRef, String)) -> String {
    format!("{object}: {text}")
}

/// One line for each complaint, as many as fit.
fn summary(complaints: &[String]) -> String {
    let mut summary = String::new();
    for (told, complaint) in complaints.iter().enumerate() {
        if told > 0 && summary.len() + complaint.len() > LONGEST_SUMMARY {
            summary.push_str(&format!("\nand {} more", complaints.len() - told));
            break;
        }
        if told > 0 {
            summary.push('\n');
        }
        summary.push_str(complaint);
    }
    summary
}
