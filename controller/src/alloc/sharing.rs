//! Who may use one address together: MetalLB's sharing key, backend key and ports.
//!
//! Leaves out which address is tried: that is the allocator's search.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::service::ServiceKey;

use super::reason::Denied;

/// The terms under which a Service uses an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// Value of `allow-shared-ip`; empty = not shared. Global, not per namespace, as in MetalLB.
    pub key: String,
    /// Empty for `externalTrafficPolicy: Cluster`, the selector's text for `Local`: all nodes that
    /// receive traffic for a shared address must have the same endpoints.
    pub backend: String,
    /// Ports of the Service as `PROTOCOL/number`.
    pub ports: BTreeSet<String>,
}

impl Sharing {
    fn fits(&self, other: &Self) -> bool {
        !self.key.is_empty() && self.key == other.key && self.backend == other.backend
    }
}

/// The Services on one address. Never empty while the address is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tenants {
    by_service: BTreeMap<ServiceKey, Sharing>,
}

impl Tenants {
    /// Whether `service` may be (or stay) on this address under `sharing`.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        sharing: &Sharing,
    ) -> Result<(), Denied> {
        let others = || self.by_service.iter().filter(|(name, _)| *name != service);
        if others().any(|(_, theirs)| !sharing.fits(theirs)) {
            let others = others().map(|(name, _)| name.clone()).collect();
            return Err(Denied::InUse { service: service.clone(), others });
        }
        for (_, theirs) in others() {
            if let Some(port) = sharing.ports.intersection(&theirs.ports).next() {
                return Err(Denied::PortInUse { port: port.clone(), address });
            }
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, service: &ServiceKey, sharing: &Sharing) {
        self.by_service.insert(service.clone(), sharing.clone());
    }

    pub(crate) fn remove(&mut self, service: &ServiceKey) {
        self.by_service.remove(service);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_service.is_empty()
    }
}
