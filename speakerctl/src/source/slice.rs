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
        let ready = |endpoint: &Endpoint| endpoint.conditions.and_then(|conditions| conditions.ready);
        let speaker = move |endpoint| Some((Endpoint::node(endpoint)?, ready(endpoint).unwrap_or(true)));
        self.endpoints.iter().flatten().filter_map(speaker)
    }
}

impl Endpoint {
    fn node(&self) -> Option<&str> {
        self.node_name.as_deref()
    }
}

api::stands_for!(SlimSlice, k8s_openapi::api::discovery::v1::EndpointSlice);
