//! Who holds which address: one map is the truth, the indexes beside it are private and follow it.
//!
//! Leaves out which address to choose and whether a pool allows it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::service::ServiceKey;

use super::by_address::ByAddress;
use super::reason::Denied;
use super::sharing::Sharing;

/// What one Service holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// UID of the Service: a Service made again under the same name is another one.
    pub uid: String,
    /// One address, or one of each family; the order is the caller's.
    pub addresses: Vec<IpAddr>,
    /// Name of the pool the addresses were given from (it may be gone).
    pub pool: String,
    /// The terms of use.
    pub sharing: Sharing,
}

/// All holdings, with the indexes: by address, addresses by sharing key.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// Behind pointers: a map leaves nearly half of its places empty.
    by_service: BTreeMap<ServiceKey, Box<Holding>>,
    tenants: ByAddress<Tenants>,
    shared: Shared,
}

/// The Services on an address in use, sorted; hardly ever more than one.
#[derive(Debug)]
enum Tenants {
    One(ServiceKey),
    Several(Vec<ServiceKey>),
}

impl Default for Tenants {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Tenants {
    fn all(&self) -> &[ServiceKey] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    fn add(&mut self, service: &ServiceKey) {
        match self.all().binary_search(service) {
            Err(_) if self.all().is_empty() => *self = Self::One(service.clone()),
            Err(place) => {
                let mut all = self.all().to_vec();
                all.insert(place, service.clone());
                *self = Self::Several(all);
            }
            Ok(_) => {}
        }
    }

    /// Returns whether anybody is left.
    fn remove(&mut self, service: &ServiceKey) -> bool {
        match self {
            Self::One(one) => one != service,
            Self::Several(all) => {
                all.retain(|tenant| tenant != service);
                !all.is_empty()
            }
        }
    }
}

/// (sharing key, backend) -> the addresses in use under them.
type Shared = BTreeMap<(String, String), BTreeSet<IpAddr>>;

/// What a new holding changed.
#[derive(Debug)]
pub(crate) struct Change {
    /// The addresses that the Service had until now.
    pub(crate) before: Vec<IpAddr>,
    /// The addresses on which something changed for others.
    pub(crate) touched: Vec<IpAddr>,
}

impl Holdings {
    pub(crate) fn named(&self, service: &ServiceKey) -> Option<&Holding> {
        self.by_service.get(service).map(Box::as_ref)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Holding)> {
        self.by_service.iter().map(|(service, holding)| (service, holding.as_ref()))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_service.len()
    }

    /// Every address in use, sorted.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.tenants.keys()
    }

    pub(crate) fn is_used(&self, address: IpAddr) -> bool {
        self.tenants.get(address).is_some()
    }

    /// Whether the Service may be on the address as far as other Services are concerned.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        sharing: &Sharing,
    ) -> Result<(), Denied> {
        let Some(tenants) = self.tenants.get(address) else {
            return Ok(());
        };
        let others = tenants.all().iter().filter(|tenant| *tenant != service);
        let terms = others.filter_map(|tenant| Some((tenant, &self.by_service.get(tenant)?.sharing)));
        sharing.beside(address, service, terms)
    }

    /// The lowest address in `first..=last` that is in use by Services with the same terms and free ports.
    pub(crate) fn joinable(
        &self,
        first: IpAddr,
        last: IpAddr,
        service: &ServiceKey,
        sharing: &Sharing,
    ) -> Option<IpAddr> {
        let shared = self.shared.get(&terms(sharing)?)?;
        shared.range(first..=last).copied().find(|address| self.admit(*address, service, sharing).is_ok())
    }

    /// Gives the Service exactly this holding in place of what it had.
    pub(crate) fn set(&mut self, service: ServiceKey, mut holding: Holding) -> Change {
        holding.addresses.shrink_to_fit();
        let Self { by_service, tenants, shared } = self;
        match by_service.entry(service) {
            Entry::Vacant(place) => {
                let key = &holding.sharing.key;
                let touched = if key.is_empty() { Vec::new() } else { holding.addresses.clone() };
                move_in(tenants, shared, place.key(), &holding);
                place.insert(Box::new(holding));
                Change { before: Vec::new(), touched }
            }
            Entry::Occupied(place) if **place.get() == holding => {
                Change { before: holding.addresses, touched: Vec::new() }
            }
            Entry::Occupied(mut place) => {
                let old = place.get();
                let same_terms = old.sharing == holding.sharing;
                let changed = |address: &&IpAddr| !same_terms || !holding.addresses.contains(address);
                let mut touched: Vec<IpAddr> = old.addresses.iter().filter(changed).copied().collect();
                if !holding.sharing.key.is_empty() {
                    touched
                        .extend(holding.addresses.iter().filter(|address| !old.addresses.contains(address)));
                }
                move_out(tenants, shared, place.key(), old);
                move_in(tenants, shared, place.key(), &holding);
                Change { before: place.insert(Box::new(holding)).addresses, touched }
            }
        }
    }

    /// Takes everything from the Service; returns its addresses.
    pub(crate) fn clear(&mut self, service: &ServiceKey) -> Vec<IpAddr> {
        let Some(holding) = self.by_service.remove(service) else {
            return Vec::new();
        };
        move_out(&mut self.tenants, &mut self.shared, service, &holding);
        holding.addresses
    }
}

fn move_in(tenants: &mut ByAddress<Tenants>, shared: &mut Shared, service: &ServiceKey, holding: &Holding) {
    for address in &holding.addresses {
        tenants.or_default(*address).add(service);
        if let Some(terms) = terms(&holding.sharing) {
            shared.entry(terms).or_default().insert(*address);
        }
    }
}

fn move_out(tenants: &mut ByAddress<Tenants>, shared: &mut Shared, service: &ServiceKey, holding: &Holding) {
    for address in &holding.addresses {
        if tenants.change(*address, |tenants| tenants.remove(service)) {
            unshare(shared, &holding.sharing, *address);
        }
    }
}

/// A sole tenant may have changed its key in place, so the last one out removes its own terms; terms of a tenant that
/// stays equal those of the one that left.
fn unshare(shared: &mut Shared, sharing: &Sharing, address: IpAddr) {
    let Some(terms) = terms(sharing) else {
        return;
    };
    if let Some(addresses) = shared.get_mut(&terms) {
        addresses.remove(&address);
        if addresses.is_empty() {
            shared.remove(&terms);
        }
    }
}

fn terms(sharing: &Sharing) -> Option<(String, String)> {
    (!sharing.key.is_empty()).then(|| (sharing.key.clone(), sharing.backend.clone()))
}
