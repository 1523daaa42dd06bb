//! What a speaker answers on its local socket about its routes and about one Service: `GET /routes` and
//! `GET /why?service=NAMESPACE/NAME`.
//!
//! The answers are not stored in the API, so they may be as long as there are routes; fields are only ever added. The
//! first routes are in the SpeakerState as well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reason::WhyReason;

/// The answer to `GET /routes`: everything that this node wants its routers to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutesReport {
    /// Name of the node.
    pub node: String,
    /// Whether the cluster has been read completely; until then there are no routes, and that means nothing.
    pub synced: bool,
    /// The routes, sorted by prefix; a prefix that routers are told differently has several.
    #[serde(default)]
    pub routes: Vec<RouteState>,
}

/// One prefix with one set of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteState {
    /// The prefix, as `10.0.4.1/32`.
    pub prefix: String,
    /// LOCAL_PREF towards iBGP peers; unset means 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC, where one is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// How often our AS number stands in the path beyond the one time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub prepend: u8,
    /// Standard, large and extended communities in their usual text forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// The sessions over which routers are to know it, sorted by name. A session that does not carry the prefix's address
    /// family is left out; where none does, nobody is told.
    #[serde(default)]
    pub peers: Vec<RoutePeer>,
    /// The Services behind it, as namespace and name with a slash between them; the first 16.
    #[serde(default)]
    pub services: Vec<String>,
    /// How many Services there are behind it.
    #[serde(default)]
    pub services_total: u32,
}

impl RouteState {
    /// Whether it is written to every session that is to carry it, and some session is.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !self.peers.is_empty() && self.peers.iter().all(|peer| peer.told >= Told::Sent)
    }
}

// serde hands a reference.
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Most Services that one route lists; `servicesTotal` counts all of them.
pub const MAX_SERVICES_LISTED: usize = 16;

/// One session of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutePeer {
    /// Name of the BGPPeer; for a router of a `peerRange`, `NAME@ADDRESS`.
    pub peer: String,
    /// How far it is on this session.
    pub told: Told,
}

/// Whether a router knows a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// The session is not Established.
    #[default]
    SessionDown,
    /// The session is Established, and not everything has been written to it yet.
    Pending,
    /// Written to the session.
    Sent,
    /// Written, and the router's TCP has acknowledged it.
    Acknowledged,
}

impl Told {
    /// The word that tables show.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SessionDown => "session-down",
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Acknowledged => "acked",
        }
    }
}

/// The answer to `GET /why`: what had to hold for a Service to be announced from this node, in the order in which it
/// is asked, up to what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyReport {
    /// Name of the node.
    pub node: String,
    /// Namespace and name of the Service, with a slash between them.
    pub service: String,
    /// The facts.
    #[serde(default)]
    pub links: Vec<WhyLink>,
}

/// One fact of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyLink {
    /// What it is about, in one word: service, address, pool, advertisement, node, endpoints, peer, session, route.
    pub subject: String,
    /// Whether it holds.
    pub holds: bool,
    /// The reason in one word, as in logs and metrics, where it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The fact in words.
    pub text: String,
    /// The address of the Service that it is about, if it is about one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The BGPPeer that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

impl WhyLink {
    /// Something that holds.
    #[must_use]
    pub fn holds(subject: &str, text: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), holds: true, text: text.into(), ..Self::default() }
    }

    /// Something that does not hold, and why.
    #[must_use]
    pub fn fails(reason: WhyReason, text: impl Into<String>) -> Self {
        let (subject, word) = (reason.subject().to_owned(), Some(reason.word().to_owned()));
        Self { subject, reason: word, text: text.into(), ..Self::default() }
    }

    /// The Service has addresses and not all that it should have, in the words of its condition. What is there is decided all
    /// the same, so the chain goes on.
    #[must_use]
    pub fn lacks(words: &str) -> Self {
        Self::fails(WhyReason::NoIpAllocated, format!("not all is well with its addresses: {words}"))
    }

    /// The same about one address.
    #[must_use]
    pub fn about(mut self, address: Option<impl ToString>) -> Self {
        self.address = address.map(|address| address.to_string());
        self
    }

    /// The same about one peer.
    #[must_use]
    pub fn towards(mut self, peer: &str) -> Self {
        self.peer = Some(peer.to_owned());
        self
    }
}
