//! The Service as the watches decode it: only what [`ServiceView`] reads, the rest is skipped without being stored.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{
    FamilyPolicy, Ingress, IpFamily, Port, Protocol, ServiceCondition, ServiceKey, ServiceType, ServiceView,
    StatusManager, TrafficPolicy,
};
use crate::names::condition::ConditionType;
use crate::names::{GROUP, annotation};

/// A Service with only the fields that Herald reads. Every field may be absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct SlimService {
    metadata: ObjectMeta,
    managed: Vec<StatusManager>,
    recorders: Vec<String>,
    spec: Spec,
    status: Status,
}

impl SlimService {
    /// The facts, in checked form.
    #[must_use]
    pub fn view(&self) -> ServiceView {
        let meta = &self.metadata;
        let spec = &self.spec;
        let annotations = meta.annotations.as_ref();
        let note = |new: &str, old: &str| {
            // The current prefix wins by being there, even with an empty value.
            let value = annotations.and_then(|all| all.get(new).or_else(|| all.get(old)));
            value.filter(|value| !value.is_empty()).cloned()
        };
        ServiceView {
            key: ServiceKey::new(
                meta.namespace.clone().unwrap_or_default(),
                meta.name.clone().unwrap_or_default(),
            ),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(seconds),
            labels: meta.labels.clone().unwrap_or_default(),
            service_type: spec.service_type(),
            class: spec.load_balancer_class.clone().filter(|class| !class.is_empty()),
            cluster_ips: spec.addresses(),
            families: spec.families(),
            family_policy: spec.policy(),
            traffic_policy: spec.traffic(),
            ports: spec.ports.iter().flatten().filter_map(WirePort::checked).collect(),
            selector_text: spec.selector_text(),
            ingress: self.status.ingress(),
            pool_annotation: note(annotation::ADDRESS_POOL, annotation::OLD_ADDRESS_POOL),
            requested_ips: note(annotation::LOAD_BALANCER_IPS, annotation::OLD_LOAD_BALANCER_IPS),
            spec_load_balancer_ip: spec.load_balancer_ip.clone().filter(|ip| !ip.is_empty()),
            sharing_key: note(annotation::ALLOW_SHARED_IP, annotation::OLD_ALLOW_SHARED_IP),
            allocated_from_pool: note(
                annotation::IP_ALLOCATED_FROM_POOL,
                annotation::OLD_IP_ALLOCATED_FROM_POOL,
            ),
            deprecated_annotations: annotations
                .is_some_and(|all| all.keys().any(|key| key.starts_with(annotation::OLD_PREFIX))),
            deleting: meta.deletion_timestamp.is_some(),
            managed: self.managed.clone(),
            recorders: self.recorders.clone(),
            condition: self.status.condition(),
        }
    }
}

crate::stands_for!(SlimService, k8s_openapi::api::core::v1::Service);

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    metadata: Option<Meta>,
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    status: Option<Status>,
}

impl From<Wire> for SlimService {
    fn from(wire: Wire) -> Self {
        let mut meta = wire.metadata.unwrap_or_default();
        let entries = meta.managed_fields.take().unwrap_or_default();
        Self {
            metadata: ObjectMeta {
                name: meta.name,
                namespace: meta.namespace,
                uid: meta.uid,
                resource_version: meta.resource_version,
                creation_timestamp: meta.creation_timestamp,
                deletion_timestamp: meta.deletion_timestamp,
                labels: meta.labels,
                annotations: meta.annotations.map(|ours| ours.0),
                ..ObjectMeta::default()
            },
            recorders: entries.iter().filter_map(Managed::recorder).collect(),
            managed: entries.into_iter().filter_map(Managed::checked).collect(),
            spec: wire.spec.unwrap_or_default(),
            status: wire.status.unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<OurAnnotations>,
    managed_fields: Option<Vec<Managed>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "type")]
    type_: Option<String>,
    load_balancer_class: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    ip_families: Option<Vec<String>>,
    ip_family_policy: Option<String>,
    external_traffic_policy: Option<String>,
    ports: Option<Vec<WirePort>>,
    selector: Option<BTreeMap<String, String>>,
}

