//! Everything that is wanted for one peer: an immutable, sorted set of routes.
//!
//! The set is a tree of two levels behind `Arc`s: chunks of routes, and branches of chunks. A changed
//! version copies the one chunk and the one branch that it touches and shares the others, so keeping two
//! versions costs little, and their difference is found in time proportional to what changed: branches
//! and chunks that are the same allocation are skipped unread.
//!
//! Left out: who is told what (that is `rib_out`).

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;

use crate::attrs::PathAttrs;
use crate::prefix::Prefix;

/// A chunk is split in two when it grows past this many routes, a branch when it grows past this many chunks.
const NODE_MAX: usize = 64;
/// What freshly built chunks and branches hold: room to grow, so that one insertion does not split them at once.
const NODE_FILL: usize = 48;

pub(crate) type Route = (Prefix, Arc<PathAttrs>);
type Chunk = Arc<[Route]>;
type Branch = Arc<[Chunk]>;

/// An immutable set of routes, at most one a prefix, in the order of the prefixes.
///
/// ```
/// use std::sync::Arc;
/// use bgp_proto::{PathAttrs, Prefix, RouteSet};
///
/// let plain = Arc::new(PathAttrs::default());
/// let web = Prefix::try_new("192.0.2.10".parse()?, 32)?;
/// let one = RouteSet::new().with(web, Arc::clone(&plain));
/// assert_eq!(one.get(&web), Some(&plain));
/// assert!(one.without(&web).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RouteSet {
    /// Never an empty branch or chunk; strictly ascending through all of them.
    branches: Vec<Branch>,
    len: usize,
}

/// One step from an older set to a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The route is new or has other attributes.
    Set(Prefix, &'a Arc<PathAttrs>),
    /// The route is gone.
    Unset(Prefix),
}

