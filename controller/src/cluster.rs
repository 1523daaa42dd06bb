//! What has been seen of the cluster: Services, namespace labels and configuration objects, and the `Config` built from
//! the latter.
//!
//! Leaves out decisions. Between a watch's restart and its end the old entries stay.

use std::fmt::Debug;

use api::config::{Config, Rejection, Resources};
use api::selector::Labels;
use api::service::{ServiceKey, ServiceView};
use api::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool, L2Advertisement, RestingAddress};
use api::v1beta2::BGPPeer;
use kube::{Resource, ResourceExt};
use runtime::watch::{Change, Guarded, Mirror};

use crate::input::{Extras, Input};
use crate::neighbour::{Place, SlimNode, SlimServiceCidr, SlimSpeakerState};
use crate::overlap::Around;
use crate::queue::Turn;
use crate::sheet::Sheet;

/// The state of the cluster as far as the watches have told it.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Services of type LoadBalancer.
    pub(crate) services: Mirror<ServiceKey, Sheet>,
    namespaces: Mirror<String, Labels>,
    nodes: Mirror<String, Place>,
    service_cidrs: Mirror<String, Place>,
    /// The networks that each node is connected to.
    connected: Mirror<String, Place>,
    /// Which of the kinds that may be missing are watched.
    extras: Extras,
    pools: Mirror<String, Box<IPAddressPool>>,
    peers: Mirror<String, Box<BGPPeer>>,
    advertisements: Mirror<String, Box<BGPAdvertisement>>,
    communities: Mirror<String, Box<Community>>,
    bfd_profiles: Mirror<String, Box<BFDProfile>>,
    l2_advertisements: Mirror<String, Box<L2Advertisement>>,
    /// What is in force.
    pub(crate) config: Config,
    /// What was not accepted as written.
    pub(crate) rejections: Vec<Rejection>,
}

/// What an input changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing that matters yet.
    Nothing,
    /// This Service; as it is now.
    Service(Box<ServiceView>),
    /// These Services exist no more, or are no longer of type LoadBalancer.
    ServicesGone(Vec<ServiceKey>),
    /// The labels of this namespace.
    Namespace(String),
    /// A node or a cluster network.
    Network,
    /// A configuration object.
    Config,
}

impl Cluster {
    /// Nothing has been seen yet.
    pub(crate) fn new(extras: Extras) -> Self {
        Self { extras, ..Self::default() }
    }

    /// Takes in one change. A Service older than what `is_stale` knows of our own writes is left as it is.
    pub(crate) fn take(&mut self, input: Input, is_stale: impl Fn(&ServiceView) -> bool) -> Effect {
        match input {
            Input::Service(change) => self.take_service(change, is_stale),
            Input::Namespace(Change::Apply(namespace)) => {
                let name = namespace.name_any();
                let labels = namespace.metadata.labels.unwrap_or_default();
                let before = self.namespaces.apply(name.clone(), Some(labels.clone()));
                if before.as_ref() == Some(&labels) { Effect::Nothing } else { Effect::Namespace(name) }
            }
            Input::Namespace(Change::Delete(namespace)) => {
                let name = namespace.name_any();
                self.namespaces.apply(name.clone(), None);
                Effect::Namespace(name)
            }
            Input::Namespace(Change::Restarted) => begin(&mut self.namespaces),
            Input::Namespace(Change::Synced) => {
                self.namespaces.sweep();
                Effect::Nothing
            }
            Input::Node(change) => locate(&mut self.nodes, change, SlimNode::place),
            Input::ServiceCidr(change) => locate(&mut self.service_cidrs, change, SlimServiceCidr::place),
            Input::SpeakerState(change) => locate(&mut self.connected, change, SlimSpeakerState::place),
            Input::Pool(change) => follow(&mut self.pools, change),
            Input::Peer(change) => follow(&mut self.peers, change),
            Input::Advertisement(change) => follow(&mut self.advertisements, change),
            Input::Community(change) => follow(&mut self.communities, change),
            Input::BfdProfile(change) => follow(&mut self.bfd_profiles, change),
            Input::L2Advertisement(change) => follow(&mut self.l2_advertisements, change),
        }
    }

    /// Whether every watch has been complete once.
    pub(crate) fn is_synced(&self) -> bool {
        self.services.is_synced()
            && self.namespaces.is_synced()
            && self.nodes.is_synced()
            && (!self.extras.service_cidrs || self.service_cidrs.is_synced())
            && (!self.extras.speaker_states || self.connected.is_synced())
            && self.pools.is_synced()
            && self.peers.is_synced()
            && self.advertisements.is_synced()
            && self.communities.is_synced()
            && self.bfd_profiles.is_synced()
            && self.l2_advertisements.is_synced()
    }

    /// Keeps a Service as it is now.
    pub(crate) fn put(&mut self, view: &ServiceView) {
        let sheet = Sheet::new(view, self.services.get(&view.key));
        self.services.apply(sheet.key.clone(), Some(sheet));
    }

