//! Why a Service got no address: one variant a cause, MetalLB's sentence as the text.
//!
//! Leaves out who is told: the caller turns a [`Denied`] into an event, a log field or a metric label.

use std::net::IpAddr;

use api::names::annotation;
use api::service::{IpFamily, Port, ServiceKey};

use super::place::Obstacle;

/// Why no address was given, or why an address could not be kept.
///
/// `Display` is the sentence that scripts written for MetalLB match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No pool exists that hands out addresses at all.
    #[error("no available IPs: there is no IPAddressPool")]
    NoPools,
    /// No pool that this Service may use by itself has a fitting address left.
    #[error("no available IPs{}", sentences(.tried, *.more))]
    Exhausted {
        /// The first few pools, and why each has nothing for the Service.
        tried: Vec<Tried>,
        /// How many pools there are besides.
        more: usize,
    },
    /// The pool the Service asks for has no fitting address left.
    #[error("no available IPs in pool {pool}: it {why}")]
    PoolExhausted {
        /// Name of the pool asked for.
        pool: String,
        /// What it lacks.
        why: Hindrance,
    },
    /// The pool the Service asks for cannot give one address of each family.
    #[error("no available IPs in pool {pool} for dual IPFamily: it {why}")]
    PoolHasNoPair {
        /// Name of the pool asked for.
        pool: String,
        /// What it lacks.
        why: Hindrance,
    },
    /// The Service names a pool that does not exist.
    #[error("unknown pool {pool:?}: {}", known_pools(.known))]
    UnknownPool {
        /// The name as the Service writes it.
        pool: String,
        /// Some of the pools that there are.
        known: Vec<String>,
    },
    /// An address that lies in no pool.
    #[error("[{}] is not allowed in config: no IPAddressPool in force contains it", quoted(.addresses))]
    OutsidePools {
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
    },
    /// Two addresses of two pools, one of which has both families.
    #[error(
        "[{}] is not allowed in config: pool {whole} has both families, so both addresses must lie in one pool",
        quoted(.addresses)
    )]
    AcrossPools {
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
        /// The pool around one of them that has both families.
        whole: String,
    },
    /// An address that its pool does not hand out.
    #[error("[\"{address}\"] is not allowed in config: {}", .why.of(.pool))]
    AvoidedAddress {
        /// The address asked for.
        address: IpAddr,
        /// The pool around it.
        pool: String,
        /// Why it does not.
        why: Obstacle,
    },
    /// The pool gives nothing new.
    #[error("pool {pool} is disabled: it gives no new address")]
    PoolDisabled {
        /// The pool asked for.
        pool: String,
    },
    /// `serviceAllocation` of the pool does not admit this Service.
    #[error(
        "pool {pool} not compatible for ip assignment: its serviceAllocation admits other namespaces or labels"
    )]
    PoolNotForService {
        /// The pool asked for.
        pool: String,
    },
    /// The requested addresses are not of exactly the families of the Service.
    #[error(
        "requested loadBalancer IP(s) [{}] does not match the ipFamily of the service: {}; {}",
        quoted(.addresses),
        family_gap(.addresses, .families),
        family_advice(.field, .families)
    )]
    RequestedFamily {
        /// Where they are written.
        field: &'static str,
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
        /// The families of the Service, primary first.
        families: Vec<IpFamily>,
    },
    /// The requested addresses are outside the pool that is requested as well.
    #[error(
        "requested loadBalancer IP(s) [{}] is not compatible with requested address pool {pool}: they lie in another \
         pool; ask for addresses of {pool}, or leave {key} out",
        quoted(.addresses),
        key = annotation::ADDRESS_POOL
    )]
    RequestedPool {
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
        /// The pool asked for.
        pool: String,
    },
    /// Another Service uses the address under terms that do not fit.
    #[error(
        "can't change sharing key for \"{service}\", address also in use by {}: {address} is shared only under one value \
         of {key} and one externalTrafficPolicy (with Local, one selector)",
        names(.others),
        key = annotation::ALLOW_SHARED_IP
    )]
    InUse {
        /// The Service that was refused.
        service: ServiceKey,
        /// The address.
        address: IpAddr,
        /// Who uses the address, sorted.
        others: Vec<ServiceKey>,
    },
    /// The address could be shared, but one of the ports is taken on it.
    #[error("port {port} is already in use on \"{address}\" by {other}")]
    PortInUse {
        /// The port.
        port: Port,
        /// The shared address.
        address: IpAddr,
        /// Who uses the port.
        other: ServiceKey,
    },
    /// The Service has no cluster address, so its families are unknown.
    #[error("service has no clusterIPs")]
    NoClusterIps,
    /// `RequireDualStack` on a Service that has only one cluster address.
    #[error("not enough clusterips: RequireDualStack needs one clusterIP of each family")]
    NotEnoughClusterIps,
    /// A request is written twice, in the annotation and in the spec.
    #[error("service can not have both {annotation} and svc.Spec.LoadBalancerIP: remove one of them")]
    RequestedTwice {
        /// The annotation's key.
        annotation: &'static str,
    },
    /// A requested address is not an IP address.
    #[error("invalid requested loadBalancer IP {text:?}: {}", request_advice(.field))]
    RequestNotAnAddress {
        /// Where it is written.
        field: &'static str,
        /// The text as the Service writes it.
        text: String,
    },
    /// More than two addresses are requested.
    #[error("more than two addresses requested: [{}]: {}", quoted(.addresses), request_advice(.field))]
    RequestTooLong {
        /// Where they are written.
        field: &'static str,
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
    },
    /// Two addresses of one family are requested.
    #[error("requested loadBalancer IP(s) [{}] has the same family: {}", quoted(.addresses), request_advice(.field))]
    RequestSameFamily {
        /// Where they are written.
        field: &'static str,
        /// The addresses asked for.
        addresses: Vec<IpAddr>,
    },
}

