//! Addresses for Services: which ones are in use, and the choice of the next one. Pure, sorted, the same for the same
//! input.
//!
//! An [`Allocator`] cannot exist before it has adopted every address that is already in use:
//! [`Allocator::rebuild`] is its only constructor.
//!
//! ```
//! use controller::alloc::{Allocator, Terms};
//! let now = std::time::Instant::now();
//! let (pools, network) = (Default::default(), Default::default());
//! let (allocator, refused) = Allocator::rebuild(&pools, network, Terms::default(), now, []);
//! assert!(refused.is_empty());
//! assert_eq!(allocator.len(), 0);
//! ```
//!
//! Leaves out what a Service asks for and what is written back to it: that is [`crate::plan`].

mod by_address;
mod holding;
mod place;
mod pool;
mod quarantine;
mod reason;
mod run;
mod search;
mod sharing;
#[cfg(test)]
mod tests;
mod upkeep;
mod usage;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::config::Pool;
use api::service::{IpFamily, ServiceKey};
use api::v1beta1::EditPolicy;

pub use holding::Holding;
pub use place::{Neighbour, Network, Obstacle, Place};
pub use pool::Applicant;
pub use reason::{Denied, Hindrance, Tried, quoted};
pub use sharing::Sharing;
pub use usage::Usage;

use by_address::ByAddress;
use holding::Holdings;
use pool::Pools;
use quarantine::Quarantine;
use run::Runs;
use usage::Counted;

/// Addresses that rest at the same time; what is released beyond that may be given again at once.
const MOST_RESTING: usize = 65_536;

/// An address in use as it is found on a Service.
#[derive(Debug, Clone)]
pub struct Existing {
    /// The Service.
    pub service: ServiceKey,
    /// Its UID.
    pub uid: String,
    /// The addresses in its status, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// The pool an allocator recorded for them, if one did.
    pub recorded_pool: Option<String>,
    /// The pool the Service asks for. While that is the recorded one, an edit of the pools does not change the record.
    pub named_pool: Option<String>,
    /// The terms of use.
    pub sharing: Sharing,
}

/// What a Service wants that holds nothing yet.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The Service.
    pub service: &'a ServiceKey,
    /// Its UID.
    pub uid: &'a str,
    /// What the pools look at.
    pub applicant: Applicant<'a>,
    /// Families wanted, primary first; one or two.
    pub families: &'a [IpFamily],
    /// With two families: whether one alone will do (`PreferDualStack`).
    pub one_will_do: bool,
    /// The terms of use.
    pub sharing: &'a Sharing,
    /// Which address.
    pub want: Want<'a>,
}

/// Which address a Service wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want<'a> {
    /// Any that a pool gives automatically.
    Any,
    /// Any of the named pool.
    FromPool(&'a str),
    /// Exactly these, which must lie in one pool; in the named one, if one is named.
    Exactly {
        /// One address of each family wanted.
        addresses: &'a [IpAddr],
        /// The pool asked for as well.
        pool: Option<&'a str>,
    },
}

/// What holds for all pools that say nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a released address rests.
    pub quarantine: Duration,
    /// What a pool edit does to addresses in use.
    pub edit_policy: EditPolicy,
}

impl Default for Terms {
    fn default() -> Self {
        Self { quarantine: Duration::from_secs(60), edit_policy: EditPolicy::Keep }
    }
}

/// The pools, and who holds which of their addresses.
#[derive(Debug)]
pub struct Allocator {
    terms: Terms,
    now: Instant,
    pools: Pools,
    network: Network,
    holdings: Holdings,
    quarantine: Quarantine,
    /// What no pool ever hands out: excluded, skipped, in use by the network around.
    blocked: Runs,
    /// Everything that cannot be given now: in use, blocked, reserved, at rest.
    taken: Runs,
    /// For each pool, the first range of each family that may have something left.
    open: Vec<[usize; 2]>,
    usage: BTreeMap<String, Usage>,
    /// What each address in use, and each that waits for a Service, counts for in `usage`.
    counted: ByAddress<Counted>,
    touched: Vec<IpAddr>,
}

