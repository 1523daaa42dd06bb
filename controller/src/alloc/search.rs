//! The choice of an address: which pool, which range, and the lowest address in it that is free or can be shared.
//!
//! Every reason to pass over an address is an obstacle in [`Allocator::lowest_free`] that is jumped over whole. Leaves out
//! the holding: nothing here changes anything.

use std::net::IpAddr;

use api::config::Pool;
use api::service::{IpFamily, ServiceKey};

use super::{Allocator, Denied, Request, Sharing, pool, run};

/// The name of the pool, and one address of each family in the order of the Service's families.
type Found = (String, Vec<IpAddr>);

impl Allocator {
    pub(super) fn exactly(
        &self,
        request: &Request<'_>,
        addresses: &[IpAddr],
        wanted_pool: Option<&str>,
    ) -> Result<Found, Denied> {
        for address in addresses {
            self.holdings.admit(*address, request.service, request.sharing)?;
        }
        let mut pool: Option<&Pool> = None;
        for address in addresses {
            let Some(around) = self.pools.around(*address) else {
                return Err(Denied::OutsidePools { addresses: addresses.to_vec() });
            };
            if !around.hands_out(*address) {
                return Err(Denied::AvoidedAddress { address: *address, pool: around.name.clone() });
            }
            if pool.is_some_and(|first| first.name != around.name) {
                return Err(Denied::AcrossPools { addresses: addresses.to_vec() });
            }
            pool = Some(around);
        }
        let Some(pool) = pool else {
            return Err(Denied::OutsidePools { addresses: Vec::new() });
        };
        if let Some(wanted) = wanted_pool
            && wanted != pool.name
        {
            return Err(Denied::RequestedPool { addresses: addresses.to_vec(), pool: wanted.to_owned() });
        }
        if !pool::admits(pool, request.applicant) {
            return Err(Denied::PoolNotForService { pool: pool.name.clone() });
        }
        let ordered = request.families.iter();
        let ordered =
            ordered.filter_map(|family| addresses.iter().copied().find(|a| IpFamily::of(*a) == *family));
        Ok((pool.name.clone(), ordered.collect()))
    }

    pub(super) fn of_pool(&self, request: &Request<'_>, name: &str) -> Result<Found, Denied> {
        let Some(pool) = self.pools.named(name) else {
            return Err(Denied::UnknownPool { pool: name.to_owned() });
        };
        if !pool::admits(pool, request.applicant) {
            return Err(Denied::PoolNotForService { pool: name.to_owned() });
        }
        self.of_group(request, &[pool]).ok_or_else(|| {
            let pool = name.to_owned();
            if request.families.len() > 1 {
                Denied::PoolHasNoPair { pool }
            } else {
                Denied::PoolExhausted { pool }
            }
        })
    }

    pub(super) fn of_any_pool(&self, request: &Request<'_>) -> Result<Found, Denied> {
        if self.pools.is_empty() {
            return Err(Denied::NoPools);
        }
        let groups = self.pools.automatic(request.applicant);
        groups.iter().find_map(|group| self.of_group(request, group)).ok_or(Denied::Exhausted)
    }

    /// All families from the first pool that has them; else, where one will do, the primary from the first pool that
    /// has one; else the secondary.
    fn of_group(&self, request: &Request<'_>, group: &[&Pool]) -> Option<Found> {
        let from = |families: &[IpFamily]| {
            group.iter().find_map(|pool| {
                let found = families.iter().map(|f| self.lowest(pool, *f, request.service, request.sharing));
                Some((pool.name.clone(), found.collect::<Option<Vec<IpAddr>>>()?))
            })
        };
        let alone = || request.families.iter().find_map(|family| from(&[*family]));
        from(request.families).or_else(|| if request.one_will_do { alone() } else { None })
    }

    /// The lowest address of the first range, in listed order, that is free or can be shared. Obstacles are jumped
    /// over whole, so the work does not grow with the size of the pool.
    pub(super) fn lowest(
        &self,
        pool: &Pool,
        family: IpFamily,
        who: &ServiceKey,
        sharing: &Sharing,
    ) -> Option<IpAddr> {
        let ranges = pool.ranges.iter().filter(|range| IpFamily::of(range.first()) == family);
        ranges.into_iter().find_map(|range| {
            let free = self.lowest_free(pool, range.first(), range.last());
            let shared = self.lowest_shared(pool, range.first(), range.last(), who, sharing);
            free.into_iter().chain(shared).min()
        })
    }

    fn lowest_free(&self, pool: &Pool, first: IpAddr, last: IpAddr) -> Option<IpAddr> {
        let mut candidate = first;
        while candidate <= last {
            if let Some(end) = self.holdings.runs().end_of_run(candidate) {
                candidate = run::after(end)?;
            } else if !pool.hands_out(candidate) {
                candidate = run::after(candidate)?;
            } else {
                return Some(candidate);
            }
        }
        None
    }

    fn lowest_shared(
        &self,
        pool: &Pool,
        first: IpAddr,
        last: IpAddr,
        who: &ServiceKey,
        sharing: &Sharing,
    ) -> Option<IpAddr> {
        let mut start = first;
        while start <= last {
            let found = self.holdings.joinable(start, last, who, sharing)?;
            if pool.hands_out(found) {
                return Some(found);
            }
            start = run::after(found)?;
        }
        None
    }
}
