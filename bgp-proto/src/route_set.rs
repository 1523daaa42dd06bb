//! Everything that is wanted for one peer: an immutable, sorted set of routes.
//!
//! The set is cut into chunks behind `Arc`s. A changed version copies the one chunk that it touches and
//! shares the others, so keeping two versions costs little, and their difference is found in time
//! proportional to what changed: chunks that are the same allocation are skipped unread.
//!
//! Left out: who is told what (that is `rib_out`).

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;

use crate::attrs::PathAttrs;
use crate::prefix::Prefix;

/// A chunk is split in two when it grows past this many routes.
const CHUNK_MAX: usize = 128;
/// What a freshly built chunk holds: room to grow, so that one insertion does not split it at once.
const CHUNK_FILL: usize = 96;

type Route = (Prefix, Arc<PathAttrs>);
type Chunk = Arc<[Route]>;

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
    /// Never an empty chunk; strictly ascending through all of them.
    chunks: Vec<Chunk>,
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
        let chunk = self.chunks.get(self.chunk_of(prefix))?;
        let at = chunk.binary_search_by_key(prefix, |(prefix, _)| *prefix).ok()?;
        chunk.get(at).map(|(_, attrs)| attrs)
    }

    /// All routes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &Arc<PathAttrs>)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(prefix, attrs)| (*prefix, attrs)))
    }

    /// All routes behind `after`, ascending; `None` is from the beginning.
    pub(crate) fn iter_after(
        &self,
        after: Option<Prefix>,
    ) -> impl Iterator<Item = (Prefix, &Arc<PathAttrs>)> {
        let mut walk = Walk::behind(self, after);
        std::iter::from_fn(move || {
            let route = walk.peek()?;
            walk.step();
            Some((route.0, &route.1))
        })
    }

    /// The set with this route added, or replaced. A route that is there already changes nothing, and
    /// the result shares everything with the old set.
    #[must_use]
    pub fn with(&self, prefix: Prefix, attrs: Arc<PathAttrs>) -> Self {
        let index = self.chunk_of(&prefix);
        let Some(chunk) = self.chunks.get(index) else {
            return Self { chunks: vec![Arc::from([(prefix, attrs)])], len: 1 };
        };
        let mut routes = chunk.to_vec();
        let mut len = self.len;
        match routes.binary_search_by_key(&prefix, |(prefix, _)| *prefix) {
            Ok(at) => match routes.get_mut(at) {
                Some((_, old)) if same(old, &attrs) => return self.clone(),
                Some((_, old)) => *old = attrs,
                None => {}
            },
            Err(at) => {
                routes.insert(at, (prefix, attrs));
                len = len.saturating_add(1);
            }
        }
        Self { chunks: self.replaced(index, routes), len }
    }

    /// The set without this prefix; the same set when the prefix is not in it.
    #[must_use]
    pub fn without(&self, prefix: &Prefix) -> Self {
        let index = self.chunk_of(prefix);
        let found = self.chunks.get(index).and_then(|chunk| {
            let at = chunk.binary_search_by_key(prefix, |(prefix, _)| *prefix).ok()?;
            Some((chunk, at))
        });
        let Some((chunk, at)) = found else { return self.clone() };
        let mut routes = chunk.to_vec();
        routes.remove(at);
        Self { chunks: self.replaced(index, routes), len: self.len.saturating_sub(1) }
    }

    /// What turns `old` into `new`, ascending by prefix. Parts that both share are not looked at.
    pub fn diff<'a>(old: &'a Self, new: &'a Self) -> impl Iterator<Item = Change<'a>> {
        Self::diff_after(old, new, None)
    }

    /// The part of [`RouteSet::diff`] behind a prefix.
    pub(crate) fn diff_after<'a>(old: &'a Self, new: &'a Self, after: Option<Prefix>) -> Diff<'a> {
        Diff { old: Walk::behind(old, after), new: Walk::behind(new, after) }
    }

    /// `head` up to and including `at`, `tail` behind it; whole chunks are shared with their sources.
    pub(crate) fn spliced(head: &Self, at: Prefix, tail: &Self) -> Self {
        let cut = head.chunk_of(&at);
        let mut chunks: Vec<Chunk> = head.chunks.iter().take(cut).cloned().collect();
        if let Some(chunk) = head.chunks.get(cut) {
            push_slice(&mut chunks, chunk, ..chunk.partition_point(|(prefix, _)| *prefix <= at));
        }
        let behind = Walk::behind(tail, Some(at));
        let mut rest = behind.chunks.iter();
        if let Some(chunk) = rest.next() {
            push_slice(&mut chunks, chunk, behind.at..);
        }
        chunks.extend(rest.cloned());
        let len = chunks.iter().map(|chunk| chunk.len()).sum();
        Self { chunks, len }
    }

    /// Whether both are the same version: not merely equal, but sharing all chunks.
    fn shares_all(&self, other: &Self) -> bool {
        self.chunks.len() == other.chunks.len()
            && self.chunks.iter().zip(&other.chunks).all(|(mine, theirs)| Arc::ptr_eq(mine, theirs))
    }

    /// Where the prefix is, or where it would have to go: the last chunk that does not begin behind it.
    fn chunk_of(&self, prefix: &Prefix) -> usize {
        let begins_before = |chunk: &Chunk| chunk.first().is_some_and(|(first, _)| first <= prefix);
        self.chunks.partition_point(begins_before).saturating_sub(1)
    }

    fn replaced(&self, index: usize, routes: Vec<Route>) -> Vec<Chunk> {
        let mut chunks = Vec::with_capacity(self.chunks.len().saturating_add(1));
        chunks.extend(self.chunks.iter().take(index).cloned());
        if routes.len() > CHUNK_MAX {
            let (left, right) = routes.split_at(routes.len() / 2);
            chunks.extend([Arc::from(left), Arc::from(right)]);
        } else if !routes.is_empty() {
            chunks.push(Arc::from(routes));
        }
        chunks.extend(self.chunks.iter().skip(index.saturating_add(1)).cloned());
        chunks
    }
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
        routes.sort_by_key(|(prefix, _)| *prefix);
        // `dedup_by` keeps the earlier of two; the later one is wanted, so it is moved there first.
        routes.dedup_by(|later, kept| {
            let again = later.0 == kept.0;
            if again {
                std::mem::swap(later, kept);
            }
            again
        });
        Self { chunks: routes.chunks(CHUNK_FILL).map(Arc::from).collect(), len: routes.len() }
    }
}

