//! What peers are told: the Adj-RIB-Out without a copy of the table.
//!
//! A version of the table is a [`RouteSet`], immutable and shared by everyone who is told the same. A
//! peer holds a [`Cursor`]: the version that it knew, the version that it is to know, and how far it has
//! been taken from one to the other. Nothing is queued: octets are made when the socket takes some, from
//! the difference as it is then. So a slow peer is never told what has been overtaken, a new session is
//! a cursor that knew the empty set, and an unchanged route costs nothing.
//!
//! What is common to equal peers is their class, and with it one [`RibOut`]: the encoded attributes, and
//! the last bursts, which an equal peer on the same way gets as they are.

mod burst;
mod cursor;
mod echo;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::BytesMut;

use crate::attrs::{AttrBlob, PathAttrs, PathStyle};
use crate::family::{Families, Family};
use crate::pack::{self, Form, Packer};
use crate::prefix::Prefix;
use crate::route_set::{RouteSet, Run, Step as Change};
use crate::wire::refresh::{RefreshKind, RouteRefresh};

use burst::{Burst, Group, MessageSize};
pub(crate) use cursor::Cursor;
use cursor::{Refresh, Stage};
use echo::{Echo, Echoes};

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
    /// `None`: IPv4 is not announced. An IPv6 address only where RFC 8950 was negotiated.
    pub(crate) next_hop_v4: Option<IpAddr>,
    /// `None`: IPv6 is not announced.
    pub(crate) next_hop_v6: Option<Ipv6Addr>,
}

impl PeerClass {
    /// The families that are announced.
    pub(crate) fn families(&self) -> Families {
        Family::ALL.into_iter().filter(|family| self.next_hop(*family).is_some()).collect()
    }

    fn next_hop(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4Unicast => self.next_hop_v4,
            Family::Ipv6Unicast => self.next_hop_v6.map(IpAddr::V6),
        }
    }
}

/// What was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) updates: u64,
    pub(crate) refreshes: u64,
}

/// What is common to the peers of one class.
#[derive(Debug)]
pub(crate) struct RibOut {
    class: PeerClass,
    /// `None`: too long for any message.
    blobs: BTreeMap<Arc<PathAttrs>, Option<Arc<AttrBlob>>>,
    /// Whether any attributes ever were too long. Until then every route that is known was told.
    has_refused: bool,
    /// At how many blobs those are dropped whose attributes nobody holds any more.
    purge_at: usize,
    echoes: Echoes,
}

/// What a walk is to gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gather {
    Gone,
    New,
    Both,
}

/// What a walk has gathered, and where it stopped when there is more.
struct Walked<'a> {
    burst: Burst<'a>,
    stopped: Option<Prefix>,
    /// How many routes the peer knows then.
    told: u32,
}

impl RibOut {
    pub(crate) fn new(class: PeerClass) -> Self {
        Self { class, blobs: BTreeMap::new(), has_refused: false, purge_at: 64, echoes: Echoes::default() }
    }

