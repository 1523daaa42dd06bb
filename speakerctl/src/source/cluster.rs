//! All speakers, through the API: one SpeakerState object a node, in Herald's namespace.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use api::herald::SpeakerState;
use api::names::SPEAKERS_SERVICE;
use api::names::label::SERVICE_NAME;
use api::service::{ServiceKey, SlimService};
use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};
use runtime::client::{Logins, Wanted, call, connect_as, usual_kubeconfig};
use runtime::watch::{Change, Query};
use serde::de::DeserializeOwned;
use tracing_subscriber::filter::LevelFilter;

use crate::absence::{Attendance, Register};
use crate::args::ReachArgs;
use crate::duplicate::{Duplicate, duplicates};
use crate::failure::{ClusterFault, Failure, Tried};
use crate::row::Report;
use crate::source::node::SlimNode;
use crate::source::slice::SlimSlice;

/// Objects a page of a list.
const PAGE: u32 = 500;

/// More pages than any cluster has nodes for; a server that always says "more" is cut off here.
const PAGES: usize = 200;

/// Asks one API server about the wanted nodes.
pub(crate) struct Cluster {
    client: Client,
    api: Api<SpeakerState>,
    nodes: Vec<String>,
    namespace: String,
    limit: Duration,
    also: Tried,
}

/// What `--watch` hears.
pub(crate) enum Turn {
    /// Every node follows; one that is not named before `Complete` is gone.
    Anew,
    Complete,
    Report(Report),
    Gone(String),
}

impl Cluster {
    /// Reads the configuration; the server itself is first asked by `list`.
    ///
    /// # Errors
    /// `Failure::Cluster` if no configuration says where the server is.
    pub(crate) async fn connect(
        reach: &ReachArgs,
        default_socket: bool,
        nodes: &[String],
    ) -> Result<Self, Failure> {
        let (also, namespace) = (Tried { default_socket }, reach.namespace.clone());
        let kubeconfig = reach.kubeconfig.clone().or_else(usual_kubeconfig);
        let wanted = Wanted {
            kubeconfig: kubeconfig.as_deref(),
            context: reach.context.as_deref(),
            logins: Logins::Run,
            component: "speakerctl",
        };
        let client = match connect_as(&wanted).await {
            Ok(client) => client,
            Err(error) => {
                return Err(Failure::Cluster {
                    also,
                    namespace,
                    fault: ClusterFault::Client(Box::new(error)),
                });
            }
        };
        let api = Api::namespaced(client.clone(), &namespace);
        Ok(Self { client, api, nodes: nodes.to_vec(), namespace, limit: reach.request_timeout, also })
    }

    /// The reports of the wanted nodes, of all nodes if none was named.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said.
    pub(crate) async fn list(&self) -> Result<Vec<Report>, Failure> {
        let mut reports = self.pages(self.selector()).await?;
        reports.retain(|report| self.wants(&report.node));
        Ok(reports)
    }

    /// Router IDs that several nodes of the cluster show, these reports among them or not. Where they are of some nodes only,
    /// and all their sessions are up, nobody else is asked.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said.
    pub(crate) async fn duplicates(&self, reports: &[Report]) -> Result<BTreeSet<Duplicate>, Failure> {
        if self.nodes.is_empty() {
            return Ok(duplicates(reports.iter().flat_map(Report::sessions)));
        }
        if reports.iter().flat_map(Report::sessions).all(|(_, session)| session.state == "Established") {
            return Ok(BTreeSet::new());
        }
        Ok(duplicates(self.pages(None).await?.iter().flat_map(Report::sessions)))
    }

    /// Which of the nodes that report are not there, not ready or without a ready speaker, as their Node objects and the
    /// EndpointSlices of the speakers' Service have it now.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said; that something may not be listed is an answer.
    pub(crate) async fn attendance(&self, reports: &[Report]) -> Result<Attendance, Failure> {
        let register = match reports {
            [] => Register { nodes: Some(Vec::new()), slices: Some(Vec::new()) },
            _ => {
                let nodes = Api::<SlimNode>::all(self.client.clone());
                let of_nodes = ListParams { field_selector: self.selector(), ..ListParams::default() };
                let slices = Api::<SlimSlice>::namespaced(self.client.clone(), &self.namespace);
                let of_speakers = ListParams::default().labels(&format!("{SERVICE_NAME}={SPEAKERS_SERVICE}"));
                let (nodes, slices) = tokio::join!(
                    self.all("nodes", &nodes, of_nodes),
                    self.all("endpointslices", &slices, of_speakers)
                );
                Register { nodes: unless_forbidden(nodes)?, slices: unless_forbidden(slices)? }
            }
        };
        Ok(register.attendance(reports.iter().map(|report| report.node.as_str()), &self.namespace))
    }

