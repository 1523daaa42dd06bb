//! The addresses in use as runs of neighbours, so that the lowest free address of a range is found by jumping over
//! whole runs: the cost depends on the number of runs, never on the size of the pool.
//!
//! Leaves out who uses an address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of addresses, stored as `first -> last` of each run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    by_first: BTreeMap<IpAddr, IpAddr>,
}

impl Runs {
    /// The last address of the run that holds `address`, if it is in the set.
    pub(crate) fn end_of_run(&self, address: IpAddr) -> Option<IpAddr> {
        let (_, last) = self.by_first.range(..=address).next_back()?;
        (*last >= address).then_some(*last)
    }

    /// Adds one address; adding it twice changes nothing.
    pub(crate) fn insert(&mut self, address: IpAddr) {
        if self.end_of_run(address).is_some() {
            return;
        }
        let mut first = address;
        let mut last = address;
        if let Some(below) = before(address)
            && let Some((start, end)) = self.by_first.range(..=below).next_back()
            && *end == below
        {
            first = *start;
        }
        if let Some(above) = after(address)
            && let Some(end) = self.by_first.remove(&above)
        {
            last = end;
        }
        self.by_first.insert(first, last);
    }

    /// Removes one address; removing an absent one changes nothing.
    pub(crate) fn remove(&mut self, address: IpAddr) {
        let Some((first, last)) = self.by_first.range(..=address).next_back().map(|(a, b)| (*a, *b)) else {
            return;
        };
        if last < address {
            return;
        }
        self.by_first.remove(&first);
        if let Some(below) = before(address)
            && first < address
        {
            self.by_first.insert(first, below);
        }
        if let Some(above) = after(address)
            && address < last
        {
            self.by_first.insert(above, last);
        }
    }
}

/// The next address of the same family.
pub(crate) fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|next| Ipv6Addr::from(next).into()),
    }
}
