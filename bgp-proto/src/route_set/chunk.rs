//! A leaf of the tree: routes side by side, and where they are all alike, what they look like in a message.

use std::sync::Arc;

use crate::attrs::PathAttrs;
use crate::family::Family;
use crate::image::{Image, ImageBuf};
use crate::prefix::Prefix;

/// One destination and what is said of it.
pub(crate) type Route = (Prefix, Arc<PathAttrs>);

/// Routes in the order of their prefixes, never none.
#[derive(Debug)]
pub(super) struct Chunk {
    routes: Box<[Route]>,
    alike: Option<Alike>,
}

/// What all routes of a chunk have in common. Who sends them need not look at one of them.
#[derive(Debug)]
struct Alike {
    family: Family,
    attrs: Arc<PathAttrs>,
    image: ImageBuf,
}

impl Chunk {
    /// Routes are alike when they are of one family and share their attributes, not merely have equal ones.
    pub(super) fn new(routes: Vec<Route>) -> Self {
        let is_like = |(first, of_first): &Route, (prefix, attrs): &Route| {
            Arc::ptr_eq(attrs, of_first) && prefix.family() == first.family()
        };
        let alike = routes.first().filter(|first| routes.iter().all(|route| is_like(first, route))).map(
            |(prefix, attrs)| Alike {
                family: prefix.family(),
                attrs: Arc::clone(attrs),
                image: ImageBuf::of(routes.iter().map(|(prefix, _)| prefix)),
            },
        );
        Self { routes: routes.into_boxed_slice(), alike }
    }

    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Where the prefix is; if it is not there, where it would have to go.
    pub(super) fn place_of(&self, prefix: &Prefix) -> Result<usize, usize> {
        self.routes.binary_search_by_key(prefix, |(prefix, _)| *prefix)
    }

    /// Its routes, with what is between `before` and `behind` replaced.
    pub(super) fn spliced(&self, before: usize, route: Option<Route>, behind: usize) -> Vec<Route> {
        let mut routes = Vec::with_capacity(self.routes.len().saturating_add(1));
        routes.extend_from_slice(self.routes.get(..before).unwrap_or_default());
        routes.extend(route);
        routes.extend_from_slice(self.routes.get(behind..).unwrap_or_default());
        routes
    }

    /// Its last `count` routes.
    pub(super) fn last(&self, count: usize) -> Run<'_> {
        let passed = self.routes.len().saturating_sub(count);
        let routes = self.routes.get(passed..).unwrap_or_default();
        let alike = self.alike.as_ref().map(|alike| RunAlike {
            family: alike.family,
            attrs: &alike.attrs,
            image: if passed == 0 { alike.image.whole() } else { alike.image.whole().behind(passed) },
        });
        Run { routes, alike }
    }
}

/// Routes that lie side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) routes: &'a [Route],
    /// What all of them have in common, where that is known without looking.
    pub(crate) alike: Option<RunAlike<'a>>,
}

/// What all routes of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunAlike<'a> {
    pub(crate) family: Family,
    pub(crate) attrs: &'a Arc<PathAttrs>,
    pub(crate) image: Image<'a>,
}

impl<'a> Run<'a> {
    /// Routes of which nothing is known.
    pub(crate) fn of(routes: &'a [Route]) -> Self {
        Self { routes, alike: None }
    }

    /// Family and attributes of the first route; `None` when there is no route.
    pub(crate) fn first(&self) -> Option<(Family, &'a Arc<PathAttrs>)> {
        match &self.alike {
            Some(alike) if !self.routes.is_empty() => Some((alike.family, alike.attrs)),
            Some(_) | None => self.routes.first().map(|(prefix, attrs)| (prefix.family(), attrs)),
        }
    }

    /// The first `count` routes.
    pub(crate) fn up_to(&self, count: usize) -> Self {
        if count >= self.routes.len() {
            return *self;
        }
        Self { routes: self.routes.get(..count).unwrap_or_default(), alike: None }
    }

    /// What is behind the first `count` routes.
    pub(crate) fn behind(&self, count: usize) -> Self {
        let alike = self.alike.map(|alike| RunAlike { image: alike.image.behind(count), ..alike });
        Self { routes: self.routes.get(count..).unwrap_or_default(), alike }
    }
}
