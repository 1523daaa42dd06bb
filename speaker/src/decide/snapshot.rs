//! The facts that decisions are made from, reduced to what they read.
//!
//! Built by `watch` from API objects; a few dozen octets for a Service beyond its labels. Holds no object, no
//! endpoint list and no rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::config::Config;
use api::names::taint;
use api::selector::Labels;
use api::service::{Ingress, ServiceKey, TrafficPolicy};
use serde::{Deserialize, Serialize};

use super::verdict::AddressFamily;
use super::width::{Fleet, Hosts, NodeHash};

/// Everything that decides what this node announces.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Services of this speaker's class.
    pub services: BTreeMap<ServiceKey, ServiceFacts>,
    /// Endpoint counts by Service, also of Services that are not (yet) in `services`.
    pub endpoints: BTreeMap<ServiceKey, EndpointFacts>,
    /// Nodes with ready endpoints by Service, where they are needed: only while an advertisement bounds the number of nodes.
    pub hosts: BTreeMap<ServiceKey, Hosts>,
    /// What all of them are decided by.
    pub surroundings: Surroundings,
}

/// What the decisions on all Services have in common.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What the speakers of the cluster say about themselves.
    pub fleet: Fleet,
    /// The name of this node.
    pub own: Box<str>,
    /// This node; `None` when the API server has no Node object of that name.
    pub node: Option<NodeFacts>,
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Whether the label that excludes a node from load balancing counts.
    pub exclude_label: ExcludeLabel,
}

impl Snapshot {
    /// What a Service is decided by besides itself; it does not linger.
    #[must_use]
    pub fn circumstances(&self, service: &ServiceKey) -> Circumstances<'_> {
        Circumstances {
            endpoints: self.endpoints.get(service).copied().unwrap_or_default(),
            hosts: self.hosts.get(service),
            lingers: false,
        }
    }
}

/// What a Service is decided by besides itself and the rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// Its endpoints, counted.
    pub endpoints: EndpointFacts,
    /// The nodes where they are; `None` where that is not known.
    pub hosts: Option<&'a Hosts>,
    /// Whether this node stays although others were chosen, until they announce.
    pub lingers: bool,
}

impl<'a> Circumstances<'a> {
    /// The nodes with ready endpoints of that family; nobody where they are not known.
    pub(super) fn hosts_of(&self, family: AddressFamily) -> &'a BTreeSet<NodeHash> {
        static NOBODY: BTreeSet<NodeHash> = BTreeSet::new();
        self.hosts.map_or(&NOBODY, |hosts| match family {
            AddressFamily::V4 => &hosts.v4,
            AddressFamily::V6 => &hosts.v6,
        })
    }
}

/// What is read of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// `metadata.uid`, by which events find it.
    pub uid: String,
    /// `spec.type` is LoadBalancer.
    pub load_balancer: bool,
    /// For the service selectors of advertisements.
    pub labels: Labels,
    /// The addresses in `status.loadBalancer.ingress`.
    pub ingress: Ingress,
    /// Why there is none, or not all that it should have, in the controller's words; `None` where nothing is said.
    pub pending: Option<Box<str>>,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// The pool that the address came from, as the controller noted it in the annotation.
    pub allocated_from_pool: Option<String>,
}

/// How many endpoints of a Service could serve, by family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointFacts {
    /// From EndpointSlices of address type IPv4.
    pub v4: EndpointCounts,
    /// From EndpointSlices of address type IPv6.
    pub v6: EndpointCounts,
}

impl EndpointFacts {
    /// Whether no endpoint could serve.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The counts for addresses of one family.
    #[must_use]
    pub fn of(&self, family: AddressFamily) -> EndpointCounts {
        match family {
            AddressFamily::V4 => self.v4,
            AddressFamily::V6 => self.v6,
        }
    }
}

/// Endpoints of one Service and family, counted by what they can do and where they are.
///
/// "Serving" means serving though not ready, which is what an endpoint is while its Pod terminates gracefully.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Ready, on this node.
    pub local_ready: u32,
    /// Serving, on this node.
    pub local_serving: u32,
    /// Ready, on some other node. Endpoints without a node name are not counted here.
    pub elsewhere_ready: u32,
    /// Ready, with or without a node.
    pub any_ready: u32,
    /// Serving, with or without a node.
    pub any_serving: u32,
}

/// What is read of this speaker's own Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// For the node selectors of peers and advertisements, and the exclusion label.
    pub labels: Labels,
    /// Condition `NetworkUnavailable` is True.
    pub network_unavailable: bool,
    /// The node is about to leave the cluster, and how far it has come with that.
    pub drain: Option<Drain>,
}

/// A node that takes leave of its routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How we know.
    pub leaving: Leaving,
    /// How far it is.
    pub stage: DrainStage,
}

/// The two steps of a drain; the time between them is the watch side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStage {
    /// Routes stay, and ask to be used by nobody who has another way (RFC 8326).
    Notice,
    /// Routes are withdrawn, apart from those without which a Service could not be reached.
    Over,
}

/// A sign that a node will not come back, or not soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Leaving {
    /// `metadata.deletionTimestamp` is set, which begins a drain; or the Node object is gone, which begins none, because
    /// it may be made again in a moment, and means removal only if the process ends meanwhile.
    #[error("the Node object is being deleted")]
    Deleted,
    /// The cluster autoscaler is about to remove the machine.
    #[error("the node carries the taint {}", taint::TO_BE_DELETED)]
    Autoscaler,
    /// Karpenter is about to remove the machine.
    #[error("the node carries the taint {}", taint::KARPENTER_DISRUPTED)]
    Karpenter,
    /// An operator declared the machine lost.
    #[error("the node carries the taint {}", taint::OUT_OF_SERVICE)]
    OutOfService,
    /// The kubelet ends the Pods, because the machine shuts down.
    #[error("the kubelet says that the node is shutting down")]
    ShuttingDown,
}

/// What the label `node.kubernetes.io/exclude-from-external-load-balancers` on this node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExcludeLabel {
    /// The node announces nothing while it carries the label.
    Honoured,
    /// The label has no effect (`--ignore-exclude-lb`).
    Ignored,
}