impl Allocator {
    /// Adopts all addresses that are in use, in the order given (oldest Service first), and returns those it had to
    /// refuse. Time stands still until [`Self::advance`].
    pub fn rebuild(
        pools: &BTreeMap<String, Pool>,
        network: Network,
        terms: Terms,
        now: Instant,
        existing: impl IntoIterator<Item = Existing>,
    ) -> (Self, Vec<(ServiceKey, Denied)>) {
        let mut allocator = Self {
            terms,
            now,
            pools: Pools::default(),
            network,
            holdings: Holdings::default(),
            quarantine: Quarantine::default(),
            blocked: Runs::default(),
            taken: Runs::default(),
            open: Vec::new(),
            usage: BTreeMap::new(),
            counted: ByAddress::default(),
            touched: Vec::new(),
        };
        allocator.set_pools(pools);
        let mut refused = Vec::new();
        for one in existing {
            match allocator.judge(&one) {
                Ok(pool) => allocator.install(one, pool),
                Err(denied) => refused.push((one.service, denied)),
            }
        }
        allocator.touched.clear();
        (allocator, refused)
    }

    /// Replaces the pools. Nobody loses an address by it.
    pub fn set_pools(&mut self, pools: &BTreeMap<String, Pool>) {
        self.pools = Pools::new(pools);
        self.survey();
    }

    /// Replaces what is known of the network around the pools. Nobody loses an address by it. Returns whether that is
    /// news.
    pub fn set_network(&mut self, network: Network) -> bool {
        let news = self.network != network;
        if news {
            self.network = network;
            self.survey();
        }
        news
    }

