//! Writing status: conditions that change only when something changed, and server-side apply without force.
//!
//! Leaves out what is written, and back-off after a conflict: both are decisions of the caller.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::core::response::StatusCause;
use serde::de::DeserializeOwned;

use crate::client::{CallError, call};

/// How long one status write may take.
pub const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// The three answers that a condition can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Truth {
    /// The text in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What a condition should say now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The type, unique within the list.
    pub kind: &'a str,
    /// Whether it holds.
    pub status: Truth,
    /// One CamelCase word, never empty.
    pub reason: &'a str,
    /// A sentence for people.
    pub message: &'a str,
    /// The `metadata.generation` that was looked at.
    pub observed_generation: Option<i64>,
}

/// Puts a condition into a list keyed by type. `lastTransitionTime` becomes `now` only when the status changes.
/// Returns whether anything changed, so whether a write is needed.
pub fn set_condition(conditions: &mut Vec<Condition>, wanted: &Wanted<'_>, now: &Time) -> bool {
    let Some(condition) = conditions.iter_mut().find(|condition| condition.type_ == wanted.kind) else {
        conditions.push(Condition {
            type_: wanted.kind.to_owned(),
            status: wanted.status.as_str().to_owned(),
            reason: wanted.reason.to_owned(),
            message: wanted.message.to_owned(),
            observed_generation: wanted.observed_generation,
            last_transition_time: now.clone(),
        });
        return true;
    };
    let turned = condition.status != wanted.status.as_str();
    let reworded = condition.reason != wanted.reason
        || condition.message != wanted.message
        || condition.observed_generation != wanted.observed_generation;
    if turned {
        wanted.status.as_str().clone_into(&mut condition.status);
        condition.last_transition_time = now.clone();
    }
    if reworded {
        wanted.reason.clone_into(&mut condition.reason);
        wanted.message.clone_into(&mut condition.message);
        condition.observed_generation = wanted.observed_generation;
    }
    turned || reworded
}

/// What became of a write.
#[derive(Debug)]
pub enum StatusOutcome {
    /// Written, or already as wanted.
    Applied {
        /// The object's `resourceVersion` after the write; older watch events of this object are outdated.
        resource_version: String,
    },
    /// Other field managers hold fields that this write wanted to change. Nothing was written.
    Conflict {
        /// Their names, sorted, without repetition. Never empty.
        managers: Vec<String>,
        /// The API server's sentence, with the fields.
        message: String,
    },
    /// The object is gone, or another one with the same name has taken its place (the uid differs).
    Gone,
    /// Nothing is known about the write, or it was refused for another reason.
    Failed(CallError),
}

/// Applies `object` (complete JSON with `apiVersion`, `kind`, `metadata.name`, best with `metadata.uid`) to the status
/// subresource as `manager`, without force. Bounded by [`WRITE_LIMIT`].
pub async fn apply_status<K>(api: &Api<K>, manager: &str, object: &serde_json::Value) -> StatusOutcome
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let name = name_of(object);
    let params = PatchParams::apply(manager);
    let patch = Patch::Apply(object);
    outcome(call(WRITE_LIMIT, api.patch_status(name, &params, &patch)).await)
}

/// Applies `object` to the main resource as `manager`, without force; creates it where it does not exist. Bounded by
/// [`WRITE_LIMIT`].
pub async fn apply_object<K>(api: &Api<K>, manager: &str, object: &serde_json::Value) -> StatusOutcome
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let name = name_of(object);
    let params = PatchParams::apply(manager);
    let patch = Patch::Apply(object);
    outcome(call(WRITE_LIMIT, api.patch(name, &params, &patch)).await)
}

fn name_of(object: &serde_json::Value) -> &str {
    object.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or_default()
}

fn outcome<K: kube::Resource>(result: Result<K, CallError>) -> StatusOutcome {
    match result {
        Ok(object) => StatusOutcome::Applied {
            resource_version: object.meta().resource_version.clone().unwrap_or_default(),
        },
        Err(error) => judge(error),
    }
}

