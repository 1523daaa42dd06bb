//! Nodes whose reports nobody keeps: a speaker writes on a change only, so the report of one that died with its node looks
//! for ever as it did at its end.
//!
//! Pure. Leaves out how Nodes are read (`source`), and speakers that are gone from nodes that are well: their Pods say that.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;

use crate::source::node::SlimNode;

/// Nodes that are told one by one before they are only counted.
const TOLD: usize = 10;

/// Why a node's report may not be true any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// There is no Node object of that name.
    Gone,
    /// The node's kubelet says that the node is not ready.
    NotReady { since: Option<Timestamp> },
    /// Nobody has heard of the node's kubelet.
    Silent { since: Option<Timestamp> },
}

/// What is known of the nodes that report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attendance {
    /// Those of them that are not there or not ready.
    Known(BTreeMap<String, Absence>),
    /// Whoever asks may not list Nodes.
    Forbidden,
}

impl Attendance {
    /// Looks for the nodes that report among all Nodes. One without a condition `Ready` is not judged.
    pub(crate) fn of<'a>(reporting: impl Iterator<Item = &'a str>, nodes: &[SlimNode]) -> Self {
        let nodes: BTreeMap<&str, &SlimNode> = nodes.iter().map(|node| (node.name(), node)).collect();
        let absence = |name: &str| match nodes.get(name) {
            None => Some(Absence::Gone),
            Some(node) => {
                let ready = node.readiness()?;
                let since = ready.last_transition_time.as_ref().map(|time| time.0);
                match ready.status.as_str() {
                    "True" => None,
                    "Unknown" => Some(Absence::Silent { since }),
                    _ => Some(Absence::NotReady { since }),
                }
            }
        };
        Self::Known(reporting.filter_map(|name| Some((name.to_owned(), absence(name)?))).collect())
    }

    /// Whether the reports can be taken for the present state, as far as that is known.
    pub(crate) fn is_well(&self) -> bool {
        match self {
            Self::Known(absent) => absent.is_empty(),
            Self::Forbidden => true,
        }
    }

    /// What the reader has to know before the list, line by line.
    pub(crate) fn notices(&self) -> Vec<String> {
        let absent = match self {
            Self::Known(absent) => absent,
            Self::Forbidden => {
                return vec![
                    "You may not list nodes, so nodes that died look as they did at their end: kubectl auth can-i list nodes"
                        .to_owned(),
                ];
            }
        };
        let told = absent.iter().take(TOLD).map(|(node, absence)| {
            format!("warning: node {node} {absence}: what follows is what its speaker said last.")
        });
        let more = absent.len().saturating_sub(TOLD);
        let rest = (more > 0)
            .then(|| format!("warning: so are {more} more nodes NotReady or gone: kubectl get nodes"));
        told.chain(rest).collect()
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, since) = match self {
            Self::Gone => return f.write_str("has no Node object any more"),
            Self::NotReady { since } => ("", since),
            Self::Silent { since } => (", its kubelet is silent", since),
        };
        f.write_str("is NotReady")?;
        since.map_or(Ok(()), |since| write!(f, " since {since}"))?;
        f.write_str(words)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each row is a Node: its name, and the status of its condition `Ready` or `-` for none.
    fn nodes(rows: &[(&str, &str)]) -> Vec<SlimNode> {
        let node = |&(name, ready): &(&str, &str)| {
            let mut conditions = vec![json!({"type": "MemoryPressure", "status": "Unknown"})];
            if ready != "-" {
                let at = "2026-03-01T10:00:00Z";
                conditions.push(json!({"type": "Ready", "status": ready, "lastTransitionTime": at}));
            }
            let object = json!({"metadata": {"name": name}, "status": {"conditions": conditions}});
            serde_json::from_value(object).unwrap()
        };
        rows.iter().map(node).collect()
    }

    fn check(reporting: &[&str], all: &[(&str, &str)], expected: &[&str]) {
        let attendance = Attendance::of(reporting.iter().copied(), &nodes(all));
        let tail = ": what follows is what its speaker said last.";
        let expected: Vec<String> =
            expected.iter().map(|words| format!("warning: node {words}{tail}")).collect();
        assert_eq!(attendance.notices(), expected, "{reporting:?} of {all:?}");
        assert_eq!(attendance.is_well(), expected.is_empty());
    }

    #[test]
    fn a_report_of_a_node_that_is_gone_or_not_ready_is_what_its_speaker_said_last() {
        check(&["n1", "n2"], &[("n1", "True"), ("n2", "True")], &[]);
        check(
            &["n1", "n2"],
            &[("n1", "True"), ("n2", "Unknown")],
            &["n2 is NotReady since 2026-03-01T10:00:00Z, its kubelet is silent"],
        );
        check(&["n1"], &[("n1", "False")], &["n1 is NotReady since 2026-03-01T10:00:00Z"]);
        check(&["n1", "n2"], &[("n1", "True")], &["n2 has no Node object any more"]);
    }

    #[test]
    fn nodes_that_do_not_report_and_nodes_that_nobody_judged_are_no_absence() {
        check(&["n1"], &[("n1", "True"), ("n2", "Unknown")], &[]);
        check(&["n1"], &[("n1", "-")], &[]);
        check(&[], &[("n1", "False")], &[]);
        let bare: SlimNode = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
        assert!(Attendance::of(["n1"].into_iter(), &[bare]).is_well());
    }

    #[test]
    fn a_condition_without_a_time_is_told_without_one() {
        assert_eq!(Absence::NotReady { since: None }.to_string(), "is NotReady");
        assert_eq!(Absence::Silent { since: None }.to_string(), "is NotReady, its kubelet is silent");
    }

    #[test]
    fn who_may_not_list_nodes_is_told_so_and_judged_by_the_reports_alone() {
        let [notice] = <[String; 1]>::try_from(Attendance::Forbidden.notices()).unwrap();
        assert!(notice.contains("kubectl auth can-i list nodes"), "{notice}");
        assert!(Attendance::Forbidden.is_well());
    }

    #[test]
    fn many_absent_nodes_are_counted() {
        let names: Vec<String> = (10..22).map(|n| format!("n{n}")).collect();
        let attendance = Attendance::of(names.iter().map(String::as_str), &[]);
        let notices = attendance.notices();
        assert_eq!(notices.len(), 11);
        assert!(notices[10].contains("2 more nodes"), "{}", notices[10]);
    }
}