impl RouteSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The attributes of a prefix.
    #[must_use]
    pub fn get(&self, prefix: &Prefix) -> Option<&Arc<PathAttrs>> {
        let chunk = self.chunk(self.place_of(prefix))?;
        let at = chunk.binary_search_by_key(prefix, |(prefix, _)| *prefix).ok()?;
        chunk.get(at).map(|(_, attrs)| attrs)
    }

    /// All routes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &Arc<PathAttrs>)> {
        self.chunks().flat_map(|chunk| chunk.iter().map(|(prefix, attrs)| (*prefix, attrs)))
    }

    /// All routes behind `after`, ascending, as they lie in memory; `None` is from the beginning.
    pub(crate) fn runs_after(&self, after: Option<Prefix>) -> impl Iterator<Item = &[Route]> {
        let mut walk = Walk::behind(self, after);
        std::iter::from_fn(move || walk.take_run())
    }

    /// The set with this route added, or replaced. A route that is there already changes nothing, and
    /// the result shares everything with the old set.
    #[must_use]
    pub fn with(&self, prefix: Prefix, attrs: Arc<PathAttrs>) -> Self {
        let place = self.place_of(&prefix);
        let Some(chunk) = self.chunk(place) else {
            return Self::from_iter([(prefix, attrs)]);
        };
        let at = chunk.binary_search_by_key(&prefix, |(prefix, _)| *prefix);
        let (before, behind, len) = match at {
            Ok(at) if chunk.get(at).is_some_and(|(_, old)| same(old, &attrs)) => return self.clone(),
            Ok(at) => (at, at.saturating_add(1), self.len),
            Err(at) => (at, at, self.len.saturating_add(1)),
        };
        let routes = spliced_slice(chunk, before, Some((prefix, attrs)), behind);
        Self { branches: self.replaced(place, routes), len }
    }

    /// The set without this prefix; the same set when the prefix is not in it.
    #[must_use]
    pub fn without(&self, prefix: &Prefix) -> Self {
        let place = self.place_of(prefix);
        let found = self.chunk(place).and_then(|chunk| {
            let at = chunk.binary_search_by_key(prefix, |(prefix, _)| *prefix).ok()?;
            Some((chunk, at))
        });
        let Some((chunk, at)) = found else { return self.clone() };
        let routes = spliced_slice(chunk, at, None, at.saturating_add(1));
        Self { branches: self.replaced(place, routes), len: self.len.saturating_sub(1) }
    }

    /// What turns `old` into `new`, ascending by prefix. Parts that both share are not looked at.
    pub fn diff<'a>(old: &'a Self, new: &'a Self) -> impl Iterator<Item = Change<'a>> {
        Self::steps_after(old, new, None).map(|step| match step.new.first() {
            Some((prefix, attrs)) => Change::Set(*prefix, attrs),
            None => Change::Unset(step.prefix),
        })
    }

    /// The part of [`RouteSet::diff`] behind a prefix, with what was there before.
    pub(crate) fn steps_after<'a>(old: &'a Self, new: &'a Self, after: Option<Prefix>) -> Diff<'a> {
        Diff { old: Walk::behind(old, after), new: Walk::behind(new, after) }
    }

    /// `head` up to and including `at`, `tail` behind it; whole chunks are shared with their sources.
    pub(crate) fn spliced(head: &Self, at: Prefix, tail: &Self) -> Self {
        let is_before = |chunk: &&Chunk| chunk.last().is_some_and(|(last, _)| *last <= at);
        let mut chunks: Vec<Chunk> = head.chunks().take_while(is_before).cloned().collect();
        if let Some(chunk) = head.chunks().nth(chunks.len()) {
            push_part(&mut chunks, chunk.get(..chunk.partition_point(|(prefix, _)| *prefix <= at)));
        }
        for chunk in tail.chunks().skip_while(is_before) {
            let cut = chunk.partition_point(|(prefix, _)| *prefix <= at);
            if cut == 0 {
                chunks.push(Arc::clone(chunk));
            } else {
                push_part(&mut chunks, chunk.get(cut..));
            }
        }
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        Self { branches: gathered(chunks, NODE_FILL), len }
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.branches.iter().flat_map(|branch| branch.iter())
    }

    fn chunk(&self, place: Place) -> Option<&Chunk> {
        self.branches.get(place.branch)?.get(place.chunk)
    }

    /// Whether both are the same version: not merely equal, but sharing all branches.
    fn shares_all(&self, other: &Self) -> bool {
        self.branches.len() == other.branches.len()
            && self.branches.iter().zip(&other.branches).all(|(mine, theirs)| Arc::ptr_eq(mine, theirs))
    }

    /// Where the prefix is, or where it would have to go: the last chunk that does not begin behind it.
    fn place_of(&self, prefix: &Prefix) -> Place {
        let chunk_begins = |chunk: &Chunk| chunk.first().is_some_and(|(first, _)| first <= prefix);
        let branch_begins = |branch: &Branch| branch.first().is_some_and(chunk_begins);
        let branch = self.branches.partition_point(branch_begins).saturating_sub(1);
        let chunks = self.branches.get(branch).map_or(&[][..], |branch| branch);
        Place { branch, chunk: chunks.partition_point(chunk_begins).saturating_sub(1) }
    }

    /// The branches with other routes in one place.
    fn replaced(&self, place: Place, routes: Vec<Route>) -> Vec<Branch> {
        let old = self.branches.get(place.branch).map_or(&[][..], |branch| branch);
        let mut chunks = Vec::with_capacity(old.len().saturating_add(1));
        chunks.extend(old.iter().take(place.chunk).cloned());
        chunks.extend(halved(routes));
        chunks.extend(old.iter().skip(place.chunk.saturating_add(1)).cloned());
        let mut branches = Vec::with_capacity(self.branches.len().saturating_add(1));
        branches.extend(self.branches.iter().take(place.branch).cloned());
        branches.extend(halved(chunks));
        branches.extend(self.branches.iter().skip(place.branch.saturating_add(1)).cloned());
        branches
    }
}

/// Which chunk of which branch.
#[derive(Clone, Copy, Debug)]
struct Place {
    branch: usize,
    chunk: usize,
}

/// One node, two when it would be too long, none when it is empty.
fn halved<T>(mut items: Vec<T>) -> impl Iterator<Item = Arc<[T]>> {
    let half = if items.len() > NODE_MAX { items.len() / 2 } else { items.len() };
    let behind = items.split_off(half);
    [items, behind].into_iter().filter(|part| !part.is_empty()).map(Arc::from)
}

