//! `ConfigurationState`: what one process thinks of the whole configuration.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::absent::may_be_absent;
use crate::schema;

/// Nothing: this kind only has a status.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ConfigurationState",
    plural = "configurationstates",
    namespaced,
    status = "ConfigurationStateStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "ConfigurationState tells whether the controller or one node's speaker accepted all objects.",
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(name = "ErrorSummary", type_ = "string", json_path = ".status.errorSummary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(remote = "Self")]
pub struct ConfigurationStateSpec {}

may_be_absent!(ConfigurationStateSpec);

/// The verdict and its reasons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStateStatus {
    /// Valid, Invalid or Unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub result: String,
    /// One line for each object that was not accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_summary: String,
    /// The verdict of each part of the process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
