//! Who holds which address: one map is the truth, the indexes beside it are private and follow it.
//!
//! Leaves out which address to choose and whether a pool allows it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::service::ServiceKey;

use super::reason::Denied;
use super::sharing::Sharing;
use super::spot::Spot;

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
    by_service: BTreeMap<ServiceKey, Holding>,
    tenants: Tenants,
    shared: Shared,
}

/// The Services on each address in use, sorted; hardly ever more than one.
type Tenants = BTreeMap<Spot, Vec<ServiceKey>>;
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
        self.by_service.get(service)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Holding)> {
        self.by_service.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_service.len()
    }

    /// Every address in use, sorted.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.tenants.keys().map(|spot| spot.0)
    }

    pub(crate) fn is_used(&self, address: IpAddr) -> bool {
        self.tenants.contains_key(&Spot(address))
    }

    /// Whether the Service may be on the address as far as other Services are concerned.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        sharing: &Sharing,
    ) -> Result<(), Denied> {
        let Some(tenants) = self.tenants.get(&Spot(address)) else {
            return Ok(());
        };
        let others = tenants.iter().filter(|tenant| *tenant != service);
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
    pub(crate) fn set(&mut self, service: &ServiceKey, holding: Holding) -> Change {
        let Self { by_service, tenants, shared } = self;
        match by_service.entry(service.clone()) {
            Entry::Vacant(place) => {
                let key = &holding.sharing.key;
                let touched = if key.is_empty() { Vec::new() } else { holding.addresses.clone() };
                move_in(tenants, shared, service, &holding);
                place.insert(holding);
                Change { before: Vec::new(), touched }
            }
            Entry::Occupied(place) if *place.get() == holding => {
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
                move_out(tenants, shared, service, old);
                move_in(tenants, shared, service, &holding);
                Change { before: place.insert(holding).addresses, touched }
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

fn move_in(tenants: &mut Tenants, shared: &mut Shared, service: &ServiceKey, holding: &Holding) {
    for address in &holding.addresses {
        let tenants = tenants.entry(Spot(*address)).or_default();
        if let Err(place) = tenants.binary_search(service) {
            tenants.insert(place, service.clone());
        }
        if let Some(terms) = terms(&holding.sharing) {
            shared.entry(terms).or_default().insert(*address);
        }
    }
}

fn move_out(tenants: &mut Tenants, shared: &mut Shared, service: &ServiceKey, holding: &Holding) {
    for address in &holding.addresses {
        if let Entry::Occupied(mut there) = tenants.entry(Spot(*address)) {
            there.get_mut().retain(|tenant| tenant != service);
            if there.get().is_empty() {
                there.remove();
                unshare(shared, &holding.sharing, *address);
            }
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
