//! Every name that more than one part of Herald must agree on: groups, annotations, labels, field managers, event
//! reasons, condition types.
//!
//! Names that only one program knows (flags, metric names) are with that program.

/// API group of MetalLB's kinds.
pub const GROUP: &str = "metallb.io";
/// Namespace of everything, unless the operator says otherwise.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";
/// Field manager of the controller's server-side applies.
pub const FIELD_MANAGER_CONTROLLER: &str = "herald-controller";
/// Field manager of the speakers' server-side applies.
pub const FIELD_MANAGER_SPEAKER: &str = "herald-speaker";
/// Lease that makes one of several controllers the leader.
pub const CONTROLLER_LEASE: &str = "herald-controller";
/// `reportingController` of the controller's events.
pub const EVENT_SOURCE_CONTROLLER: &str = "metallb-controller";
/// `reportingController` of the speakers' events.
pub const EVENT_SOURCE_SPEAKER: &str = "metallb-speaker";
/// Name of the controller's ConfigurationState.
pub const CONTROLLER_STATE: &str = "controller";
/// Type of the Secrets that hold BGP passwords.
pub const PASSWORD_SECRET_TYPE: &str = "kubernetes.io/basic-auth";
/// Key of the password in such a Secret.
pub const PASSWORD_SECRET_KEY: &str = "password";

/// Keys beside the password in a Secret for TCP-AO.
pub mod tcp_ao_key {
    /// The KeyID of what we send.
    pub const SEND_ID: &str = "sendID";
    /// The KeyID of what we take.
    pub const RECV_ID: &str = "recvID";
    /// The name of the algorithm.
    pub const ALGORITHM: &str = "algorithm";
}

/// Name of the ConfigurationState of a node's speaker.
#[must_use]
pub fn speaker_configuration_state(node: &str) -> String {
    format!("speaker-{node}")
}

/// Annotations on Services.
pub mod annotation {
    /// Allocate from the pool of this name.
    pub const ADDRESS_POOL: &str = "metallb.io/address-pool";
    /// Allocate exactly these addresses: one, or one of each family with a comma between them.
    pub const LOAD_BALANCER_IPS: &str = "metallb.io/loadBalancerIPs";
    /// Services with the same text here may share an address.
    pub const ALLOW_SHARED_IP: &str = "metallb.io/allow-shared-ip";
    /// Written by the controller: the pool that the addresses came from.
    pub const IP_ALLOCATED_FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";
    /// Prefix of the annotations of old; still honoured, the current prefix wins.
    pub const OLD_PREFIX: &str = "metallb.universe.tf/";
    /// [`ADDRESS_POOL`] of old.
    pub const OLD_ADDRESS_POOL: &str = "metallb.universe.tf/address-pool";
    /// [`LOAD_BALANCER_IPS`] of old.
    pub const OLD_LOAD_BALANCER_IPS: &str = "metallb.universe.tf/loadBalancerIPs";
    /// [`ALLOW_SHARED_IP`] of old.
    pub const OLD_ALLOW_SHARED_IP: &str = "metallb.universe.tf/allow-shared-ip";
    /// [`IP_ALLOCATED_FROM_POOL`] of old; read, never written.
    pub const OLD_IP_ALLOCATED_FROM_POOL: &str = "metallb.universe.tf/ip-allocated-from-pool";
}

/// The headless Service of the speakers. Its EndpointSlices say on which nodes a speaker is ready.
pub const SPEAKERS_SERVICE: &str = "herald-speakers";

/// On the ConfigurationState of a speaker: the BGPAdvertisements with `maxNodes` that its node could follow, with a comma
/// between the names.
pub const ABLE_ANNOTATION: &str = "herald-lb.io/able";

