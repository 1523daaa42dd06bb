//! Advertisements: which pools, to whom, and with which attributes.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use thiserror::Error;

use super::pool::unique;
use super::{Kind, Pool, RejectionReason, Work, name_of};
use crate::community::CommunityValue;
use crate::range::AddressRange;
use crate::selector::{Selector, Selectors, try_list};
use crate::v1beta1::{BGPAdvertisement, BGPAdvertisementSpec, LinkBandwidth, WithoutEndpoints};

/// An advertisement in its checked form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Name of the object.
    pub name: String,
    /// Prefix length of IPv4 routes, 1 to 32.
    pub aggregation_length: u8,
    /// Prefix length of IPv6 routes, 0 to 128.
    pub aggregation_length_v6: u8,
    /// LOCAL_PREF, where one is asked for.
    pub local_pref: Option<u32>,
    /// Communities, sorted, each once.
    pub communities: Vec<CommunityValue>,
    /// Pools by name.
    pub pools: BTreeSet<String>,
    /// Pools by label; any one selector is enough.
    pub pool_selectors: Vec<Selector>,
    /// Nodes that announce.
    pub node_selectors: Selectors,
    /// Peers by name; none means all.
    pub peers: BTreeSet<String>,
    /// Services that are announced.
    pub service_selectors: Selectors,
    /// MULTI_EXIT_DISC, where one is asked for.
    pub med: Option<u32>,
    /// How often our AS number is put in front of the path beyond the one time, 0 to [`MAX_PREPEND`].
    pub prepend: u8,
    /// Whether routers are asked to prefer any other way.
    pub graceful_shutdown: bool,
    /// What the link bandwidth community follows.
    pub link_bandwidth: LinkBandwidth,
    /// What happens to a Service of policy Cluster without endpoints.
    pub without_endpoints: WithoutEndpoints,
    /// How many nodes announce an address at most, 1 to [`MAX_WIDTH`]; `None` is all of them.
    pub max_nodes: Option<NonZeroU16>,
    /// Selected pools that this object does not announce, because the network would reach outside of them.
    pub unfit_pools: BTreeSet<String>,
    /// Why nothing is announced by this object, if so.
    pub withheld: Option<AdvertisementRefusal>,
}

/// Most repetitions of our AS number: far more than any router needs to prefer another path.
pub const MAX_PREPEND: u8 = 32;

/// The largest bound on announcing nodes; routers take far fewer paths for one prefix.
pub const MAX_WIDTH: u16 = 1024;

/// Why an advertisement announces nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum AdvertisementRefusal {
    /// No Community object defines one of its communities.
    #[error("community {alias:?} is not defined")]
    UnknownCommunity {
        /// The name.
        alias: String,
    },
}

impl Advertisement {
    /// Whether the addresses of this pool are announced by this object. A pool that is too small for the aggregation
    /// length is not.
    #[must_use]
    pub fn selects_pool(&self, pool: &Pool) -> bool {
        self.names_or_matches(pool) && !self.unfit_pools.contains(&pool.name)
    }

    /// Whether an address that stems from a pool of this name, which is gone, is announced by this object: it names
    /// the pool, or it selects all pools. Labels cannot match what does not exist.
    #[must_use]
    pub fn selects_pool_name(&self, name: &str) -> bool {
        self.selects_all_pools() || self.pools.contains(name)
    }

    /// Whether it announces all pools, because it restricts them neither by name nor by label.
    #[must_use]
    pub fn selects_all_pools(&self) -> bool {
        self.pools.is_empty() && self.pool_selectors.is_empty()
    }

    /// Whether this peer is told.
    #[must_use]
    pub fn selects_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(name)
    }

    fn names_or_matches(&self, pool: &Pool) -> bool {
        self.selects_pool_name(&pool.name)
            || self.pool_selectors.iter().any(|selector| selector.matches(&pool.labels))
    }

    /// An entry of the pool that is smaller than the announced networks.
    fn outside(&self, pool: &Pool) -> Option<RejectionReason> {
        pool.ranges.iter().find_map(|range| self.outside_range(pool, range))
    }

    fn outside_range(&self, pool: &Pool, range: &AddressRange) -> Option<RejectionReason> {
        let (field, length) = if range.is_ipv4() {
            ("aggregationLength", self.aggregation_length)
        } else {
            ("aggregationLengthV6", self.aggregation_length_v6)
        };
        let shortest = range.shortest_prefix();
        (length < shortest).then(|| RejectionReason::AggregationOutsidePool {
            field,
            length,
            pool: pool.name.clone(),
            cidr: range.to_string(),
            shortest,
        })
    }
}

