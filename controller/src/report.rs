//! What the leader shows besides Services: pool counters, conditions, its ConfigurationState, metrics, debug state.
//!
//! Leaves out the writing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use api::config::{Kind, ObjectRef, Resources};
use api::report::{Reporter, WantedCondition, WantedState, conditions};
use api::service::ServiceKey;
use api::v1beta1::{IPAddressPoolStatus, RestingAddress};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde_json::{Value, json};

use crate::alloc::{Allocator, Usage};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::overlap::sentences;
use crate::pool_condition::of_pool;

/// Services that the debug state names.
const SHOWN: usize = 100;
/// Addresses at rest that the status of one pool names; the CRD has the same bound.
const MOST_RESTING: usize = 100;

/// A snapshot of everything that is shown.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// How full each pool is.
    pub(crate) usage: BTreeMap<String, Usage>,
    /// Services with an address, by the pool it came from.
    pub(crate) allocated: BTreeMap<String, usize>,
    /// Some of the released addresses: who had them, and until when nobody else gets them.
    pub(crate) resting: Vec<RestingAddress>,
    /// Services of type LoadBalancer.
    pub(crate) services: usize,
    /// Services that lack something.
    pub(crate) waiting: Vec<Waiting>,
    /// What each configuration object should show, and what it shows.
    pub(crate) objects: BTreeMap<ObjectRef, ObjectReport>,
    /// The number of rejected objects of each kind.
    pub(crate) rejected: BTreeMap<Kind, usize>,
    /// What the ConfigurationState should say.
    pub(crate) state: WantedState,
}

/// A Service that lacks an address.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// The Service.
    pub(crate) service: ServiceKey,
    /// Why, in one word.
    pub(crate) word: &'static str,
    /// Why, in a sentence.
    pub(crate) message: String,
}

/// The status of one configuration object.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectReport {
    /// UID of the object.
    pub(crate) uid: String,
    /// Version of the object in which `shown` and `shown_counters` were seen.
    pub(crate) resource_version: String,
    /// Conditions it should show.
    pub(crate) wanted: Vec<WantedCondition>,
    /// Conditions it shows.
    pub(crate) shown: Vec<Condition>,
    /// For a pool: counters it should show.
    pub(crate) counters: Option<Counters>,
    /// For a pool: counters it shows.
    pub(crate) shown_counters: Option<Counters>,
    /// For a pool: addresses at rest that it should show.
    pub(crate) resting: Vec<RestingAddress>,
    /// For a pool: addresses at rest that it shows.
    pub(crate) shown_resting: Vec<RestingAddress>,
}

/// The counters in a pool's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    /// IPv4 addresses in use.
    pub(crate) assigned_ipv4: i64,
    /// IPv6 addresses in use.
    pub(crate) assigned_ipv6: i64,
    /// IPv4 addresses left.
    pub(crate) available_ipv4: i64,
    /// IPv6 addresses left.
    pub(crate) available_ipv6: i64,
}

impl Report {
    pub(crate) fn new(
        cluster: &Cluster,
        allocator: &Allocator,
        clock: &Clock,
        waiting: Vec<Waiting>,
    ) -> Self {
        let resources = cluster.resources();
        let mut objects = shown(&resources);
        for (object, wanted) in
            conditions(&resources, &cluster.config, &cluster.rejections, Reporter::Controller)
        {
            objects.entry(object).or_default().wanted = wanted;
        }
        let network = allocator.network();
        let overlaps = sentences(&cluster.config, &cluster.rejections, network, &cluster.around());
        let kept = allocator.kept_by_pool();
        let mut resting = resting_by_pool(allocator, clock);
        for pool in &resources.pools {
            let name = pool.metadata.name.clone().unwrap_or_default();
            let usage = allocator.usage().get(&name).cloned().unwrap_or_default();
            let beside = overlaps.get(&name).map_or(&[][..], Vec::as_slice);
            let kept = kept.get(&name).map_or(&[][..], Vec::as_slice);
            let more = of_pool(pool.metadata.generation, &usage, beside, kept);
            let report = objects.entry(ObjectRef::new(Kind::IPAddressPool, name)).or_default();
            report.wanted.extend(more);
            report.counters = Some(Counters::from(&usage));
            report.shown_counters = pool.status.as_ref().map(Counters::from);
            report.resting =
                pool.metadata.name.as_ref().and_then(|name| resting.remove(name)).unwrap_or_default();
            report.shown_resting =
                pool.status.as_ref().map(|status| status.resting.clone()).unwrap_or_default();
        }
        let mut rejected = BTreeMap::from(Kind::ALL.map(|kind| (kind, 0)));
        for (object, report) in &objects {
            if report.wanted.iter().any(|one| one.type_ == ACCEPTED && one.holds == Some(false)) {
                *rejected.entry(object.kind).or_default() += 1;
            }
        }
        Self {
            usage: allocator.usage().clone(),
            allocated: allocator.services_by_pool(),
            resting: allocator
                .resting()
                .take(SHOWN)
                .filter_map(|(address, service, until)| row(clock, address, service, until))
                .collect(),
            services: cluster.services.len(),
            waiting,
            objects,
            rejected,
            state: WantedState::of(Reporter::Controller, &cluster.rejections),
        }
    }

