//! What peers are told: the Adj-RIB-Out without a copy of the table.
//!
//! A version of the table is a [`RouteSet`], immutable and shared by everyone who is told the same. A
//! peer holds a [`Cursor`]: the version that it knew, the version that it is to know, and how far it has
//! been taken from one to the other. Nothing is queued: octets are made when the socket takes some, from
//! the difference as it is then. So a slow peer is never told what has been overtaken, a new session is
//! a cursor that knew the empty set, and an unchanged route costs nothing.
//!
//! What is common to equal peers is their class, and with it the encoded attributes: one [`RibOut`] each.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::BytesMut;

use crate::attrs::{AttrBlob, PathAttrs, PathStyle};
use crate::family::{Families, Family};
use crate::pack::{OVERHEAD, Packer};
use crate::prefix::Prefix;
use crate::route_set::{Change, RouteSet};
use crate::wire::refresh::{RefreshKind, RouteRefresh};

/// What one call may append, in octets: enough to fill a socket buffer, little enough to be fair.
const BURST: usize = 64 * 1024;
/// What one step of a walk appends before it rests; the last step may begin just below the burst's half.
const STEP: usize = BURST / 2;

/// Everything that makes two peers get the same octets for the same route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerClass {
    pub(crate) style: PathStyle,
    /// The longest message.
    pub(crate) max_len: u16,
    /// `None`: IPv4 is not announced.
    pub(crate) next_hop_v4: Option<Ipv4Addr>,
    /// `None`: IPv6 is not announced.
    pub(crate) next_hop_v6: Option<Ipv6Addr>,
}

/// What was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) updates: u64,
    pub(crate) refreshes: u64,
}

/// The encoded attributes of one class.
#[derive(Debug)]
pub(crate) struct RibOut {
    class: PeerClass,
    /// `None`: too long for any message.
    blobs: BTreeMap<Arc<PathAttrs>, Option<Arc<AttrBlob>>>,
    /// At how many blobs those are dropped whose attributes nobody holds any more.
    purge_at: usize,
}

impl RibOut {
    pub(crate) fn new(class: PeerClass) -> Self {
        Self { class, blobs: BTreeMap::new(), purge_at: 64 }
    }

    /// Appends what takes a peer further, at most about one burst. Nothing is sent when it knows all.
    pub(crate) fn advance(&mut self, cursor: &mut Cursor, out: &mut BytesMut) -> Sent {
        let full = out.len().saturating_add(STEP);
        let mut sent = Sent::default();
        while out.len() < full {
            let mut packer = Packer::new(out, self.class.max_len);
            let goes_on = match cursor.stage {
                Stage::Withdraw { after } => self.withdraw(cursor, after, &mut packer),
                Stage::Announce { after } => self.announce(cursor, after, &mut packer),
                Stage::Level => self.finish(cursor, &mut packer),
            };
            sent.updates = sent.updates.saturating_add(packer.messages());
            match goes_on {
                Step::On => {}
                Step::Mark(mark) => {
                    mark.encode(out);
                    sent.refreshes = sent.refreshes.saturating_add(1);
                }
                Step::Nothing => break,
            }
        }
        sent
    }

    /// First everything that is gone: a full table makes room before it takes in more.
    fn withdraw(&mut self, cursor: &mut Cursor, after: Option<Prefix>, packer: &mut Packer<'_>) -> Step {
        let mut gone = Vec::new();
        let mut left = STEP;
        let mut stage = Stage::Announce { after: None };
        for change in RouteSet::diff_after(&cursor.base, &cursor.target, after) {
            let Change::Unset(prefix) = change else { continue };
            if self.tells(cursor.base.get(&prefix), prefix) {
                gone.push(prefix);
                cursor.told = cursor.told.saturating_sub(1);
                left = left.saturating_sub(wire_len(prefix));
            }
            if left == 0 {
                stage = Stage::Withdraw { after: Some(prefix) };
                break;
            }
        }
        cursor.stage = stage;
        withdraw_all(packer, &gone);
        Step::On
    }

