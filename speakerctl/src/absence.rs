//! Nodes whose reports nobody keeps: a speaker writes on a change only, so the report of one that died looks for ever as it
//! did at its end.
//!
//! Pure. Leaves out how Nodes and EndpointSlices are read (`source`).

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;

use crate::source::node::SlimNode;
use crate::source::slice::SlimSlice;

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
    /// The node is well, and no Pod of a speaker is ready there.
    NoSpeaker,
}

/// What is to be read beside the reports. `None`: whoever asks may not list it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    pub(crate) nodes: Option<Vec<SlimNode>>,
    /// Those of the speakers' own Service.
    pub(crate) slices: Option<Vec<SlimSlice>>,
}

/// What is known of the nodes that report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attendance {
    namespace: String,
    absent: BTreeMap<String, Absence>,
    /// What may not be listed, and what that hides.
    hidden: Vec<Hidden>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    Nodes,
    Slices,
}

impl Register {
    /// Looks for the nodes that report. A Node without a condition `Ready` is not judged; nor are speakers by
    /// EndpointSlices that name none at all, because nobody makes them then.
    pub(crate) fn attendance<'a>(
        &self,
        reporting: impl Iterator<Item = &'a str>,
        namespace: &str,
    ) -> Attendance {
        let nodes: Option<BTreeMap<&str, &SlimNode>> =
            self.nodes.as_ref().map(|nodes| nodes.iter().map(|node| (node.name(), node)).collect());
        let of_node = |name: &str| absence(nodes.as_ref()?.get(name).copied());
        let ready = self.speakers();
        let is_ready = |name: &str| ready.is_empty() || ready.get(name) == Some(&true);
        let absence = |name: &str| of_node(name).or_else(|| (!is_ready(name)).then_some(Absence::NoSpeaker));
        let hidden =
            [self.nodes.is_none().then_some(Hidden::Nodes), self.slices.is_none().then_some(Hidden::Slices)];
        Attendance {
            namespace: namespace.to_owned(),
            absent: reporting.filter_map(|name| Some((name.to_owned(), absence(name)?))).collect(),
            hidden: hidden.into_iter().flatten().collect(),
        }
    }

    /// The nodes of all speakers, and whether one of them is ready: an upgrade has two on a node.
    fn speakers(&self) -> BTreeMap<&str, bool> {
        let mut nodes = BTreeMap::new();
        for (node, ready) in self.slices.iter().flatten().flat_map(SlimSlice::speakers) {
            *nodes.entry(node).or_insert(false) |= ready;
        }
        nodes
    }
}

/// Why a node that reports is not there or not ready; `None` where it is, and where nobody judged it.
fn absence(node: Option<&SlimNode>) -> Option<Absence> {
    let Some(node) = node else { return Some(Absence::Gone) };
    let ready = node.readiness()?;
    let since = ready.last_transition_time.as_ref().map(|time| time.0);
    match ready.status.as_str() {
        "True" => None,
        "Unknown" => Some(Absence::Silent { since }),
        _ => Some(Absence::NotReady { since }),
    }
}

impl Attendance {
    /// Whether the reports can be taken for the present state, as far as that is known.
    pub(crate) fn is_well(&self) -> bool {
        self.absent.is_empty()
    }

