//! Pools: their ranges, who may use them, and which of two that overlap wins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Kind, RejectionReason, Work, by_age, name_of};
use crate::duration;
use crate::range::AddressRange;
use crate::selector::{Labels, Selector, try_list};
use crate::service::ServiceKey;
use crate::v1beta1::{self, EditPolicy, IPAddressPool, IPAddressPoolSpec, Selection};

/// A pool in its checked form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Ranges that are never handed out.
    pub excluded: Vec<AddressRange>,
    /// First and last addresses of networks, where they are left out.
    pub edges: BTreeSet<IpAddr>,
    /// Addresses that wait for one Service each.
    pub reserved: BTreeMap<IpAddr, ServiceKey>,
    /// What an edit does to addresses in use; `None` = the controller's setting.
    pub edit_policy: Option<EditPolicy>,
    /// How long a released address rests; `None` = the controller's setting.
    pub release_quarantine: Option<Duration>,
    /// Whether nothing new is handed out.
    pub disabled: bool,
    /// Which free address is handed out.
    pub selection: Selection,
}

impl Pool {
    /// Whether the address is in the pool.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(ip))
    }

    /// Whether the address may be handed out, as far as the pool itself says.
    #[must_use]
    pub fn hands_out(&self, ip: IpAddr) -> bool {
        !self.avoids(ip) && !self.edges.contains(&ip) && !self.excluded.iter().any(|range| range.contains(ip))
    }

    /// Whether the address is left out by `avoidBuggyIPs`.
    #[must_use]
    pub fn avoids(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.avoid_buggy_ips && matches!(ip.octets()[3], 0 | 255),
            IpAddr::V6(_) => false,
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
            excluded: spec.excluded.iter().map(|text| excluded(text)).collect::<Result<_, _>>()?,
            edges: if spec.skip_network_and_broadcast { edges(spec) } else { BTreeSet::new() },
            reserved: reserved(spec)?,
            edit_policy: spec.edit_policy,
            release_quarantine: spec.release_quarantine.as_deref().map(quarantine).transpose()?,
            disabled: spec.disabled,
            selection: spec.selection.unwrap_or_default(),
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

/// The ranges of the pools accepted so far. They never overlap, so only the neighbour below can overlap a new one.
type Claims = BTreeMap<IpAddr, (AddressRange, String)>;

impl Work<'_> {
    /// Accepts pools from the oldest to the youngest, so that of two that overlap the older one wins.
    pub(super) fn build_pools(&mut self) {
        let mut claims = Claims::new();
        for object in by_age(&self.resources.pools, |pool| &pool.metadata) {
            let name = name_of(&object.metadata);
            let checked = Pool::try_new(object);
            let fault = match checked {
                Ok(pool) => match first_overlap(&pool, &claims) {
                    Some(reason) => reason,
                    None => {
                        self.accept(pool, &mut claims);
                        continue;
                    }
                },
                Err(reason) => reason,
            };
            let last_good =
                self.last_good.pools.get(name).filter(|pool| first_overlap(pool, &claims).is_none()).cloned();
            self.reject(Kind::IPAddressPool, name, fault, last_good.is_some());
            if let Some(pool) = last_good {
                self.accept(pool, &mut claims);
            }
        }
    }

    fn accept(&mut self, pool: Pool, claims: &mut Claims) {
        claims.extend(pool.ranges.iter().map(|range| (range.first(), (*range, pool.name.clone()))));
        self.config.pools.insert(pool.name.clone(), pool);
    }
}

fn first_overlap(pool: &Pool, claims: &Claims) -> Option<RejectionReason> {
    pool.ranges.iter().find_map(|mine| {
        let (_, (theirs, other)) = claims.range(..=mine.last()).next_back()?;
        theirs.overlaps(mine).then(|| RejectionReason::Overlap {
            cidr: mine.to_string(),
            pool: pool.name.clone(),
            other: theirs.to_string(),
            other_pool: other.clone(),
        })
    })
}

fn ranges(name: &str, spec: &IPAddressPoolSpec) -> Result<Vec<AddressRange>, RejectionReason> {
    let mut ranges: Vec<AddressRange> = Vec::with_capacity(spec.addresses.len());
    // First address -> last address: what is accepted never overlaps, so only the neighbour below can.
    let mut by_first: BTreeMap<IpAddr, AddressRange> = BTreeMap::new();
    for text in &spec.addresses {
        let range = AddressRange::parse(text).map_err(|fault| RejectionReason::InvalidAddresses {
            pool: name.to_owned(),
            text: text.clone(),
            fault: Box::new(fault),
        })?;
        let below = by_first.range(..=range.last()).next_back().map(|(_, other)| other);
        if let Some(other) = below.filter(|other| other.overlaps(&range)) {
            return Err(RejectionReason::Overlap {
                cidr: range.to_string(),
                pool: name.to_owned(),
                other: other.to_string(),
                other_pool: name.to_owned(),
            });
        }
        by_first.insert(range.first(), range);
        ranges.push(range);
    }
    if ranges.is_empty() { Err(RejectionReason::NoAddresses) } else { Ok(ranges) }
}

/// A network, a range or one address.
fn excluded(text: &str) -> Result<AddressRange, RejectionReason> {
    if let Ok(address) = text.trim().parse::<IpAddr>() {
        return Ok(AddressRange::from(IpNet::from(address)));
    }
    AddressRange::parse(text).map_err(|_| RejectionReason::InvalidField {
        field: "excluded",
        text: text.to_owned(),
        advice: "write an address as 10.0.4.7, a network as 10.0.4.0/28 or a range as 10.0.4.1-10.0.4.99",
    })
}

/// First and last address of each IPv4 network that has others between them, and the first of each such IPv6 network.
fn edges(spec: &IPAddressPoolSpec) -> BTreeSet<IpAddr> {
    let mut edges = BTreeSet::new();
    for network in spec.addresses.iter().filter_map(|text| text.parse::<IpNet>().ok()) {
        if network.prefix_len() < network.max_prefix_len() - 1 {
            edges.insert(network.network());
            if network.addr().is_ipv4() {
                edges.insert(network.broadcast());
            }
        }
    }
    edges
}

fn reserved(spec: &IPAddressPoolSpec) -> Result<BTreeMap<IpAddr, ServiceKey>, RejectionReason> {
    let mut reserved = BTreeMap::new();
    for one in &spec.reserved {
        let address = one.address.trim().parse::<IpAddr>().map_err(|_| RejectionReason::InvalidField {
            field: "reserved.address",
            text: one.address.clone(),
            advice: "write one address of the pool, such as 10.0.4.7",
        })?;
        let service = ServiceKey::new(one.namespace.clone(), one.service.clone());
        if reserved.insert(address, service).is_some() {
            return Err(RejectionReason::Duplicate { what: "reserved address", value: address.to_string() });
        }
    }
    Ok(reserved)
}

fn quarantine(text: &str) -> Result<Duration, RejectionReason> {
    let advice = "write a duration such as 60s or 5m, at most 24h; 0s turns it off";
    let unfit =
        || RejectionReason::InvalidField { field: "releaseQuarantine", text: text.to_owned(), advice };
    duration::parse(text).ok().filter(|rest| *rest <= LONGEST_QUARANTINE).ok_or_else(unfit)
}

/// Longer rests would only fill memory.
const LONGEST_QUARANTINE: Duration = Duration::from_secs(24 * 3600);

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
