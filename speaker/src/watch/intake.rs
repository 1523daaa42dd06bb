//! Takes facts from the watches in any order and gives the plan that follows, once all of them are complete.
//!
//! No await and no clock in here, so that every order of events can be tested as data.

use std::collections::BTreeMap;
use std::time::Instant;

use api::service::{ServiceKey, SlimService, class_is_ours};
use api::v1beta1::{BFDProfile, BGPAdvertisement, Community, IPAddressPool};
use api::v1beta2::BGPPeer;
use runtime::watch::{Barrier, Change, Guarded, Mirror, Synced as Token};

use super::WatchSettings;
use super::configuration::{ConfigReport, Configuration};
use super::convert::{SlimSecret, SlimSlice, SlimState, service_facts};
use super::endpoints::Endpoints;
use super::farewell::Farewell;
use super::node::{NodeView, SlimNode};
use super::speakers::Speakers;
use crate::decide::announcer::{Planned, Synced};
use crate::decide::snapshot::{EndpointFacts, Leaving, NodeFacts};
use crate::decide::width::Hosts;
use crate::decide::{Announcer, Explanation};

/// One thing that one watch says.
#[derive(Debug)]
pub enum Fact {
    /// The own Node.
    Node(Change<SlimNode>),
    /// An IPAddressPool.
    Pool(Change<Guarded<IPAddressPool>>),
    /// A BGPPeer.
    Peer(Change<Guarded<BGPPeer>>),
    /// A BGPAdvertisement.
    Advertisement(Change<Guarded<BGPAdvertisement>>),
    /// A Community.
    Community(Change<Guarded<Community>>),
    /// A BFDProfile.
    BfdProfile(Change<Guarded<BFDProfile>>),
    /// A Secret of the type that holds passwords.
    Secret(Change<SlimSecret>),
    /// A Service of type LoadBalancer, whatever its class.
    Service(Change<SlimService>),
    /// An EndpointSlice.
    Slice(Change<SlimSlice>),
    /// EndpointSlices are not watched any more, because nothing depended on them.
    SlicesForgotten,
    /// The ConfigurationState of a speaker.
    State(Change<SlimState>),
    /// ConfigurationStates are not watched any more, because nothing depended on them.
    StatesForgotten,
}

/// What EndpointSlices are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceUse {
    /// To be counted.
    Counts,
    /// For the nodes of ready endpoints as well.
    Hosts,
}

/// The watches, by what they follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Node,
    Pool,
    Peer,
    Advertisement,
    Community,
    BfdProfile,
    Secret,
    Service,
    Slice,
}

impl Source {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Node, "node"),
        (Self::Pool, "ipaddresspools"),
        (Self::Peer, "bgppeers"),
        (Self::Advertisement, "bgpadvertisements"),
        (Self::Community, "communities"),
        (Self::BfdProfile, "bfdprofiles"),
        (Self::Secret, "secrets"),
        (Self::Service, "services"),
        (Self::Slice, "endpointslices"),
    ];
}

impl Fact {
    /// Whose watch is complete with this fact, if that is what it says.
    fn completes(&self) -> Option<Source> {
        fn synced<K>(change: &Change<K>) -> bool {
            matches!(change, Change::Synced)
        }
        let (source, synced) = match self {
            Self::Node(change) => (Source::Node, synced(change)),
            Self::Pool(change) => (Source::Pool, synced(change)),
            Self::Peer(change) => (Source::Peer, synced(change)),
            Self::Advertisement(change) => (Source::Advertisement, synced(change)),
            Self::Community(change) => (Source::Community, synced(change)),
            Self::BfdProfile(change) => (Source::BfdProfile, synced(change)),
            Self::Secret(change) => (Source::Secret, synced(change)),
            Self::Service(change) => (Source::Service, synced(change)),
            Self::Slice(change) => (Source::Slice, synced(change)),
            // Not waited for: until it is known what others could, every node announces.
            Self::SlicesForgotten | Self::State(_) | Self::StatesForgotten => return None,
        };
        synced.then_some(source)
    }
}

