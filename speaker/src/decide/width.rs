//! Announcement width: which of the nodes that can announce a prefix do, where an advertisement bounds their number.
//!
//! The choice is by rendezvous hashing (highest random weight): each node has a score for each prefix, and the highest
//! announce. So every speaker comes to the same choice by itself, a node that leaves gives away its own share and moves
//! nothing else, and so does one that comes. The scores are a promise between speakers of different versions: they must
//! not change. Leaves out how a speaker learns of the others (`watch`), and how long one that lost its place stays
//! ([`super::Announcer`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use bgp_proto::Prefix;

use crate::hash::fnv;

/// The most nodes that a sentence names.
const NAMED: usize = 8;

/// A node's name as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeHash(u64);

impl NodeHash {
    /// The number of the node of that name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(fnv([name.as_bytes()]))
    }
}

/// The nodes with ready endpoints of one Service, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// IPv4.
    pub v4: BTreeSet<NodeHash>,
    /// IPv6.
    pub v6: BTreeSet<NodeHash>,
}

/// What the speakers of the cluster say about themselves, as every speaker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Nodes whose speaker is ready.
    pub ready: BTreeSet<Box<str>>,
    /// By node: the advertisements that it could follow.
    pub able: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

/// How many nodes announce by one advertisement, and which could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Width {
    most: NonZeroU16,
    own: NodeHash,
    /// Sorted by name.
    candidates: Arc<[Candidate]>,
}

/// A node that could.
type Candidate = (NodeHash, Box<str>);

/// The nodes that announce a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// How many the advertisement wants at most.
    pub most: u16,
    /// How many could.
    pub able: usize,
    /// The chosen ones, sorted; the first few.
    pub chosen: Vec<Box<str>>,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { most, able, chosen } = self;
        let more = usize::from(*most).min(*able).saturating_sub(chosen.len());
        write!(f, "{} chosen of {able}: {}", usize::from(*most).min(*able), chosen.join(", "))?;
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

impl Width {
    /// Of an advertisement that at most so many nodes follow, seen from the node of that name.
    pub(super) fn new(most: NonZeroU16, own: &str, advertisement: &str, fleet: &Fleet) -> Self {
        let able = fleet.able.iter().filter(|(_, able)| able.contains(advertisement));
        let candidates = able.map(|(node, _)| node).filter(|node| fleet.ready.contains(*node));
        Self {
            most,
            own: NodeHash::of(own),
            candidates: candidates.map(|node| (NodeHash::of(node), node.clone())).collect(),
        }
    }

    /// Who announces the prefix, among those with ready endpoints where `hosts` says that they need some. `None` while
    /// it is known of nobody that he could: then everybody who can does, because too many paths do less harm than none.
    pub(super) fn choice(&self, prefix: &Prefix, hosts: Option<&BTreeSet<NodeHash>>) -> Option<Choice> {
        let mut able: Vec<_> = self.able(prefix, hosts).collect();
        if able.is_empty() {
            return None;
        }
        let count = able.len();
        let most = usize::from(self.most.get());
        if most < count {
            able.select_nth_unstable(most);
            able.truncate(most);
        }
        let mut chosen: Vec<Box<str>> = able.into_iter().map(|(_, (_, name))| name.clone()).collect();
        chosen.sort();
        chosen.truncate(NAMED);
        Some(Choice { most: self.most.get(), able: count, chosen })
    }

    /// Whether this node is among them; also while it is known of nobody that he could.
    pub(super) fn includes_us(&self, prefix: &Prefix, hosts: Option<&BTreeSet<NodeHash>>) -> bool {
        let own = self.candidates.iter().find(|(node, _)| *node == self.own);
        match own.filter(|(node, _)| hosts.is_none_or(|hosts| hosts.contains(node))) {
            None => self.able(prefix, hosts).next().is_none(),
            Some(candidate) => {
                let own = (Reverse(score(prefix_hash(prefix), candidate.0)), candidate);
                let better = self.able(prefix, hosts).filter(|other| *other < own);
                better.take(self.most.get().into()).count() < usize::from(self.most.get())
            }
        }
    }

    /// Those who could, with what orders them: the best is the least.
    fn able(
        &self,
        prefix: &Prefix,
        hosts: Option<&BTreeSet<NodeHash>>,
    ) -> impl Iterator<Item = (Reverse<u64>, &Candidate)> {
        let of = prefix_hash(prefix);
        let able =
            self.candidates.iter().filter(move |(node, _)| hosts.is_none_or(|hosts| hosts.contains(node)));
        able.map(move |candidate| (Reverse(score(of, candidate.0)), candidate))
    }
}

/// How much a node is wanted for a prefix.
fn score(prefix: u64, node: NodeHash) -> u64 {
    mixed(prefix ^ mixed(node.0))
}

fn prefix_hash(prefix: &Prefix) -> u64 {
    fnv([prefix.to_string().as_bytes()])
}

/// The finalizer of SplitMix64: each bit of the input moves half the bits of the output.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
