//! `ServiceView`: the few facts about a Service that Herald acts on, and nothing else of it.
//!
//! [`SlimService`] is what the watches decode; it skips everything that is not read here, so that a large cluster does
//! not cost memory. Building the view cannot fail: what cannot be understood is kept as text or left out.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::selector::Labels;

mod key;
mod slim;
#[cfg(test)]
mod tests;

pub use key::ServiceKey;
pub use slim::SlimService;

/// A Service as both daemons see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Namespace and name.
    pub key: ServiceKey,
    /// UID: tells a Service from a later one of the same name.
    pub uid: String,
    /// Resource version of the object that was read.
    pub resource_version: String,
    /// When the Service was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Labels.
    pub labels: Labels,
    /// Whether it is of type LoadBalancer.
    pub service_type: ServiceType,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// Cluster addresses, the primary family first; none for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.ipFamilies`, the primary family first.
    pub families: Vec<IpFamily>,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// Ports, as listed.
    pub ports: Vec<Port>,
    /// `spec.selector` as sorted `key=value` pairs with commas between them.
    pub selector_text: String,
    /// `status.loadBalancer.ingress`.
    pub ingress: Ingress,
    /// Annotation that names the pool to allocate from.
    pub pool_annotation: Option<String>,
    /// Annotation that asks for addresses, as written.
    pub requested_ips: Option<String>,
    /// `spec.loadBalancerIP`, as written.
    pub spec_load_balancer_ip: Option<String>,
    /// Annotation that lets Services share an address.
    pub sharing_key: Option<String>,
    /// Annotation that remembers the pool of the current addresses.
    pub allocated_from_pool: Option<String>,
    /// Whether any annotation has the prefix of old.
    pub deprecated_annotations: bool,
    /// Whether the Service is being deleted.
    pub deleting: bool,
    /// Who wrote the addresses in `status.loadBalancer`, as the API server remembers it.
    pub managed: Vec<StatusManager>,
    /// Field managers that wrote the annotation behind `allocated_from_pool`, as the API server remembers it.
    pub recorders: Vec<String>,
    /// Herald's own condition on the Service.
    pub condition: Option<ServiceCondition>,
}

impl ServiceView {
    /// Whether the Service is of type LoadBalancer.
    #[must_use]
    pub fn is_load_balancer(&self) -> bool {
        self.service_type == ServiceType::LoadBalancer
    }

    /// The addresses in the status; none where there is no status or it holds something else than addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        match &self.ingress {
            Ingress::Addresses(addresses) => addresses,
            Ingress::None | Ingress::Invalid(_) => &[],
        }
    }

    /// The pool that was recorded for the addresses in the status, if whoever recorded it wrote those addresses too.
    ///
    /// The annotation stays when another controller overwrites the status, and then it speaks of addresses that are
    /// there no more. An object without any trace of its writers is believed.
    #[must_use]
    pub fn vouched_pool(&self) -> Option<&str> {
        let untraced = self.managed.is_empty() && self.recorders.is_empty();
        let same_hand = self.managed.iter().any(|entry| self.recorders.contains(&entry.manager));
        self.allocated_from_pool.as_deref().filter(|_| untraced || same_hand)
    }
}

/// What kind of Service it is; only one kind matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    /// `LoadBalancer`.
    LoadBalancer,
    /// Any other type.
    #[default]
    Other,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// How many families a Service wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FamilyPolicy {
    /// One.
    #[default]
    SingleStack,
    /// Two where they are to be had.
    PreferDualStack,
    /// Two or nothing.
    RequireDualStack,
}

/// Which nodes may take traffic for a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// All.
    #[default]
    Cluster,
    /// Those with an endpoint of their own.
    Local,
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number.
    pub port: u16,
}

/// As people write it: `TCP/80`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// The addresses that a Service's status shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ingress {
    /// None at all.
    #[default]
    None,
    /// Addresses, as listed.
    Addresses(Vec<IpAddr>),
    /// At least one entry is no address: a host name, or text that cannot be read. The text is that entry.
    Invalid(String),
}

/// A writer of `status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusManager {
    /// Name of the field manager.
    pub manager: String,
    /// When it last wrote, in seconds since 1970.
    pub time: Option<i64>,
    /// Whether it wrote by server-side apply; otherwise by update or patch.
    pub applied: bool,
}

/// Herald's condition on a Service, as the Service shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCondition {
    /// Whether it holds.
    pub holds: bool,
    /// One word that says why.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When it last changed between holding and not holding.
    pub since: Option<Time>,
}

/// Whether a Service of this class is for us: without a class of our own, those without a class; with one, exactly
/// those that name it.
#[must_use]
pub fn class_is_ours(class: Option<&str>, ours: Option<&str>) -> bool {
    class == ours
}