fn push_slice<R: std::slice::SliceIndex<[Route], Output = [Route]>>(
    into: &mut Vec<Chunk>,
    chunk: &Chunk,
    range: R,
) {
    match chunk.get(range) {
        Some(part) if part.len() == chunk.len() => into.push(Arc::clone(chunk)),
        Some([]) | None => {}
        Some(part) => into.push(Arc::from(part)),
    }
}

fn same(one: &Arc<PathAttrs>, other: &Arc<PathAttrs>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// A place in a set. It never rests behind the last route of a chunk.
#[derive(Clone, Copy)]
struct Walk<'a> {
    chunks: &'a [Chunk],
    at: usize,
}

impl<'a> Walk<'a> {
    fn behind(set: &'a RouteSet, after: Option<Prefix>) -> Self {
        let Some(after) = after else { return Self { chunks: &set.chunks, at: 0 } };
        let index = set.chunk_of(&after);
        let chunks = set.chunks.get(index..).unwrap_or_default();
        let at = chunks.first().map_or(0, |chunk| chunk.partition_point(|(prefix, _)| *prefix <= after));
        Self { chunks, at }.settled()
    }

    fn peek(&self) -> Option<&'a Route> {
        self.chunks.first()?.get(self.at)
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
        *self = self.settled();
    }

    fn settled(self) -> Self {
        match self.chunks.split_first() {
            Some((chunk, rest)) if self.at >= chunk.len() => Self { chunks: rest, at: 0 },
            Some(_) | None => self,
        }
    }

    /// The chunk that begins exactly here, and what follows it.
    fn whole_chunk(&self) -> Option<(&'a Chunk, &'a [Chunk])> {
        if self.at == 0 { self.chunks.split_first() } else { None }
    }
}

/// The steps from one set to another, ascending by prefix.
pub(crate) struct Diff<'a> {
    old: Walk<'a>,
    new: Walk<'a>,
}

impl Diff<'_> {
    fn skip_shared(&mut self) {
        while let (Some((old, old_rest)), Some((new, new_rest))) =
            (self.old.whole_chunk(), self.new.whole_chunk())
        {
            if !Arc::ptr_eq(old, new) {
                return;
            }
            self.old.chunks = old_rest;
            self.new.chunks = new_rest;
        }
    }
}

impl<'a> Iterator for Diff<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        loop {
            self.skip_shared();
            let order = match (self.old.peek(), self.new.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let (old, new) = (self.old.peek(), self.new.peek());
            if order.is_le() {
                self.old.step();
            }
            if order.is_ge() {
                self.new.step();
            }
            match (order, old, new) {
                (Ordering::Less, Some((prefix, _)), _) => return Some(Change::Unset(*prefix)),
                (Ordering::Equal, Some((_, old)), Some((_, new))) if same(old, new) => {}
                (Ordering::Equal | Ordering::Greater, _, Some((prefix, attrs))) => {
                    return Some(Change::Set(*prefix, attrs));
                }
                (Ordering::Less, None, _) | (Ordering::Equal | Ordering::Greater, _, None) => return None,
            }
        }
    }
}
