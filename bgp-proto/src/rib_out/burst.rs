//! Routes on their way into messages, gathered by their attributes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::STEP;
use crate::attrs::{AttrBlob, PathAttrs};
use crate::family::Family;
use crate::pack::OVERHEAD;
use crate::prefix::Prefix;
use crate::route_set::Route;

/// So many groups are compared by address before one is looked up by value.
const NEAR: usize = 4;

#[derive(Default)]
pub(super) struct Burst<'a> {
    pub(super) gone: Vec<Prefix>,
    /// In the order in which they were met.
    pub(super) groups: Vec<Group<'a>>,
    /// Where the group of certain attributes is.
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
    /// In the order of the table, as they lie there.
    pub(super) runs: Vec<&'a [Route]>,
    attrs: &'a Arc<PathAttrs>,
    /// What a message has left for routes beside the attributes, in octets.
    room: usize,
    /// What the message that is being filled has of that.
    left: usize,
}

impl<'a> Burst<'a> {
    pub(super) fn is_full(&self) -> bool {
        self.octets >= STEP
    }

    pub(super) fn push_gone(&mut self, prefix: Prefix) {
        self.octets = self.octets.saturating_add(prefix.wire_len());
        self.gone.push(prefix);
    }

    /// Adds the routes at the front of `routes` that share their attributes with the first one, up to
    /// where the burst is full; returns how many those are. Zero when there is no group for them yet.
    pub(super) fn push(&mut self, routes: &'a [Route]) -> usize {
        let Some((prefix, attrs)) = routes.first() else { return 0 };
        let family = prefix.family();
        let fits = |group: &Group<'_>| Arc::ptr_eq(group.attrs, attrs) && group.family == family;
        if !self.groups.get(self.last).is_some_and(fits) {
            let near = self.groups.len().saturating_sub(NEAR);
            let recent = self.groups.get(near..).and_then(|groups| groups.iter().position(fits));
            let found = match recent {
                Some(at) => Some(near.saturating_add(at)),
                None => self.index.get(&(family, &**attrs)).copied(),
            };
            let Some(at) = found else { return 0 };
            self.last = at;
        }
        let Some(group) = self.groups.get_mut(self.last) else { return 0 };
        let (count, octets) = group.push(routes, STEP.saturating_sub(self.octets));
        self.octets = self.octets.saturating_add(octets);
        count
    }

    /// Opens a group for routes with these attributes.
    pub(super) fn open(
        &mut self,
        family: Family,
        attrs: &'a Arc<PathAttrs>,
        blob: Arc<AttrBlob>,
        max_len: u16,
    ) {
        let room = usize::from(max_len).saturating_sub(blob.len()).saturating_sub(OVERHEAD);
        self.last = self.groups.len();
        self.index.insert((family, attrs), self.last);
        self.groups.push(Group { family, blob, runs: Vec::new(), attrs, room, left: 0 });
    }
}

impl<'a> Group<'a> {
    /// Takes at least one route, and no more than `limit` octets allow. Returns how many routes, and by
    /// how much the messages grow: a route that opens one bears what it holds besides routes.
    fn push(&mut self, routes: &'a [Route], limit: usize) -> (usize, usize) {
        let (mut count, mut octets) = (0_usize, 0_usize);
        let Some((_, attrs)) = routes.first() else { return (0, 0) };
        for (prefix, other) in routes {
            if count > 0 && (octets >= limit || !Arc::ptr_eq(attrs, other) || prefix.family() != self.family)
            {
                break;
            }
            let length = prefix.wire_len();
            let grown = match self.left.checked_sub(length) {
                Some(left) => {
                    self.left = left;
                    length
                }
                None => {
                    self.left = self.room.saturating_sub(length);
                    length.saturating_add(self.blob.len()).saturating_add(OVERHEAD)
                }
            };
            octets = octets.saturating_add(grown);
            count = count.saturating_add(1);
        }
        self.runs.push(routes.get(..count).unwrap_or_default());
        (count, octets)
    }
}
