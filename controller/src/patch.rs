//! The one write that a Service gets: its body as data, how it is sent, and whose field stands in its way.
//!
//! Leaves out when a write is made and what follows from its outcome.

use std::fmt::Debug;
use std::time::Duration;

use api::names::condition::ConditionType;
use api::names::{FIELD_MANAGER_CONTROLLER, annotation};
use api::service::{ServiceKey, ServiceView, SlimService};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use runtime::client::{CallError, call};
use runtime::status::{StatusOutcome, apply_status};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::plan::{Step, Write};

/// How long one write may take.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// A write on its way.
#[derive(Debug)]
pub(crate) struct Job {
    /// The Service as it was planned.
    pub(crate) view: ServiceView,
    /// What was planned.
    pub(crate) step: Step,
    /// The write of that step.
    pub(crate) write: Write,
    /// Whether the fields of others are taken: a predecessor's, or a rival's after a pause.
    pub(crate) take_over: bool,
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Written, gone or failed. Never a conflict.
    Ended(StatusOutcome),
    /// Somebody else holds the fields. Nothing was written.
    Contested {
        /// The other field managers.
        managers: Vec<String>,
        /// The API server's sentence.
        sentence: String,
        /// Whether they still write.
        rival: Rival,
    },
}

/// Sends the write. Ends within `limit`; an outcome that is not known by then counts as failed.
pub(crate) async fn send(client: Client, job: Job, limit: Duration) -> (Job, Sent) {
    let api: Api<SlimService> = Api::namespaced(client, job.view.key.namespace());
    let sent = match tokio::time::timeout(limit, write(&api, &job, limit)).await {
        Ok(sent) => sent,
        Err(_elapsed) => Sent::Ended(StatusOutcome::Failed(CallError::TimedOut { limit })),
    };
    (job, sent)
}

async fn write(api: &Api<SlimService>, job: &Job, limit: Duration) -> Sent {
    let now = Time(Timestamp::now());
    let body = body(&job.view, &job.write, &now);
    if job.take_over {
        return Sent::Ended(take_over(api, &body, limit).await);
    }
    match apply_status(api, FIELD_MANAGER_CONTROLLER, &body).await {
        StatusOutcome::Conflict { managers, message } => {
            // The watch drops most of managedFields, so the one case that needs all of them asks for them.
            match call(limit, api.get_metadata(job.view.key.name())).await {
                Ok(meta) => {
                    let entries = meta.metadata.managed_fields.unwrap_or_default();
                    let rival = judge(&managers, &entries);
                    Sent::Contested { managers, sentence: message, rival }
                }
                Err(error) => Sent::Ended(StatusOutcome::Failed(error)),
            }
        }
        outcome @ (StatusOutcome::Applied { .. } | StatusOutcome::Gone | StatusOutcome::Failed(_)) => {
            Sent::Ended(outcome)
        }
    }
}

/// Gives up our share in a Service that is no longer of type LoadBalancer. The API server has wiped its status already;
/// our annotation goes with this. A Service that is gone makes no difference.
pub(crate) async fn abandon(client: Client, key: ServiceKey, uid: String, limit: Duration) {
    let api: Api<SlimService> = Api::namespaced(client, key.namespace());
    let body = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": key.name(), "namespace": key.namespace(), "uid": uid },
    });
    // The annotation only informs; what fails here is seen by nobody but a reader of annotations.
    let _ = tokio::time::timeout(limit, apply_status(&api, FIELD_MANAGER_CONTROLLER, &body)).await;
}

/// The only write with force: fields that others wrote become ours. The caller counts: once for a predecessor, once
/// after each pause that a rival was given.
pub(crate) async fn take_over<K>(api: &Api<K>, body: &Value, limit: Duration) -> StatusOutcome
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply(FIELD_MANAGER_CONTROLLER).force();
    match call(limit, api.patch_status(name, &params, &Patch::Apply(body))).await {
        Ok(object) => StatusOutcome::Applied {
            resource_version: object.meta().resource_version.clone().unwrap_or_default(),
        },
        Err(error) if error.is_not_found() => StatusOutcome::Gone,
        Err(error) => StatusOutcome::Failed(error),
    }
}

/// The body of the server-side apply: addresses, annotation and condition in one write, guarded by the UID. A condition
/// that keeps its status keeps its time; a new one begins at `now`.
pub(crate) fn body(view: &ServiceView, write: &Write, now: &Time) -> Value {
    let (namespace, name) = view.key.parts();
    let mut metadata = json!({ "name": name, "namespace": namespace, "uid": view.uid });
    if let Some(pool) = &write.pool {
        metadata["annotations"] = json!({ annotation::IP_ALLOCATED_FROM_POOL: pool });
    }
    let mut status = json!({});
    if !write.yields {
        let ingress = write.ingress.iter().map(|ip| json!({ "ip": ip.to_string(), "ipMode": "VIP" }));
        status["loadBalancer"] = json!({ "ingress": ingress.collect::<Vec<Value>>() });
    }
    if let Some(remark) = &write.remark {
        let shown = view.condition.as_ref().filter(|shown| shown.holds == remark.holds);
        let since = shown.and_then(|shown| shown.since.as_ref()).unwrap_or(now);
        status["conditions"] = json!([{
            "type": ConditionType::AddressAssigned.as_str(),
            "status": if remark.holds { "True" } else { "False" },
            "reason": remark.reason, "message": remark.message, "lastTransitionTime": since,
        }]);
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "status": status })
}

