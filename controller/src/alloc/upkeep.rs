//! What follows from holdings, rests, pools and network is kept here in step with them: what is taken, which ranges are
//! full, what is counted.
//!
//! Leaves out every choice: what is held, and by whom, was decided before.

use std::net::IpAddr;

use api::service::{IpFamily, ServiceKey};

use super::holding::{Change, Holding};
use super::pool::PoolId;
use super::run::{self, Runs};
use super::{Allocator, MOST_RESTING};

impl Allocator {
    /// Makes this the holding of the Service, and brings everything that follows from it up to date.
    pub(super) fn hold(&mut self, service: ServiceKey, holding: Holding) {
        let now = holding.addresses.clone();
        let Change { before, touched } = self.holdings.set(service.clone(), holding);
        self.touched.extend(touched);
        for address in now.iter().filter(|address| !before.contains(address)) {
            self.quarantine.take(*address);
            self.refresh(*address, true);
            self.count(*address, true);
        }
        for address in before.iter().filter(|address| !now.contains(address)) {
            self.lay_down(*address, &service);
        }
    }

    /// The Service has left the address. If it was the last one there, the address goes to rest.
    pub(super) fn lay_down(&mut self, address: IpAddr, service: &ServiceKey) {
        let is_used = self.holdings.is_used(address);
        if !is_used {
            let around = self.pools.id_around(address);
            let of_pool = around.and_then(|id| self.pools.at(id).release_quarantine);
            let rest = of_pool.unwrap_or(self.terms.quarantine);
            if !rest.is_zero()
                && self.quarantine.len() < MOST_RESTING
                && let Some(until) = self.now.checked_add(rest)
            {
                self.quarantine.put(address, service, until, around);
            }
        }
        self.refresh(address, is_used);
        self.count(address, is_used);
    }

    /// Brings `taken` up to date with one address, and with whether it is in use.
    pub(super) fn refresh(&mut self, address: IpAddr, is_used: bool) {
        let found = self.pools.range_around(address);
        let taken = is_used
            || self.quarantine.contains(address)
            || self.blocked.end_of_run(address).is_some()
            || found.is_some_and(|(id, _)| self.pools.at(id).reserved.contains_key(&address));
        if !taken {
            self.taken.remove(address);
            if let Some((id, index)) = found
                && let Some(open) = self.open.get_mut(id)
            {
                let first = &mut open[usize::from(address.is_ipv6())];
                *first = (*first).min(index);
            }
            return;
        }
        self.taken.insert(address);
        if let Some((id, _)) = found {
            self.close_gaps(id, address);
            self.skip_full_ranges(id, IpFamily::of(address));
        }
    }

    /// Addresses that are never given close the gap between two runs, so that a full pool is one run.
    fn close_gaps(&mut self, id: PoolId, address: IpAddr) {
        let pool = self.pools.at(id);
        if !pool.avoid_buggy_ips {
            return;
        }
        for step in [run::before, run::after] {
            let mut next = step(address);
            // At most .255 and the .0 beside it.
            for _ in 0..2 {
                match next.filter(|ip| pool.avoids(*ip) && self.pools.id_around(*ip) == Some(id)) {
                    Some(ip) => {
                        self.taken.insert(ip);
                        next = step(ip);
                    }
                    None => break,
                }
            }
        }
    }

    /// Moves the mark of the first range with something left, as long as ranges are full.
    fn skip_full_ranges(&mut self, id: PoolId, family: IpFamily) {
        let pool = self.pools.at(id);
        let Some(open) = self.open.get_mut(id) else {
            return;
        };
        let first = &mut open[usize::from(family == IpFamily::V6)];
        while let Some(range) = pool.ranges.get(*first)
            && (IpFamily::of(range.first()) != family
                || self.taken.end_of_run(range.first()).is_some_and(|end| end >= range.last()))
        {
            *first += 1;
        }
    }

    /// Builds everything that follows from pools, network, holdings and rests anew.
    pub(super) fn survey(&mut self) {
        let mut blocked = Runs::default();
        for pool in self.pools.iter() {
            for range in &pool.excluded {
                blocked.insert_range(range.first(), range.last());
            }
            for edge in &pool.edges {
                blocked.insert(*edge);
            }
        }
        for (first, last, _) in self.network.iter() {
            blocked.insert_range(first, last);
        }
        self.taken = blocked.clone();
        self.blocked = blocked;
        self.open = vec![[0, 0]; self.pools.len()];
        let Self { pools, quarantine, .. } = self;
        quarantine.regroup(|address| pools.id_around(address));
        let mut addresses: Vec<IpAddr> = self.holdings.addresses().collect();
        addresses.extend(self.quarantine.addresses());
        addresses.extend(self.pools.reservations());
        for address in addresses {
            self.refresh(address, self.holdings.is_used(address));
        }
        for id in 0..self.pools.len() {
            self.skip_full_ranges(id, IpFamily::V4);
            self.skip_full_ranges(id, IpFamily::V6);
        }
        self.recount();
    }
}
