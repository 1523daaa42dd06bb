//! The choice of an address: which pool, which range, and which address in it that is free or can be shared.
//!
//! First what waits for the Service by name (a reservation, an address it had a moment ago), then what is free, then
//! what rests. Leaves out the holding: nothing here changes anything.

use std::net::IpAddr;

use api::config::Pool;
use api::range::{AddressRange, address_above};
use api::service::{IpFamily, ServiceKey};
use api::v1beta1::Selection;

use super::pool::{Order, PoolId};
use super::reason::{Hindrance, Tried};
use super::{Allocator, Denied, Obstacle, Place, Request, Sharing, Want, is_blocked, pool, run};

/// The name of the pool, and one address of each family in the order of the Service's families.
type Found = (String, Vec<IpAddr>);

/// Pools that a refusal names.
const MOST_TRIED: usize = 5;

impl Allocator {
    pub(super) fn exactly(
        &self,
        request: &Request<'_>,
        addresses: &[IpAddr],
        wanted_pool: Option<&str>,
    ) -> Result<Found, Denied> {
        // Without any pool the answer must not depend on who holds the address: after a restart that may not be known.
        if self.pools.is_empty() {
            return Err(Denied::OutsidePools { addresses: addresses.to_vec() });
        }
        for address in addresses {
            self.holdings.admit(*address, request.service, request.sharing)?;
        }
        let mut pools: Vec<&Pool> = Vec::new();
        for address in addresses {
            let Some(around) = self.pools.around(*address) else {
                return Err(Denied::OutsidePools { addresses: addresses.to_vec() });
            };
            if let Some(why) = self.obstacle(around, *address, request.service) {
                let pool = around.name.clone();
                return Err(Denied::AvoidedAddress { address: *address, pool, why });
            }
            if !pools.iter().any(|pool| pool.name == around.name) {
                pools.push(around);
            }
        }
        // Two pools serve one Service where neither could do it alone; else the addresses must lie together.
        if pools.len() > 1
            && let Some(whole) = pools.iter().find(|pool| has_both_families(pool))
        {
            return Err(Denied::AcrossPools { addresses: addresses.to_vec(), whole: whole.name.clone() });
        }
        if let Some(wanted) = wanted_pool
            && pools.iter().any(|pool| pool.name != wanted)
        {
            return Err(Denied::RequestedPool { addresses: addresses.to_vec(), pool: wanted.to_owned() });
        }
        for pool in &pools {
            check(pool, request)?;
        }
        let ordered = request.families.iter();
        let ordered: Vec<IpAddr> = ordered
            .filter_map(|family| addresses.iter().copied().find(|a| IpFamily::of(*a) == *family))
            .collect();
        let first = ordered.first().and_then(|address| self.pools.around(*address));
        let Some(first) = first else {
            return Err(Denied::OutsidePools { addresses: addresses.to_vec() });
        };
        Ok((first.name.clone(), ordered))
    }

    pub(super) fn of_pool(&self, request: &Request<'_>, name: &str) -> Result<Found, Denied> {
        let Some(id) = self.pools.id(name) else {
            let known = self.pools.iter().map(|pool| pool.name.clone());
            return Err(Denied::UnknownPool {
                pool: name.to_owned(),
                known: known.take(MOST_TRIED).collect(),
            });
        };
        let pool = self.pools.at(id);
        check(pool, request)?;
        self.combine(request, &Order::only(id)).ok_or_else(|| {
            let why = self.hindrance(pool, request, request.families);
            let pool = name.to_owned();
            if request.families.len() > 1 {
                Denied::PoolHasNoPair { pool, why }
            } else {
                Denied::PoolExhausted { pool, why }
            }
        })
    }

    pub(super) fn of_any_pool(&self, request: &Request<'_>) -> Result<Found, Denied> {
        if self.pools.is_empty() {
            return Err(Denied::NoPools);
        }
        let order = self.pools.automatic(request.applicant);
        self.combine(request, &order).ok_or_else(|| self.nothing_left(request, request.families))
    }