/// Everything that the watch side knows.
#[derive(Debug)]
pub struct Intake {
    class: Option<String>,
    barrier: Barrier,
    tokens: BTreeMap<Source, Token>,
    announcer: Announcer,
    /// Which Services of our class there are; what is known of them is with the announcer.
    services: Mirror<ServiceKey, ()>,
    endpoints: Endpoints,
    speakers: Speakers,
    /// Whether the Node object is there; `node` outlives it.
    node_object: Mirror<(), ()>,
    node: Option<NodeView>,
    node_reads: u64,
    farewell: Farewell,
    /// Whether a plan was given, so that routers may have been told something.
    planned: bool,
    configuration: Configuration,
    report: Option<ConfigReport>,
    labels_changed: bool,
}

impl Intake {
    /// Knows nothing yet; the barrier stays closed until every watch has said that it is complete.
    #[must_use]
    pub fn new(settings: &WatchSettings, barrier: &Barrier) -> Self {
        Self {
            class: settings.class.clone(),
            barrier: barrier.clone(),
            tokens: Source::ALL.into_iter().map(|(source, name)| (source, barrier.register(name))).collect(),
            announcer: Announcer::new(settings.exclude_label).on(&settings.node),
            services: Mirror::new(),
            endpoints: Endpoints::new(&settings.node),
            speakers: Speakers::new(&settings.namespace),
            node_object: Mirror::new(),
            node: None,
            node_reads: 0,
            farewell: Farewell::default(),
            planned: false,
            configuration: Configuration::default(),
            report: None,
            labels_changed: false,
        }
    }

    /// Takes what a watch says.
    pub fn take(&mut self, fact: Fact) {
        let completes = fact.completes();
        match fact {
            Fact::Node(change) => self.take_node(change),
            Fact::Pool(change) => self.configuration.take_pool(change),
            Fact::Peer(change) => self.configuration.take_peer(change),
            Fact::Advertisement(change) => self.configuration.take_advertisement(change),
            Fact::Community(change) => self.configuration.take_community(change),
            Fact::BfdProfile(change) => self.configuration.take_bfd_profile(change),
            Fact::Secret(change) => self.configuration.take_secret(change),
            Fact::Service(change) => self.take_service(change),
            Fact::Slice(change) => {
                self.speakers.hear_slice(&change);
                let sums = self.endpoints.take(change, |service| self.announcer.endpoints(service));
                for (service, sum) in sums {
                    self.announcer.set_hosts(service.clone(), self.endpoints.hosts_of(&service));
                    self.announcer.set_endpoints(service, sum);
                }
            }
            Fact::SlicesForgotten => {
                self.speakers.forget_slices();
                for service in self.endpoints.forget() {
                    self.announcer.set_hosts(service.clone(), Hosts::default());
                    self.announcer.set_endpoints(service, EndpointFacts::default());
                }
            }
            Fact::State(change) => self.speakers.hear_state(&change),
            Fact::StatesForgotten => self.speakers.forget_states(),
        }
        if let Some(token) = completes.and_then(|source| self.tokens.get(&source)) {
            token.mark();
        }
    }

    /// The plan that follows from all facts at this moment, if it is a new one and all watches have been complete.
    pub fn plan(&mut self, now: Instant) -> Option<Planned> {
        if !self.barrier.is_synced() {
            return None;
        }
        if let Some(node) = &self.node {
            let drain = self.farewell.drain(now, self.planned);
            self.announcer.set_node(Some(NodeFacts { drain, ..node.facts.clone() }));
        }
        self.planned = true;
        self.announcer.set_time(now);
        if let Some(fleet) = self.speakers.take_fleet() {
            self.announcer.set_fleet(&fleet);
        }
        let labels_changed = std::mem::take(&mut self.labels_changed);
        let config = self.configuration.build();
        if config.is_some() || labels_changed {
            let labels = self.node.as_ref().map(|node| &node.facts.labels);
            self.report = Some(self.configuration.report(labels));
        }
        if let Some(config) = config {
            self.announcer.set_config(config);
        }
        let planned = self.announcer.plan(Synced::all_watches());
        self.endpoints.keep_hosts(self.announcer.bounds_any());
        planned
    }

