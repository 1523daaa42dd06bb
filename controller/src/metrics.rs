//! The controller's metrics: MetalLB's names where it has them, `herald_*` otherwise.
//!
//! Leaves out the serving of them. Series of a pool vanish with the pool.

use api::config::Kind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use runtime::metrics::name;

use crate::report::{Counters, Report};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AddressLabels {
    pool: String,
    family: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

type PoolGauge = Family<PoolLabel, Gauge>;

/// All of them; clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Changes taken in.
    pub(crate) updates: Counter,
    /// Writes of a Service's status.
    pub(crate) writes: Counter,
    /// Writes that failed.
    pub(crate) write_errors: Counter,
    /// Time of one decision.
    pub(crate) reconcile_duration: Histogram,
    /// 1 while this process leads.
    pub(crate) leading: Gauge,
    total: PoolGauge,
    in_use: PoolGauge,
    ipv4_total: PoolGauge,
    ipv6_total: PoolGauge,
    ipv4_in_use: PoolGauge,
    ipv6_in_use: PoolGauge,
    services: PoolGauge,
    addresses: Family<AddressLabels, Gauge>,
    loaded: Gauge,
    stale: Gauge,
    rejected: Family<KindLabel, Gauge>,
    waiting: Family<ReasonLabel, Gauge>,
}

impl Metrics {
    /// Registers all metrics.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            updates: Counter::default(),
            writes: Counter::default(),
            write_errors: Counter::default(),
            reconcile_duration: Histogram::new([0.000_01, 0.000_1, 0.001, 0.01, 0.1]),
            leading: Gauge::default(),
            total: Family::default(),
            in_use: Family::default(),
            ipv4_total: Family::default(),
            ipv6_total: Family::default(),
            ipv4_in_use: Family::default(),
            ipv6_in_use: Family::default(),
            services: Family::default(),
            addresses: Family::default(),
            loaded: Gauge::default(),
            stale: Gauge::default(),
            rejected: Family::default(),
            waiting: Family::default(),
        };
        let pools = [
            (name::ALLOCATOR_ADDRESSES, "Addresses that the pool can give", &metrics.total),
            (name::ALLOCATOR_ADDRESSES_IN_USE, "Addresses of the pool in use", &metrics.in_use),
            (name::ALLOCATOR_IPV4_ADDRESSES, "IPv4 addresses that the pool can give", &metrics.ipv4_total),
            (name::ALLOCATOR_IPV6_ADDRESSES, "IPv6 addresses that the pool can give", &metrics.ipv6_total),
            (
                name::ALLOCATOR_IPV4_ADDRESSES_IN_USE,
                "IPv4 addresses of the pool in use",
                &metrics.ipv4_in_use,
            ),
            (
                name::ALLOCATOR_IPV6_ADDRESSES_IN_USE,
                "IPv6 addresses of the pool in use",
                &metrics.ipv6_in_use,
            ),
            (name::ALLOCATOR_SERVICES_ALLOCATED, "Services with an address of the pool", &metrics.services),
        ];
        for (name, help, family) in pools {
            registry.register(name, help, family.clone());
        }
        registry.register(
            name::CLIENT_UPDATES,
            "Changes taken in from the API server",
            metrics.updates.clone(),
        );
        let errors = metrics.write_errors.clone();
        registry.register(name::CLIENT_UPDATE_ERRORS, "Writes that the API server did not take", errors);
        registry.register(
            name::CLIENT_CONFIG_LOADED,
            "1 when the configuration is read",
            metrics.loaded.clone(),
        );
        registry.register(name::CLIENT_CONFIG_STALE, "1 while an object is rejected", metrics.stale.clone());
        registry.register(name::CONFIG_REJECTED, "Objects that are rejected now", metrics.rejected.clone());
        registry.register(name::POOL_ADDRESSES, "Addresses of the pool", metrics.addresses.clone());
        let duration = metrics.reconcile_duration.clone();
        registry.register(name::RECONCILE_DURATION, "Time of one decision about a Service", duration);
        registry.register(
            "herald_service_status_writes",
            "Writes of a Service's status",
            metrics.writes.clone(),
        );
        registry.register(
            "herald_services_waiting",
            "Services that lack an address",
            metrics.waiting.clone(),
        );
        registry.register("herald_leader", "1 while this process leads", metrics.leading.clone());
        metrics
    }

    /// Shows a report.
    pub(crate) fn show(&self, report: &Report) {
        self.forget_pools();
        for (pool, usage) in &report.usage {
            let counters = Counters::from(usage);
            let set = |gauge: &PoolGauge, value: i64| {
                gauge.get_or_create(&PoolLabel { pool: pool.clone() }).set(value);
            };
            set(&self.total, usage.capacity_ipv4.saturating_add(usage.capacity_ipv6));
            set(&self.in_use, counters.assigned_ipv4.saturating_add(counters.assigned_ipv6));
            set(&self.ipv4_total, usage.capacity_ipv4);
            set(&self.ipv6_total, usage.capacity_ipv6);
            set(&self.ipv4_in_use, counters.assigned_ipv4);
            set(&self.ipv6_in_use, counters.assigned_ipv6);
            let services = report.allocated.get(pool).copied().unwrap_or(0);
            set(&self.services, i64::try_from(services).unwrap_or(i64::MAX));
            for (family, state, value) in [
                ("ipv4", "assigned", counters.assigned_ipv4),
                ("ipv4", "available", counters.available_ipv4),
                ("ipv6", "assigned", counters.assigned_ipv6),
                ("ipv6", "available", counters.available_ipv6),
            ] {
                self.addresses.get_or_create(&AddressLabels { pool: pool.clone(), family, state }).set(value);
            }
        }
        for kind in Kind::ALL {
            let rejected = report.rejected.get(&kind).copied().unwrap_or(0);
            let gauge = self.rejected.get_or_create_owned(&KindLabel { kind: kind.as_str() });
            gauge.set(i64::try_from(rejected).unwrap_or(i64::MAX));
        }
        self.waiting.clear();
        for one in &report.waiting {
            self.waiting.get_or_create(&ReasonLabel { reason: one.word }).inc();
        }
        self.loaded.set(1);
        self.stale.set(i64::from(report.rejected.values().any(|number| *number > 0)));
    }

    /// A process that does not lead knows nothing about pools.
    pub(crate) fn stand_by(&self) {
        self.forget_pools();
        self.waiting.clear();
        self.rejected.clear();
        self.leading.set(0);
        self.loaded.set(0);
        self.stale.set(0);
    }

    fn forget_pools(&self) {
        for family in [
            &self.total,
            &self.in_use,
            &self.ipv4_total,
            &self.ipv6_total,
            &self.ipv4_in_use,
            &self.ipv6_in_use,
            &self.services,
        ] {
            family.clear();
        }
        self.addresses.clear();
    }
}