impl Spec {
    fn service_type(&self) -> ServiceType {
        match self.type_.as_deref() {
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some(_) | None => ServiceType::Other,
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let all = self.cluster_ips.iter().flatten().chain(&self.cluster_ip);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in all.filter_map(|text| text.parse().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    fn families(&self) -> Vec<IpFamily> {
        let listed = self.ip_families.iter().flatten();
        let families: Vec<IpFamily> = listed
            .filter_map(|family| match family.as_str() {
                "IPv4" => Some(IpFamily::V4),
                "IPv6" => Some(IpFamily::V6),
                _ => None,
            })
            .collect();
        if families.is_empty() { self.addresses().into_iter().map(IpFamily::of).collect() } else { families }
    }

    fn policy(&self) -> FamilyPolicy {
        match self.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            Some(_) | None => FamilyPolicy::SingleStack,
        }
    }

    fn traffic(&self) -> TrafficPolicy {
        match self.external_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            Some(_) | None => TrafficPolicy::Cluster,
        }
    }

    fn selector_text(&self) -> String {
        let pairs = self.selector.iter().flatten().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WirePort {
    protocol: Option<String>,
    port: Option<i64>,
}

impl WirePort {
    fn checked(&self) -> Option<Port> {
        let protocol = match self.protocol.as_deref() {
            None | Some("TCP" | "") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(_) => return None,
        };
        Some(Port { protocol, port: u16::try_from(self.port?).ok()? })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: Option<LoadBalancer>,
    conditions: Option<Vec<WireCondition>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<Time>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<Entry>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    ip: Option<String>,
    hostname: Option<String>,
}

impl Status {
    fn condition(&self) -> Option<ServiceCondition> {
        let ours = ConditionType::AddressAssigned.as_str();
        let mut all = self.conditions.iter().flatten();
        let wire = all.find(|condition| condition.type_.as_deref() == Some(ours))?;
        Some(ServiceCondition {
            holds: wire.status.as_deref() == Some("True"),
            reason: wire.reason.clone().unwrap_or_default(),
            message: wire.message.clone().unwrap_or_default(),
            since: wire.last_transition_time.clone(),
        })
    }

    fn ingress(&self) -> Ingress {
        let entries =
            self.load_balancer.as_ref().and_then(|status| status.ingress.as_deref()).unwrap_or_default();
        if entries.is_empty() {
            return Ingress::None;
        }
        let mut addresses = Vec::with_capacity(entries.len());
        for entry in entries {
            let text = entry.ip.as_deref().unwrap_or_default();
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) if text.is_empty() => {
                    return Ingress::Invalid(entry.hostname.clone().unwrap_or_default());
                }
                Err(_) => return Ingress::Invalid(text.to_owned()),
            }
        }
        Ingress::Addresses(addresses)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Managed {
    manager: Option<String>,
    operation: Option<String>,
    time: Option<Time>,
    fields_v1: Option<OwnedFields>,
}

impl Managed {
    /// The manager's name, if it wrote the annotation that records a pool.
    fn recorder(&self) -> Option<String> {
        let annotations = &self.fields_v1.as_ref()?.metadata.as_ref()?.annotations.as_ref()?;
        let is_record = annotations.current.is_some() || annotations.old.is_some();
        is_record.then(|| self.manager.clone().unwrap_or_default())
    }

    fn checked(self) -> Option<StatusManager> {
        self.fields_v1?.status?.load_balancer?.ingress?;
        Some(StatusManager {
            manager: self.manager.unwrap_or_default(),
            time: self.time.as_ref().map(seconds),
            applied: self.operation.as_deref() == Some("Apply"),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnedFields {
    #[serde(rename = "f:metadata")]
    metadata: Option<OwnedMetadata>,
    #[serde(rename = "f:status")]
    status: Option<OwnedStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnedStatus {
    #[serde(rename = "f:loadBalancer")]
    load_balancer: Option<OwnedLoadBalancer>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnedLoadBalancer {
    #[serde(rename = "f:ingress")]
    ingress: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnedMetadata {
    #[serde(rename = "f:annotations")]
    annotations: Option<OwnedAnnotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OwnedAnnotations {
    #[serde(rename = "f:metallb.io/ip-allocated-from-pool")]
    current: Option<IgnoredAny>,
    #[serde(rename = "f:metallb.universe.tf/ip-allocated-from-pool")]
    old: Option<IgnoredAny>,
}

/// Annotations that start with a prefix of ours; the values of the others are never stored.
struct OurAnnotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for OurAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ours;

        impl<'de> Visitor<'de> for Ours {
            type Value = OurAnnotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OurAnnotations, A::Error> {
                let mut ours = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    let group = key.split_once('/').map(|(group, _)| group);
                    if group == Some(GROUP) || key.starts_with(annotation::OLD_PREFIX) {
                        let value = map.next_value::<Option<String>>()?;
                        ours.insert(key, value.unwrap_or_default());
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(OurAnnotations(ours))
            }
        }

        deserializer.deserialize_map(Ours)
    }
}

fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}
