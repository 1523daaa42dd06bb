//! `Config`: the checked form of all configuration objects.
//!
//! [`Config::build`] looks at each object alone first and then at what they say about each other. An object that cannot
//! be accepted is rejected alone, with a reason; its last good version stays in force. Two things fail closed instead,
//! because carrying on would be unsafe: a peer whose password or BFD profile is missing stays down.
//!
//! Whatever depends on one Service or one node (conflicting LOCAL_PREF, endpoints, node labels) is decided by the
//! speaker; here is only [`Config::peers_on`], because two peers with one address may live on different nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool, L2Advertisement};
use crate::v1beta2::BGPPeer;

mod advertisement;
mod alias;
mod bfd_profile;
mod notice;
mod password;
mod peer;
mod pool;
mod rejection;
mod router;
mod session_key;
mod tcp_ao;
#[cfg(test)]
mod tests;

pub use advertisement::{Advertisement, AdvertisementRefusal, MAX_PREPEND, MAX_WIDTH};
pub use alias::Aliases;
pub use bfd_profile::BfdProfile;
pub use notice::Notice;
pub use password::{Password, PasswordSecret};
pub use peer::{Peer, PeerRefusal, PeersOnNode, RemoteAsn};
pub use pool::{Pool, ServiceAllocation};
pub use rejection::{Rejection, RejectionReason};
pub use router::RouterAt;
pub use session_key::SessionKey;
pub use tcp_ao::{TcpAo, TcpAoAlgorithm, TcpAoFault};

/// All configuration objects of Herald's namespace, in any order.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Pools.
    pub pools: Vec<IPAddressPool>,
    /// Peers.
    pub peers: Vec<BGPPeer>,
    /// Advertisements.
    pub advertisements: Vec<BGPAdvertisement>,
    /// Community names.
    pub communities: Vec<Community>,
    /// BFD profiles.
    pub bfd_profiles: Vec<BFDProfile>,
    /// Advertisements by ARP and NDP, which are only reported.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// What the Secrets of the namespace hold for TCP MD5, by name.
    pub secrets: BTreeMap<String, PasswordSecret>,
    /// What the same Secrets hold for TCP-AO, by name.
    pub tcp_ao_secrets: BTreeMap<String, Result<TcpAo, TcpAoFault>>,
}

/// What is in force, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Pools.
    pub pools: BTreeMap<String, Pool>,
    /// Peers, those that must stay down included.
    pub peers: BTreeMap<String, Peer>,
    /// Advertisements, those that must wait included.
    pub advertisements: BTreeMap<String, Advertisement>,
    /// BFD profiles.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
    /// Names for communities, by the object that defines them.
    pub aliases: BTreeMap<String, Aliases>,
    /// What is accepted and still worth saying, sorted by object.
    pub notices: Vec<(ObjectRef, Notice)>,
}

impl Config {
    /// Checks all objects. A rejected object keeps its version from `last_good`, as far as that agrees with the others.
    ///
    /// Rejections are sorted by object. The same objects in any order give the same answer.
    #[must_use]
    pub fn build(resources: &Resources, last_good: &Self) -> (Self, Vec<Rejection>) {
        let mut work = Work { resources, last_good, config: Self::default(), rejections: Vec::new() };
        work.build_pools();
        work.build_aliases();
        work.build_advertisements();
        work.build_bfd_profiles();
        work.build_peers();
        work.build_l2_notices();
        let Work { mut config, mut rejections, .. } = work;
        config.notices.sort();
        rejections.sort();
        (config, rejections)
    }

    /// The pool that holds the address.
    #[must_use]
    pub fn pool_of(&self, ip: IpAddr) -> Option<&Pool> {
        self.pools.values().find(|pool| pool.contains(ip))
    }
}

/// What is built, and what went wrong on the way.
struct Work<'a> {
    resources: &'a Resources,
    last_good: &'a Config,
    config: Config,
    rejections: Vec<Rejection>,
}

impl Work<'_> {
    fn reject(&mut self, kind: Kind, name: &str, reason: RejectionReason, in_force: bool) {
        self.rejections.push(Rejection { object: ObjectRef::new(kind, name), reason, in_force });
    }

    fn notice(&mut self, kind: Kind, name: &str, notice: Notice) {
        self.config.notices.push((ObjectRef::new(kind, name), notice));
    }

    fn build_l2_notices(&mut self) {
        for object in &self.resources.l2_advertisements {
            self.notice(Kind::L2Advertisement, name_of(&object.metadata), Notice::L2Inactive);
        }
    }
}

/// A configuration object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The object of this kind and name.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// Kind and name, as `IPAddressPool home`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// The kinds of configuration objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A pool.
    IPAddressPool,
    /// A peer.
    BGPPeer,
    /// An advertisement by BGP.
    BGPAdvertisement,
    /// Names for communities.
    Community,
    /// A BFD profile.
    BFDProfile,
    /// An advertisement by ARP and NDP.
    L2Advertisement,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::IPAddressPool,
        Self::BGPPeer,
        Self::BGPAdvertisement,
        Self::Community,
        Self::BFDProfile,
        Self::L2Advertisement,
    ];

    /// The kind as the API spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IPAddressPool => "IPAddressPool",
            Self::BGPPeer => "BGPPeer",
            Self::BGPAdvertisement => "BGPAdvertisement",
            Self::Community => "Community",
            Self::BFDProfile => "BFDProfile",
            Self::L2Advertisement => "L2Advertisement",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn name_of(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// Oldest first, then by name: the order in which objects win against each other.
fn by_age<K>(objects: &[K], meta: impl Fn(&K) -> &ObjectMeta) -> Vec<&K> {
    let mut sorted: Vec<&K> = objects.iter().collect();
    sorted.sort_by(|a, b| age(meta(a)).cmp(&age(meta(b))));
    sorted
}

fn age(meta: &ObjectMeta) -> (Option<&Time>, &str) {
    (meta.creation_timestamp.as_ref(), name_of(meta))
}