    /// The missing family of a Service that holds another one: of the same pool if that has it, else of the next.
    pub(super) fn second(&self, request: &Request<'_>, held: &[IpAddr], family: IpFamily) -> Option<IpAddr> {
        let home = held.first().and_then(|address| self.pools.id_around(*address));
        let home = home.filter(|home| check(self.pools.at(*home), request).is_ok());
        let mut pools: Vec<PoolId> = home.into_iter().collect();
        match request.want {
            Want::FromPool(name) => pools.retain(|pool| self.pools.at(*pool).name == name),
            Want::Any | Want::Exactly { .. } => pools.extend(self.pools.automatic(request.applicant).iter()),
        }
        let order = Order { pinned: pools, open: &[] };
        self.earmarked(request, &order, family)
            .or_else(|| order.iter().find_map(|pool| self.first_fit(pool, family, request)))
    }

    /// One address of each family: what is earmarked for the Service; else all of the first pool that has them all; else
    /// each of the first pool that has it; else, where one will do, what there is.
    fn combine(&self, request: &Request<'_>, order: &Order<'_>) -> Option<Found> {
        let earmarks: Vec<Option<IpAddr>> =
            request.families.iter().map(|family| self.earmarked(request, order, *family)).collect();
        if earmarks.iter().all(Option::is_none)
            && let Some(whole) = self.whole(request, order)
        {
            return Some(whole);
        }
        let mut found = Vec::new();
        for (family, earmark) in request.families.iter().zip(&earmarks) {
            let home =
                earmarks.iter().flatten().chain(&found).find_map(|address| self.pools.id_around(*address));
            let home = home.filter(|home| order.iter().any(|pool| pool == *home));
            let address = earmark.or_else(|| {
                let mut pools = home.into_iter().chain(order.iter());
                pools.find_map(|pool| self.first_fit(pool, *family, request))
            });
            match address {
                Some(address) => found.push(address),
                None if request.one_will_do => {}
                None => return None,
            }
        }
        let pool = self.pools.around(*found.first()?)?;
        Some((pool.name.clone(), found))
    }

    /// All families from the first pool that has them. Pools that are pinned to a Service for which one family will do
    /// are not passed over for open ones as long as they have one.
    fn whole(&self, request: &Request<'_>, order: &Order<'_>) -> Option<Found> {
        for group in order.groups() {
            for pool in group {
                let all = request.families.iter().map(|family| self.first_fit(*pool, *family, request));
                if let Some(all) = all.collect::<Option<Vec<IpAddr>>>() {
                    return Some((self.pools.at(*pool).name.clone(), all));
                }
            }
            if request.one_will_do {
                let has = |family: &IpFamily| {
                    group.iter().any(|pool| self.first_fit(*pool, *family, request).is_some())
                };
                if request.families.iter().any(has) {
                    return None;
                }
            }
        }
        None
    }

    /// A reservation of the Service, or an address that it had a moment ago, in a pool that it may use.
    fn earmarked(&self, request: &Request<'_>, order: &Order<'_>, family: IpFamily) -> Option<IpAddr> {
        let fits = |address: &IpAddr| {
            IpFamily::of(*address) == family
                && !self.holdings.is_used(*address)
                && self.pools.around(*address).is_some_and(|pool| {
                    check(pool, request).is_ok() && self.obstacle(pool, *address, request.service).is_none()
                })
        };
        let listed = |address: &IpAddr| {
            let around = self.pools.id_around(*address);
            around.is_some_and(|around| order.iter().any(|one| one == around))
        };
        // A reservation is a request: it counts in pools that give nothing by themselves, too.
        let anywhere = matches!(request.want, Want::Any);
        let mut reserved = self.pools.reserved_for(request.service).iter().copied();
        reserved
            .find(|address| fits(address) && (anywhere || listed(address)))
            .or_else(|| self.quarantine.of(request.service).find(|address| fits(address) && listed(address)))
    }

