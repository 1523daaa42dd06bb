//! Released addresses that rest before another Service gets them: clients, connection tracking and routers need time to
//! forget. The Service that had an address gets it back at any moment. Time is an argument.
//!
//! Leaves out how long they rest, and who may use them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use api::service::ServiceKey;

/// The addresses at rest, with the indexes: by the end of the rest, by the Service that had them.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    by_address: BTreeMap<IpAddr, (Instant, ServiceKey)>,
    by_end: BTreeSet<(Instant, IpAddr)>,
    by_service: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
}

impl Quarantine {
    pub(crate) fn put(&mut self, address: IpAddr, service: &ServiceKey, until: Instant) {
        self.take(address);
        self.by_address.insert(address, (until, service.clone()));
        self.by_end.insert((until, address));
        self.by_service.entry(service.clone()).or_default().insert(address);
    }

    /// The rest is over; nothing happens if there is none.
    pub(crate) fn take(&mut self, address: IpAddr) {
        let Some((until, service)) = self.by_address.remove(&address) else {
            return;
        };
        self.by_end.remove(&(until, address));
        if let Some(addresses) = self.by_service.get_mut(&service) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.by_service.remove(&service);
            }
        }
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

    /// All of them, the one that has rested longest first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = IpAddr> {
        self.by_end.iter().map(|(_, address)| *address)
    }

    /// All of them: address, who had it, until when it rests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, &ServiceKey, Instant)> {
        self.by_address.iter().map(|(address, (until, service))| (*address, service, *until))
    }
}