    /// Appends what takes a peer further, at most about one burst. Nothing is sent when it knows all.
    /// `peers` is how many are in the class.
    pub(crate) fn advance(&mut self, cursor: &mut Cursor, peers: usize, out: &mut BytesMut) -> Sent {
        let full = out.len().saturating_add(STEP);
        let mut sent = Sent::default();
        while out.len() < full {
            if cursor.stage != Stage::Level {
                let updates = self.go_on(cursor, peers, out);
                sent.updates = sent.updates.saturating_add(updates);
                continue;
            }
            let mut packer = Packer::new(out, self.class.max_len);
            let step = self.finish(cursor, &mut packer);
            sent.updates = sent.updates.saturating_add(packer.messages());
            match step {
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

    /// One step from the version that the peer knows to the one that it is to know; returns the number of
    /// messages. What an equal peer was sent for the same step is sent as it is.
    fn go_on(&mut self, cursor: &mut Cursor, peers: usize, out: &mut BytesMut) -> u64 {
        if let Some(echo) = self.echoes.take(cursor) {
            out.extend_from_slice(&echo.octets);
            (cursor.stage, cursor.told) = (echo.to, echo.told_after);
            return echo.updates;
        }
        let (from, told_before, start) = (cursor.stage, cursor.told, out.len());
        let mut packer = Packer::new(out, self.class.max_len);
        match from {
            Stage::Withdraw { after } => self.withdraw(cursor, after, &mut packer),
            Stage::Announce { after } => self.announce(cursor, after, &mut packer),
            Stage::Level => {}
        }
        let updates = packer.messages();
        if let Some(others) = peers.checked_sub(1).filter(|others| *others > 0) {
            let octets = out.get(start..).unwrap_or_default();
            self.echoes.keep(Echo::new(cursor, from, told_before, octets, updates, others));
        }
        updates
    }

    /// First everything that is gone: a full table makes room before it takes in more. When all of the
    /// difference fits a burst it goes out in one walk.
    fn withdraw(&mut self, cursor: &mut Cursor, after: Option<Prefix>, packer: &mut Packer<'_>) {
        if cursor.base.is_empty() {
            cursor.stage = Stage::Announce { after: None };
            return;
        }
        let (base, target) = (Arc::clone(&cursor.base), Arc::clone(&cursor.target));
        if after.is_none() {
            let all = self.walk([&base, &target], None, Gather::Both, cursor.told);
            if all.stopped.is_none() {
                (cursor.stage, cursor.told) = (Stage::Level, all.told);
                return self.pack(&all.burst, packer);
            }
        }
        let gone = self.walk([&base, &target], after, Gather::Gone, cursor.told);
        cursor.told = gone.told;
        cursor.stage = match gone.stopped {
            Some(_) => Stage::Withdraw { after: gone.stopped },
            None => Stage::Announce { after: None },
        };
        self.pack(&gone.burst, packer);
    }

    /// Then everything that is new or different. A route that only moves to other attributes was not
    /// withdrawn: the announcement replaces it.
    fn announce(&mut self, cursor: &mut Cursor, after: Option<Prefix>, packer: &mut Packer<'_>) {
        let (base, target) = (Arc::clone(&cursor.base), Arc::clone(&cursor.target));
        let new = self.walk([&base, &target], after, Gather::New, cursor.told);
        cursor.told = new.told;
        cursor.stage = match new.stopped {
            Some(_) => Stage::Announce { after: new.stopped },
            None => Stage::Level,
        };
        self.pack(&new.burst, packer);
    }

    fn walk<'a>(
        &mut self,
        [base, target]: [&'a RouteSet; 2],
        after: Option<Prefix>,
        what: Gather,
        mut told: u32,
    ) -> Walked<'a> {
        let mut burst = Burst::default();
        let mut changes = RouteSet::steps_after(base, target, after);
        loop {
            while let Some(run) = changes.take_run_of_new() {
                if what == Gather::Gone {
                    return Walked { burst, stopped: None, told };
                }
                let (added, stopped) = self.gather_run(&mut burst, run);
                told = told.saturating_add(added);
                if stopped.is_some() {
                    return Walked { burst, stopped, told };
                }
            }
            let Some(Change { prefix, old, new }) = changes.next() else { break };
            let is_wanted = match what {
                Gather::Gone => new.is_empty(),
                Gather::New => !new.is_empty(),
                Gather::Both => true,
            };
            if !is_wanted {
                continue;
            }
            let knew = old.is_some_and(|attrs| self.tells(prefix, attrs));
            let is_told = self.gather(&mut burst, &Run::of(new)) == Gathered::Told(1);
            match (knew, is_told) {
                (false, true) => told = told.saturating_add(1),
                (true, false) => {
                    told = told.saturating_sub(1);
                    burst.push_gone(prefix);
                }
                (true, true) | (false, false) => {}
            }
            if burst.is_full() {
                return Walked { burst, stopped: Some(prefix), told };
            }
        }
        Walked { burst, stopped: None, told }
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
        for run in table.runs_after(after) {
            let end = run.routes.partition_point(|(prefix, _)| prefix.family() <= family);
            (_, stopped) = self.gather_run(&mut burst, run.up_to(end));
            if stopped.is_some() || end < run.routes.len() {
                break;
            }
        }
        self.pack(&burst, packer);
        stopped
    }

    /// Gathers all of a run, or as much as the burst takes. Returns how many routes are told, and where
    /// it stopped when the burst is full.
    fn gather_run<'a>(&mut self, burst: &mut Burst<'a>, mut run: Run<'a>) -> (u32, Option<Prefix>) {
        let mut told: u32 = 0;
        while !run.routes.is_empty() {
            let (count, is_told) = match self.gather(burst, &run) {
                Gathered::Told(count) => (count, true),
                Gathered::Untold => (1, false),
            };
            if is_told {
                told = told.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            }
            if burst.is_full() {
                let last = run.routes.get(..count).and_then(|taken| taken.last());
                return (told, last.map(|(prefix, _)| *prefix));
            }
            run = run.behind(count);
        }
        (told, None)
    }

    /// Puts the first routes of a run, as far as they have equal attributes, among those that have them
    /// as well.
    fn gather<'a>(&mut self, burst: &mut Burst<'a>, run: &Run<'a>) -> Gathered {
        match burst.push(run) {
            0 => {}
            count => return Gathered::Told(count),
        }
        let Some((family, attrs)) = run.first() else { return Gathered::Untold };
        let Some(next_hop) = self.class.next_hop(family) else { return Gathered::Untold };
        let Some(blob) = self.blob(attrs) else { return Gathered::Untold };
        let overhead = pack::overhead(family, next_hop).saturating_add(blob.len());
        burst.open(family, attrs, blob, MessageSize { max: self.class.max_len.into(), overhead });
        Gathered::Told(burst.push(run))
    }

