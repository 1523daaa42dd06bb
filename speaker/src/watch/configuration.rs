//! The configuration objects of Herald's namespace, and the checked configuration made of them.
//!
//! The only objects that a speaker keeps whole: they are few, and each change of one is checked against all others.
//! An object that cannot even be read keeps its last readable version. Leaves out the checks, which are `api::config`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::config::{Config, Kind, ObjectRef, PasswordSecret, Rejection, Resources, TcpAo, TcpAoFault};
use api::selector::Labels;
use api::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool};
use api::v1beta2::BGPPeer;
use kube::ResourceExt;
use runtime::watch::{Change, Guarded, Mirror};

use super::convert::SlimSecret;

/// What was made of the configuration objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReport {
    /// Whether the objects have been read completely once; until then the rest is empty.
    pub loaded: bool,
    /// What is in force, with what is accepted and still worth saying.
    pub config: Arc<Config>,
    /// What was not accepted on this node, sorted.
    pub rejections: Vec<Rejection>,
    /// Objects that cannot be read, sorted, each with the reader's complaint.
    pub unreadable: BTreeMap<ObjectRef, String>,
}

impl ConfigReport {
    /// Whether something is not in force as written.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !self.rejections.is_empty() || !self.unreadable.is_empty()
    }

    /// One sentence for each object that is not in force as written, sorted.
    pub fn complaints(&self) -> impl Iterator<Item = (&ObjectRef, String)> {
        let rejected =
            self.rejections.iter().map(|rejection| (&rejection.object, rejection.reason.to_string()));
        rejected.chain(self.unreadable.iter().map(|(object, error)| (object, error.clone())))
    }
}

/// What one Secret is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    password: PasswordSecret,
    tcp_ao: Result<TcpAo, TcpAoFault>,
}

/// The objects, and the last configuration made of them.
#[derive(Debug)]
pub struct Configuration {
    pools: Objects<IPAddressPool>,
    peers: Objects<BGPPeer>,
    advertisements: Objects<BGPAdvertisement>,
    communities: Objects<Community>,
    bfd_profiles: Objects<BFDProfile>,
    secrets: Mirror<String, Keys>,
    in_force: Arc<Config>,
    rejections: Vec<Rejection>,
    changed: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            pools: Objects::new(Kind::IPAddressPool),
            peers: Objects::new(Kind::BGPPeer),
            advertisements: Objects::new(Kind::BGPAdvertisement),
            communities: Objects::new(Kind::Community),
            bfd_profiles: Objects::new(Kind::BFDProfile),
            secrets: Mirror::new(),
            in_force: Arc::default(),
            rejections: Vec::new(),
            changed: true,
        }
    }
}

impl Configuration {
    /// A pool changed.
    pub fn take_pool(&mut self, change: Change<Guarded<IPAddressPool>>) {
        self.changed |= self.pools.take(change);
    }

    /// A peer changed.
    pub fn take_peer(&mut self, change: Change<Guarded<BGPPeer>>) {
        self.changed |= self.peers.take(change);
    }

    /// An advertisement changed.
    pub fn take_advertisement(&mut self, change: Change<Guarded<BGPAdvertisement>>) {
        self.changed |= self.advertisements.take(change);
    }

    /// Community names changed.
    pub fn take_community(&mut self, change: Change<Guarded<Community>>) {
        self.changed |= self.communities.take(change);
    }

    /// A BFD profile changed.
    pub fn take_bfd_profile(&mut self, change: Change<Guarded<BFDProfile>>) {
        self.changed |= self.bfd_profiles.take(change);
    }

    /// A Secret changed; only what signs sessions is kept.
    pub fn take_secret(&mut self, change: Change<SlimSecret>) {
        match change {
            Change::Restarted => self.secrets.begin(),
            Change::Apply(secret) => {
                let keys = Keys { password: secret.password(), tcp_ao: secret.tcp_ao() };
                let before = self.secrets.apply(secret.name_any(), Some(keys.clone()));
                self.changed |= before.as_ref() != Some(&keys);
            }
            Change::Delete(secret) => self.changed |= self.secrets.apply(secret.name_any(), None).is_some(),
            Change::Synced => self.changed |= !self.secrets.sweep().is_empty(),
        }
    }

