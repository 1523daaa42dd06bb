//! What a Service demands of the allocator, read once from its fields and annotations.
//!
//! Leaves out whether the demand can be met.

use std::net::IpAddr;

use api::names::annotation;
use api::service::{FamilyPolicy, IpFamily, ServiceView, TrafficPolicy};

use crate::alloc::{Denied, Sharing};

/// The readable part of a Service's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand<'a> {
    /// Families wanted, primary first; one or two.
    pub(super) families: Vec<IpFamily>,
    /// With two families: whether one alone will do.
    pub(super) one_will_do: bool,
    /// The terms under which an address may be shared.
    pub(super) sharing: Sharing,
    /// The pool asked for.
    pub(super) pool: Option<&'a str>,
    /// The addresses asked for (empty = any), or why the wish cannot be read.
    pub(super) addresses: Result<Vec<IpAddr>, Denied>,
    /// Where they are written.
    field: &'static str,
}

impl<'a> Demand<'a> {
    /// Reads the Service. An error means that it cannot have any address at all.
    pub(super) fn try_new(view: &'a ServiceView) -> Result<Self, Denied> {
        let families = families(view);
        if families.is_empty() {
            return Err(Denied::NoClusterIps);
        }
        if view.family_policy == FamilyPolicy::RequireDualStack && families.len() < 2 {
            return Err(Denied::NotEnoughClusterIps);
        }
        Ok(Self {
            one_will_do: view.family_policy == FamilyPolicy::PreferDualStack,
            families,
            sharing: sharing(view),
            pool: view.pool_annotation.as_deref().filter(|pool| !pool.is_empty()),
            addresses: requested(view),
            field: if annotated(view).is_some() { annotation::LOAD_BALANCER_IPS } else { SPEC_FIELD },
        })
    }

    /// Whether the addresses asked for are one of each family of the Service.
    pub(super) fn check_families(&self, addresses: &[IpAddr]) -> Result<(), Denied> {
        let fits = addresses.len() == self.families.len()
            && addresses.iter().all(|address| self.families.contains(&IpFamily::of(*address)));
        if fits {
            return Ok(());
        }
        let (addresses, families) = (addresses.to_vec(), self.families.clone());
        Err(Denied::RequestedFamily { field: self.field, addresses, families })
    }
}

/// The families of the cluster addresses, in the order of `spec.ipFamilies`.
fn families(view: &ServiceView) -> Vec<IpFamily> {
    let mut families: Vec<IpFamily> = Vec::new();
    let of_cluster_ips = view.cluster_ips.iter().map(|address| IpFamily::of(*address));
    let has = |family: &IpFamily| view.cluster_ips.iter().any(|address| IpFamily::of(*address) == *family);
    for family in view.families.iter().copied().filter(has).chain(of_cluster_ips) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

fn sharing(view: &ServiceView) -> Sharing {
    let Some(key) = view.sharing_key.clone() else {
        return Sharing::default();
    };
    let backend = match view.traffic_policy {
        TrafficPolicy::Cluster => String::new(),
        TrafficPolicy::Local => view.selector_text.clone(),
    };
    Sharing { key, backend, ports: view.ports.iter().copied().collect() }
}

/// The older way to ask for an address.
const SPEC_FIELD: &str = "spec.loadBalancerIP";

fn annotated(view: &ServiceView) -> Option<&str> {
    view.requested_ips.as_deref().filter(|text| !text.is_empty())
}

fn requested(view: &ServiceView) -> Result<Vec<IpAddr>, Denied> {
    let annotated = annotated(view);
    let in_spec = view.spec_load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let (text, field) = match (annotated, in_spec) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => {
            return Err(Denied::RequestedTwice { annotation: annotation::LOAD_BALANCER_IPS });
        }
        (Some(text), None) => (text, annotation::LOAD_BALANCER_IPS),
        (None, Some(text)) => (text, SPEC_FIELD),
    };
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim) {
        let address = part
            .parse::<IpAddr>()
            .map_err(|_| Denied::RequestNotAnAddress { field, text: part.to_owned() })?;
        addresses.push(address.to_canonical());
    }
    if addresses.len() > 2 {
        return Err(Denied::RequestTooLong { field, addresses });
    }
    if let [first, second] = addresses.as_slice()
        && IpFamily::of(*first) == IpFamily::of(*second)
    {
        return Err(Denied::RequestSameFamily { field, addresses });
    }
    Ok(addresses)
}