    fn pack(&self, burst: &Burst<'_>, packer: &mut Packer<'_>) {
        packer.reserve(burst.octets());
        let cut = burst.gone.partition_point(|prefix| prefix.family() == Family::Ipv4Unicast);
        let (v4, v6) = burst.gone.split_at_checked(cut).unwrap_or_default();
        for (family, gone) in [(Family::Ipv4Unicast, v4), (Family::Ipv6Unicast, v6)] {
            if let Some(next_hop) = self.class.next_hop(family) {
                packer.withdraw(family, Form::of(family, next_hop), gone);
            }
        }
        for Group { family, blob, pieces, .. } in &burst.groups {
            if let Some(next_hop) = self.class.next_hop(*family) {
                packer.announce(*family, next_hop, blob, pieces);
            }
        }
    }

    /// Whether a route with these attributes is told at all.
    fn tells(&mut self, prefix: Prefix, attrs: &Arc<PathAttrs>) -> bool {
        self.announces(prefix.family()) && (!self.has_refused || self.blob(attrs).is_some())
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
        self.has_refused |= blob.is_none();
        self.blobs.insert(Arc::clone(attrs), blob.clone());
        blob
    }

    /// How many routes of a table are not told because their attributes are too long.
    pub(crate) fn too_large(&self, table: &RouteSet) -> usize {
        if !self.has_refused {
            return 0;
        }
        let refused = |attrs: &Arc<PathAttrs>| matches!(self.blobs.get(attrs), Some(None));
        table.iter().filter(|(prefix, attrs)| self.announces(prefix.family()) && refused(attrs)).count()
    }
}

/// What became of the first routes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathered {
    /// So many were taken.
    Told(usize),
    /// The first one is not told at all.
    Untold,
}

/// What comes after a step of [`RibOut::finish`].
enum Step {
    /// Ask again.
    On,
    /// Send this, then ask again.
    Mark(RouteRefresh),
    /// The peer knows all.
    Nothing,
}

/// Where to start for the first route of a family.
fn before(family: Family) -> Option<Prefix> {
    match family {
        Family::Ipv4Unicast => None,
        Family::Ipv6Unicast => Some(Prefix::host(Ipv4Addr::BROADCAST.into())),
    }
}