    /// The address that the pool gives, by its way of selection.
    fn first_fit(&self, id: PoolId, family: IpFamily, request: &Request<'_>) -> Option<IpAddr> {
        let (who, sharing) = (request.service, request.sharing);
        let pool = self.pools.at(id);
        let fresh = match pool.selection {
            Selection::Lowest => self.lowest(id, family, who, sharing),
            Selection::Spread => {
                self.shared_anywhere(pool, family, who, sharing).or_else(|| self.spread(pool, family, who))
            }
        };
        fresh.or_else(|| self.longest_rested(id, family, who))
    }

    /// The lowest address of the first range, in listed order, that is free or can be shared.
    fn lowest(&self, id: PoolId, family: IpFamily, who: &ServiceKey, sharing: &Sharing) -> Option<IpAddr> {
        let pool = self.pools.at(id);
        // A shared address may lie in a range that is full.
        let open = self.open.get(id).map_or(0, |open| open[usize::from(family == IpFamily::V6)]);
        let start = if sharing.key.is_empty() { open } else { 0 };
        let ranges = pool.ranges.get(start..)?.iter().filter(|range| IpFamily::of(range.first()) == family);
        ranges.into_iter().find_map(|range| {
            let free = self.lowest_free(pool, range.first(), range.last());
            let shared = self.lowest_shared(pool, range.first(), range.last(), who, sharing);
            free.into_iter().chain(shared).min()
        })
    }

