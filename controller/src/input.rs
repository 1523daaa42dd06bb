//! Everything the controller watches, as one stream.
//!
//! Leaves out what the objects mean. Secrets are not watched: passwords are the speakers' business.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use api::service::SlimService;
use api::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool, L2Advertisement};
use api::v1beta2::BGPPeer;
use futures::stream::{SelectAll, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};
use runtime::chance::Jitter;
use runtime::client::{CallError, call};
use runtime::watch::{Change, Guarded, Query, not_installed, watch};
use serde::de::DeserializeOwned;

use crate::neighbour::{SlimNode, SlimServiceCidr, SlimSpeakerState};

/// For the one question whether a kind exists.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// Before it is asked again.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// Before it is asked whether a kind that was missing has come: somebody installs it by hand.
const MISSING_PAUSE: Duration = Duration::from_secs(20);

/// One change of one of the watched kinds.
#[derive(Debug)]
pub(crate) enum Input {
    /// A Service of type LoadBalancer, in any namespace.
    Service(Change<SlimService>),
    /// A Namespace (its labels).
    Namespace(Change<PartialObjectMeta<Namespace>>),
    /// A node (its addresses and pod networks).
    Node(Change<SlimNode>),
    /// A network of cluster addresses.
    ServiceCidr(Change<SlimServiceCidr>),
    /// What a speaker says of its node (the networks that it is connected to).
    SpeakerState(Change<SlimSpeakerState>),
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

/// Kinds that may be missing, or may not be read. Without them less is known of the network around the pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// ServiceCIDRs (Kubernetes 1.33).
    pub(crate) service_cidrs: bool,
    /// SpeakerStates (Herald's own CRD).
    pub(crate) speaker_states: bool,
}

impl Extras {
    /// Asks the API server, until it is known.
    pub(crate) async fn ask(client: &Client, namespace: &str) -> Self {
        let cidrs = Api::<SlimServiceCidr>::all(client.clone());
        let states = Api::<SlimSpeakerState>::namespaced(client.clone(), namespace);
        let without_cidrs = "pools are not compared with the cluster's Service networks";
        let without_states = "the networks that nodes are connected to are guessed";
        Self {
            service_cidrs: is_readable(&cidrs, without_cidrs).await,
            speaker_states: is_readable(&states, without_states).await,
        }
    }
}

impl Extras {
    /// Ends when a kind that is missing here can be read: whoever goes without it begins anew then.
    pub(crate) async fn grown(self, client: &Client, namespace: &str) {
        let cidrs = Api::<SlimServiceCidr>::all(client.clone());
        let states = Api::<SlimSpeakerState>::namespaced(client.clone(), namespace);
        if self.service_cidrs && self.speaker_states {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(MISSING_PAUSE).await;
            if !self.service_cidrs && ask(&cidrs).await.is_ok()
                || !self.speaker_states && ask(&states).await.is_ok()
            {
                return;
            }
        }
    }
}

/// Opens all watches; configuration in `namespace` only.
pub(crate) fn inputs(client: &Client, namespace: &str, extras: Extras, seed: u64) -> Inputs {
    let mut seeds = Jitter::new(seed);
    let services = Query::fields("spec.type=LoadBalancer");
    let all = || Query::everything();
    let services = watch(Api::<SlimService>::all(client.clone()), services, seeds.draw());
    let namespaces = watch(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), all(), seeds.draw());
    let nodes = watch(Api::<SlimNode>::all(client.clone()), all(), seeds.draw());
    let pools = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let peers = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let advertisements = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let communities = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let profiles = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let l2 = watch(Api::namespaced(client.clone(), namespace), all(), seeds.draw());
    let mut inputs = select_all([
        services.map(Input::Service).boxed(),
        namespaces.map(Input::Namespace).boxed(),
        nodes.map(Input::Node).boxed(),
        pools.map(Input::Pool).boxed(),
        peers.map(Input::Peer).boxed(),
        advertisements.map(Input::Advertisement).boxed(),
        communities.map(Input::Community).boxed(),
        profiles.map(Input::BfdProfile).boxed(),
        l2.map(Input::L2Advertisement).boxed(),
    ]);
    if extras.service_cidrs {
        let cidrs = watch(Api::<SlimServiceCidr>::all(client.clone()), all(), seeds.draw());
        inputs.push(cidrs.map(Input::ServiceCidr).boxed());
    }
    if extras.speaker_states {
        let states = Api::<SlimSpeakerState>::namespaced(client.clone(), namespace);
        inputs.push(watch(states, all(), seeds.draw()).map(Input::SpeakerState).boxed());
    }
    inputs
}

/// Whether the API server has a kind and lets us read it. Asks until it is known.
async fn is_readable<K>(api: &Api<K>, consequence: &str) -> bool
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    loop {
        match ask(api).await {
            Ok(()) => return true,
            Err(error) if error.is_not_found() => {
                tracing::warn!(error = not_installed::<K>(), consequence, "a kind is missing");
                return false;
            }
            Err(CallError::Refused(status)) if status.code == 403 => {
                tracing::warn!(kind = %K::kind(&()), consequence, "a kind may not be read");
                return false;
            }
            Err(_) => tokio::time::sleep(ASK_PAUSE).await,
        }
    }
}

/// One small question: can the kind be read?
async fn ask<K>(api: &Api<K>) -> Result<(), CallError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    call(ASK_LIMIT, api.list(&ListParams::default().limit(1))).await.map(drop)
}
