//! Pools: their ranges, who may use them, and which of two that overlap wins.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Kind, RejectionReason, Work, by_age, name_of};
use crate::range::AddressRange;
use crate::selector::{Labels, Selector, try_list};
use crate::v1beta1::{self, IPAddressPool, IPAddressPoolSpec};

/// A pool in its checked form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Name of the object.
    pub name: String,
    /// Labels of the object, for the selectors of advertisements.
    pub labels: Labels,
    /// The addresses, in the order written.
    pub ranges: Vec<AddressRange>,
    /// Whether Services get addresses from here without asking for this pool.
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are left out.
    pub avoid_buggy_ips: bool,
    /// Who may use the pool; `None` for all.
    pub allocation: Option<ServiceAllocation>,
}

impl Pool {
    /// Whether the address is in the pool.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(ip))
    }

    /// Whether the address may be handed out, as far as `avoidBuggyIPs` goes.
    #[must_use]
    pub fn hands_out(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => !(self.avoid_buggy_ips && matches!(ip.octets()[3], 0 | 255)),
            IpAddr::V6(_) => true,
        }
    }

    /// Whether a Service with these labels, in a namespace with this name and these labels, may use the pool.
    #[must_use]
    pub fn admits(&self, namespace: &str, namespace_labels: &Labels, service_labels: &Labels) -> bool {
        self.allocation
            .as_ref()
            .is_none_or(|allocation| allocation.admits(namespace, namespace_labels, service_labels))
    }

    fn try_new(object: &IPAddressPool) -> Result<Self, RejectionReason> {
        let name = name_of(&object.metadata);
        let spec = &object.spec;
        Ok(Self {
            name: name.to_owned(),
            labels: object.metadata.labels.clone().unwrap_or_default(),
            ranges: ranges(name, spec)?,
            auto_assign: spec.auto_assign.unwrap_or(true),
            avoid_buggy_ips: spec.avoid_buggy_ips,
            allocation: spec.service_allocation.as_ref().map(ServiceAllocation::try_new).transpose()?,
        })
    }

    /// What this pool and another one both claim.
    fn overlap(&self, other: &Self) -> Option<RejectionReason> {
        let pairs = self.ranges.iter().flat_map(|mine| other.ranges.iter().map(move |theirs| (mine, theirs)));
        pairs.into_iter().find(|(mine, theirs)| mine.overlaps(theirs)).map(|(mine, theirs)| {
            RejectionReason::Overlap {
                cidr: mine.to_string(),
                pool: self.name.clone(),
                other: theirs.to_string(),
                other_pool: other.name.clone(),
            }
        })
    }
}

/// Who may use a pool, and how early it is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAllocation {
    /// The lower number is tried first; 0 is last. Numbers below zero count as 1.
    pub priority: u32,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label; any one selector is enough.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label; any one selector is enough.
    pub service_selectors: Vec<Selector>,
}

impl ServiceAllocation {
    /// Whether a Service with these labels, in a namespace with this name and these labels, may use the pool.
    ///
    /// Names and selectors of namespaces are alternatives; the Service's own labels must fit besides. What is not
    /// restricted does not restrict.
    #[must_use]
    pub fn admits(&self, namespace: &str, namespace_labels: &Labels, service_labels: &Labels) -> bool {
        let any_namespace = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let namespace_fits = any_namespace
            || self.namespaces.contains(namespace)
            || self.namespace_selectors.iter().any(|selector| selector.matches(namespace_labels));
        let service_fits = self.service_selectors.is_empty()
            || self.service_selectors.iter().any(|selector| selector.matches(service_labels));
        namespace_fits && service_fits
    }

    fn try_new(wire: &v1beta1::ServiceAllocation) -> Result<Self, RejectionReason> {
        let selectors =
            |field, list| try_list(list).map_err(|fault| RejectionReason::Selector { field, fault });
        let priority = match wire.priority.unwrap_or_default() {
            0 => 0,
            number => u32::try_from(number.max(1)).unwrap_or(u32::MAX),
        };
        Ok(Self {
            priority,
            namespaces: unique("namespace", &wire.namespaces)?,
            namespace_selectors: selectors("namespaceSelectors", &wire.namespace_selectors)?,
            service_selectors: selectors("serviceSelectors", &wire.service_selectors)?,
        })
    }
}

impl Work<'_> {
    /// Accepts pools from the oldest to the youngest, so that of two that overlap the older one wins.
    pub(super) fn build_pools(&mut self) {
        for object in by_age(&self.resources.pools, |pool| &pool.metadata) {
            let name = name_of(&object.metadata);
            let checked = Pool::try_new(object);
            let fault = match checked {
                Ok(pool) => match self.first_overlap(&pool) {
                    Some(reason) => reason,
                    None => {
                        self.config.pools.insert(name.to_owned(), pool);
                        continue;
                    }
                },
                Err(reason) => reason,
            };
            let last_good = self.last_good.pools.get(name).filter(|pool| self.first_overlap(pool).is_none());
            let last_good = last_good.cloned();
            self.reject(Kind::IPAddressPool, name, fault, last_good.is_some());
            self.config.pools.extend(last_good.map(|pool| (name.to_owned(), pool)));
        }
    }

    fn first_overlap(&self, pool: &Pool) -> Option<RejectionReason> {
        self.config.pools.values().find_map(|accepted| pool.overlap(accepted))
    }
}

fn ranges(name: &str, spec: &IPAddressPoolSpec) -> Result<Vec<AddressRange>, RejectionReason> {
    let mut ranges: Vec<AddressRange> = Vec::with_capacity(spec.addresses.len());
    for text in &spec.addresses {
        let range = AddressRange::parse(text).map_err(|fault| RejectionReason::InvalidAddresses {
            pool: name.to_owned(),
            text: text.clone(),
            fault: Box::new(fault),
        })?;
        if let Some(other) = ranges.iter().find(|other| other.overlaps(&range)) {
            return Err(RejectionReason::Overlap {
                cidr: range.to_string(),
                pool: name.to_owned(),
                other: other.to_string(),
                other_pool: name.to_owned(),
            });
        }
        ranges.push(range);
    }
    if ranges.is_empty() { Err(RejectionReason::NoAddresses) } else { Ok(ranges) }
}

/// A list of names in which none may stand twice.
pub(super) fn unique(what: &'static str, names: &[String]) -> Result<BTreeSet<String>, RejectionReason> {
    let mut set = BTreeSet::new();
    for name in names {
        if !set.insert(name.clone()) {
            return Err(RejectionReason::Duplicate { what, value: name.clone() });
        }
    }
    Ok(set)
}