    async fn pages(&self, field_selector: Option<String>) -> Result<Vec<Report>, Failure> {
        let wanted = ListParams { field_selector, ..ListParams::default() };
        let states = self.all("speakerstates.herald-lb.io", &self.api, wanted).await?;
        Ok(states.into_iter().filter_map(report).collect())
    }

    /// All wanted objects of a kind, page by page.
    async fn all<K>(&self, what: &'static str, api: &Api<K>, wanted: ListParams) -> Result<Vec<K>, Failure>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        let mut objects = Vec::new();
        let mut params = wanted.limit(PAGE);
        for _ in 0..PAGES {
            let page = self.bounded(what, &self.namespace, api.list(&params)).await?;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => break,
            }
        }
        Ok(objects)
    }

    /// Every later change, the present state once more at first; never ends by itself.
    pub(crate) fn watch(&self) -> impl Stream<Item = Turn> {
        // The watch repairs itself and tells of trouble and recovery in the log only.
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_max_level(LevelFilter::INFO)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .init();
        let query = Query { field_selector: self.selector(), label_selector: None };
        let nodes = self.nodes.clone();
        let seed = u64::from(std::process::id());
        runtime::watch::watch(self.api.clone(), query, seed).filter_map(move |change| {
            let turn = match change {
                Change::Apply(state) => report(state).map(Turn::Report),
                Change::Delete(state) => state.metadata.name.map(Turn::Gone),
                Change::Restarted => Some(Turn::Anew),
                Change::Synced => Some(Turn::Complete),
            };
            let wanted = turn.filter(|turn| match turn {
                Turn::Report(Report { node, .. }) | Turn::Gone(node) => {
                    nodes.is_empty() || nodes.contains(node)
                }
                Turn::Anew | Turn::Complete => true,
            });
            std::future::ready(wanted)
        })
    }

    fn wants(&self, node: &String) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }

    /// One named node is selected by the server; the API cannot select two names.
    fn selector(&self) -> Option<String> {
        match self.nodes.as_slice() {
            [node] => Some(format!("metadata.name={node}")),
            [] | [_, _, ..] => None,
        }
    }

    /// The Service; `None` when there is none of that name.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said.
    pub(crate) async fn service(&self, key: &ServiceKey) -> Result<Option<SlimService>, Failure> {
        let api = Api::<SlimService>::namespaced(self.client.clone(), key.namespace());
        self.bounded("services", key.namespace(), api.get_opt(key.name())).await
    }

    /// The text of the newest Warning about the Service.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said.
    pub(crate) async fn warning(&self, key: &ServiceKey) -> Result<Option<String>, Failure> {
        let api = Api::<Event>::namespaced(self.client.clone(), key.namespace());
        let name = key.name();
        let selector = format!("involvedObject.kind=Service,involvedObject.name={name},type=Warning");
        let params = ListParams::default().fields(&selector).limit(PAGE);
        let events = self.bounded("events", key.namespace(), api.list(&params)).await?.items;
        let when = |event: &Event| {
            let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
            let seen = series.or(event.event_time.as_ref()).map(|time| time.0);
            seen.or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
        };
        Ok(events.into_iter().max_by_key(when).and_then(|event| event.message))
    }

    /// Who leads the controllers; `None` when nobody does.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said.
    pub(crate) async fn leader(&self) -> Result<Option<String>, Failure> {
        let api = Api::<Lease>::namespaced(self.client.clone(), &self.namespace);
        let lease =
            self.bounded("leases", &self.namespace, api.get_opt(api::names::CONTROLLER_LEASE)).await?;
        let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
        Ok(holder.filter(|holder| !holder.is_empty()))
    }

    async fn bounded<T>(
        &self,
        what: &'static str,
        place: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Failure> {
        let error = match call(self.limit, request).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let fault = ClusterFault::of_call(error, what, place);
        Err(Failure::Cluster { also: self.also, namespace: place.to_owned(), fault })
    }
}

/// `None`: it may not be listed.
fn unless_forbidden<T>(listed: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match listed {
        Ok(objects) => Ok(Some(objects)),
        Err(Failure::Cluster { fault: ClusterFault::Forbidden { .. }, .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A speaker that has just started has an object without a status; it has not reported yet.
fn report(state: SpeakerState) -> Option<Report> {
    let written = state.metadata.managed_fields.into_iter().flatten().filter_map(|entry| entry.time).max();
    Some(Report { node: state.metadata.name?, written: written.map(|time| time.0), status: state.status? })
}
