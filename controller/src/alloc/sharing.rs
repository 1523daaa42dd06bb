//! Who may use one address together: MetalLB's sharing key, backend key and ports.
//!
//! Leaves out which address is tried: that is the allocator's search.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::service::{Port, ServiceKey};

use super::reason::Denied;

/// The terms under which a Service uses an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// Value of `allow-shared-ip`; empty = not shared. Global, not per namespace, as in MetalLB.
    pub key: String,
    /// Empty for `externalTrafficPolicy: Cluster`, the selector's text for `Local`: all nodes that
    /// receive traffic for a shared address must have the same endpoints.
    pub backend: String,
    /// Ports of the Service. They matter to nobody where nothing is shared, and are left out then.
    pub ports: BTreeSet<Port>,
}

impl Sharing {
    fn fits(&self, other: &Self) -> bool {
        !self.key.is_empty() && self.key == other.key && self.backend == other.backend
    }

    /// Whether `service` may be (or stay) on this address under these terms, beside `others` under theirs.
    ///
    /// # Errors
    /// [`Denied::InUse`] or [`Denied::PortInUse`].
    pub(super) fn beside<'a>(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        others: impl Iterator<Item = (&'a ServiceKey, &'a Self)> + Clone,
    ) -> Result<(), Denied> {
        if others.clone().any(|(_, theirs)| !self.fits(theirs)) {
            let others = others.map(|(name, _)| name.clone()).collect();
            return Err(Denied::InUse { service: service.clone(), address, others });
        }
        for (other, theirs) in others {
            if let Some(port) = self.ports.intersection(&theirs.ports).next() {
                return Err(Denied::PortInUse { port: *port, address, other: other.clone() });
            }
        }
        Ok(())
    }
}