fn judge(error: CallError) -> StatusOutcome {
    let CallError::Refused(status) = &error else { return StatusOutcome::Failed(error) };
    let managers = managers_of(status);
    match status.code {
        404 => StatusOutcome::Gone,
        409 if !managers.is_empty() => StatusOutcome::Conflict { managers, message: status.message.clone() },
        // A uid that nobody has: the object is gone. A uid that another object has under this name: it was replaced.
        409 if status.message.contains("uid mismatch") => StatusOutcome::Gone,
        422 if causes(status).any(|cause| cause.field == "metadata.uid") => StatusOutcome::Gone,
        _ => StatusOutcome::Failed(error),
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &StatusCause> {
    status.details.iter().flat_map(|details| details.causes.iter())
}

/// The managers that the API server names: one cause for each field, `conflict with "NAME" …`.
fn managers_of(status: &Status) -> Vec<String> {
    let mut managers: Vec<String> = causes(status)
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| cause.message.split('"').nth(1).unwrap_or("unknown").to_owned())
        .collect();
    managers.sort();
    managers.dedup();
    managers
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    fn time(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn wanted<'a>(status: bool, reason: &'a str, message: &'a str) -> Wanted<'a> {
        Wanted {
            kind: "Accepted",
            status: Truth::from(status),
            reason,
            message,
            observed_generation: Some(3),
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let rows = [
            (wanted(true, "Valid", "all well"), 10, true, 10),
            (wanted(true, "Valid", "all well"), 20, false, 10),
            (wanted(true, "Valid", "other words"), 30, true, 10),
            (wanted(false, "Overlap", "overlaps with b"), 40, true, 40),
            (wanted(false, "Overlap", "overlaps with b"), 50, false, 40),
        ];
        for (condition, now, changed, transition) in rows {
            assert_eq!(set_condition(&mut conditions, &condition, &time(now)), changed, "at {now}");
            assert_eq!(conditions.len(), 1);
            assert_eq!(conditions[0].last_transition_time, time(transition), "at {now}");
            assert_eq!(conditions[0].status, condition.status.as_str());
            assert_eq!(conditions[0].reason, condition.reason);
            assert_eq!(conditions[0].message, condition.message);
        }
    }

    #[test]
    fn conditions_of_other_types_are_left_alone() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, &wanted(true, "Valid", ""), &time(1));
        let other = Wanted {
            kind: "Ready",
            status: Truth::Unknown,
            reason: "Waiting",
            message: "",
            observed_generation: None,
        };
        assert!(set_condition(&mut conditions, &other, &time(2)));
        let kinds: Vec<&str> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(kinds, ["Accepted", "Ready"]);
        assert_eq!(conditions[1].status, "Unknown");
    }

    fn check(answer: serde_json::Value, expected: &str) {
        let status: Status = serde_json::from_value(answer).unwrap();
        let outcome = match judge(CallError::Refused(Box::new(status))) {
            StatusOutcome::Applied { .. } => "applied".to_owned(),
            StatusOutcome::Conflict { managers, .. } => format!("conflict with {}", managers.join(" ")),
            StatusOutcome::Gone => "gone".to_owned(),
            StatusOutcome::Failed(error) => format!("failed: {error}"),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn the_servers_answers_are_told_apart() {
        let cause = |manager: &str| {
            json!({"reason": "FieldManagerConflict", "field": ".status.loadBalancer.ingress",
                   "message": format!("conflict with \"{manager}\" with subresource \"status\"")})
        };
        check(
            json!({"code": 409, "reason": "Conflict", "message": "Apply failed with 2 conflicts",
                   "details": {"causes": [cause("k3s"), cause("cloud-provider"), cause("k3s")]}}),
            "conflict with cloud-provider k3s",
        );
        check(
            json!({"code": 409, "reason": "Conflict", "message": "Operation cannot be fulfilled on services \"web\": \
                   uid mismatch: the provided object specified uid a, and no existing object was found"}),
            "gone",
        );
        check(
            json!({"code": 422, "reason": "Invalid", "message": "Service \"web\" is invalid: metadata.uid: field is immutable",
                   "details": {"causes": [{"field": "metadata.uid", "reason": "FieldValueInvalid", "message": "x"}]}}),
            "gone",
        );
        check(json!({"code": 404, "reason": "NotFound", "message": "services \"web\" not found"}), "gone");
        check(
            json!({"code": 403, "reason": "Forbidden", "message": "may not patch"}),
            "failed: the API server refused: may not patch (403 Forbidden)",
        );
        check(
            json!({"code": 409, "reason": "Conflict", "message": "the object has been modified"}),
            "failed: the API server refused: the object has been modified (409 Conflict)",
        );
    }
}