    /// Then everything that is new or different. A route that only moves to other attributes was not
    /// withdrawn: the announcement replaces it.
    fn announce(&mut self, cursor: &mut Cursor, after: Option<Prefix>, packer: &mut Packer<'_>) -> Step {
        let (base, target) = (Arc::clone(&cursor.base), Arc::clone(&cursor.target));
        let mut burst = Burst::default();
        cursor.stage = Stage::Level;
        for change in RouteSet::diff_after(&base, &target, after) {
            let Change::Set(prefix, attrs) = change else { continue };
            let knew = self.tells(base.get(&prefix), prefix);
            match (knew, self.tells(Some(attrs), prefix)) {
                (false, true) => cursor.told = cursor.told.saturating_add(1),
                (true, false) => {
                    cursor.told = cursor.told.saturating_sub(1);
                    burst.gone.push(prefix);
                }
                (true, true) | (false, false) => {}
            }
            self.gather(&mut burst, prefix, attrs);
            if burst.is_full() {
                cursor.stage = Stage::Announce { after: Some(prefix) };
                break;
            }
        }
        self.pack(burst, packer);
        Step::On
    }

    /// The peer knows the target: what remains are refreshes and End-of-RIB.
    fn finish(&mut self, cursor: &mut Cursor, packer: &mut Packer<'_>) -> Step {
        if let Some(family) = cursor.end_of_rib.iter().next() {
            cursor.end_of_rib = cursor.end_of_rib.without(family);
            packer.end_of_rib(family);
            return Step::On;
        }
        for family in Family::ALL {
            let mark =
                |kind| if cursor.marks { Step::Mark(RouteRefresh::new(family, kind)) } else { Step::On };
            match cursor.refresh(family) {
                Refresh::None => {}
                Refresh::Asked => {
                    let step = mark(RefreshKind::Begin);
                    *cursor.refresh_mut(family) = Refresh::Running { after: before(family), again: false };
                    return step;
                }
                Refresh::Running { after, again } => {
                    let step = mark(RefreshKind::End);
                    if let Some(last) = self.repeat(&cursor.target, family, after, packer) {
                        *cursor.refresh_mut(family) = Refresh::Running { after: Some(last), again };
                        return Step::On;
                    }
                    *cursor.refresh_mut(family) = if again { Refresh::Asked } else { Refresh::None };
                    return step;
                }
            }
        }
        Step::Nothing
    }

    /// One burst of a refresh; returns where it stopped when there is more.
    fn repeat(
        &mut self,
        table: &RouteSet,
        family: Family,
        after: Option<Prefix>,
        packer: &mut Packer<'_>,
    ) -> Option<Prefix> {
        let mut burst = Burst::default();
        let mut stopped = None;
        for (prefix, attrs) in table.iter_after(after).take_while(|(prefix, _)| prefix.family() == family) {
            self.gather(&mut burst, prefix, attrs);
            if burst.is_full() {
                stopped = Some(prefix);
                break;
            }
        }
        self.pack(burst, packer);
        stopped
    }