    /// What is known of the network around the pools.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// It is `now`: rests that are over end.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for address in self.quarantine.expire(self.now) {
            self.refresh(address, self.holdings.is_used(address));
        }
    }

    /// The addresses at rest, by the end of the rest: who had them, and until when nobody else gets them.
    pub fn resting(&self) -> impl DoubleEndedIterator<Item = (IpAddr, &ServiceKey, Instant)> {
        self.quarantine.iter()
    }

    /// Name of the pool around an address.
    #[must_use]
    pub fn pool_around(&self, address: IpAddr) -> Option<&str> {
        self.pools.around(address).map(|pool| pool.name.as_str())
    }

    /// An address that was released before this allocator was built goes on resting for the time that is left, unless it
    /// is in use or in no pool. The time is cut to what the pool would give today.
    pub fn rest_on(&mut self, address: IpAddr, service: &ServiceKey, left: Duration) {
        let Some(around) = self.pools.id_around(address) else {
            return;
        };
        let rest = left.min(self.pools.at(around).release_quarantine.unwrap_or(self.terms.quarantine));
        if self.holdings.is_used(address) || rest.is_zero() || self.quarantine.len() >= MOST_RESTING {
            return;
        }
        if let Some(until) = self.now.checked_add(rest) {
            self.quarantine.put(address, service, until, Some(around));
            self.refresh(address, false);
        }
    }

    /// When the next rest ends.
    #[must_use]
    pub fn next_rest_ends(&self) -> Option<Instant> {
        self.quarantine.iter().next().map(|(_, _, until)| until)
    }

    /// Why the Service should get another address in place of this one, under policy Renumber; `None` = it stays.
    #[must_use]
    pub fn objection(
        &self,
        address: IpAddr,
        recorded: Option<&str>,
        applicant: Applicant<'_>,
    ) -> Option<String> {
        let around = self.pools.around(address);
        let judge = around.or_else(|| self.pools.named(recorded?));
        let policy = judge.and_then(|pool| pool.edit_policy).unwrap_or(self.terms.edit_policy);
        match (policy, around) {
            (EditPolicy::Keep, _) => None,
            (EditPolicy::Renumber, None) => Some("no pool holds it any more".to_owned()),
            (EditPolicy::Renumber, Some(pool)) => match self.place(address) {
                Place::Avoided { pool, why } => Some(why.of(&pool)),
                Place::Pool(name) if !pool::admits(pool, applicant) => {
                    Some(Denied::PoolNotForService { pool: name }.to_string())
                }
                Place::Pool(_) | Place::Outside => None,
            },
        }
    }

    /// Number of Services that hold an address.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holdings.len()
    }

    /// Whether no Service holds an address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no pool at all, and addresses stay all the same.
    #[must_use]
    pub fn cannot_judge(&self) -> bool {
        self.pools.is_empty() && self.terms.edit_policy == EditPolicy::Keep
    }

    /// What the Service holds.
    #[must_use]
    pub fn holding(&self, service: &ServiceKey) -> Option<&Holding> {
        self.holdings.named(service)
    }

    /// Whether the Service may be on these addresses as far as other Services are concerned.
    #[must_use]
    pub fn admits(&self, service: &ServiceKey, addresses: &[IpAddr], sharing: &Sharing) -> bool {
        addresses.iter().all(|address| self.holdings.admit(*address, service, sharing).is_ok())
    }

    /// Where an address lies.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place {
        let Some(pool) = self.pools.around(address) else {
            return Place::Outside;
        };
        let name = pool.name.clone();
        let neighbour = || self.network.neighbour(address).cloned().map(Obstacle::Taken);
        match place::own_obstacle(pool, address).or_else(neighbour) {
            Some(why) => Place::Avoided { pool: name, why },
            None => Place::Pool(name),
        }
    }

    /// Whether a pool could hand the address out, use by Services aside.
    #[must_use]
    pub fn hands_out(&self, address: IpAddr) -> bool {
        self.pools.around(address).is_some_and(|pool| {
            !is_blocked(&self.blocked, pool, address) || matches!(self.place(address), Place::Pool(_))
        })
    }

    /// Counters of each pool, by name.
    #[must_use]
    pub fn usage(&self) -> &BTreeMap<String, Usage> {
        &self.usage
    }

    /// Number of Services with an address, by the pool it was given from.
    #[must_use]
    pub fn services_by_pool(&self) -> BTreeMap<String, usize> {
        let mut services: BTreeMap<String, usize> = BTreeMap::new();
        for (_, holding) in self.holdings.iter() {
            match services.get_mut(&holding.pool) {
                Some(number) => *number += 1,
                None => drop(services.insert(holding.pool.clone(), 1)),
            }
        }
        services
    }

    /// The addresses in use that no pool hands out, by the pool they came from or lie in, with who keeps them; sorted.
    #[must_use]
    pub fn kept_by_pool(&self) -> BTreeMap<String, Vec<(IpAddr, ServiceKey)>> {
        let mut kept: BTreeMap<String, Vec<(IpAddr, ServiceKey)>> = BTreeMap::new();
        for (service, holding) in self.holdings.iter() {
            for address in &holding.addresses {
                let pool = match self.pools.around(*address) {
                    Some(pool) if !is_blocked(&self.blocked, pool, *address) => continue,
                    Some(pool) => &pool.name,
                    None => &holding.pool,
                };
                kept.entry(pool.clone()).or_default().push((*address, service.clone()));
            }
        }
        kept
    }

    /// The addresses that changed hands since the last call: a Service that waits may fit now.
    #[must_use = "Services that wait for an address must be tried again"]
    pub fn take_touched(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.touched)
    }

    /// Makes the addresses that a Service already has its holding, whatever the pools say now: an address in use is
    /// never revoked by a pool edit. Refused are addresses in use by others under other terms, and addresses that no
    /// allocator recorded and no pool would hand out (somebody else gave them).
    ///
    /// # Errors
    /// [`Denied::InUse`], [`Denied::PortInUse`], [`Denied::OutsidePools`] or [`Denied::AvoidedAddress`]; the holding is
    /// then as before.
    pub fn adopt(&mut self, existing: Existing) -> Result<(), Denied> {
        let pool = self.judge(&existing)?;
        self.install(existing, pool);
        Ok(())
    }

    /// The pool to record for addresses that are to be adopted, or why they are not.
    fn judge(&self, existing: &Existing) -> Result<String, Denied> {
        for address in &existing.addresses {
            self.holdings.admit(*address, &existing.service, &existing.sharing)?;
            if existing.recorded_pool.is_none()
                && let Place::Avoided { pool, why: why @ Obstacle::Taken(_) } = self.place(*address)
            {
                return Err(Denied::AvoidedAddress { address: *address, pool, why });
            }
        }
        match &existing.recorded_pool {
            Some(recorded) if existing.named_pool.as_ref() == Some(recorded) => Ok(recorded.clone()),
            recorded => self.pool_to_record(&existing.addresses, recorded.as_deref()),
        }
    }

    fn install(&mut self, existing: Existing, pool: String) {
        let Existing { service, uid, addresses, recorded_pool: _, named_pool: _, sharing } = existing;
        let holding = Holding { uid, addresses, pool, sharing };
        // A Service that is looked at again, as nearly all of them are.
        if self.holdings.named(&service) != Some(&holding) {
            self.hold(service, holding);
        }
    }

    /// Gives a Service what it asks for. What it held before is free again on success.
    ///
    /// # Errors
    /// A [`Denied`] that says why not; the holding is then as before.
    pub fn allocate(&mut self, request: &Request<'_>) -> Result<&Holding, Denied> {
        let (pool, addresses) = match request.want {
            Want::Exactly { addresses, pool } => self.exactly(request, addresses, pool)?,
            Want::FromPool(name) => self.of_pool(request, name)?,
            Want::Any => self.of_any_pool(request)?,
        };
        let holding =
            Holding { uid: request.uid.to_owned(), addresses, pool, sharing: request.sharing.clone() };
        self.hold(request.service.clone(), holding);
        Ok(self.holdings.named(request.service).expect("a holding was just set for this service"))
    }

    /// Adds the missing families, from the pool around the address that is held where that has some, or tells why not.
    /// The held address stays in either case.
    ///
    /// # Errors
    /// The [`Denied`] of the family that cannot be given.
    pub fn extend(&mut self, request: &Request<'_>) -> Result<(), Denied> {
        let Some(held) = self.holdings.named(request.service).cloned() else {
            return Ok(());
        };
        let mut addresses = Vec::new();
        for family in request.families {
            let kept = held.addresses.iter().copied().find(|address| IpFamily::of(*address) == *family);
            let found = kept.or_else(|| self.second(request, &held.addresses, *family));
            addresses.push(found.ok_or_else(|| self.nothing_left(request, &[*family]))?);
        }
        let holding = Holding { addresses, ..held };
        self.hold(request.service.clone(), holding);
        Ok(())
    }

    /// Takes everything from a Service.
    pub fn release(&mut self, service: &ServiceKey) {
        let freed = self.holdings.clear(service);
        for address in &freed {
            self.lay_down(*address, service);
        }
        self.touched.extend(freed);
    }

    /// The recorded pool stays the name as long as it holds one of the addresses; a renamed or split pool passes
    /// them on; when no pool is left, the record is what remains.
    fn pool_to_record(&self, addresses: &[IpAddr], recorded: Option<&str>) -> Result<String, Denied> {
        let around = || addresses.iter().filter_map(|address| self.pools.around(*address));
        if let Some(pool) = around().find(|pool| Some(pool.name.as_str()) == recorded) {
            return Ok(pool.name.clone());
        }
        match (around().next(), recorded) {
            (Some(pool), Some(_)) => Ok(pool.name.clone()),
            (Some(pool), None) if around().count() == addresses.len() => Ok(pool.name.clone()),
            (None, Some(recorded)) => Ok(recorded.to_owned()),
            (Some(_) | None, None) => {
                let outside = addresses.iter().filter(|address| self.pools.around(**address).is_none());
                Err(Denied::OutsidePools { addresses: outside.copied().collect() })
            }
        }
    }
}

/// Whether no pool hands the address out, reservations and use aside.
fn is_blocked(blocked: &Runs, pool: &Pool, address: IpAddr) -> bool {
    pool.avoids(address) || blocked.end_of_run(address).is_some()
}