/// Nodes of `fill` items each; items are moved, not copied.
fn gathered<T>(items: Vec<T>, fill: usize) -> Vec<Arc<[T]>> {
    let mut nodes = Vec::with_capacity(items.len().div_ceil(fill));
    let mut items = items.into_iter();
    while items.len() > 0 {
        nodes.push(items.by_ref().take(fill).collect());
    }
    nodes
}

/// The chunk with what is between `before` and `behind` replaced.
fn spliced_slice(chunk: &[Route], before: usize, route: Option<Route>, behind: usize) -> Vec<Route> {
    let mut routes = Vec::with_capacity(chunk.len().saturating_add(1));
    routes.extend_from_slice(chunk.get(..before).unwrap_or_default());
    routes.extend(route);
    routes.extend_from_slice(chunk.get(behind..).unwrap_or_default());
    routes
}

impl PartialEq for RouteSet {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (self.shares_all(other) || Self::diff(self, other).next().is_none())
    }
}

impl Eq for RouteSet {}

impl FromIterator<(Prefix, Arc<PathAttrs>)> for RouteSet {
    /// Builds the set at once; of several routes for one prefix the last one stays. Input that is
    /// sorted already costs no sorting.
    fn from_iter<I: IntoIterator<Item = (Prefix, Arc<PathAttrs>)>>(routes: I) -> Self {
        let mut routes: Vec<Route> = routes.into_iter().collect();
        if !routes.is_sorted_by(|(one, _), (next, _)| one < next) {
            in_order(&mut routes);
        }
        let len = routes.len();
        Self { branches: gathered(gathered(routes, NODE_FILL), NODE_FILL), len }
    }
}

/// Sorts; of several routes for one prefix the last one stays.
fn in_order(routes: &mut Vec<Route>) {
    routes.sort_by_key(|(prefix, _)| *prefix);
    // `dedup_by` keeps the earlier of two; the later one is wanted, so it is moved there first.
    routes.dedup_by(|later, kept| {
        let again = later.0 == kept.0;
        if again {
            std::mem::swap(later, kept);
        }
        again
    });
}

fn push_part(into: &mut Vec<Chunk>, part: Option<&[Route]>) {
    if let Some(part) = part.filter(|part| !part.is_empty()) {
        into.push(Arc::from(part));
    }
}

fn same(one: &Arc<PathAttrs>, other: &Arc<PathAttrs>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// A place in a set, as what is left to walk. Only at the end is any of the three empty.
#[derive(Clone, Copy)]
struct Walk<'a> {
    /// What is left of the chunk.
    routes: &'a [Route],
    /// The chunk, and those behind it in its branch.
    chunks: &'a [Chunk],
    /// The branch, and those behind it.
    branches: &'a [Branch],
}

impl<'a> Walk<'a> {
    fn behind(set: &'a RouteSet, after: Option<Prefix>) -> Self {
        let place = after.map_or(Place { branch: 0, chunk: 0 }, |after| set.place_of(&after));
        let branches = set.branches.get(place.branch..).unwrap_or_default();
        let chunks = branches.first().and_then(|branch| branch.get(place.chunk..)).unwrap_or_default();
        let routes = chunks.first().map_or(&[][..], |chunk| chunk);
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
    fn take_run(&mut self) -> Option<&'a [Route]> {
        let run = Some(self.routes).filter(|run| !run.is_empty())?;
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
            Some(chunk) => self.routes = chunk,
            None => self.next_branch(),
        }
    }

    fn next_branch(&mut self) {
        self.branches = self.branches.get(1..).unwrap_or_default();
        self.chunks = self.branches.first().map_or(&[], |branch| branch);
        self.routes = self.chunks.first().map_or(&[], |chunk| chunk);
    }

    /// The chunk, when it begins exactly here.
    fn whole_chunk(&self) -> Option<&'a Chunk> {
        self.chunks.first().filter(|chunk| chunk.len() == self.routes.len())
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
    old: Walk<'a>,
    new: Walk<'a>,
}

impl<'a> Diff<'a> {
    /// Routes that are all new, at once: there are some when the old set is at its end.
    pub(crate) fn take_run_of_new(&mut self) -> Option<&'a [Route]> {
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
