//! What the end of this process means: a restart, after which the routes are wanted as before, or a removal.
//!
//! [`judge`] decides by facts: what the Node object says, and what the DaemonSet wants of this node. Where facts are
//! missing it is a restart: routers forget the routes after the restart time, while a removal that is none would make
//! every upgrade an outage. `look` reads the facts.

pub mod look;
pub mod wish;

use std::fmt;

use crate::args::OnTerminate;
use crate::decide::snapshot::Leaving;
use crate::plan::StopHow;

/// What the DaemonSet says about a speaker on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Nobody said which DaemonSet is ours, or it was never seen, or the API server does not answer.
    Unknown,
    /// It is there and wants a speaker on this node.
    Wanted,
    /// It is there and wants none on this node.
    NotHere(Unwanted),
    /// It is being deleted.
    Deleting,
    /// It was there and is not any more.
    Gone,
    /// It could be read, and may not be read any more: whoever removes Herald removes its rights, too.
    RightsGone,
}

/// What an end is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Why the node is about to leave the cluster, if it is.
    pub leaving: Option<Leaving>,
    /// What the DaemonSet says.
    pub workload: Workload,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (removal(*self), self.workload) {
            (Some(removal), _) => removal.fmt(f),
            (None, Workload::Wanted) => f.write_str("the DaemonSet wants a speaker on this node"),
            (None, _) => f.write_str("nothing says that it is not"),
        }
    }
}

/// Why a DaemonSet wants no Pod on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// `nodeSelector` does not match.
    Selector,
    /// The required node affinity does not match.
    Affinity,
    /// A taint is not tolerated.
    Taint,
}

/// Why this end is a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The settings say so.
    Asked,
    /// The node leaves.
    Node(Leaving),
    /// The DaemonSet does not want us.
    Workload(Unwanted),
    /// The DaemonSet is being deleted, or is gone.
    Uninstalled,
    /// Our rights are gone.
    RightsGone,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("the speaker is removed from this node"),
            Self::Node(leaving) => leaving.fmt(f),
            Self::Workload(Unwanted::Selector) => {
                f.write_str("the node selector of the speakers no longer matches this node")
            }
            Self::Workload(Unwanted::Affinity) => {
                f.write_str("the node affinity of the speakers no longer matches this node")
            }
            Self::Workload(Unwanted::Taint) => {
                f.write_str("the speakers do not tolerate a taint of this node")
            }
            Self::Uninstalled => f.write_str("the speakers are being uninstalled"),
            Self::RightsGone => f.write_str("the speakers' rights were taken away"),
        }
    }
}

/// Which end this is.
#[must_use]
pub fn judge(on_terminate: OnTerminate, facts: Facts) -> StopHow {
    match (on_terminate, removal(facts)) {
        (OnTerminate::Remove, _) => StopHow::Remove(Removal::Asked.to_string()),
        (OnTerminate::Auto, Some(removal)) => StopHow::Remove(removal.to_string()),
        (OnTerminate::Auto, None) | (OnTerminate::Restart, _) => StopHow::Restart,
    }
}

/// The node first: where it leaves it does not matter what else is wanted of it.
fn removal(facts: Facts) -> Option<Removal> {
    if let Some(leaving) = facts.leaving {
        return Some(Removal::Node(leaving));
    }
    match facts.workload {
        Workload::Unknown | Workload::Wanted => None,
        Workload::NotHere(why) => Some(Removal::Workload(why)),
        Workload::Deleting | Workload::Gone => Some(Removal::Uninstalled),
        Workload::RightsGone => Some(Removal::RightsGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_a_restart_unless_a_fact_says_removal() {
        use OnTerminate::{Auto, Remove, Restart};
        let node = Some(Leaving::OutOfService);
        let table: &[(OnTerminate, Option<Leaving>, Workload, &str)] = &[
            (Auto, None, Workload::Unknown, "restart"),
            (Auto, None, Workload::Wanted, "restart"),
            (
                Auto,
                None,
                Workload::NotHere(Unwanted::Selector),
                "the node selector of the speakers no longer matches this node",
            ),
            (
                Auto,
                None,
                Workload::NotHere(Unwanted::Affinity),
                "the node affinity of the speakers no longer matches this node",
            ),
            (
                Auto,
                None,
                Workload::NotHere(Unwanted::Taint),
                "the speakers do not tolerate a taint of this node",
            ),
            (Auto, None, Workload::Deleting, "the speakers are being uninstalled"),
            (Auto, None, Workload::Gone, "the speakers are being uninstalled"),
            (Auto, None, Workload::RightsGone, "the speakers' rights were taken away"),
            (Auto, node, Workload::Unknown, "the node carries the taint node.kubernetes.io/out-of-service"),
            (Auto, node, Workload::Wanted, "the node carries the taint node.kubernetes.io/out-of-service"),
            (Auto, Some(Leaving::Deleted), Workload::Gone, "the Node object is being deleted"),
            (Restart, node, Workload::Gone, "restart"),
            (Restart, None, Workload::RightsGone, "restart"),
            (Remove, None, Workload::Wanted, "the speaker is removed from this node"),
            (Remove, node, Workload::Unknown, "the speaker is removed from this node"),
        ];
        for (on_terminate, leaving, workload, expected) in table {
            let found = match judge(*on_terminate, Facts { leaving: *leaving, workload: *workload }) {
                StopHow::Restart => "restart".to_owned(),
                StopHow::Remove(text) => text,
            };
            assert_eq!(found, *expected, "{on_terminate:?} {leaving:?} {workload:?}");
        }
    }

    #[test]
    fn what_was_found_is_said_also_where_it_means_a_restart() {
        let found = |leaving, workload| Facts { leaving, workload }.to_string();
        assert_eq!(found(None, Workload::Wanted), "the DaemonSet wants a speaker on this node");
        assert_eq!(found(None, Workload::Unknown), "nothing says that it is not");
        assert_eq!(found(None, Workload::Gone), "the speakers are being uninstalled");
        let leaving = Some(Leaving::ShuttingDown);
        assert_eq!(found(leaving, Workload::Gone), "the kubelet says that the node is shutting down");
    }
}
