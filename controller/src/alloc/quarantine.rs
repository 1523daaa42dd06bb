//! Released addresses that rest before another Service gets them: clients, connection tracking and routers need time to
//! forget. The Service that had an address gets it back at any moment. Time is an argument.
//!
//! Leaves out how long they rest, and who may use them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use api::service::ServiceKey;

use super::pool::PoolId;

/// An address at rest.
#[derive(Debug)]
struct Rest {
    until: Instant,
    /// Who had it.
    service: ServiceKey,
    /// The pool around it.
    pool: Option<PoolId>,
}

/// The addresses at rest, with the indexes: by the end of the rest, in all and for each pool, and by the Service that
/// had them.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    by_address: BTreeMap<IpAddr, Rest>,
    by_end: BTreeSet<(Instant, IpAddr)>,
    by_pool: BTreeMap<PoolId, BTreeSet<(Instant, IpAddr)>>,
    by_service: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
}

impl Quarantine {
    pub(crate) fn put(
        &mut self,
        address: IpAddr,
        service: &ServiceKey,
        until: Instant,
        pool: Option<PoolId>,
    ) {
        self.take(address);
        self.by_address.insert(address, Rest { until, service: service.clone(), pool });
        self.by_end.insert((until, address));
        self.by_service.entry(service.clone()).or_default().insert(address);
        if let Some(pool) = pool {
            self.by_pool.entry(pool).or_default().insert((until, address));
        }
    }

    /// The rest is over; nothing happens if there is none.
    pub(crate) fn take(&mut self, address: IpAddr) {
        let Some(Rest { until, service, pool }) = self.by_address.remove(&address) else {
            return;
        };
        self.by_end.remove(&(until, address));
        if let Some(addresses) = self.by_service.get_mut(&service) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_service.remove(&service);
            }
        }
        if let Some((pool, rests)) = pool.and_then(|pool| Some((pool, self.by_pool.get_mut(&pool)?))) {
            rests.remove(&(until, address));
            if rests.is_empty() {
                self.by_pool.remove(&pool);
            }
        }
    }

    /// The pools are others now.
    pub(crate) fn regroup(&mut self, pool_around: impl Fn(IpAddr) -> Option<PoolId>) {
        self.by_pool.clear();
        for (address, rest) in &mut self.by_address {
            rest.pool = pool_around(*address);
            if let Some(pool) = rest.pool {
                self.by_pool.entry(pool).or_default().insert((rest.until, *address));
            }
        }
    }

    /// How many addresses rest.
    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Ends the rests that are over at `now`, and returns those addresses.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<IpAddr> {
        let over: Vec<IpAddr> =
            self.by_end.iter().take_while(|(until, _)| *until <= now).map(|(_, address)| *address).collect();
        for address in &over {
            self.take(*address);
        }
        over
    }

    /// What the Service had.
    pub(crate) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = IpAddr> {
        self.by_service.get(service).into_iter().flatten().copied()
    }

    /// Those of a pool, the one that has rested longest first.
    pub(crate) fn of_pool(&self, pool: PoolId) -> impl Iterator<Item = IpAddr> {
        self.by_pool.get(&pool).into_iter().flatten().map(|(_, address)| *address)
    }

    /// Every address at rest.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// All of them, the rest that ends first at the front: address, who had it, until when it rests.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (IpAddr, &ServiceKey, Instant)> {
        let rests = self.by_end.iter().filter_map(|(_, address)| self.by_address.get_key_value(address));
        rests.map(|(address, rest)| (*address, &rest.service, rest.until))
    }
}