    /// The checked configuration, if an object changed since the last call. Call it only when all kinds are complete:
    /// half of the objects would be rejected for the lack of the other half.
    pub fn build(&mut self) -> Option<Arc<Config>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let resources = Resources {
            pools: self.pools.all(),
            peers: self.peers.all(),
            advertisements: self.advertisements.all(),
            communities: self.communities.all(),
            bfd_profiles: self.bfd_profiles.all(),
            // Nothing here acts on them; the controller says so on each of them.
            l2_advertisements: Vec::new(),
            secrets: self.secrets.iter().map(|(name, keys)| (name.clone(), keys.password.clone())).collect(),
            tcp_ao_secrets: self
                .secrets
                .iter()
                .map(|(name, keys)| (name.clone(), keys.tcp_ao.clone()))
                .collect(),
        };
        let (config, rejections) = Config::build(&resources, &self.in_force);
        self.in_force = Arc::new(config);
        self.rejections = rejections;
        Some(Arc::clone(&self.in_force))
    }

    /// The report on the last configuration, as it concerns a node with these labels.
    #[must_use]
    pub fn report(&self, node_labels: Option<&Labels>) -> ConfigReport {
        let mut rejections = self.rejections.clone();
        if let Some(labels) = node_labels {
            rejections.extend(self.in_force.peers_on(labels).duplicates);
        }
        rejections.sort();
        rejections.dedup();
        let mut unreadable = self.pools.unreadable();
        unreadable.extend(self.peers.unreadable());
        unreadable.extend(self.advertisements.unreadable());
        unreadable.extend(self.communities.unreadable());
        unreadable.extend(self.bfd_profiles.unreadable());
        ConfigReport { loaded: true, config: Arc::clone(&self.in_force), rejections, unreadable }
    }
}

/// The objects of one kind.
#[derive(Debug)]
struct Objects<K> {
    kind: Kind,
    /// The last readable version of each.
    readable: Mirror<String, Box<K>>,
    /// What is wrong with the present version of some of them.
    complaints: Mirror<String, String>,
}

impl<K: kube::Resource<DynamicType = ()> + Clone> Objects<K> {
    fn new(kind: Kind) -> Self {
        Self { kind, readable: Mirror::new(), complaints: Mirror::new() }
    }

    /// Whether anything changed by it.
    fn take(&mut self, change: Change<Guarded<K>>) -> bool {
        match change {
            Change::Restarted => {
                self.readable.begin();
                self.complaints.begin();
                false
            }
            Change::Apply(Guarded(Ok(object))) => {
                let name = object.name_any();
                self.complaints.apply(name.clone(), None);
                self.readable.apply(name, Some(Box::new(object)));
                true
            }
            Change::Apply(Guarded(Err(invalid))) => {
                let name = invalid.metadata.name.unwrap_or_default();
                self.readable.keep(&name);
                self.complaints.apply(name, Some(invalid.error));
                true
            }
            Change::Delete(object) => {
                let name = object.name_any();
                self.complaints.apply(name.clone(), None);
                self.readable.apply(name, None);
                true
            }
            Change::Synced => {
                let gone = self.readable.sweep();
                let healed = self.complaints.sweep();
                !gone.is_empty() || !healed.is_empty()
            }
        }
    }

    fn all(&self) -> Vec<K> {
        self.readable.values().map(|object| K::clone(object)).collect()
    }

    fn unreadable(&self) -> BTreeMap<ObjectRef, String> {
        let complaint =
            |(name, error): (&String, &String)| (ObjectRef::new(self.kind, name.as_str()), error.clone());
        self.complaints.iter().map(complaint).collect()
    }
}