/// Labels on nodes, slices and our own objects.
pub mod label {
    /// On a Node, with any value: it announces nothing.
    pub const EXCLUDE_FROM_EXTERNAL_LB: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
    /// On an EndpointSlice: the Service it belongs to.
    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
    /// On a ConfigurationState: `controller` or `speaker`.
    pub const COMPONENT_TYPE: &str = "metallb.io/component-type";
    /// On a ConfigurationState of a speaker: its node.
    pub const NODE_NAME: &str = "metallb.io/node-name";
    /// On a ServiceBGPStatus: the node.
    pub const STATUS_NODE: &str = "metallb.io/node";
    /// On a ServiceBGPStatus: the Service's name.
    pub const STATUS_SERVICE_NAME: &str = "metallb.io/service-name";
    /// On a ServiceBGPStatus: the Service's namespace.
    pub const STATUS_SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";
    /// Value of [`COMPONENT_TYPE`] for the controller.
    pub const COMPONENT_CONTROLLER: &str = "controller";
    /// Value of [`COMPONENT_TYPE`] for a speaker.
    pub const COMPONENT_SPEAKER: &str = "speaker";
}

/// Taints on nodes that say something about their near end.
pub mod taint {
    /// Set by the cluster autoscaler on a node that it is about to delete.
    pub const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
    /// Set by Karpenter on a node that it is about to remove.
    pub const KARPENTER_DISRUPTED: &str = "karpenter.sh/disrupted";
    /// The same in Karpenter before its version 1.
    pub const KARPENTER_DISRUPTION: &str = "karpenter.sh/disruption";
    /// Set by an operator on a node that has failed for good.
    pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
}

/// Reasons of events.
pub mod event {
    /// One word for what happened, as an event's `reason`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum EventReason {
        /// Normal: a Service got its addresses.
        IpAllocated,
        /// Normal: a Service lost its addresses.
        ClearAssignment,
        /// Normal: the second family of a dual-stack Service could not be given.
        AdditionalAssignFailed,
        /// Warning: a Service wants addresses and cannot get them.
        AllocationFailed,
        /// Warning: what a Service asks for cannot be read.
        LoadBalancerFailed,
        /// Warning: the family of the requested addresses is not the Service's.
        NoLbIpsIpFamily,
        /// Warning: the families of the cluster addresses make no sense.
        NoClusterIpsIpFamily,
        /// Warning: a Service that requires both families has one cluster address.
        NotEnoughClusterIps,
        /// Warning: a fault of our own.
        InternalError,
        /// Warning: an annotation of old is in use.
        DeprecatedAnnotation,
        /// Normal: this node announces the Service.
        NodeAssigned,
        /// Warning: a Service keeps an address that is in no pool any more.
        AddressOutsidePool,
        /// Warning: another controller writes the Service's status.
        ForeignLoadBalancerStatus,
        /// Normal: a status that another controller wrote earlier is ours now.
        StatusTakenOver,
        /// Warning: a pool is full.
        PoolExhausted,
        /// Warning: two Services hold one address and may not share it.
        AddressConflict,
        /// Warning: a configuration object was not accepted.
        ConfigurationRejected,
        /// Normal: a configuration object that was rejected is accepted now.
        ConfigurationAccepted,
        /// Normal: a BGP session came up.
        SessionUp,
        /// Warning: a BGP session went down.
        SessionDown,
        /// Warning: a Pod of Herald's has not been ready for a while.
        NotReady,
    }

    impl EventReason {
        /// The word itself.
        #[must_use]
        pub const fn as_str(self) -> &'static str {
            match self {
                Self::IpAllocated => "IPAllocated",
                Self::ClearAssignment => "ClearAssignment",
                Self::AdditionalAssignFailed => "AdditionalAssignFailed",
                Self::AllocationFailed => "AllocationFailed",
                Self::LoadBalancerFailed => "LoadBalancerFailed",
                Self::NoLbIpsIpFamily => "nolbIPsIPFamily",
                Self::NoClusterIpsIpFamily => "noclusterIPsIPFamily",
                Self::NotEnoughClusterIps => "NotEnoughClusterIPs",
                Self::InternalError => "InternalError",
                Self::DeprecatedAnnotation => "deprecatedAnnotation",
                Self::NodeAssigned => "nodeAssigned",
                Self::AddressOutsidePool => "AddressOutsidePool",
                Self::ForeignLoadBalancerStatus => "ForeignLoadBalancerStatus",
                Self::StatusTakenOver => "StatusTakenOver",
                Self::PoolExhausted => "PoolExhausted",
                Self::AddressConflict => "AddressConflict",
                Self::ConfigurationRejected => "ConfigurationRejected",
                Self::ConfigurationAccepted => "ConfigurationAccepted",
                Self::SessionUp => "SessionUp",
                Self::SessionDown => "SessionDown",
                Self::NotReady => "NotReady",
            }
        }

        /// Whether the event tells that a Service got or lost addresses.
        #[must_use]
        pub const fn is_assignment(self) -> bool {
            matches!(self, Self::IpAllocated | Self::ClearAssignment)
        }

        /// Whether the event is a Warning; otherwise it is Normal.
        #[must_use]
        pub const fn is_warning(self) -> bool {
            match self {
                Self::IpAllocated
                | Self::ClearAssignment
                | Self::AdditionalAssignFailed
                | Self::NodeAssigned
                | Self::StatusTakenOver
                | Self::ConfigurationAccepted
                | Self::SessionUp => false,
                Self::AllocationFailed
                | Self::LoadBalancerFailed
                | Self::NoLbIpsIpFamily
                | Self::NoClusterIpsIpFamily
                | Self::NotEnoughClusterIps
                | Self::InternalError
                | Self::DeprecatedAnnotation
                | Self::AddressOutsidePool
                | Self::ForeignLoadBalancerStatus
                | Self::PoolExhausted
                | Self::AddressConflict
                | Self::ConfigurationRejected
                | Self::SessionDown
                | Self::NotReady => true,
            }
        }
    }
}