    fn gather<'a>(&mut self, burst: &mut Burst<'a>, prefix: Prefix, attrs: &'a Arc<PathAttrs>) {
        let max = usize::from(self.class.max_len);
        if !self.announces(prefix.family()) {
            return;
        }
        let group = match burst.groups.entry((prefix.family(), attrs)) {
            Entry::Occupied(group) => group.into_mut(),
            Entry::Vacant(place) => {
                let Some(blob) = self.blob(attrs) else { return };
                burst.octets = burst.octets.saturating_add(blob.len()).saturating_add(OVERHEAD);
                place.insert(Group { blob, prefixes: Vec::new() })
            }
        };
        // A route bears its share of what its message holds besides routes.
        let room = max.saturating_sub(group.blob.len()).saturating_sub(OVERHEAD).max(1);
        let share = wire_len(prefix).saturating_mul(max).div_ceil(room);
        burst.octets = burst.octets.saturating_add(share);
        group.prefixes.push(prefix);
    }

    fn pack(&self, burst: Burst<'_>, packer: &mut Packer<'_>) {
        withdraw_all(packer, &burst.gone);
        for ((family, _), Group { blob, prefixes }) in burst.groups {
            match (family, self.class.next_hop_v4, self.class.next_hop_v6) {
                (Family::Ipv4Unicast, Some(next_hop), _) => packer.announce_ipv4(next_hop, &blob, &prefixes),
                (Family::Ipv6Unicast, _, Some(next_hop)) => packer.announce_ipv6(next_hop, &blob, &prefixes),
                (Family::Ipv4Unicast, None, _) | (Family::Ipv6Unicast, _, None) => {}
            }
        }
    }

    /// Whether a route with these attributes is told at all.
    fn tells(&mut self, attrs: Option<&Arc<PathAttrs>>, prefix: Prefix) -> bool {
        self.announces(prefix.family()) && attrs.is_some_and(|attrs| self.blob(attrs).is_some())
    }

    fn announces(&self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => self.class.next_hop_v4.is_some(),
            Family::Ipv6Unicast => self.class.next_hop_v6.is_some(),
        }
    }

    fn blob(&mut self, attrs: &Arc<PathAttrs>) -> Option<Arc<AttrBlob>> {
        if let Some(blob) = self.blobs.get(attrs) {
            return blob.clone();
        }
        if self.blobs.len() >= self.purge_at {
            self.blobs.retain(|attrs, _| Arc::strong_count(attrs) > 1);
            self.purge_at = self.blobs.len().saturating_mul(2).max(64);
        }
        let blob = AttrBlob::try_new(attrs, self.class.style).ok().map(Arc::new);
        self.blobs.insert(Arc::clone(attrs), blob.clone());
        blob
    }

    /// How many routes of a table are not told because their attributes are too long.
    pub(crate) fn too_large(&self, table: &RouteSet) -> usize {
        if self.blobs.values().all(Option::is_some) {
            return 0;
        }
        let refused = |attrs: &Arc<PathAttrs>| matches!(self.blobs.get(attrs), Some(None));
        table.iter().filter(|(prefix, attrs)| self.announces(prefix.family()) && refused(attrs)).count()
    }
}

/// What comes after a step of [`RibOut::advance`].
enum Step {
    /// Ask again.
    On,
    /// Send this, then ask again.
    Mark(RouteRefresh),
    /// The peer knows all.
    Nothing,
}

/// Routes on their way into messages, together with those that have the same attributes.
#[derive(Default)]
struct Burst<'a> {
    gone: Vec<Prefix>,
    groups: BTreeMap<(Family, &'a PathAttrs), Group>,
    /// About how long the messages will be.
    octets: usize,
}

struct Group {
    blob: Arc<AttrBlob>,
    prefixes: Vec<Prefix>,
}

impl Burst<'_> {
    fn is_full(&self) -> bool {
        self.octets >= STEP
    }
}

/// How far one peer has been taken.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// What the peer knew when the walk began.
    base: Arc<RouteSet>,
    /// What it is to know.
    target: Arc<RouteSet>,
    stage: Stage,
    refresh_v4: Refresh,
    refresh_v6: Refresh,
    /// Whether refreshes are marked (RFC 7313).
    marks: bool,
    end_of_rib: Families,
    told: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Withdraw { after: Option<Prefix> },
    Announce { after: Option<Prefix> },
    Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresh {
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
    fn known(&self) -> Arc<RouteSet> {
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

    fn refresh(&self, family: Family) -> Refresh {
        match family {
            Family::Ipv4Unicast => self.refresh_v4,
            Family::Ipv6Unicast => self.refresh_v6,
        }
    }

    fn refresh_mut(&mut self, family: Family) -> &mut Refresh {
        match family {
            Family::Ipv4Unicast => &mut self.refresh_v4,
            Family::Ipv6Unicast => &mut self.refresh_v6,
        }
    }
}

/// Where to start for the first route of a family.
fn before(family: Family) -> Option<Prefix> {
    match family {
        Family::Ipv4Unicast => None,
        Family::Ipv6Unicast => Some(Prefix::host(Ipv4Addr::BROADCAST.into())),
    }
}

fn withdraw_all(packer: &mut Packer<'_>, gone: &[Prefix]) {
    let cut = gone.partition_point(|prefix| prefix.family() == Family::Ipv4Unicast);
    let (v4, v6) = gone.split_at_checked(cut).unwrap_or((gone, &[]));
    packer.withdraw(Family::Ipv4Unicast, v4);
    packer.withdraw(Family::Ipv6Unicast, v6);
}

fn wire_len(prefix: Prefix) -> usize {
    prefix.significant_octets().len().saturating_add(1)
}
