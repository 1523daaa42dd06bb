//! How full the pools are: counters that are kept up to date with each change of a holding.
//!
//! Leaves out where they are shown (pool status, metrics).

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::service::IpFamily;

use super::{Allocator, is_blocked, pool};

/// Addresses of one pool, in numbers. All sums saturate at the largest 64-bit signed integer, as the CRD says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// IPv4 addresses that the pool can hand out, used or not.
    pub capacity_ipv4: i64,
    /// IPv6 addresses that the pool can hand out, used or not.
    pub capacity_ipv6: i64,
    v4: Tally,
    v6: Tally,
}

/// One family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    in_use: i64,
    /// Those in use that the pool would no longer hand out.
    kept: i64,
    /// Those that wait for a Service that does not have them.
    reserved: i64,
}

/// What an address counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// In use, and one that the pool hands out.
    InUse,
    /// In use, and none that the pool would hand out.
    Kept,
    /// It waits for a Service.
    Reserved,
}

impl Usage {
    /// IPv4 addresses of the pool in use; a shared one counts once.
    #[must_use]
    pub fn assigned_ipv4(&self) -> i64 {
        self.v4.in_use
    }

    /// IPv6 addresses of the pool in use; a shared one counts once.
    #[must_use]
    pub fn assigned_ipv6(&self) -> i64 {
        self.v6.in_use
    }

    /// IPv4 addresses left for any Service. One in use that the pool would no longer hand out takes none of them; one
    /// that waits for a Service is none of them.
    #[must_use]
    pub fn available_ipv4(&self) -> i64 {
        self.v4.left_of(self.capacity_ipv4)
    }

    /// IPv6 addresses left for any Service, likewise.
    #[must_use]
    pub fn available_ipv6(&self) -> i64 {
        self.v6.left_of(self.capacity_ipv6)
    }

    /// Of one family: how many addresses the pool can hand out, how many of those are in use, and how many wait for a
    /// Service that does not have them.
    #[must_use]
    pub fn of(&self, family: IpFamily) -> (i64, i64, i64) {
        let (capacity, tally) = match family {
            IpFamily::V4 => (self.capacity_ipv4, self.v4),
            IpFamily::V6 => (self.capacity_ipv6, self.v6),
        };
        (capacity, tally.in_use - tally.kept, tally.reserved)
    }

    fn add(&mut self, family: IpFamily, what: Counted, step: i64) {
        let tally = match family {
            IpFamily::V4 => &mut self.v4,
            IpFamily::V6 => &mut self.v6,
        };
        match what {
            Counted::InUse => tally.in_use += step,
            Counted::Kept => {
                tally.in_use += step;
                tally.kept += step;
            }
            Counted::Reserved => tally.reserved += step,
        }
    }
}

impl Tally {
    fn left_of(self, capacity: i64) -> i64 {
        // A pool too large to count stays that.
        if capacity == i64::MAX {
            return capacity;
        }
        capacity.saturating_sub(self.in_use - self.kept + self.reserved).max(0)
    }
}

impl Allocator {
    /// Counts everything again: the pools changed.
    pub(super) fn recount(&mut self) {
        let empty = |pool| Usage {
            capacity_ipv4: saturating(pool::capacity(pool, IpFamily::V4, &self.blocked)),
            capacity_ipv6: saturating(pool::capacity(pool, IpFamily::V6, &self.blocked)),
            ..Usage::default()
        };
        self.usage =
            self.pools.iter().map(|pool| (pool.name.clone(), empty(pool))).collect::<BTreeMap<_, _>>();
        self.counted.clear();
        let mut addresses: Vec<IpAddr> = self.holdings.addresses().collect();
        addresses.extend(self.pools.reservations());
        for address in addresses {
            self.count(address, self.holdings.is_used(address));
        }
    }

    /// Brings the counters of the pool around `address` up to date with whether it is in use.
    pub(super) fn count(&mut self, address: IpAddr, is_used: bool) {
        let Some(pool) = self.pools.around(address) else {
            return;
        };
        let blocked = is_blocked(&self.blocked, pool, address);
        let counts = match (is_used, blocked) {
            (true, false) => Some(Counted::InUse),
            (true, true) => Some(Counted::Kept),
            (false, false) if pool.reserved.contains_key(&address) => Some(Counted::Reserved),
            (false, _) => None,
        };
        let before = match counts {
            Some(counts) => self.counted.insert(address, counts),
            None => self.counted.remove(address),
        };
        let Some(usage) = self.usage.get_mut(&pool.name).filter(|_| before != counts) else {
            return;
        };
        let family = IpFamily::of(address);
        if let Some(before) = before {
            usage.add(family, before, -1);
        }
        if let Some(counts) = counts {
            usage.add(family, counts, 1);
        }
    }
}

fn saturating(count: u128) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
