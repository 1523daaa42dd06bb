//! How full the pools are: counters that are kept up to date with each change of a holding.
//!
//! Leaves out where they are shown (pool status, metrics).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::service::IpFamily;

use super::{Allocator, pool};

/// Addresses of one pool, in numbers. All sums saturate at the largest 64-bit signed integer, as the CRD says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// IPv4 addresses that the pool can hand out, used or not.
    pub capacity_ipv4: i64,
    /// IPv6 addresses that the pool can hand out, used or not.
    pub capacity_ipv6: i64,
    in_use: BTreeSet<IpAddr>,
    in_use_ipv4: i64,
    /// Those in use that the pool would no longer hand out.
    kept: BTreeSet<IpAddr>,
}

impl Usage {
    /// IPv4 addresses of the pool in use; a shared one counts once.
    #[must_use]
    pub fn assigned_ipv4(&self) -> i64 {
        self.in_use_ipv4
    }

    /// IPv6 addresses of the pool in use; a shared one counts once.
    #[must_use]
    pub fn assigned_ipv6(&self) -> i64 {
        saturating(self.in_use.len() as u128).saturating_sub(self.in_use_ipv4)
    }

    /// IPv4 addresses left. One in use that the pool would no longer hand out does not count against it.
    #[must_use]
    pub fn available_ipv4(&self) -> i64 {
        self.capacity_ipv4.saturating_sub(self.in_use_ipv4 - self.kept_of(IpFamily::V4)).max(0)
    }

    /// IPv6 addresses left.
    #[must_use]
    pub fn available_ipv6(&self) -> i64 {
        self.capacity_ipv6.saturating_sub(self.assigned_ipv6() - self.kept_of(IpFamily::V6)).max(0)
    }

    /// Addresses of the pool in use that it would no longer hand out, sorted.
    #[must_use]
    pub fn kept(&self) -> &BTreeSet<IpAddr> {
        &self.kept
    }

    fn kept_of(&self, family: IpFamily) -> i64 {
        let kept = self.kept.iter().filter(|address| IpFamily::of(**address) == family);
        i64::try_from(kept.count()).unwrap_or(i64::MAX)
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
        let addresses: Vec<IpAddr> = self.holdings.addresses().collect();
        for address in addresses {
            self.count(address);
        }
    }

    /// Brings the counters of the pool around `address` up to date with whether it is in use.
    pub(super) fn count(&mut self, address: IpAddr) {
        let Some(pool) = self.pools.around(address) else {
            return;
        };
        let name = pool.name.clone();
        let kept = self.is_blocked(pool, address);
        let Some(usage) = self.usage.get_mut(&name) else {
            return;
        };
        let step = if self.holdings.is_used(address) {
            if kept {
                usage.kept.insert(address);
            }
            if usage.in_use.insert(address) { 1 } else { 0 }
        } else {
            usage.kept.remove(&address);
            if usage.in_use.remove(&address) { -1 } else { 0 }
        };
        if IpFamily::of(address) == IpFamily::V4 {
            usage.in_use_ipv4 += step;
        }
    }
}

fn saturating(count: u128) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
