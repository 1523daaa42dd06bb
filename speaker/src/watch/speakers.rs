//! The speakers of the cluster as the API server shows them: which are ready, and which could announce what.
//!
//! Ready is what the EndpointSlices of the speakers' own Service say; they come with all others, and change only when a
//! speaker does. What a node could announce its speaker says in its ConfigurationState, which is watched only while an
//! advertisement bounds the number of nodes. Leaves out the choice (`decide::width`).

use std::collections::BTreeSet;

use api::names::SPEAKERS_SERVICE;
use runtime::watch::{Change, Mirror};

use super::convert::{SlimSlice, SlimState};
use crate::decide::width::Fleet;

/// What is known of them.
#[derive(Debug)]
pub(super) struct Speakers {
    /// Herald's namespace.
    namespace: Box<str>,
    /// The nodes with a ready speaker, by slice.
    ready: List,
    /// The advertisements, by node.
    able: List,
    changed: bool,
}

/// What one watch has listed.
#[derive(Debug, Default)]
struct List {
    of: Mirror<Box<str>, BTreeSet<Box<str>>>,
    /// Whether it was complete since it is watched. Half a list would choose other nodes than the whole.
    whole: bool,
}

impl List {
    /// It is complete now; whether that is news.
    fn complete(&mut self) -> bool {
        let gone = self.of.sweep();
        !gone.is_empty() || !std::mem::replace(&mut self.whole, true)
    }
}

impl Speakers {
    /// Nothing is known.
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into(), ready: List::default(), able: List::default(), changed: false }
    }

    /// What the watch of all EndpointSlices says.
    pub(super) fn hear_slice(&mut self, change: &Change<SlimSlice>) {
        match change {
            Change::Restarted => self.ready.of.begin(),
            Change::Apply(slice) => {
                if let Some(name) = self.own(slice) {
                    let nodes = slice.ready_nodes().map(Into::into).collect();
                    self.changed = true;
                    self.ready.of.apply(name, Some(nodes));
                }
            }
            Change::Delete(slice) => {
                if let Some(name) = self.own(slice) {
                    self.changed = true;
                    self.ready.of.apply(name, None);
                }
            }
            Change::Synced => self.changed |= self.ready.complete(),
        }
    }

    /// No EndpointSlice is watched any more.
    pub(super) fn forget_slices(&mut self) {
        self.ready = List::default();
        self.changed = true;
    }

    /// What the watch of the speakers' ConfigurationStates says.
    pub(super) fn hear_state(&mut self, change: &Change<SlimState>) {
        match change {
            Change::Restarted => self.able.of.begin(),
            Change::Apply(state) => {
                if let Some((node, able)) = state.able() {
                    self.changed = true;
                    self.able.of.apply(node.into(), Some(able));
                }
            }
            Change::Delete(state) => {
                if let Some((node, _)) = state.able() {
                    self.changed = true;
                    self.able.of.apply(node.into(), None);
                }
            }
            Change::Synced => self.changed |= self.able.complete(),
        }
    }

    /// No ConfigurationState is watched any more.
    pub(super) fn forget_states(&mut self) {
        self.able = List::default();
        self.changed = true;
    }

    /// What is known of all of them, if that may have changed since the last call. While a list is not complete that is nothing, and
    /// then every node announces.
    pub(super) fn take_fleet(&mut self) -> Option<Fleet> {
        let is_whole = self.ready.whole && self.able.whole;
        std::mem::take(&mut self.changed).then(|| match is_whole {
            true => Fleet {
                ready: self.ready.of.values().flatten().cloned().collect(),
                able: self.able.of.iter().map(|(node, able)| (node.clone(), able.clone())).collect(),
            },
            false => Fleet::default(),
        })
    }

    /// The name of a slice of the speakers' Service.
    fn own(&self, slice: &SlimSlice) -> Option<Box<str>> {
        let (namespace, name) = slice.key();
        let own = namespace == &*self.namespace && slice.service() == Some(SPEAKERS_SERVICE);
        own.then(|| name.into())
    }
}