    /// The Service of that name.
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<ServiceView> {
        self.services.get(key).map(Sheet::view)
    }

    /// Its place among those that are to be looked at.
    pub(crate) fn turn(&self, key: &ServiceKey) -> Option<Turn> {
        self.services.get(key).map(Sheet::turn)
    }

    /// The labels of a namespace, if it has been seen.
    pub(crate) fn labels_of(&self, namespace: &str) -> Option<&Labels> {
        self.namespaces.get(namespace)
    }

    /// What is around the pools.
    pub(crate) fn around(&self) -> Around<'_> {
        Around {
            nodes: self.nodes.iter().collect(),
            connected: self.connected.iter().collect(),
            service_cidrs: self.service_cidrs.iter().collect(),
        }
    }

    /// The pool as it stands in the API.
    pub(crate) fn pool(&self, name: &str) -> Option<&IPAddressPool> {
        self.pools.get(&name.to_owned()).map(Box::as_ref)
    }

    /// The addresses that rest, as the last leader wrote it to the pools.
    pub(crate) fn resting(&self) -> impl Iterator<Item = &RestingAddress> {
        self.pools.values().flat_map(|pool| pool.status.iter().flat_map(|status| &status.resting))
    }

    /// The configuration objects as they are now.
    pub(crate) fn resources(&self) -> Resources {
        Resources {
            pools: all(&self.pools),
            peers: all(&self.peers),
            advertisements: all(&self.advertisements),
            communities: all(&self.communities),
            bfd_profiles: all(&self.bfd_profiles),
            l2_advertisements: all(&self.l2_advertisements),
            ..Resources::default()
        }
    }

    /// Checks the configuration anew. Returns whether the pools in force changed.
    pub(crate) fn rebuild_config(&mut self) -> bool {
        let (config, rejections) = Config::build(&self.resources(), &self.config);
        let changed = config.pools != self.config.pools;
        self.config = config;
        self.rejections = rejections;
        changed
    }

    fn take_service(
        &mut self,
        change: Change<api::service::SlimService>,
        is_stale: impl Fn(&ServiceView) -> bool,
    ) -> Effect {
        match change {
            Change::Restarted => begin(&mut self.services),
            Change::Apply(service) => {
                let view = service.view();
                if is_stale(&view) && self.services.keep(&view.key) {
                    return Effect::Nothing;
                }
                self.put(&view);
                Effect::Service(Box::new(view))
            }
            Change::Delete(service) => {
                let key = service.view().key;
                self.services.apply(key.clone(), None);
                Effect::ServicesGone(vec![key])
            }
            Change::Synced => Effect::ServicesGone(self.services.sweep()),
        }
    }
}

fn all<K: Clone>(mirror: &Mirror<String, Box<K>>) -> Vec<K> {
    mirror.values().map(|object| K::clone(object)).collect()
}

fn begin<K: Ord, V>(mirror: &mut Mirror<K, V>) -> Effect {
    mirror.begin();
    Effect::Nothing
}

/// Follows a kind of object that takes up room in the network.
fn locate<K: ResourceExt>(
    mirror: &mut Mirror<String, Place>,
    change: Change<K>,
    place: impl Fn(&K) -> Place,
) -> Effect {
    match change {
        Change::Restarted => begin(mirror),
        Change::Apply(object) => {
            let place = place(&object);
            let before = mirror.apply(object.name_any(), Some(place.clone()));
            // A node tells how it is every few seconds, and where it is once.
            if before.as_ref() == Some(&place) { Effect::Nothing } else { Effect::Network }
        }
        Change::Delete(object) => {
            mirror.apply(object.name_any(), None);
            Effect::Network
        }
        Change::Synced => {
            mirror.sweep();
            Effect::Network
        }
    }
}

/// Follows a kind of configuration object. One that cannot be read keeps its last good version.
fn follow<K>(mirror: &mut Mirror<String, Box<K>>, change: Change<Guarded<K>>) -> Effect
where
    K: Resource<DynamicType = ()> + Debug,
{
    match change {
        Change::Restarted => begin(mirror),
        Change::Apply(object) => {
            let name = object.name_any();
            match object.0 {
                Ok(mut object) => {
                    // A tree as large as the object itself; whoever needs to know the managers asks for them.
                    object.meta_mut().managed_fields = None;
                    mirror.apply(name, Some(Box::new(object)));
                }
                Err(error) => {
                    let kept = mirror.keep(&name);
                    let kind = K::kind(&());
                    tracing::warn!(%kind, name, error = error.error, kept, "a configuration object cannot be read");
                }
            }
            Effect::Config
        }
        Change::Delete(object) => {
            mirror.apply(object.name_any(), None);
            Effect::Config
        }
        Change::Synced => {
            mirror.sweep();
            Effect::Config
        }
    }
}