impl Work<'_> {
    pub(super) fn build_advertisements(&mut self) {
        for object in &self.resources.advertisements {
            let name = name_of(&object.metadata);
            let last_good = self.last_good.advertisements.get(name);
            let advertisement = match self.check_advertisement(object) {
                Ok(advertisement) => Some(advertisement),
                Err(Fault::UnknownCommunity { alias, checked }) => {
                    let running = last_good.filter(|old| old.withheld.is_none()).cloned();
                    let reason = RejectionReason::UnknownCommunity { alias };
                    self.reject(Kind::BGPAdvertisement, name, reason, running.is_some());
                    Some(running.unwrap_or(*checked))
                }
                Err(Fault::Rejected(reason)) => {
                    self.reject(Kind::BGPAdvertisement, name, reason, last_good.is_some());
                    last_good.cloned()
                }
            };
            if let Some(advertisement) = advertisement {
                let fitted = self.fit_to_pools(advertisement);
                self.config.advertisements.insert(name.to_owned(), fitted);
            }
        }
    }

    fn check_advertisement(&self, object: &BGPAdvertisement) -> Result<Advertisement, Fault> {
        let spec = &object.spec;
        let selectors = |field, list| {
            Selectors::try_new(list).map_err(|fault| RejectionReason::Selector { field, fault })
        };
        let (communities, unknown) = self.communities(spec)?;
        let advertisement = Advertisement {
            name: name_of(&object.metadata).to_owned(),
            aggregation_length: aggregation("aggregationLength", spec.aggregation_length, 1, 32)?,
            aggregation_length_v6: aggregation("aggregationLengthV6", spec.aggregation_length_v6, 0, 128)?,
            local_pref: spec.local_pref.filter(|preference| *preference != 0),
            communities,
            pools: unique("pool", &spec.ip_address_pools)?,
            pool_selectors: try_list(&spec.ip_address_pool_selectors)
                .map_err(|fault| RejectionReason::Selector { field: "ipAddressPoolSelectors", fault })?,
            node_selectors: selectors("nodeSelectors", &spec.node_selectors)?,
            peers: unique("peer", &spec.peers)?,
            service_selectors: selectors("serviceSelectors", &spec.service_selectors)?,
            med: spec.med,
            prepend: prepend(spec.as_path_prepend)?,
            graceful_shutdown: spec.graceful_shutdown,
            link_bandwidth: spec.link_bandwidth.unwrap_or_default(),
            without_endpoints: spec.without_endpoints.unwrap_or_default(),
            max_nodes: width(spec.max_nodes)?,
            unfit_pools: BTreeSet::new(),
            withheld: unknown.clone().map(|alias| AdvertisementRefusal::UnknownCommunity { alias }),
        };
        let aggregates = advertisement.aggregation_length < 32 || advertisement.aggregation_length_v6 < 128;
        if aggregates && !advertisement.service_selectors.is_empty() {
            return Err(RejectionReason::AggregationWithServiceSelectors.into());
        }
        match unknown {
            None => Ok(advertisement),
            Some(alias) => Err(Fault::UnknownCommunity { alias, checked: Box::new(advertisement) }),
        }
    }

    /// The values of all communities that can be told, and the first name that nobody defines.
    fn communities(
        &self,
        spec: &BGPAdvertisementSpec,
    ) -> Result<(Vec<CommunityValue>, Option<String>), RejectionReason> {
        let mut values = BTreeSet::new();
        let mut unknown = None;
        for text in unique("community", &spec.communities)? {
            if let Some(value) = self.alias(&text) {
                values.insert(value);
            } else if CommunityValue::is_meant(&text) {
                values.insert(CommunityValue::parse(&text).map_err(RejectionReason::InvalidCommunity)?);
            } else if let Some(value) = CommunityValue::well_known(&text) {
                values.insert(value);
            } else {
                unknown = unknown.or(Some(text));
            }
        }
        Ok((values.into_iter().collect(), unknown))
    }

    /// Leaves out the pools in force that are too small, one rejection for each.
    fn fit_to_pools(&mut self, mut advertisement: Advertisement) -> Advertisement {
        let selected = self.config.pools.values().filter(|pool| advertisement.names_or_matches(pool));
        let unfit: Vec<(String, RejectionReason)> = selected
            .filter_map(|pool| advertisement.outside(pool).map(|reason| (pool.name.clone(), reason)))
            .collect();
        advertisement.unfit_pools = unfit.iter().map(|(pool, _)| pool.clone()).collect();
        for (_, reason) in unfit {
            self.reject(Kind::BGPAdvertisement, &advertisement.name, reason, true);
        }
        advertisement
    }
}

enum Fault {
    Rejected(RejectionReason),
    UnknownCommunity { alias: String, checked: Box<Advertisement> },
}

impl From<RejectionReason> for Fault {
    fn from(reason: RejectionReason) -> Self {
        Self::Rejected(reason)
    }
}

fn prepend(written: Option<u8>) -> Result<u8, RejectionReason> {
    let value = written.unwrap_or_default();
    if value <= MAX_PREPEND {
        return Ok(value);
    }
    let (value, high) = (i64::from(value), i64::from(MAX_PREPEND));
    Err(RejectionReason::OutOfRange { field: "asPathPrepend", value, low: 0, high })
}

fn width(written: Option<u16>) -> Result<Option<NonZeroU16>, RejectionReason> {
    let Some(value) = written else { return Ok(None) };
    match NonZeroU16::new(value).filter(|value| value.get() <= MAX_WIDTH) {
        Some(most) => Ok(Some(most)),
        None => {
            let high = i64::from(MAX_WIDTH);
            Err(RejectionReason::OutOfRange { field: "maxNodes", value: i64::from(value), low: 1, high })
        }
    }
}

fn aggregation(
    field: &'static str,
    written: Option<i32>,
    low: i32,
    high: i32,
) -> Result<u8, RejectionReason> {
    let value = written.unwrap_or(high);
    if (low..=high).contains(&value) {
        Ok(u8::try_from(value).unwrap_or(u8::MAX))
    } else {
        Err(RejectionReason::AggregationOutOfRange { field, value, low, high })
    }
}
