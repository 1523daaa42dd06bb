//! The pools as the allocator asks them: order of preference, who may use one, where an address lies, how large it is.
//!
//! Leaves out which addresses are in use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::config::Pool;
use api::range::AddressRange;
use api::selector::Labels;
use api::service::{IpFamily, ServiceKey};

use super::by_address::ByAddress;
use super::run::Runs;

/// The place of a pool among all of them, sorted by name. It is another one after an edit.
pub(crate) type PoolId = usize;

/// All pools of the configuration, with the indexes that follow from them. Whoever gives an address walks over numbers
/// and not over names: with hundreds of pools that is the difference.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// By name.
    all: Vec<Pool>,
    /// Ranges never overlap: an overlapping pool is rejected.
    by_first: ByAddress<Stretch>,
    pinned: Vec<PoolId>,
    open: Vec<PoolId>,
    reserved: BTreeMap<ServiceKey, Vec<IpAddr>>,
}

/// The pools that a Service may use without asking for one, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// Those pinned to it by `serviceAllocation`.
    pub(crate) pinned: Vec<PoolId>,
    /// Those for everybody.
    pub(crate) open: &'a [PoolId],
}

impl Order<'_> {
    /// One pool alone.
    pub(crate) fn only(pool: PoolId) -> Self {
        Self { pinned: vec![pool], open: &[] }
    }

    /// Pinned ones first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PoolId> {
        self.pinned.iter().chain(self.open).copied()
    }

    /// The two groups, one after the other.
    pub(crate) fn groups(&self) -> [&[PoolId]; 2] {
        [&self.pinned, self.open]
    }
}

/// One range of a pool.
#[derive(Debug)]
struct Stretch {
    last: IpAddr,
    pool: PoolId,
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
        let mut by_first = ByAddress::default();
        let mut pinned = Vec::new();
        let mut open = Vec::new();
        let mut reserved: BTreeMap<ServiceKey, Vec<IpAddr>> = BTreeMap::new();
        for (id, pool) in pools.values().enumerate() {
            for (index, range) in pool.ranges.iter().enumerate() {
                by_first.insert(range.first(), Stretch { last: range.last(), pool: id, index });
            }
            for (address, service) in pool.reserved.iter().filter(|(address, _)| pool.contains(**address)) {
                reserved.entry(service.clone()).or_default().push(*address);
            }
            match &pool.allocation {
                _ if pool.disabled => {}
                Some(allocation) if pool.auto_assign => {
                    let rank = if allocation.priority == 0 { u32::MAX } else { allocation.priority };
                    pinned.push((rank, id));
                }
                None if pool.auto_assign => open.push(id),
                Some(_) | None => {}
            }
        }
        pinned.sort();
        let pinned = pinned.into_iter().map(|(_, id)| id).collect();
        Self { all: pools.values().cloned().collect(), by_first, pinned, open, reserved }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.all.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// A pool by its place.
    pub(crate) fn at(&self, id: PoolId) -> &Pool {
        self.all.get(id).expect("a place was taken from these very pools")
    }

    /// The place of a pool.
    pub(crate) fn id(&self, name: &str) -> Option<PoolId> {
        self.all.binary_search_by(|pool| pool.name.as_str().cmp(name)).ok()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Pool> {
        self.id(name).map(|id| self.at(id))
    }

    /// The pool whose ranges contain `address`.
    pub(crate) fn around(&self, address: IpAddr) -> Option<&Pool> {
        self.range_around(address).map(|(id, _)| self.at(id))
    }

    /// The place of the pool whose ranges contain `address`.
    pub(crate) fn id_around(&self, address: IpAddr) -> Option<PoolId> {
        self.range_around(address).map(|(id, _)| id)
    }

    /// The place of the pool whose ranges contain `address`, and which of its ranges that is.
    pub(crate) fn range_around(&self, address: IpAddr) -> Option<(PoolId, usize)> {
        let (_, stretch) = self.by_first.last_up_to(address)?;
        if stretch.last < address { None } else { Some((stretch.pool, stretch.index)) }
    }

    /// The addresses that wait for the Service.
    pub(crate) fn reserved_for(&self, service: &ServiceKey) -> &[IpAddr] {
        self.reserved.get(service).map_or(&[], Vec::as_slice)
    }

    /// Every address that waits for a Service.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = IpAddr> {
        self.reserved.values().flatten().copied()
    }

    /// The pools for a Service that asks for nothing: first those pinned to it by `serviceAllocation` (lowest priority
    /// number first, 0 last, then name), then those without by name.
    pub(crate) fn automatic(&self, applicant: Applicant<'_>) -> Order<'_> {
        let pinned = self.pinned.iter().copied().filter(|id| admits(self.at(*id), applicant));
        Order { pinned: pinned.collect(), open: &self.open }
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
