//! An EndpointSlice of the speakers' own Service, reduced to where a speaker runs and whether it is ready.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// What is read of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimSlice {
    metadata: ObjectMeta,
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    node_name: Option<String>,
    conditions: Option<Conditions>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
}

impl SlimSlice {
    /// The nodes of its speakers, and whether those are ready. Nothing said means ready.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = (&str, bool)> {
        self.endpoints.iter().flatten().filter_map(|endpoint| {
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            Some((endpoint.node_name.as_deref()?, ready))
        })
    }
}

api::stands_for!(SlimSlice, k8s_openapi::api::discovery::v1::EndpointSlice);