/// Why one pool has nothing for a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The pool.
    pub pool: String,
    /// Why not.
    pub why: Hindrance,
}

/// What keeps a pool from giving a Service an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// Every address of the family is in use.
    #[error("is full ({used} of {capacity} {family} addresses in use)")]
    Full {
        /// The family that is missing.
        family: IpFamily,
        /// Addresses in use.
        used: i64,
        /// Addresses that it can give.
        capacity: i64,
    },
    /// What is left waits for other Services.
    #[error(
        "has only {family} addresses left that are reserved ({used} of {capacity} in use, {reserved} reserved)"
    )]
    OnlyReserved {
        /// The family that is missing.
        family: IpFamily,
        /// Addresses in use.
        used: i64,
        /// Addresses that it can give.
        capacity: i64,
        /// Addresses that wait for other Services.
        reserved: i64,
    },
    /// It has addresses of the family, and hands out none of them.
    #[error("hands out none of its {family} addresses (excluded, skipped, or used by the network around)")]
    AllBlocked {
        /// The family that is missing.
        family: IpFamily,
    },
    /// The pool has no address of the family.
    #[error("has no {family} addresses")]
    NoFamily {
        /// The family that is missing.
        family: IpFamily,
    },
    /// `serviceAllocation` does not let the Service in.
    #[error("is for other services (serviceAllocation)")]
    NotForService,
    /// `autoAssign: false`.
    #[error("is given on request only (autoAssign)")]
    OnRequest,
    /// `disabled: true`.
    #[error("is disabled")]
    Disabled,
}

impl Denied {
    /// One word for metric labels and log fields.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoPools => "NoPools",
            Self::Exhausted { .. } => "Exhausted",
            Self::PoolDisabled { .. } => "PoolDisabled",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::PoolHasNoPair { .. } => "PoolHasNoPair",
            Self::UnknownPool { .. } => "UnknownPool",
            Self::OutsidePools { .. } => "OutsidePools",
            Self::AcrossPools { .. } => "AcrossPools",
            Self::AvoidedAddress { .. } => "AvoidedAddress",
            Self::PoolNotForService { .. } => "PoolNotForService",
            Self::RequestedFamily { .. } => "RequestedFamily",
            Self::RequestedPool { .. } => "RequestedPool",
            Self::InUse { .. } => "InUse",
            Self::PortInUse { .. } => "PortInUse",
            Self::NoClusterIps => "NoClusterIps",
            Self::NotEnoughClusterIps => "NotEnoughClusterIps",
            Self::RequestedTwice { .. } => "RequestedTwice",
            Self::RequestNotAnAddress { .. } => "RequestNotAnAddress",
            Self::RequestTooLong { .. } => "RequestTooLong",
            Self::RequestSameFamily { .. } => "RequestSameFamily",
        }
    }
}

/// `"a" "b"`: the form in which MetalLB prints a list of addresses.
#[must_use]
pub fn quoted(addresses: &[IpAddr]) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    list.join(" ")
}

fn sentences(tried: &[Tried], more: usize) -> String {
    let pools: Vec<String> = tried.iter().map(|one| format!("pool {} {}", one.pool, one.why)).collect();
    match (pools.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", pools.join(", ")),
        (false, more) => format!(": {} and {more} more pools", pools.join(", ")),
    }
}

/// At most five by name: the text goes into events and conditions.
fn names(services: &[ServiceKey]) -> String {
    let list: Vec<String> = services.iter().take(5).map(ToString::to_string).collect();
    match services.len().saturating_sub(list.len()) {
        0 => list.join(","),
        more => format!("{} and {more} more", list.join(",")),
    }
}

fn known_pools(known: &[String]) -> String {
    match known {
        [] => format!("{} names it, and there is no IPAddressPool in force", annotation::ADDRESS_POOL),
        some => format!(
            "{} must name an IPAddressPool in force, such as {}",
            annotation::ADDRESS_POOL,
            some.join(", ")
        ),
    }
}

fn request_advice(field: &str) -> String {
    if field == annotation::LOAD_BALANCER_IPS {
        return format!(
            "{field} takes one address, such as 10.0.4.20, or one of each family, such as 10.0.4.20,fd00::20"
        );
    }
    format!("{field} takes one address, such as 10.0.4.20")
}

fn family_advice(field: &str, families: &[IpFamily]) -> String {
    let families: Vec<String> = families.iter().map(ToString::to_string).collect();
    if families.len() > 1 && field != annotation::LOAD_BALANCER_IPS {
        return format!("{field} takes one address alone, write both in {}", annotation::LOAD_BALANCER_IPS);
    }
    format!("{field} must name one {} address", families.join(" and one "))
}

fn family_gap(addresses: &[IpAddr], families: &[IpFamily]) -> String {
    for family in families {
        if !addresses.iter().any(|address| IpFamily::of(*address) == *family) {
            return format!("no {family} address is requested, but the service has that family");
        }
    }
    for address in addresses {
        let family = IpFamily::of(*address);
        if !families.contains(&family) {
            return format!("the service has no {family} clusterIP");
        }
    }
    "the families differ".to_owned()
}
