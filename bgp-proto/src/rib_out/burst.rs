//! Routes on their way into messages, gathered by their attributes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::STEP;
use crate::attrs::{AttrBlob, PathAttrs};
use crate::family::Family;
use crate::image::Image;
use crate::pack::Piece;
use crate::prefix::Prefix;
use crate::route_set::{Route, Run};

/// So many pieces of a table, each about one chunk of it, fill a burst.
const PIECES: usize = STEP / 192;
/// So many groups are compared by address before one is looked up by value.
const NEAR: usize = 4;

#[derive(Default)]
pub(super) struct Burst<'a> {
    pub(super) gone: Vec<Prefix>,
    /// In the order in which they were met.
    pub(super) groups: Vec<Group<'a>>,
    /// Where the groups of certain attributes are, but for the last [`NEAR`] ones.
    index: BTreeMap<(Family, &'a PathAttrs), usize>,
    /// The group that took the last route.
    last: usize,
    /// About how long the messages will be.
    octets: usize,
}

/// Routes of one family with equal attributes.
pub(super) struct Group<'a> {
    pub(super) family: Family,
    pub(super) blob: Arc<AttrBlob>,
    /// In the order of the table.
    pub(super) pieces: Vec<Piece<'a, Route>>,
    attrs: &'a Arc<PathAttrs>,
    size: MessageSize,
    /// What the message that is being filled has left for routes.
    left: usize,
}

/// How messages of a group are divided, in octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageSize {
    /// The longest message.
    pub(super) max: usize,
    /// What of it is not for routes.
    pub(super) overhead: usize,
}

impl<'a> Burst<'a> {
    /// Nothing more goes in: so many octets are there, or a message is full and another one would be too many.
    pub(super) fn is_full(&self) -> bool {
        let is_at_end = |group: &Group<'_>| group.is_message_full() && group.size.max > self.left();
        self.octets >= STEP || self.groups.get(self.last).is_some_and(is_at_end)
    }

    /// About how long the messages will be, in octets.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    fn left(&self) -> usize {
        STEP.saturating_sub(self.octets)
    }

    pub(super) fn push_gone(&mut self, prefix: Prefix) {
        self.octets = self.octets.saturating_add(prefix.wire_len());
        self.gone.push(prefix);
    }

    /// Adds the routes at the front of a run that share their attributes with the first one, up to
    /// where the burst is full; returns how many those are. Zero when there is no group for them yet.
    pub(super) fn push(&mut self, run: &Run<'a>) -> usize {
        let Some((family, attrs)) = run.first() else { return 0 };
        let fits = |group: &Group<'_>| Arc::ptr_eq(group.attrs, attrs) && group.family == family;
        if !self.groups.get(self.last).is_some_and(fits) {
            let is_equal = |group: &Group<'_>| group.attrs == attrs && group.family == family;
            let far = || self.index.get(&(family, &**attrs)).copied();
            let found = self.near(fits).or_else(far).or_else(|| self.near(is_equal));
            let Some(at) = found else { return 0 };
            self.last = at;
        }
        let Some(group) = self.groups.get_mut(self.last) else { return 0 };
        let limit = STEP.saturating_sub(self.octets);
        if run.alike.is_some() && group.pieces.capacity() == 0 {
            group.pieces.reserve(PIECES);
        }
        let (count, octets) = match &run.alike {
            Some(alike) => group.push_image(alike.image, limit),
            None => group.push(run.routes, limit),
        };
        self.octets = self.octets.saturating_add(octets);
        count
    }

    /// Opens a group for routes with these attributes.
    pub(super) fn open(
        &mut self,
        family: Family,
        attrs: &'a Arc<PathAttrs>,
        blob: Arc<AttrBlob>,
        size: MessageSize,
    ) {
        self.last = self.groups.len();
        if let Some(far) = self.last.checked_sub(NEAR).and_then(|at| self.groups.get(at)) {
            self.index.insert((far.family, far.attrs), self.last.saturating_sub(NEAR));
        }
        self.groups.push(Group { family, blob, pieces: Vec::new(), attrs, size, left: 0 });
    }

    /// The place of a group among the last ones.
    fn near(&self, is_wanted: impl Fn(&Group<'_>) -> bool) -> Option<usize> {
        let near = self.groups.len().saturating_sub(NEAR);
        let at = self.groups.get(near..)?.iter().position(is_wanted)?;
        Some(near.saturating_add(at))
    }
}

impl<'a> Group<'a> {
    /// Takes at least one route, and no more than `limit` octets allow. Returns how many routes, and by
    /// how much the messages grow: a route that opens one bears what it holds besides routes.
    fn push(&mut self, routes: &'a [Route], limit: usize) -> (usize, usize) {
        let (mut count, mut octets) = (0_usize, 0_usize);
        let Some((_, attrs)) = routes.first() else { return (0, 0) };
        for (prefix, other) in routes {
            let is_other = !Arc::ptr_eq(attrs, other) || prefix.family() != self.family;
            if count > 0 && (is_other || octets >= limit) {
                break;
            }
            let length = prefix.wire_len();
            if self.left < length {
                if count > 0 && !self.may_open(octets, limit) {
                    break;
                }
                octets = octets.saturating_add(self.open_message());
            }
            self.left = self.left.saturating_sub(length);
            octets = octets.saturating_add(length);
            count = count.saturating_add(1);
        }
        self.pieces.push(Piece::Each(routes.get(..count).unwrap_or_default()));
        (count, octets)
    }

    /// The same for routes that are alike, a message at a time.
    fn push_image(&mut self, image: Image<'a>, limit: usize) -> (usize, usize) {
        let (mut count, mut octets, mut taken) = (0_usize, 0_usize, 0_usize);
        let mut ahead = image;
        while !ahead.is_empty() && (count == 0 || octets < limit) {
            let mut fit = ahead.fit(self.left);
            if fit.prefixes == 0 {
                if count > 0 && !self.may_open(octets, limit) {
                    break;
                }
                octets = octets.saturating_add(self.open_message());
                fit = ahead.fit(self.left);
            }
            self.left = self.left.saturating_sub(fit.octets);
            count = count.saturating_add(fit.prefixes);
            octets = octets.saturating_add(fit.octets);
            taken = taken.saturating_add(fit.octets);
            ahead = ahead.behind_octets(fit.octets);
        }
        self.pieces.push(Piece::Ready(image.up_to_octets(taken)));
        (count, octets)
    }

    /// Whether a whole message more is within the limit.
    fn may_open(&self, octets: usize, limit: usize) -> bool {
        octets.saturating_add(self.size.max) <= limit
    }

    /// Begins a message; returns what it holds besides routes. One prefix has room in any message: attributes
    /// that leave none are refused beforehand.
    fn open_message(&mut self) -> usize {
        self.left = self.size.max.saturating_sub(self.size.overhead).max(Prefix::WIRE_MAX);
        self.size.overhead
    }

    fn is_message_full(&self) -> bool {
        self.left < Prefix::host_wire_len(self.family)
    }
}
