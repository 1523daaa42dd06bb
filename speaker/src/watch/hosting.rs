//! The nodes that have ready endpoints of a Service. Kept only while some advertisement is for a bounded number of nodes.
//!
//! Counted by slice, because several slices of a Service may have endpoints on one node. Leaves out which of the nodes announce.

use std::collections::{BTreeMap, BTreeSet};

use api::service::ServiceKey;

use super::convert::{SliceFold, SlimSlice};
use super::endpoints::SliceKey;
use crate::decide::verdict::AddressFamily;
use crate::decide::width::{Hosts, NodeHash};

/// Nodes by slice, and counted by Service.
#[derive(Debug, Default)]
pub(super) struct Hosting {
    keeps: bool,
    listed: Listed,
    slices: BTreeMap<SliceKey, SliceHosts>,
    services: BTreeMap<ServiceKey, Counts>,
}

/// How much of what there is has been taken in since nodes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listed {
    /// What came since then, in no list.
    #[default]
    Not,
    /// The list has begun.
    Partly,
    /// All of it.
    Wholly,
}

/// The nodes with ready endpoints of one slice, each once.
#[derive(Debug)]
struct SliceHosts {
    service: ServiceKey,
    family: AddressFamily,
    nodes: Box<[NodeHash]>,
}

/// How many slices have a ready endpoint on a node, by family.
#[derive(Debug, Default)]
struct Counts {
    v4: BTreeMap<NodeHash, u32>,
    v6: BTreeMap<NodeHash, u32>,
}

impl Hosting {
    /// Whether slices are taken in from now on.
    pub(super) fn keep(&mut self, keep: bool) {
        self.keeps = keep;
        if !keep {
            self.listed = Listed::Not;
        }
    }

    /// A list of all slices begins.
    pub(super) fn begin(&mut self) {
        if self.keeps && self.listed == Listed::Not {
            self.listed = Listed::Partly;
        }
    }

    /// A list of all slices has come to its end. If it is the first one that tells nodes, returns the Services that have some.
    pub(super) fn end(&mut self) -> Vec<ServiceKey> {
        if self.listed != Listed::Partly {
            return Vec::new();
        }
        self.listed = Listed::Wholly;
        self.services.keys().cloned().collect()
    }

    /// The nodes with ready endpoints of a Service; none before all are known, since half of them would be wrong.
    pub(super) fn of(&self, service: &ServiceKey) -> Hosts {
        if self.listed != Listed::Wholly {
            return Hosts::default();
        }
        let all = |counts: &BTreeMap<NodeHash, u32>| counts.keys().copied().collect();
        let counts = self.services.get(service);
        counts.map(|counts| Hosts { v4: all(&counts.v4), v6: all(&counts.v6) }).unwrap_or_default()
    }

    /// A slice as it is now; `None` where it counts for no Service.
    pub(super) fn set(&mut self, key: &SliceKey, fold: Option<&SliceFold>, slice: &SlimSlice) {
        self.remove(key);
        let Some(fold) = fold.filter(|_| self.keeps) else { return };
        let nodes: BTreeSet<NodeHash> = slice.ready_nodes().map(NodeHash::of).collect();
        let counts = self.services.entry(fold.service.clone()).or_default().of(fold.family);
        for node in &nodes {
            *counts.entry(*node).or_default() += 1;
        }
        let nodes = nodes.into_iter().collect();
        let hosts = SliceHosts { service: fold.service.clone(), family: fold.family, nodes };
        self.slices.insert(key.clone(), hosts);
    }

    /// A slice that is gone.
    pub(super) fn remove(&mut self, key: &SliceKey) {
        let Some(SliceHosts { service, family, nodes }) = self.slices.remove(key) else { return };
        let Some(of_service) = self.services.get_mut(&service) else { return };
        let counts = of_service.of(family);
        for node in &nodes {
            if let Some(count) = counts.get_mut(node) {
                *count = count.saturating_sub(1);
            }
        }
        counts.retain(|_, count| *count > 0);
        if of_service.v4.is_empty() && of_service.v6.is_empty() {
            self.services.remove(&service);
        }
    }

    /// All slices are gone.
    pub(super) fn forget(&mut self) {
        self.listed = Listed::Not;
        self.slices.clear();
        self.services.clear();
    }
}

impl Counts {
    fn of(&mut self, family: AddressFamily) -> &mut BTreeMap<NodeHash, u32> {
        match family {
            AddressFamily::V4 => &mut self.v4,
            AddressFamily::V6 => &mut self.v6,
        }
    }
}
