//! Addresses for Services: which ones are in use, and the choice of the next one. Pure, sorted, the same for the same
//! input.
//!
//! An [`Allocator`] cannot exist before it has adopted every address that is already in use:
//! [`Allocator::rebuild`] is its only constructor.
//!
//! ```
//! use controller::alloc::Allocator;
//! let (allocator, refused) = Allocator::rebuild(&Default::default(), []);
//! assert!(refused.is_empty());
//! assert_eq!(allocator.len(), 0);
//! ```
//!
//! Leaves out what a Service asks for and what is written back to it: that is [`crate::plan`].

mod holding;
mod pool;
mod reason;
mod run;
mod search;
mod sharing;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::Pool;
use api::service::{IpFamily, ServiceKey};

pub use holding::Holding;
pub use pool::Applicant;
pub use reason::{Denied, quoted};
pub use sharing::Sharing;
pub use usage::Usage;

use holding::Holdings;
use pool::Pools;

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

/// Where an address lies with respect to the pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this pool, which could hand it out.
    Pool(String),
    /// In this pool, which no longer hands it out (`avoidBuggyIPs`).
    Avoided(String),
    /// In no pool.
    Outside,
}

/// The pools, and who holds which of their addresses.
#[derive(Debug)]
pub struct Allocator {
    pools: Pools,
    holdings: Holdings,
    usage: BTreeMap<String, Usage>,
    touched: Vec<IpAddr>,
}

impl Allocator {
    /// Adopts all addresses that are in use, in the order given (oldest Service first), and returns those it had to
    /// refuse.
    pub fn rebuild(
        pools: &BTreeMap<String, Pool>,
        existing: impl IntoIterator<Item = Existing>,
    ) -> (Self, Vec<(ServiceKey, Denied)>) {
        let mut allocator = Self {
            pools: Pools::new(pools),
            holdings: Holdings::default(),
            usage: BTreeMap::new(),
            touched: Vec::new(),
        };
        allocator.recount();
        let mut refused = Vec::new();
        for one in existing {
            if let Err(denied) = allocator.adopt(&one) {
                refused.push((one.service, denied));
            }
        }
        allocator.touched.clear();
        (allocator, refused)
    }

    /// Replaces the pools. Nobody loses an address by it.
    pub fn set_pools(&mut self, pools: &BTreeMap<String, Pool>) {
        self.pools = Pools::new(pools);
        self.recount();
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

    /// Whether there is no pool at all.
    #[must_use]
    pub fn has_no_pools(&self) -> bool {
        self.pools.is_empty()
    }

    /// What the Service holds.
    #[must_use]
    pub fn holding(&self, service: &ServiceKey) -> Option<&Holding> {
        self.holdings.named(service)
    }

    /// Where an address lies.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place {
        match self.pools.around(address) {
            Some(pool) if !pool.hands_out(address) => Place::Avoided(pool.name.clone()),
            Some(pool) => Place::Pool(pool.name.clone()),
            None => Place::Outside,
        }
    }

    /// Counters of each pool, by name.
    #[must_use]
    pub fn usage(&self) -> &BTreeMap<String, Usage> {
        &self.usage
    }

    /// Number of Services with an address, by the pool it was given from.
    #[must_use]
    pub fn services_by_pool(&self) -> BTreeMap<String, usize> {
        let mut services = BTreeMap::new();
        for holding in self.holdings.iter() {
            *services.entry(holding.pool.clone()).or_default() += 1;
        }
        services
    }

    /// The addresses that changed hands since the last call: a Service that waits may fit now.
    #[must_use = "Services that wait for an address must be tried again"]
    pub fn take_touched(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.touched)
    }

    /// Makes the addresses that a Service already has its holding, whatever the pools say now: an address in use is
    /// never revoked by a pool edit. Refused are addresses in use by others under other terms, and addresses outside
    /// every pool that no allocator ever recorded (somebody else gave them).
    ///
    /// # Errors
    /// [`Denied::InUse`], [`Denied::PortInUse`] or [`Denied::OutsidePools`]; the holding is then as before.
    pub fn adopt(&mut self, existing: &Existing) -> Result<(), Denied> {
        for address in &existing.addresses {
            self.holdings.admit(*address, &existing.service, &existing.sharing)?;
        }
        let pool = match &existing.recorded_pool {
            Some(recorded) if existing.named_pool.as_ref() == Some(recorded) => recorded.clone(),
            recorded => self.pool_to_record(&existing.addresses, recorded.as_deref())?,
        };
        let holding = Holding {
            uid: existing.uid.clone(),
            addresses: existing.addresses.clone(),
            pool,
            sharing: existing.sharing.clone(),
        };
        self.hold(&existing.service, holding);
        Ok(())
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
        self.hold(request.service, holding);
        Ok(self.holdings.named(request.service).expect("a holding was just set for this service"))
    }

    /// Adds the missing families from the pool around the address that is already held, or tells why not.
    /// The held address stays in either case.
    ///
    /// # Errors
    /// [`Denied::PoolExhausted`] or [`Denied::OutsidePools`].
    pub fn extend(&mut self, request: &Request<'_>) -> Result<(), Denied> {
        let Some(held) = self.holdings.named(request.service).cloned() else {
            return Ok(());
        };
        let outside = || Denied::OutsidePools { addresses: held.addresses.clone() };
        let pool =
            held.addresses.first().and_then(|address| self.pools.around(*address)).ok_or_else(outside)?;
        if !pool::admits(pool, request.applicant) {
            return Err(Denied::PoolNotForService { pool: pool.name.clone() });
        }
        let mut addresses = Vec::new();
        for family in request.families {
            let kept = held.addresses.iter().copied().find(|address| IpFamily::of(*address) == *family);
            let found = kept.or_else(|| self.lowest(pool, *family, request.service, request.sharing));
            addresses.push(found.ok_or_else(|| Denied::PoolExhausted { pool: pool.name.clone() })?);
        }
        let holding = Holding { addresses, ..held };
        self.hold(request.service, holding);
        Ok(())
    }

    /// Takes everything from a Service.
    pub fn release(&mut self, service: &ServiceKey) {
        let freed = self.holdings.clear(service);
        for address in &freed {
            self.count(*address);
        }
        self.touched.extend(freed);
    }

    fn hold(&mut self, service: &ServiceKey, holding: Holding) {
        let before = self.holdings.named(service).map_or_else(Vec::new, |held| held.addresses.clone());
        let now = holding.addresses.clone();
        let touched = self.holdings.set(service, holding);
        self.touched.extend(touched);
        if before != now {
            for address in before.iter().chain(&now) {
                self.count(*address);
            }
        }
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