/// Who stands behind a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// Wrote before our first write and not since: MetalLB before us, a ServiceLB that is switched off.
    Predecessor,
    /// Writes now.
    Foreign,
}

/// Judges the managers that a conflict names, by the times of their entries against ours. Our entry stays when another
/// manager takes the status from us, because the annotation is ours still.
pub(crate) fn judge(conflicting: &[String], entries: &[ManagedFieldsEntry]) -> Rival {
    let of_status = |entry: &&ManagedFieldsEntry| entry.subresource.as_deref() == Some("status");
    let mut ours = entries.iter().filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER_CONTROLLER));
    let Some(ours) = ours.find(of_status).map(|entry| &entry.time) else {
        return Rival::Predecessor;
    };
    let named =
        |entry: &&ManagedFieldsEntry| entry.manager.as_ref().is_some_and(|name| conflicting.contains(name));
    let mut theirs = entries.iter().filter(named).filter(of_status);
    if theirs.all(|entry| entry.time < *ours) { Rival::Predecessor } else { Rival::Foreign }
}

#[cfg(test)]
mod tests {
    use api::service::ServiceCondition;

    use super::*;
    use crate::plan::Remark;

    #[test]
    fn one_body_carries_addresses_annotation_condition_and_guard() {
        let second = |seconds| Time(Timestamp::from_second(seconds).unwrap());
        let key = ServiceKey::new("shop", "web");
        let mut view = ServiceView { key, uid: "u-1".to_owned(), ..ServiceView::default() };
        let addresses = ["10.1.0.1", "fd00::1"].map(|text| text.parse().unwrap());
        let write = Write { ingress: addresses.to_vec(), pool: Some("home".to_owned()), ..Write::default() };
        let metadata = json!({
            "name": "web", "namespace": "shop", "uid": "u-1",
            "annotations": {"metallb.io/ip-allocated-from-pool": "home"},
        });
        assert_eq!(
            body(&view, &write, &second(1)),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "status": {"loadBalancer": {"ingress": [
                    {"ip": "10.1.0.1", "ipMode": "VIP"}, {"ip": "fd00::1", "ipMode": "VIP"},
                ]}},
            })
        );
        assert_eq!(
            body(&view, &Write::default(), &second(1)),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
                "status": {"loadBalancer": {"ingress": []}},
            })
        );
        let remark = Remark { holds: false, reason: "Foreign", message: "k3s".to_owned() };
        let yielding = Write { yields: true, remark: Some(remark), ..write };
        let condition = |since: &str| {
            json!({ "conditions": [{
                "type": "herald-lb.io/AddressAssigned", "status": "False", "reason": "Foreign",
                "message": "k3s", "lastTransitionTime": since,
            }]})
        };
        let first = body(&view, &yielding, &second(1));
        assert_eq!(first["metadata"], metadata);
        assert_eq!(first["status"], condition("1970-01-01T00:00:01Z"), "the addresses are left alone");
        view.condition = Some(ServiceCondition {
            holds: false,
            reason: "Exhausted".to_owned(),
            message: String::new(),
            since: Some(second(1)),
        });
        assert_eq!(body(&view, &yielding, &second(9))["status"], condition("1970-01-01T00:00:01Z"));
    }

    #[test]
    fn a_rival_is_a_predecessor_only_if_it_wrote_before_us() {
        let entry = |manager: &str, seconds: i64| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            subresource: Some("status".to_owned()),
            time: Some(Time(Timestamp::from_second(seconds).unwrap())),
            ..ManagedFieldsEntry::default()
        };
        let spec =
            |manager: &str, seconds| ManagedFieldsEntry { subresource: None, ..entry(manager, seconds) };
        let ours = FIELD_MANAGER_CONTROLLER;
        for (managed, expected) in [
            (vec![entry("metallb", 5)], Rival::Predecessor),
            (vec![entry("metallb", 5), entry(ours, 6)], Rival::Predecessor),
            (vec![entry("metallb", 6), entry(ours, 6)], Rival::Foreign),
            (vec![entry("metallb", 7), entry(ours, 6)], Rival::Foreign),
            (vec![entry("other", 7), entry("metallb", 5), entry(ours, 6)], Rival::Predecessor),
            (vec![spec("metallb", 7), entry("metallb", 5), entry(ours, 6)], Rival::Predecessor),
        ] {
            assert_eq!(judge(&["metallb".to_owned()], &managed), expected, "{managed:?}");
        }
    }
}
