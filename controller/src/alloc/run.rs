//! Addresses as runs of neighbours. In a set of everything that cannot be given, whatever follows a run is free: the
//! lowest free address is found by one look, however large the pool and however full.
//!
//! Leaves out why an address is in the set.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::by_address::ByAddress;

/// A set of addresses, stored as `first -> last` of each run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    by_first: ByAddress<IpAddr>,
}

impl Runs {
    /// The last address of the run that holds `address`, if it is in the set.
    pub(crate) fn end_of_run(&self, address: IpAddr) -> Option<IpAddr> {
        let (_, last) = self.by_first.last_up_to(address)?;
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
            && let Some((start, end)) = self.by_first.last_up_to(below)
            && *end == below
        {
            first = start;
        }
        if let Some(above) = after(address)
            && let Some(end) = self.by_first.remove(above)
        {
            last = end;
        }
        self.by_first.insert(first, last);
    }

    /// Adds all addresses of a range.
    pub(crate) fn insert_range(&mut self, first: IpAddr, last: IpAddr) {
        let mut start = first;
        let mut end = last;
        let below = before(first).and_then(|below| self.by_first.last_up_to(below));
        if let Some((run_start, run_end)) = below
            && after(*run_end).is_none_or(|next| next >= first)
        {
            start = run_start;
            end = end.max(*run_end);
        }
        let beyond = after(last).unwrap_or(last);
        while let Some((run_start, run_end)) = self.by_first.first_between(first, beyond) {
            end = end.max(*run_end);
            self.by_first.remove(run_start);
        }
        self.by_first.insert(start, end);
    }

    /// The parts of `first..=last` that are not in the set, in order.
    pub(crate) fn gaps(&self, first: IpAddr, last: IpAddr) -> Vec<(IpAddr, IpAddr)> {
        let mut gaps = Vec::new();
        let mut start = match self.end_of_run(first) {
            Some(end) => after(end),
            None => Some(first),
        };
        while let Some(from) = start.filter(|from| *from <= last) {
            match self.by_first.first_between(from, last) {
                Some((run_start, run_end)) => {
                    gaps.extend(before(run_start).map(|end| (from, end)));
                    start = after(*run_end);
                }
                None => {
                    gaps.push((from, last));
                    start = None;
                }
            }
        }
        gaps
    }

    /// Removes one address; removing an absent one changes nothing.
    pub(crate) fn remove(&mut self, address: IpAddr) {
        let Some((first, last)) = self.by_first.last_up_to(address).map(|(first, last)| (first, *last))
        else {
            return;
        };
        if last < address {
            return;
        }
        if let Some(below) = before(address)
            && first < address
        {
            self.by_first.insert(first, below);
        } else {
            self.by_first.remove(first);
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

pub(crate) fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|next| Ipv6Addr::from(next).into()),
    }
}
