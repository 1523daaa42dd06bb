//! Everything the controller watches, as one stream.
//!
//! Leaves out what the objects mean. Secrets are not watched: passwords are the speakers' business.

use std::pin::Pin;

use api::service::SlimService;
use api::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool, L2Advertisement};
use api::v1beta2::BGPPeer;
use futures::stream::{SelectAll, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use runtime::chance::Jitter;
use runtime::watch::{Change, Guarded, Query, watch};

/// One change of one of the watched kinds.
#[derive(Debug)]
pub(crate) enum Input {
    /// A Service of type LoadBalancer, in any namespace.
    Service(Change<SlimService>),
    /// A Namespace (its labels).
    Namespace(Change<PartialObjectMeta<Namespace>>),
    /// A pool.
    Pool(Change<Guarded<IPAddressPool>>),
    /// A peer.
    Peer(Change<Guarded<BGPPeer>>),
    /// An advertisement.
    Advertisement(Change<Guarded<BGPAdvertisement>>),
    /// Names for communities.
    Community(Change<Guarded<Community>>),
    /// A BFD profile.
    BfdProfile(Change<Guarded<BFDProfile>>),
    /// An advertisement by ARP and NDP.
    L2Advertisement(Change<Guarded<L2Advertisement>>),
}

/// The merged watches.
pub(crate) type Inputs = SelectAll<Pin<Box<dyn Stream<Item = Input> + Send>>>;

/// Opens all watches; configuration in `namespace` only.
pub(crate) fn inputs(client: &Client, namespace: &str, seed: u64) -> Inputs {
    let mut seeds = Jitter::new(seed);
    let services = Query::fields("spec.type=LoadBalancer");
    let all = || Query::everything();
    let services = watch(Api::<SlimService>::all(client.clone()), services, seeds.draw());
    let namespaces = watch(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), all(), seeds.draw());
    let pools = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let peers = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let advertisements = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let communities = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let profiles = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let l2 = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    select_all([
        services.map(Input::Service).boxed(),
        namespaces.map(Input::Namespace).boxed(),
        pools.map(Input::Pool).boxed(),
        peers.map(Input::Peer).boxed(),
        advertisements.map(Input::Advertisement).boxed(),
        communities.map(Input::Community).boxed(),
        profiles.map(Input::BfdProfile).boxed(),
        l2.map(Input::L2Advertisement).boxed(),
    ])
}