    /// The same for people, at `/debug/state`.
    pub(crate) fn to_json(&self) -> Value {
        let pools = self.usage.iter().map(|(name, usage)| {
            let numbers = json!({
                "assignedIPv4": usage.assigned_ipv4(), "availableIPv4": usage.available_ipv4(),
                "assignedIPv6": usage.assigned_ipv6(), "availableIPv6": usage.available_ipv6(),
                "services": self.allocated.get(name).copied().unwrap_or(0),
            });
            (name.clone(), numbers)
        });
        let waiting = self.waiting.iter().take(SHOWN).map(
            |one| json!({ "service": one.service.to_string(), "reason": one.word, "message": one.message }),
        );
        let resting = self.resting.iter().map(|rest| {
            let service = format!("{}/{}", rest.namespace, rest.service);
            json!({ "address": rest.address, "service": service, "until": rest.until })
        });
        json!({
            "resting": resting.collect::<Vec<Value>>(),
            "services": self.services,
            "pools": pools.collect::<serde_json::Map<String, Value>>(),
            "waiting": waiting.collect::<Vec<Value>>(),
            "waitingTotal": self.waiting.len(),
            "configuration": self.state.result,
            "errors": self.state.error_summary.lines().collect::<Vec<&str>>(),
        })
    }
}

/// Of each pool the addresses that rest longest, in order of the addresses.
fn resting_by_pool(allocator: &Allocator, clock: &Clock) -> BTreeMap<String, Vec<RestingAddress>> {
    let mut by_pool: BTreeMap<String, BTreeMap<IpAddr, RestingAddress>> = BTreeMap::new();
    for (address, service, until) in allocator.resting().rev() {
        if let Some(pool) = allocator.pool_around(address)
            && let Some(row) = row(clock, address, service, until)
        {
            let rows = by_pool.entry(pool.to_owned()).or_default();
            if rows.len() < MOST_RESTING {
                rows.insert(address, row);
            }
        }
    }
    by_pool.into_iter().map(|(pool, rows)| (pool, rows.into_values().collect())).collect()
}

fn row(clock: &Clock, address: IpAddr, service: &ServiceKey, until: Instant) -> Option<RestingAddress> {
    Some(RestingAddress {
        address: address.to_string(),
        namespace: service.namespace().to_owned(),
        service: service.name().to_owned(),
        until: clock.text_of(until)?,
    })
}

const ACCEPTED: api::names::condition::ConditionType = api::names::condition::ConditionType::Accepted;

impl From<&Usage> for Counters {
    fn from(usage: &Usage) -> Self {
        Self {
            assigned_ipv4: usage.assigned_ipv4(),
            assigned_ipv6: usage.assigned_ipv6(),
            available_ipv4: usage.available_ipv4(),
            available_ipv6: usage.available_ipv6(),
        }
    }
}

impl From<&IPAddressPoolStatus> for Counters {
    fn from(status: &IPAddressPoolStatus) -> Self {
        Self {
            assigned_ipv4: status.assigned_ipv4,
            assigned_ipv6: status.assigned_ipv6,
            available_ipv4: status.available_ipv4,
            available_ipv6: status.available_ipv6,
        }
    }
}

/// What the objects show now.
fn shown(resources: &Resources) -> BTreeMap<ObjectRef, ObjectReport> {
    let mut objects = BTreeMap::new();
    let mut add = |kind: Kind, meta: &ObjectMeta, conditions: Option<&[Condition]>| {
        let object = ObjectRef::new(kind, meta.name.clone().unwrap_or_default());
        let report = ObjectReport {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            shown: conditions.unwrap_or_default().to_vec(),
            ..ObjectReport::default()
        };
        objects.insert(object, report);
    };
    for one in &resources.pools {
        add(
            Kind::IPAddressPool,
            &one.metadata,
            one.status.as_ref().map(|status| status.conditions.as_slice()),
        );
    }
    for one in &resources.peers {
        add(Kind::BGPPeer, &one.metadata, one.status.as_ref().map(|status| status.conditions.as_slice()));
    }
    for one in &resources.advertisements {
        add(
            Kind::BGPAdvertisement,
            &one.metadata,
            one.status.as_ref().map(|status| status.conditions.as_slice()),
        );
    }
    for one in &resources.communities {
        add(Kind::Community, &one.metadata, one.status.as_ref().map(|status| status.conditions.as_slice()));
    }
    for one in &resources.bfd_profiles {
        add(Kind::BFDProfile, &one.metadata, one.status.as_ref().map(|status| status.conditions.as_slice()));
    }
    for one in &resources.l2_advertisements {
        add(
            Kind::L2Advertisement,
            &one.metadata,
            one.status.as_ref().map(|status| status.conditions.as_slice()),
        );
    }
    objects
}
