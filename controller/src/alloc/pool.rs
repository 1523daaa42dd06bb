//! The pools as the allocator asks them: order of preference, who may use one, where an address lies, how large it is.
//!
//! Leaves out which addresses are in use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::Pool;
use api::range::AddressRange;
use api::selector::Labels;
use api::service::{IpFamily, ServiceKey};

use super::run::Runs;

/// All pools of the configuration, with the indexes that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_name: BTreeMap<String, Pool>,
    /// Ranges never overlap: an overlapping pool is rejected.
    by_first: BTreeMap<IpAddr, Stretch>,
    pinned: Vec<String>,
    open: Vec<String>,
    reserved: BTreeMap<ServiceKey, Vec<IpAddr>>,
}

/// One range of a pool.
#[derive(Debug)]
struct Stretch {
    last: IpAddr,
    pool: String,
    /// Its place in the list of the pool.
    index: usize,
}

/// The Service in the eyes of a pool: what `serviceAllocation` looks at.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// Namespace of the Service.
    pub namespace: &'a str,
    /// Labels of that Namespace object.
    pub namespace_labels: &'a Labels,
    /// Labels of the Service.
    pub labels: &'a Labels,
}

impl Pools {
    pub(crate) fn new(pools: &BTreeMap<String, Pool>) -> Self {
        let mut by_first = BTreeMap::new();
        let mut pinned = Vec::new();
        let mut open = Vec::new();
        let mut reserved: BTreeMap<ServiceKey, Vec<IpAddr>> = BTreeMap::new();
        for (name, pool) in pools {
            for (index, range) in pool.ranges.iter().enumerate() {
                by_first.insert(range.first(), Stretch { last: range.last(), pool: name.clone(), index });
            }
            for (address, service) in pool.reserved.iter().filter(|(address, _)| pool.contains(**address)) {
                reserved.entry(service.clone()).or_default().push(*address);
            }
            match &pool.allocation {
                _ if pool.disabled => {}
                Some(allocation) if pool.auto_assign => {
                    let rank = if allocation.priority == 0 { u32::MAX } else { allocation.priority };
                    pinned.push((rank, name.clone()));
                }
                None if pool.auto_assign => open.push(name.clone()),
                Some(_) | None => {}
            }
        }
        pinned.sort();
        let pinned = pinned.into_iter().map(|(_, name)| name).collect();
        Self { by_name: pools.clone(), by_first, pinned, open, reserved }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.by_name.values()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Pool> {
        self.by_name.get(name)
    }

    /// The pool whose ranges contain `address`.
    pub(crate) fn around(&self, address: IpAddr) -> Option<&Pool> {
        self.range_around(address).map(|(pool, _)| pool)
    }

    /// The pool whose ranges contain `address`, and which of its ranges that is.
    pub(crate) fn range_around(&self, address: IpAddr) -> Option<(&Pool, usize)> {
        let (_, stretch) = self.by_first.range(..=address).next_back()?;
        if stretch.last < address { None } else { Some((self.by_name.get(&stretch.pool)?, stretch.index)) }
    }

    /// The addresses that wait for the Service.
    pub(crate) fn reserved_for(&self, service: &ServiceKey) -> &[IpAddr] {
        self.reserved.get(service).map_or(&[], Vec::as_slice)
    }

    /// For whom the address waits.
    pub(crate) fn reservation(&self, address: IpAddr) -> Option<&ServiceKey> {
        self.around(address)?.reserved.get(&address)
    }

    /// Every address that waits for a Service.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = IpAddr> {
        self.reserved.values().flatten().copied()
    }

    /// The pools for a Service that asks for nothing, in two groups by preference: first those pinned to it by
    /// `serviceAllocation` (lowest priority number first, 0 last, then name), then those without by name.
    pub(crate) fn automatic(&self, applicant: Applicant<'_>) -> [Vec<&Pool>; 2] {
        let pinned = self.pinned.iter().filter_map(|name| self.by_name.get(name));
        let open = self.open.iter().filter_map(|name| self.by_name.get(name));
        [pinned.filter(|pool| admits(pool, applicant)).collect(), open.collect()]
    }
}

/// Whether `serviceAllocation` of the pool lets this Service in.
pub(crate) fn admits(pool: &Pool, applicant: Applicant<'_>) -> bool {
    pool.admits(applicant.namespace, applicant.namespace_labels, applicant.labels)
}

/// How many addresses of one family the pool can hand out, saturating. `blocked` are never given.
pub(crate) fn capacity(pool: &Pool, family: IpFamily, blocked: &Runs) -> u128 {
    let ranges = pool.ranges.iter().filter(|range| IpFamily::of(range.first()) == family);
    let gaps = ranges.flat_map(|range| blocked.gaps(range.first(), range.last()));
    gaps.map(|gap| gap_capacity(pool, gap)).fold(0, u128::saturating_add)
}

fn gap_capacity(pool: &Pool, (first, last): (IpAddr, IpAddr)) -> u128 {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if pool.avoid_buggy_ips => {
            let (first, last) = (u64::from(u32::from(first)), u64::from(u32::from(last)));
            // How many n in first..=last have n % 256 == 0, and how many n % 256 == 255.
            let zeros = (last / 256 + 1) - first.div_ceil(256);
            let ones = (last + 1) / 256 - first / 256;
            u128::from((last - first + 1) - zeros - ones)
        }
        _ => AddressRange::try_new(first, last).map_or(0, |range| range.len()),
    }
}
