//! Who holds which address: one map is the truth, the indexes beside it are private and follow it.
//!
//! Leaves out which address to choose and whether a pool allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::service::ServiceKey;

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
    by_service: BTreeMap<ServiceKey, Holding>,
    /// The Services on each address in use, sorted; hardly ever more than one.
    tenants: BTreeMap<IpAddr, Vec<ServiceKey>>,
    /// (sharing key, backend) -> the addresses in use under them.
    shared: BTreeMap<(String, String), BTreeSet<IpAddr>>,
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
        self.tenants.keys().copied()
    }

    pub(crate) fn is_used(&self, address: IpAddr) -> bool {
        self.tenants.contains_key(&address)
    }

    /// Whether the Service may be on the address as far as other Services are concerned.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        sharing: &Sharing,
    ) -> Result<(), Denied> {
        let Some(tenants) = self.tenants.get(&address) else {
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
    /// Returns the addresses on which something changed for others.
    pub(crate) fn set(&mut self, service: &ServiceKey, holding: Holding) -> Vec<IpAddr> {
        let mut touched = Vec::new();
        if let Some(old) = self.by_service.get(service) {
            if *old == holding {
                return touched;
            }
            let same_terms = old.sharing == holding.sharing;
            let changed = |address: &&IpAddr| !same_terms || !holding.addresses.contains(address);
            touched.extend(old.addresses.iter().filter(changed));
            if !holding.sharing.key.is_empty() {
                touched.extend(holding.addresses.iter().filter(|address| !old.addresses.contains(address)));
            }
            self.clear(service);
        } else if !holding.sharing.key.is_empty() {
            touched.extend(&holding.addresses);
        }
        for address in &holding.addresses {
            let tenants = self.tenants.entry(*address).or_default();
            if let Err(place) = tenants.binary_search(service) {
                tenants.insert(place, service.clone());
            }
            if let Some(terms) = terms(&holding.sharing) {
                self.shared.entry(terms).or_default().insert(*address);
            }
        }
        self.by_service.insert(service.clone(), holding);
        touched
    }

    /// Takes everything from the Service; returns its addresses.
    pub(crate) fn clear(&mut self, service: &ServiceKey) -> Vec<IpAddr> {
        let Some(holding) = self.by_service.remove(service) else {
            return Vec::new();
        };
        for address in &holding.addresses {
            if let Some(tenants) = self.tenants.get_mut(address) {
                tenants.retain(|tenant| tenant != service);
                if tenants.is_empty() {
                    self.tenants.remove(address);
                    self.unshare(&holding.sharing, *address);
                }
            }
        }
        holding.addresses
    }

    /// A sole tenant may have changed its key in place, so the last one out removes its own terms; terms of a
    /// tenant that stays equal those of the one that left.
    fn unshare(&mut self, sharing: &Sharing, address: IpAddr) {
        let Some(terms) = terms(sharing) else {
            return;
        };
        if let Some(addresses) = self.shared.get_mut(&terms) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.shared.remove(&terms);
            }
        }
    }
}

fn terms(sharing: &Sharing) -> Option<(String, String)> {
    (!sharing.key.is_empty()).then(|| (sharing.key.clone(), sharing.backend.clone()))
}