/// Types and reasons of conditions.
pub mod condition {
    /// What a condition is about.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum ConditionType {
        /// On a configuration object: whether it is in force as written.
        Accepted,
        /// On a configuration object: whether it has an effect in this version.
        InForce,
        /// On the controller's ConfigurationState: whether all objects it reads were accepted.
        PoolReconcilerValid,
        /// On a speaker's ConfigurationState: whether all objects it reads were accepted.
        ConfigReconcilerValid,
        /// On a Service, and only while something is to be said: whether it has the addresses that it asks for.
        AddressAssigned,
        /// On a pool: whether it touches other pools, nodes, routers or cluster networks.
        Overlapping,
        /// On a pool: whether no address is left to give in one of its families.
        Exhausted,
        /// On a pool: whether Services keep addresses that it would not hand out any more.
        KeptAddresses,
    }

    impl ConditionType {
        /// The word itself.
        #[must_use]
        pub const fn as_str(self) -> &'static str {
            match self {
                Self::Accepted => "Accepted",
                Self::InForce => "InForce",
                Self::PoolReconcilerValid => "poolReconcilerValid",
                Self::ConfigReconcilerValid => "configReconcilerValid",
                Self::AddressAssigned => "herald-lb.io/AddressAssigned",
                Self::Overlapping => "Overlapping",
                Self::Exhausted => "Exhausted",
                Self::KeptAddresses => "KeptAddresses",
            }
        }
    }

    /// Reasons that are not a rejection's or a notice's own word.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum ConditionReason {
        /// The object is in force as written.
        Accepted,
        /// Another version of the object than the one written is in force.
        LastGood,
        /// Whether the object is in force hangs on a Secret, which only the speakers read.
        SecretReadBySpeakers,
        /// All objects were read and accepted.
        Reconciled,
        /// At least one object was not accepted.
        ConfigurationError,
        /// The objects cannot be read.
        InfraError,
        /// Something that should not happen.
        UnknownError,
    }

    impl ConditionReason {
        /// The word itself.
        #[must_use]
        pub const fn as_str(self) -> &'static str {
            match self {
                Self::Accepted => "Accepted",
                Self::LastGood => "LastGood",
                Self::SecretReadBySpeakers => "SecretReadBySpeakers",
                Self::Reconciled => "Reconciled",
                Self::ConfigurationError => "ConfigurationError",
                Self::InfraError => "InfraError",
                Self::UnknownError => "UnknownError",
            }
        }
    }
}