    fn lowest_free(&self, pool: &Pool, first: IpAddr, last: IpAddr) -> Option<IpAddr> {
        let mut candidate = first;
        while candidate <= last {
            if let Some(end) = self.taken.end_of_run(candidate) {
                candidate = run::after(end)?;
            } else if pool.avoids(candidate) {
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
            if self.obstacle(pool, found, who).is_none() {
                return Some(found);
            }
            start = run::after(found)?;
        }
        None
    }

    fn shared_anywhere(
        &self,
        pool: &Pool,
        family: IpFamily,
        who: &ServiceKey,
        sharing: &Sharing,
    ) -> Option<IpAddr> {
        let mut ranges = pool.ranges.iter().filter(|range| IpFamily::of(range.first()) == family);
        ranges.find_map(|range| self.lowest_shared(pool, range.first(), range.last(), who, sharing))
    }

    /// The first free address from a place on that follows from the Service's name; the same Service, the same place.
    fn spread(&self, pool: &Pool, family: IpFamily, who: &ServiceKey) -> Option<IpAddr> {
        let ranges: Vec<&AddressRange> =
            pool.ranges.iter().filter(|range| IpFamily::of(range.first()) == family).collect();
        let total = ranges.iter().fold(0_u128, |sum, range| sum.saturating_add(range.len()));
        let mut steps = digest(who).checked_rem(total)?;
        let mut home = 0;
        for (index, range) in ranges.iter().enumerate() {
            home = index;
            if steps < range.len() {
                break;
            }
            steps -= range.len();
        }
        let start = address_above(ranges.get(home)?.first(), steps)?;
        let behind = ranges.iter().skip(home + 1).chain(ranges.iter().take(home));
        self.lowest_free(pool, start, ranges.get(home)?.last())
            .or_else(|| {
                behind.into_iter().find_map(|range| self.lowest_free(pool, range.first(), range.last()))
            })
            .or_else(|| self.lowest_free(pool, ranges.get(home)?.first(), start))
    }

    fn longest_rested(&self, id: PoolId, family: IpFamily, who: &ServiceKey) -> Option<IpAddr> {
        let pool = self.pools.at(id);
        self.quarantine.of_pool(id).find(|address| {
            IpFamily::of(*address) == family
                && !self.holdings.is_used(*address)
                && self.obstacle(pool, *address, who).is_none()
        })
    }

    /// What stands against giving an address of the pool to this Service, use by others aside.
    fn obstacle(&self, pool: &Pool, address: IpAddr, who: &ServiceKey) -> Option<Obstacle> {
        if is_blocked(&self.blocked, pool, address)
            && let Place::Avoided { why, .. } = self.place(address)
        {
            return Some(why);
        }
        let reserved = pool.reserved.get(&address).filter(|service| *service != who);
        reserved.cloned().map(Obstacle::Reserved)
    }

    /// Says of the pools why none of them has anything for the Service.
    pub(super) fn nothing_left(&self, request: &Request<'_>, families: &[IpFamily]) -> Denied {
        if let Want::FromPool(name) = request.want {
            return match self.pools.named(name) {
                Some(pool) => Denied::PoolExhausted {
                    pool: name.to_owned(),
                    why: self.hindrance(pool, request, families),
                },
                None => Denied::UnknownPool { pool: name.to_owned(), known: Vec::new() },
            };
        }
        let order = self.pools.automatic(request.applicant);
        let others = (0..self.pools.len()).filter(|id| !order.iter().any(|one| one == *id));
        let tried: Vec<Tried> = order
            .iter()
            .chain(others)
            .take(MOST_TRIED)
            .map(|id| {
                let pool = self.pools.at(id);
                Tried { pool: pool.name.clone(), why: self.hindrance(pool, request, families) }
            })
            .collect();
        let more = self.pools.len().saturating_sub(tried.len());
        Denied::Exhausted { tried, more }
    }

    fn hindrance(&self, pool: &Pool, request: &Request<'_>, families: &[IpFamily]) -> Hindrance {
        if pool.disabled {
            return Hindrance::Disabled;
        }
        if !pool::admits(pool, request.applicant) {
            return Hindrance::NotForService;
        }
        if !pool.auto_assign && matches!(request.want, Want::Any) {
            return Hindrance::OnRequest;
        }
        let id = self.pools.id(&pool.name);
        let lacks = |family: &&IpFamily| id.is_none_or(|id| self.first_fit(id, **family, request).is_none());
        let family = families.iter().find(lacks).or_else(|| families.first());
        let family = family.copied().unwrap_or(IpFamily::V4);
        let usage = self.usage.get(&pool.name).cloned().unwrap_or_default();
        let (capacity, used, reserved) = usage.of(family);
        match (capacity, reserved) {
            (0, _) if pool.ranges.iter().any(|range| IpFamily::of(range.first()) == family) => {
                Hindrance::AllBlocked { family }
            }
            (0, _) => Hindrance::NoFamily { family },
            (_, 0) => Hindrance::Full { family, used, capacity },
            _ => Hindrance::OnlyReserved { family, used, capacity, reserved },
        }
    }
}

/// Whether a pool has ranges of IPv4 and of IPv6.
fn has_both_families(pool: &Pool) -> bool {
    [IpFamily::V4, IpFamily::V6]
        .iter()
        .all(|family| pool.ranges.iter().any(|range| IpFamily::of(range.first()) == *family))
}

/// Whether the pool gives anything new to this Service.
fn check(pool: &Pool, request: &Request<'_>) -> Result<(), Denied> {
    if !pool::admits(pool, request.applicant) {
        return Err(Denied::PoolNotForService { pool: pool.name.clone() });
    }
    if pool.disabled {
        return Err(Denied::PoolDisabled { pool: pool.name.clone() });
    }
    Ok(())
}

/// FNV-1a over namespace and name, in 128 bits: the same on every machine and in every version.
fn digest(who: &ServiceKey) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let (namespace, name) = who.parts();
    let octets = namespace.bytes().chain([b'/']).chain(name.bytes());
    octets.fold(BASIS, |sum, octet| (sum ^ u128::from(octet)).wrapping_mul(PRIME))
}
