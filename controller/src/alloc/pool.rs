//! The pools as the allocator asks them: order of preference, who may use one, where an address lies, how large it is.
//!
//! Leaves out which addresses are in use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::Pool;
use api::range::AddressRange;
use api::selector::Labels;
use api::service::IpFamily;

/// All pools of the configuration, with the indexes that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_name: BTreeMap<String, Pool>,
    /// First address of each range -> (last address, pool). Ranges never overlap: an overlapping pool is rejected.
    by_first: BTreeMap<IpAddr, (IpAddr, String)>,
    pinned: Vec<String>,
    open: Vec<String>,
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
        for (name, pool) in pools {
            for range in &pool.ranges {
                by_first.insert(range.first(), (range.last(), name.clone()));
            }
            match &pool.allocation {
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
        Self { by_name: pools.clone(), by_first, pinned, open }
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
        let (_, (last, name)) = self.by_first.range(..=address).next_back()?;
        if *last < address { None } else { self.by_name.get(name) }
    }

    /// The pools for a Service that asks for nothing, in two groups that are exhausted one after the other: first
    /// the pools pinned to it by `serviceAllocation` (lowest priority number first, 0 last, then name), then the
    /// pools without `serviceAllocation` by name.
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

/// How many addresses of one family the pool can hand out, saturating.
pub(crate) fn capacity(pool: &Pool, family: IpFamily) -> u128 {
    let ranges = pool.ranges.iter().filter(|range| IpFamily::of(range.first()) == family);
    ranges.map(|range| range_capacity(pool, range)).fold(0, u128::saturating_add)
}

fn range_capacity(pool: &Pool, range: &AddressRange) -> u128 {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) if pool.avoid_buggy_ips => {
            let (first, last) = (u64::from(u32::from(first)), u64::from(u32::from(last)));
            // How many n in first..=last have n % 256 == 0, and how many n % 256 == 255.
            let zeros = (last / 256 + 1) - first.div_ceil(256);
            let ones = (last + 1) / 256 - first / 256;
            u128::from((last - first + 1) - zeros - ones)
        }
        _ => range.len(),
    }
}
