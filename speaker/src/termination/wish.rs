//! Whether a DaemonSet wants a Pod on a node: its node selector, its required node affinity and its tolerations, as the
//! DaemonSet controller reads them.
//!
//! Only what is read for this was ever deserialised. Left out: resources and ports, which do not remove a Pod that runs.

use api::selector::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::Unwanted;
use crate::watch::node::{SlimNode, SlimTaint};

/// A DaemonSet as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SlimDaemonSet {
    /// Whether it is being deleted.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    #[serde(default)]
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Template {
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PodSpec {
    #[serde(default, rename = "nodeSelector")]
    node_selector: Option<Labels>,
    #[serde(default)]
    affinity: Option<Affinity>,
    #[serde(default)]
    tolerations: Option<Vec<Toleration>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Affinity {
    #[serde(default, rename = "nodeAffinity")]
    node: Option<NodeAffinity>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeAffinity {
    #[serde(default, rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<NodeSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct NodeSelector {
    #[serde(default, rename = "nodeSelectorTerms")]
    terms: Vec<Term>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Term {
    #[serde(default, rename = "matchExpressions")]
    expressions: Option<Vec<Requirement>>,
    #[serde(default, rename = "matchFields")]
    fields: Option<Vec<Requirement>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Requirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Toleration {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    operator: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    effect: Option<String>,
}

impl SlimDaemonSet {
    /// Why no Pod is wanted on the node; `None`: one is.
    #[must_use]
    pub fn unwanted_on(&self, node: &SlimNode) -> Option<Unwanted> {
        let pod = &self.spec.template.spec;
        let selected = pod.node_selector.iter().flatten().all(|(key, value)| node.label(key) == Some(value));
        if !selected {
            return Some(Unwanted::Selector);
        }
        let required = pod.affinity.as_ref().and_then(|affinity| affinity.node.as_ref()?.required.as_ref());
        if required.is_some_and(|required| !required.terms.iter().any(|term| term.matches(node))) {
            return Some(Unwanted::Affinity);
        }
        let tolerations = pod.tolerations.as_deref().unwrap_or_default();
        let repels = |taint: &SlimTaint| {
            taint.effect == "NoExecute"
                && !is_borne_by_every_daemon(&taint.key)
                && !tolerations.iter().any(|toleration| toleration.tolerates(taint))
        };
        node.taints().iter().any(repels).then_some(Unwanted::Taint)
    }
}

/// What the DaemonSet controller lets its Pods tolerate without being asked.
fn is_borne_by_every_daemon(key: &str) -> bool {
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].contains(&key)
}

impl Term {
    /// A term without any requirement matches nothing.
    fn matches(&self, node: &SlimNode) -> bool {
        let expressions = self.expressions.as_deref().unwrap_or_default();
        let fields = self.fields.as_deref().unwrap_or_default();
        let named = |field: &Requirement| field.key == "metadata.name" && field.holds(Some(node.name()));
        !(expressions.is_empty() && fields.is_empty())
            && expressions.iter().all(|one| one.holds(node.label(&one.key)))
            && fields.iter().all(named)
    }
}

impl Requirement {
    /// An operator that we do not know holds: a speaker that is not sure is wanted.
    fn holds(&self, found: Option<&str>) -> bool {
        let values = self.values.as_deref().unwrap_or_default();
        let listed = found.is_some_and(|found| values.iter().any(|value| value == found));
        let numbers = || {
            let bound: i64 = values.first()?.parse().ok()?;
            Some((found?.parse::<i64>().ok()?, bound))
        };
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            "Gt" => numbers().is_some_and(|(found, bound)| found > bound),
            "Lt" => numbers().is_some_and(|(found, bound)| found < bound),
            _ => true,
        }
    }
}

impl Toleration {
    /// As with [`Requirement::holds`], an operator that we do not know tolerates.
    fn tolerates(&self, taint: &SlimTaint) -> bool {
        let effect = self.effect.as_deref().unwrap_or_default();
        let key = self.key.as_deref().unwrap_or_default();
        let fits = match self.operator.as_deref() {
            Some("Exists") => key.is_empty() || key == taint.key,
            None | Some("" | "Equal") => {
                key == taint.key && self.value.as_deref().unwrap_or_default() == taint.value
            }
            Some(_) => key == taint.key,
        };
        fits && (effect.is_empty() || effect == taint.effect)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(pod: Value, node: Value, expected: Option<Unwanted>) {
        let set: SlimDaemonSet =
            serde_json::from_value(json!({"spec": {"template": {"spec": pod}}})).unwrap();
        let place: SlimNode = serde_json::from_value(node.clone()).unwrap();
        assert_eq!(set.unwanted_on(&place), expected, "{set:?} on {node}");
    }

    #[test]
    fn selectors_and_affinity_are_read_as_the_daemonset_controller_reads_them() {
        let node = || json!({"metadata": {"name": "n1", "labels": {"os": "linux", "cores": "8"}}});
        let requires = |terms: Value| {
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
        };
        let expression = |key: &str, operator: &str, values: &[&str]| {
            requires(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
        };
        check(json!({}), node(), None);
        check(json!({"nodeSelector": {"os": "linux"}}), node(), None);
        check(json!({"nodeSelector": {"os": "linux", "bgp": "yes"}}), node(), Some(Unwanted::Selector));
        check(json!({"nodeSelector": {"os": "linux"}}), json!({}), Some(Unwanted::Selector));
        check(expression("os", "In", &["linux", "plan9"]), node(), None);
        check(expression("os", "NotIn", &["linux"]), node(), Some(Unwanted::Affinity));
        check(expression("zone", "NotIn", &["a"]), node(), None);
        check(expression("zone", "Exists", &[]), node(), Some(Unwanted::Affinity));
        check(expression("zone", "DoesNotExist", &[]), node(), None);
        check(expression("cores", "Gt", &["4"]), node(), None);
        check(expression("cores", "Lt", &["4"]), node(), Some(Unwanted::Affinity));
        check(expression("os", "Resembles", &["linux"]), node(), None);
        let by_name = |name: &str| {
            requires(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]))
        };
        check(by_name("n1"), node(), None);
        check(by_name("n2"), node(), Some(Unwanted::Affinity));
        check(requires(json!([{}])), node(), Some(Unwanted::Affinity));
    }

    #[test]
    fn only_a_taint_that_evicts_and_is_not_tolerated_removes_a_speaker() {
        let tainted = |key: &str, effect: &str| json!({"spec": {"taints": [{"key": key, "value": "v", "effect": effect}]}});
        let tolerates = |toleration: Value| json!({"tolerations": [toleration]});
        check(json!({}), tainted("x", "NoExecute"), Some(Unwanted::Taint));
        check(json!({}), tainted("x", "NoSchedule"), None);
        check(json!({}), tainted("node.kubernetes.io/unreachable", "NoExecute"), None);
        check(tolerates(json!({"operator": "Exists"})), tainted("x", "NoExecute"), None);
        check(tolerates(json!({"key": "x", "operator": "Exists"})), tainted("x", "NoExecute"), None);
        check(tolerates(json!({"key": "x", "value": "v"})), tainted("x", "NoExecute"), None);
        check(tolerates(json!({"key": "x", "value": "w"})), tainted("x", "NoExecute"), Some(Unwanted::Taint));
        check(
            tolerates(json!({"key": "x", "operator": "", "value": "w"})),
            tainted("x", "NoExecute"),
            Some(Unwanted::Taint),
        );
        check(
            tolerates(json!({"key": "x", "operator": "Equal", "value": "w"})),
            tainted("x", "NoExecute"),
            Some(Unwanted::Taint),
        );
        // Operators of a later Kubernetes: whoever is not sure is wanted.
        check(
            tolerates(json!({"key": "x", "operator": "Gt", "value": "5"})),
            tainted("x", "NoExecute"),
            None,
        );
        check(
            tolerates(json!({"key": "y", "operator": "Gt", "value": "5"})),
            tainted("x", "NoExecute"),
            Some(Unwanted::Taint),
        );
        check(
            tolerates(json!({"key": "x", "value": "v", "effect": "NoSchedule"})),
            tainted("x", "NoExecute"),
            Some(Unwanted::Taint),
        );
    }
}
