//! Walks over a set, and over the difference of two: what is shared is passed by unread.

use std::cmp::Ordering;
use std::sync::Arc;

use super::chunk::{Chunk, Route, Run};
use super::{Branch, Place, RouteSet, same};
use crate::attrs::PathAttrs;
use crate::prefix::Prefix;

/// A place in a set, as what is left to walk. Only at the end is any of the three empty.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    /// What is left of the chunk.
    routes: &'a [Route],
    /// The chunk, and those behind it in its branch.
    chunks: &'a [Arc<Chunk>],
    /// The branch, and those behind it.
    branches: &'a [Branch],
}

impl<'a> Walk<'a> {
    pub(super) fn behind(set: &'a RouteSet, after: Option<Prefix>) -> Self {
        let place = after.map_or(Place { branch: 0, chunk: 0 }, |after| set.place_of(&after));
        let branches = set.branches.get(place.branch..).unwrap_or_default();
        let chunks = branches.first().and_then(|branch| branch.get(place.chunk..)).unwrap_or_default();
        let routes = chunks.first().map_or(&[][..], |chunk| chunk.routes());
        let told = after.map_or(0, |after| routes.partition_point(|(prefix, _)| *prefix <= after));
        let mut walk = Self { routes: routes.get(told..).unwrap_or_default(), chunks, branches };
        if walk.routes.is_empty() {
            walk.next_chunk();
        }
        walk
    }

    fn peek(&self) -> Option<&'a Route> {
        self.routes.first()
    }

    /// The rest of the chunk, at once.
    pub(super) fn take_run(&mut self) -> Option<Run<'a>> {
        let run = self.chunks.first()?.last(self.routes.len());
        self.next_chunk();
        Some(run)
    }

    fn step(&mut self) {
        self.routes = self.routes.get(1..).unwrap_or_default();
        if self.routes.is_empty() {
            self.next_chunk();
        }
    }

    fn next_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        match self.chunks.first() {
            Some(chunk) => self.routes = chunk.routes(),
            None => self.next_branch(),
        }
    }

    fn next_branch(&mut self) {
        self.branches = self.branches.get(1..).unwrap_or_default();
        self.chunks = self.branches.first().map_or(&[], |branch| branch);
        self.routes = self.chunks.first().map_or(&[], |chunk| chunk.routes());
    }

    /// The chunk, when it begins exactly here.
    fn whole_chunk(&self) -> Option<&'a Arc<Chunk>> {
        self.chunks.first().filter(|chunk| chunk.routes().len() == self.routes.len())
    }

    /// The branch, when it begins exactly here. Only asked where a chunk begins.
    fn whole_branch(&self) -> Option<&'a Branch> {
        self.branches.first().filter(|branch| branch.len() == self.chunks.len())
    }
}

/// What becomes of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    pub(crate) prefix: Prefix,
    pub(crate) old: Option<&'a Arc<PathAttrs>>,
    /// The one route that is there now, or none.
    pub(crate) new: &'a [Route],
}

/// The steps from one set to another, ascending by prefix.
pub(crate) struct Diff<'a> {
    pub(super) old: Walk<'a>,
    pub(super) new: Walk<'a>,
}

impl<'a> Diff<'a> {
    /// Routes that are all new, at once: there are some when the old set is at its end.
    pub(crate) fn take_run_of_new(&mut self) -> Option<Run<'a>> {
        if self.old.routes.is_empty() { self.new.take_run() } else { None }
    }

    fn skip_shared(&mut self) {
        while let (Some(old), Some(new)) = (self.old.whole_chunk(), self.new.whole_chunk()) {
            match (self.old.whole_branch(), self.new.whole_branch()) {
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                    self.old.next_branch();
                    self.new.next_branch();
                }
                (_, _) if Arc::ptr_eq(old, new) => {
                    self.old.next_chunk();
                    self.new.next_chunk();
                }
                (_, _) => return,
            }
        }
    }
}

impl<'a> Iterator for Diff<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        loop {
            self.skip_shared();
            let (old, new) = (self.old.peek(), self.new.peek());
            let run = self.new.routes;
            let order = match (old, new) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            if order.is_le() {
                self.old.step();
            }
            if order.is_ge() {
                self.new.step();
            }
            let old = old.filter(|_| order.is_le());
            let new = new.filter(|_| order.is_ge());
            match (old, new) {
                (Some((_, old)), Some((_, new))) if same(old, new) => {}
                (Some((prefix, _)), _) | (None, Some((prefix, _))) => {
                    let new = new.and_then(|_| run.get(..1)).unwrap_or_default();
                    return Some(Step { prefix: *prefix, old: old.map(|(_, attrs)| attrs), new });
                }
                (None, None) => return None,
            }
        }
    }
}
