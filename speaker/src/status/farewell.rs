//! The last that a speaker says of itself when it is removed from its node: that its sessions and routes are gone.
//!
//! The object is the Node's and outlives the speaker, so without this it would show them for ever. Leaves out the
//! ServiceBGPStatus objects (`services::clear`) and the ConfigurationState, which says nothing of sessions.

use std::time::Duration;

use api::herald::{SpeakerState, SpeakerStateStatus};
use api::names::FIELD_MANAGER_SPEAKER;
use kube::{Api, Client};
use runtime::status::{StatusOutcome, apply_status};
use serde_json::json;
use tokio::time::timeout;

use super::object::head;
use super::report::VERSION;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Says it once, when the sessions have ended. Whether it was heard changes nothing for the routers.
pub async fn say(client: Client, namespace: &str, node: &str, networks: Vec<String>) {
    let api: Api<SpeakerState> = Api::namespaced(client, namespace);
    let mut object = head::<SpeakerState>(node, namespace);
    object["status"] = json!(last_status(networks));
    let outcome = timeout(LIMIT, apply_status(&api, FIELD_MANAGER_SPEAKER, &object)).await;
    let fault = match outcome {
        Ok(StatusOutcome::Applied { .. } | StatusOutcome::Gone) => return,
        Ok(StatusOutcome::Conflict { managers, .. }) => format!("field managers {managers:?} write it, too"),
        Ok(StatusOutcome::Failed(error)) => error.to_string(),
        Err(_elapsed) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    tracing::warn!(%fault, "the SpeakerState of this node still shows the sessions that have ended");
}

/// The node keeps its networks, and its addresses must not come into a pool.
pub(super) fn last_status(networks: Vec<String>) -> SpeakerStateStatus {
    SpeakerStateStatus {
        version: VERSION.to_owned(),
        summary: SpeakerStateStatus::session_summary(&[]),
        removed: true,
        connected_networks: networks,
        ..SpeakerStateStatus::default()
    }
}
