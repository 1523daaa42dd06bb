//! How far one peer has been taken, and what it has asked for.

use std::sync::Arc;

use crate::family::{Families, Family};
use crate::prefix::Prefix;
use crate::route_set::{Change, RouteSet};

/// How far one peer has been taken.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// What the peer knew when the walk began.
    pub(super) base: Arc<RouteSet>,
    /// What it is to know.
    pub(super) target: Arc<RouteSet>,
    pub(super) stage: Stage,
    refresh_v4: Refresh,
    refresh_v6: Refresh,
    /// Whether refreshes are marked (RFC 7313).
    pub(super) marks: bool,
    pub(super) end_of_rib: Families,
    pub(super) told: u32,
}

/// Where a walk stands; `after` is the last prefix that was dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Withdraw { after: Option<Prefix> },
    Announce { after: Option<Prefix> },
    Level,
}

/// A refresh of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    None,
    Asked,
    /// `again`: asked for once more, however often, while it ran.
    Running {
        after: Option<Prefix>,
        again: bool,
    },
}

impl Cursor {
    /// A peer that knows nothing.
    pub(crate) fn new(marks: bool) -> Self {
        Self {
            base: Arc::default(),
            target: Arc::default(),
            stage: Stage::Level,
            refresh_v4: Refresh::None,
            refresh_v6: Refresh::None,
            marks,
            end_of_rib: Families::NONE,
            told: 0,
        }
    }

    /// A peer that knows `known`, `told` routes of it by word.
    pub(crate) fn resumed(marks: bool, known: Arc<RouteSet>, told: u32) -> Self {
        Self { base: Arc::clone(&known), target: known, told, ..Self::new(marks) }
    }

    /// From here on the peer is to know `target`.
    pub(crate) fn retarget(&mut self, target: Arc<RouteSet>) {
        if Arc::ptr_eq(&self.target, &target) {
            return;
        }
        self.base = self.known();
        self.target = target;
        self.stage = Stage::Withdraw { after: None };
    }

    /// Sends End-of-RIB for these families as soon as the peer knows the target.
    pub(crate) fn owe_end_of_rib(&mut self, families: Families) {
        self.end_of_rib = families;
    }

    /// The peer wants to hear a family again. Any number of requests make at most one walk more.
    pub(crate) fn ask_refresh(&mut self, family: Family) {
        let refresh = self.refresh_mut(family);
        *refresh = match *refresh {
            Refresh::None | Refresh::Asked => Refresh::Asked,
            Refresh::Running { after, .. } => Refresh::Running { after, again: true },
        };
    }

    /// The families whose End-of-RIB is still to be sent.
    pub(crate) fn end_of_rib_owed(&self) -> Families {
        self.end_of_rib
    }

    /// The families that the peer has asked for again and not heard to the end.
    pub(crate) fn refresh_owed(&self) -> Families {
        Family::ALL.into_iter().filter(|family| self.refresh(*family) != Refresh::None).collect()
    }

    /// How many routes the peer knows.
    pub(crate) fn told(&self) -> u32 {
        self.told
    }

    pub(crate) fn target(&self) -> &RouteSet {
        &self.target
    }

    /// Whether nothing is left to say.
    pub(crate) fn is_level(&self) -> bool {
        let quiet = self.refresh_v4 == Refresh::None && self.refresh_v6 == Refresh::None;
        self.stage == Stage::Level && quiet && self.end_of_rib.is_empty()
    }

    /// What the peer knows now. In the middle of a walk that is part one version, part the other.
    pub(crate) fn known(&self) -> Arc<RouteSet> {
        let done = match self.stage {
            Stage::Level => return Arc::clone(&self.target),
            Stage::Withdraw { after: None } => return Arc::clone(&self.base),
            Stage::Withdraw { after } => after,
            Stage::Announce { .. } => None,
        };
        let withdrawn = RouteSet::diff(&self.base, &self.target).filter_map(|change| match change {
            Change::Unset(prefix) if done.is_none_or(|done| prefix <= done) => Some(prefix),
            Change::Unset(_) | Change::Set(..) => None,
        });
        let left = withdrawn.fold(RouteSet::clone(&self.base), |left, prefix| left.without(&prefix));
        Arc::new(match self.stage {
            Stage::Announce { after: Some(after) } => RouteSet::spliced(&self.target, after, &left),
            Stage::Announce { after: None } | Stage::Withdraw { .. } | Stage::Level => left,
        })
    }

    pub(super) fn refresh(&self, family: Family) -> Refresh {
        match family {
            Family::Ipv4Unicast => self.refresh_v4,
            Family::Ipv6Unicast => self.refresh_v6,
        }
    }

    pub(super) fn refresh_mut(&mut self, family: Family) -> &mut Refresh {
        match family {
            Family::Ipv4Unicast => &mut self.refresh_v4,
            Family::Ipv6Unicast => &mut self.refresh_v6,
        }
    }
}