    /// What the reader has to know before the list, line by line.
    pub(crate) fn notices(&self) -> Vec<String> {
        let Self { namespace, absent, hidden } = self;
        let hidden = hidden.iter().map(|what| match what {
            Hidden::Nodes => {
                "You may not list nodes, so nodes that died look as they did at their end: kubectl auth can-i list nodes"
                    .to_owned()
            }
            Hidden::Slices => format!(
                "You may not list endpointslices in {namespace}, so speakers that died on a node that is well look as they did \
                 at their end: kubectl -n {namespace} auth can-i list endpointslices.discovery.k8s.io"
            ),
        });
        let told = absent.iter().take(TOLD).map(|(node, absence)| {
            format!("warning: node {node} {absence}: what follows is what its speaker said last.")
        });
        let more = absent.len().saturating_sub(TOLD);
        let rest = (more > 0).then(|| {
            format!("warning: so are {more} more nodes NotReady, gone or without a ready speaker: kubectl get nodes")
        });
        let without = absent.values().any(|absence| *absence == Absence::NoSpeaker);
        let next = without.then(|| {
            format!(
                "Why a speaker is not ready: kubectl -n {namespace} get pods -l component=speaker -o wide"
            )
        });
        hidden.chain(told).chain(rest).chain(next).collect()
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, since) = match self {
            Self::Gone => return f.write_str("has no Node object any more"),
            Self::NoSpeaker => return f.write_str("has no ready speaker"),
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

    /// Each row is an endpoint: the name of its node, and whether it says that it is ready.
    fn slices(rows: &[(&str, Option<bool>)]) -> Vec<SlimSlice> {
        let endpoint =
            |&(node, ready): &(&str, Option<bool>)| json!({"nodeName": node, "conditions": {"ready": ready}});
        let slice = |row| json!({"metadata": {"name": "s"}, "endpoints": [endpoint(row)]});
        let empty = json!({"metadata": {"name": "empty"}, "endpoints": null});
        rows.iter().map(slice).chain([empty]).map(|slice| serde_json::from_value(slice).unwrap()).collect()
    }

    fn check(reporting: &[&str], register: &Register, expected: &[&str]) {
        let attendance = register.attendance(reporting.iter().copied(), "herald");
        let tail = ": what follows is what its speaker said last.";
        let warnings: Vec<String> =
            attendance.notices().into_iter().filter(|line| line.starts_with("warning")).collect();
        let expected: Vec<String> =
            expected.iter().map(|words| format!("warning: node {words}{tail}")).collect();
        assert_eq!(warnings, expected, "{reporting:?} of {register:?}");
        assert_eq!(attendance.is_well(), expected.is_empty());
    }

    fn check_nodes(reporting: &[&str], all: &[(&str, &str)], expected: &[&str]) {
        check(reporting, &Register { nodes: Some(nodes(all)), slices: Some(slices(&[])) }, expected);
    }

    #[test]
    fn a_report_of_a_node_that_is_gone_or_not_ready_is_what_its_speaker_said_last() {
        check_nodes(&["n1", "n2"], &[("n1", "True"), ("n2", "True")], &[]);
        check_nodes(
            &["n1", "n2"],
            &[("n1", "True"), ("n2", "Unknown")],
            &["n2 is NotReady since 2026-03-01T10:00:00Z, its kubelet is silent"],
        );
        check_nodes(&["n1"], &[("n1", "False")], &["n1 is NotReady since 2026-03-01T10:00:00Z"]);
        check_nodes(&["n1", "n2"], &[("n1", "True")], &["n2 has no Node object any more"]);
    }

    #[test]
    fn nodes_that_do_not_report_and_nodes_that_nobody_judged_are_no_absence() {
        check_nodes(&["n1"], &[("n1", "True"), ("n2", "Unknown")], &[]);
        check_nodes(&["n1"], &[("n1", "-")], &[]);
        check_nodes(&[], &[("n1", "False")], &[]);
        let bare: SlimNode = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
        check(&["n1"], &Register { nodes: Some(vec![bare]), slices: Some(Vec::new()) }, &[]);
    }

    #[test]
    fn a_condition_without_a_time_is_told_without_one() {
        assert_eq!(Absence::NotReady { since: None }.to_string(), "is NotReady");
        assert_eq!(Absence::Silent { since: None }.to_string(), "is NotReady, its kubelet is silent");
    }

    #[test]
    fn a_node_that_is_well_needs_a_ready_speaker() {
        let well = [("n1", "True"), ("n2", "True")];
        let judge = |rows: &[(&str, Option<bool>)], expected: &[&str]| {
            let register = Register { nodes: Some(nodes(&well)), slices: Some(slices(rows)) };
            check(&["n1", "n2"], &register, expected);
        };
        judge(&[("n1", Some(true)), ("n2", None)], &[]);
        judge(&[("n1", Some(true)), ("n2", Some(false))], &["n2 has no ready speaker"]);
        judge(&[("n1", Some(true))], &["n2 has no ready speaker"]);
        // An upgrade has two on a node.
        judge(&[("n1", Some(false)), ("n1", Some(true)), ("n2", Some(true)), ("n2", Some(false))], &[]);
        judge(
            &[("n1", Some(false)), ("n2", Some(false))],
            &["n1 has no ready speaker", "n2 has no ready speaker"],
        );
        // Nobody makes EndpointSlices of these speakers.
        judge(&[], &[]);
        // The node's own trouble is the reason for its speaker's.
        let register =
            Register { nodes: Some(nodes(&[("n1", "False")])), slices: Some(slices(&[("n1", Some(false))])) };
        check(&["n1"], &register, &["n1 is NotReady since 2026-03-01T10:00:00Z"]);
        let [_, next] = <[String; 2]>::try_from(
            Register { nodes: Some(nodes(&well)), slices: Some(slices(&[("n2", Some(true))])) }
                .attendance(["n1"].into_iter(), "herald")
                .notices(),
        )
        .unwrap();
        assert!(next.contains("kubectl -n herald get pods -l component=speaker"), "{next}");
    }

    #[test]
    fn who_may_not_list_them_is_told_so_and_judged_by_the_rest() {
        let attendance = Register::default().attendance(["n1"].into_iter(), "herald");
        let [of_nodes, of_slices] = <[String; 2]>::try_from(attendance.notices()).unwrap();
        assert!(of_nodes.contains("kubectl auth can-i list nodes"), "{of_nodes}");
        assert!(of_slices.contains("kubectl -n herald auth can-i list endpointslices"), "{of_slices}");
        assert!(attendance.is_well());
        let register = Register { nodes: None, slices: Some(slices(&[("n1", Some(false))])) };
        check(&["n1"], &register, &["n1 has no ready speaker"]);
        let register = Register { nodes: Some(nodes(&[("n1", "False")])), slices: None };
        check(&["n1"], &register, &["n1 is NotReady since 2026-03-01T10:00:00Z"]);
    }

    #[test]
    fn many_absent_nodes_are_counted() {
        let names: Vec<String> = (10..22).map(|n| format!("n{n}")).collect();
        let register = Register { nodes: Some(Vec::new()), slices: Some(Vec::new()) };
        let notices = register.attendance(names.iter().map(String::as_str), "herald").notices();
        assert_eq!(notices.len(), 11);
        assert!(notices[10].contains("2 more nodes"), "{}", notices[10]);
    }
}
