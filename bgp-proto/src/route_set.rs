//! Everything that is wanted for one peer: an immutable, sorted set of routes.
//!
//! The set is a tree of two levels behind `Arc`s: chunks of routes, and branches of chunks. A changed
//! version copies the one chunk and the one branch that it touches and shares the others, so keeping two
//! versions costs little, and their difference is found in time proportional to what changed: branches
//! and chunks that are the same allocation are skipped unread.
//!
//! Left out: who is told what (that is `rib_out`).

mod chunk;
#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;

use crate::attrs::PathAttrs;
use crate::family::Family;
use crate::prefix::Prefix;

use chunk::Chunk;
pub(crate) use chunk::{Route, Run};
use walk::Walk;
pub(crate) use walk::{Diff, Step};

/// A chunk is split in two when it grows past this many routes, a branch when it grows past this many chunks.
const NODE_MAX: usize = 64;
/// What freshly built chunks and branches hold: room to grow, so that one insertion does not split them at once.
const NODE_FILL: usize = 48;

/// Chunks side by side.
type Branch = Arc<[Arc<Chunk>]>;

/// An immutable set of routes, at most one a prefix, in the order of the prefixes.
///
/// Routes that share their attributes, as one `Arc` and not as equal values, take the least room and are sent
/// fastest.
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

    /// Whether there is a route of this family. It is found at one end, however many routes there are: IPv4 comes
    /// before IPv6.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        let end = match family {
            Family::Ipv4Unicast => self.branches.first().and_then(|branch| branch.first()?.routes().first()),
            Family::Ipv6Unicast => self.branches.last().and_then(|branch| branch.last()?.routes().last()),
        };
        end.is_some_and(|(prefix, _)| prefix.family() == family)
    }

    /// The attributes of a prefix.
    #[must_use]
    pub fn get(&self, prefix: &Prefix) -> Option<&Arc<PathAttrs>> {
        let chunk = self.chunk(self.place_of(prefix))?;
        chunk.routes().get(chunk.place_of(prefix).ok()?).map(|(_, attrs)| attrs)
    }

    /// All routes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &Arc<PathAttrs>)> {
        self.chunks().flat_map(|chunk| chunk.routes().iter().map(|(prefix, attrs)| (*prefix, attrs)))
    }

    /// All routes behind `after`, ascending, as they lie in memory; `None` is from the beginning.
    pub(crate) fn runs_after(&self, after: Option<Prefix>) -> impl Iterator<Item = Run<'_>> {
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
        let (before, behind, len) = match chunk.place_of(&prefix) {
            Ok(at) if chunk.routes().get(at).is_some_and(|(_, old)| same(old, &attrs)) => {
                return self.clone();
            }
            Ok(at) => (at, at.saturating_add(1), self.len),
            Err(at) => (at, at, self.len.saturating_add(1)),
        };
        let routes = chunk.spliced(before, Some((prefix, attrs)), behind);
        Self { branches: self.replaced(place, routes), len }
    }

    /// The set without this prefix; the same set when the prefix is not in it.
    #[must_use]
    pub fn without(&self, prefix: &Prefix) -> Self {
        let place = self.place_of(prefix);
        let found = self.chunk(place).and_then(|chunk| Some((chunk, chunk.place_of(prefix).ok()?)));
        let Some((chunk, at)) = found else { return self.clone() };
        let routes = chunk.spliced(at, None, at.saturating_add(1));
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
        let is_before = |chunk: &&Arc<Chunk>| chunk.routes().last().is_some_and(|(last, _)| *last <= at);
        let cut = |chunk: &Chunk| chunk.routes().partition_point(|(prefix, _)| *prefix <= at);
        let mut chunks: Vec<Arc<Chunk>> = head.chunks().take_while(is_before).cloned().collect();
        if let Some(chunk) = head.chunks().nth(chunks.len()) {
            push_part(&mut chunks, chunk.routes().get(..cut(chunk)));
        }
        for chunk in tail.chunks().skip_while(is_before) {
            match cut(chunk) {
                0 => chunks.push(Arc::clone(chunk)),
                cut => push_part(&mut chunks, chunk.routes().get(cut..)),
            }
        }
        let len = chunks.iter().map(|chunk| chunk.routes().len()).sum();
        Self { branches: branches_of(chunks), len }
    }

    fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.branches.iter().flat_map(|branch| branch.iter())
    }

    fn chunk(&self, place: Place) -> Option<&Chunk> {
        self.branches.get(place.branch)?.get(place.chunk).map(Arc::as_ref)
    }

    /// Whether both are the same version: not merely equal, but sharing all branches.
    fn shares_all(&self, other: &Self) -> bool {
        self.branches.len() == other.branches.len()
            && self.branches.iter().zip(&other.branches).all(|(mine, theirs)| Arc::ptr_eq(mine, theirs))
    }

    /// Where the prefix is, or where it would have to go: the last chunk that does not begin behind it.
    fn place_of(&self, prefix: &Prefix) -> Place {
        let chunk_begins =
            |chunk: &Arc<Chunk>| chunk.routes().first().is_some_and(|(first, _)| first <= prefix);
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
        chunks.extend(halved(routes).map(|routes| Arc::new(Chunk::new(routes))));
        chunks.extend(old.iter().skip(place.chunk.saturating_add(1)).cloned());
        let mut branches = Vec::with_capacity(self.branches.len().saturating_add(1));
        branches.extend(self.branches.iter().take(place.branch).cloned());
        branches.extend(halved(chunks).map(Branch::from));
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

/// The items of one node, of two when those would be too many for one, of none when there is no item.
fn halved<T>(mut items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let half = if items.len() > NODE_MAX { items.len() / 2 } else { items.len() };
    let behind = items.split_off(half);
    [items, behind].into_iter().filter(|part| !part.is_empty())
}

/// Chunks of [`NODE_FILL`] routes each; routes are moved, not copied.
fn chunks_of(routes: Vec<Route>) -> Vec<Arc<Chunk>> {
    let mut chunks = Vec::with_capacity(routes.len().div_ceil(NODE_FILL));
    let mut routes = routes.into_iter();
    while routes.len() > 0 {
        chunks.push(Arc::new(Chunk::new(routes.by_ref().take(NODE_FILL).collect())));
    }
    chunks
}

fn branches_of(chunks: Vec<Arc<Chunk>>) -> Vec<Branch> {
    chunks.chunks(NODE_FILL).map(Branch::from).collect()
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
        Self { branches: branches_of(chunks_of(routes)), len }
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

fn push_part(into: &mut Vec<Arc<Chunk>>, part: Option<&[Route]>) {
    if let Some(part) = part.filter(|part| !part.is_empty()) {
        into.push(Arc::new(Chunk::new(part.to_vec())));
    }
}

fn same(one: &Arc<PathAttrs>, other: &Arc<PathAttrs>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