    /// When to ask for a plan again although no fact may have come.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.farewell.due(now).into_iter().chain(self.announcer.due()).min()
    }

    /// Whether decisions depend on EndpointSlices, and on what of them; before everything was read once, they may.
    #[must_use]
    pub fn slices_needed(&self) -> Option<SliceUse> {
        let needed = !self.barrier.is_synced() || self.announcer.reads_endpoints();
        let what = if self.announcer.bounds_any() { SliceUse::Hosts } else { SliceUse::Counts };
        needed.then_some(what)
    }

    /// Whether decisions depend on what other speakers say of themselves.
    #[must_use]
    pub fn needs_states(&self) -> bool {
        self.announcer.bounds_any()
    }

    /// What was made of the configuration, if that changed since the last call.
    pub fn take_report(&mut self) -> Option<ConfigReport> {
        self.report.take()
    }

    /// How the verdict on a Service came about; `None` for a Service that is not ours, and before the first plan.
    #[must_use]
    pub fn explain(&self, service: &ServiceKey) -> Option<Explanation> {
        self.announcer.explain(service)
    }

    /// The own Node, as it was last seen.
    #[must_use]
    pub fn node(&self) -> Option<&NodeView> {
        self.node.as_ref()
    }

    /// How often the own Node was read completely. More than once means that the API server was away or has forgotten where
    /// we stood: what is known of it from before may not be true any more.
    #[must_use]
    pub fn node_reads(&self) -> u64 {
        self.node_reads
    }

    /// The uid of a Service of our class.
    #[must_use]
    pub fn uid_of(&self, service: &ServiceKey) -> Option<String> {
        self.announcer.service(service).map(|facts| facts.uid)
    }

    fn take_service(&mut self, change: Change<SlimService>) {
        match change {
            Change::Restarted => self.services.begin(),
            Change::Apply(service) => {
                let view = service.view();
                let ours = class_is_ours(view.class.as_deref(), self.class.as_deref());
                // One text of the key for all who keep it.
                let (key, _) = self.announcer.endpoints(view.key.clone());
                let before = self.services.apply(key.clone(), ours.then_some(()));
                if ours || before.is_some() {
                    self.announcer.set_service(key, ours.then(|| service_facts(view)).as_ref());
                }
            }
            Change::Delete(service) => {
                let key = service.view().key;
                self.services.apply(key.clone(), None);
                self.announcer.set_service(key, None);
            }
            Change::Synced => {
                for key in self.services.sweep() {
                    self.announcer.set_service(key, None);
                }
            }
        }
    }

    fn take_node(&mut self, change: Change<SlimNode>) {
        match change {
            Change::Restarted => self.node_object.begin(),
            Change::Apply(node) => {
                let view = node.view();
                self.node_object.apply((), Some(()));
                let labels = self.node.as_ref().map(|node| &node.facts.labels);
                self.labels_changed |= labels != Some(&view.facts.labels);
                self.farewell.hear(view.leaving);
                self.node = Some(view);
            }
            Change::Delete(_) => {
                self.node_object.apply((), None);
                self.lose_node();
            }
            Change::Synced => {
                self.node_reads += 1;
                if !self.node_object.sweep().is_empty() {
                    self.lose_node();
                }
            }
        }
    }

    /// The Node object is gone. The node itself may well be up and its object be made again in a moment, so what was
    /// known of it stays in force; only an end of the process now means removal.
    fn lose_node(&mut self) {
        if let Some(node) = &mut self.node {
            node.leaving = Some(Leaving::Deleted);
        }
    }
}

#[cfg(test)]
mod tests;
