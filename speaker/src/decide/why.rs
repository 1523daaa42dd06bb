//! What a decision found true before it came to its end, for the person who asks why.
//!
//! The rules themselves report here, so that the chain of facts cannot differ from the decision. Leaves out what
//! comes after the decision: peers, sessions and the wire.

use std::fmt;
use std::net::IpAddr;

use api::service::TrafficPolicy;

use super::snapshot::{EndpointCounts, Leaving};
use super::verdict::{AddressFamily, Reason, Verdict};
use super::width::Choice;

/// A decision and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was decided.
    pub verdict: Verdict,
    /// What was asked, in order.
    pub steps: Vec<Step>,
}

/// One thing that was asked on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The address that it is about; `None` for the Service as a whole.
    pub address: Option<IpAddr>,
    /// What was found; the reason is the last step of its address.
    pub outcome: Result<Finding, Reason>,
}

/// Something that has to hold for an address to be announced, and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The Service is of type LoadBalancer and of our class.
    LoadBalancer,
    /// It has these addresses.
    Addresses(Vec<IpAddr>),
    /// Not all is well with them, in the controller's words: one family is missing, or another controller writes there.
    /// What is there is decided all the same.
    Lacks(Box<str>),
    /// The address belongs to a pool.
    Pool {
        /// Its name.
        pool: String,
        /// The pool does not contain the address any more; it once gave it.
        kept: bool,
    },
    /// These advertisements select pool and node.
    OnThisNode(Vec<String>),
    /// These of them select the Service, too, are in force and agree with each other.
    Usable(Vec<String>),
    /// Policy Local narrows these to the prefix of longer ones, which speak in their place.
    GivesWay(Vec<String>),
    /// Nothing bars the node.
    NodeStays,
    /// The node takes leave, and still announces.
    NodeLeaves(Leaving),
    /// Traffic that arrives here finds an endpoint.
    Endpoints {
        /// `spec.externalTrafficPolicy`.
        policy: TrafficPolicy,
        /// The family of the address.
        family: AddressFamily,
        /// The endpoints of that family.
        counts: EndpointCounts,
    },
    /// No endpoint could serve, and these advertisements announce all the same.
    KeptWithoutEndpoints(Vec<String>),
    /// The advertisement bounds the number of nodes, and this one is among them.
    Chosen(Choice),
    /// Other nodes are it now; this one stays for a moment, until they announce.
    HandsOver(Choice),
    /// The advertisement bounds the number of nodes, and no speaker has said that it could announce this.
    NobodyKnownToBeAble,
    /// An aggregate would draw traffic for what other nodes serve, so the address is announced by itself.
    Narrowed {
        /// The aggregation length as configured.
        length: u8,
    },
}

impl Finding {
    /// What it is about, in one word, as [`api::herald::WhyReason::subject`] says it of what does not hold.
    #[must_use]
    pub fn subject(&self) -> &'static str {
        match self {
            Self::LoadBalancer => "service",
            Self::Addresses(_) | Self::Lacks(_) => "address",
            Self::Pool { .. } => "pool",
            Self::OnThisNode(_) | Self::Usable(_) | Self::GivesWay(_) => "advertisement",
            Self::NodeStays | Self::NodeLeaves(_) => "node",
            Self::Endpoints { .. } | Self::KeptWithoutEndpoints(_) => "endpoints",
            Self::Chosen(_) | Self::HandsOver(_) | Self::NobodyKnownToBeAble => "width",
            Self::Narrowed { .. } => "prefix",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadBalancer => f.write_str("is of type LoadBalancer and of this speaker's class"),
            Self::Addresses(addresses) => {
                write!(f, "has {}", list(addresses.iter().map(ToString::to_string)))
            }
            Self::Lacks(words) => f.write_str(words),
            Self::Pool { pool, kept: false } => write!(f, "IPAddressPool \"{pool}\" contains it"),
            Self::Pool { pool, kept: true } => {
                write!(f, "IPAddressPool \"{pool}\" gave it, and does not contain it any more")
            }
            Self::OnThisNode(names) => {
                write!(f, "pool and node are selected by {}", list(names.iter().cloned()))
            }
            Self::Usable(names) => write!(f, "the Service is selected by {}", list(names.iter().cloned())),
            Self::GivesWay(names) => write!(
                f,
                "with externalTrafficPolicy Local the aggregate of {} gives way to them",
                list(names.iter().cloned())
            ),
            Self::NodeStays => f.write_str("takes part in load balancing"),
            Self::NodeLeaves(leaving) => {
                write!(f, "{leaving}: routes ask to be avoided (GRACEFUL_SHUTDOWN)")
            }
            Self::KeptWithoutEndpoints(names) => {
                let names = list(names.iter().cloned());
                write!(f, "none is ready; {names} keeps the route (withoutEndpoints: Keep)")
            }
            Self::Chosen(choice) => write!(f, "is among the {choice}"),
            Self::HandsOver(choice) => {
                write!(f, "goes on announcing for a moment, until others do: it is not among the {choice}")
            }
            Self::NobodyKnownToBeAble => f.write_str(
                "every node announces, whatever maxNodes says: no ready speaker has said that it could",
            ),
            Self::Narrowed { length } => write!(
                f,
                "announced by itself and not as /{length}: with externalTrafficPolicy Local other nodes serve the rest"
            ),
            Self::Endpoints { policy, family, counts } => {
                let EndpointCounts { local_ready, local_serving, any_ready, any_serving, .. } = counts;
                let (ready, serving, place) = match policy {
                    TrafficPolicy::Local => (local_ready, local_serving, "on this node"),
                    TrafficPolicy::Cluster => (any_ready, any_serving, "in the cluster"),
                };
                match ready {
                    0 => write!(f, "{serving} {family} terminating and still serving {place}"),
                    _ => write!(f, "{ready} {family} ready {place}"),
                }
            }
        }
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// Who hears what a decision finds.
pub(super) trait Witness {
    /// This holds.
    fn hear(&mut self, address: Option<IpAddr>, finding: impl FnOnce() -> Finding);
    /// This is in the way.
    fn refuse(&mut self, address: Option<IpAddr>, reason: &Reason);
}

/// Nobody asked: nothing is even put into words.
pub(super) struct Unheard;

impl Witness for Unheard {
    fn hear(&mut self, _: Option<IpAddr>, _: impl FnOnce() -> Finding) {}

    fn refuse(&mut self, _: Option<IpAddr>, _: &Reason) {}
}

impl Witness for Vec<Step> {
    fn hear(&mut self, address: Option<IpAddr>, finding: impl FnOnce() -> Finding) {
        self.push(Step { address, outcome: Ok(finding()) });
    }

    fn refuse(&mut self, address: Option<IpAddr>, reason: &Reason) {
        self.push(Step { address, outcome: Err(reason.clone()) });
    }
}
