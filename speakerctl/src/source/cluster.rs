//! All speakers, through the API: one SpeakerState object a node, in Herald's namespace.

use std::future::Future;
use std::time::Duration;

use api::herald::SpeakerState;
use futures::{Stream, StreamExt};
use kube::api::{Api, ListParams};
use runtime::watch::{Change, Query};

use crate::args::ReachArgs;
use crate::failure::{ClusterFault, Failure, Tried};
use crate::row::Report;
use crate::source::client;

/// Objects a page of a list.
const PAGE: u32 = 500;

/// More pages than any cluster has nodes for; a server that always says "more" is cut off here.
const PAGES: usize = 200;

/// Asks one API server about the wanted nodes.
pub(crate) struct Cluster {
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
        let client = match client::connect(reach).await {
            Ok(client) => client,
            Err(fault) => {
                return Err(Failure::Cluster { also, namespace, fault: ClusterFault::Client(fault) });
            }
        };
        let api = Api::namespaced(client, &namespace);
        Ok(Self { api, nodes: nodes.to_vec(), namespace, limit: reach.request_timeout, also })
    }

    /// The reports of the wanted nodes, of all nodes if none was named.
    ///
    /// # Errors
    /// `Failure::Cluster` with what the server or the network said.
    pub(crate) async fn list(&self) -> Result<Vec<Report>, Failure> {
        let mut reports = Vec::new();
        let mut params = ListParams { field_selector: self.selector(), ..ListParams::default() }.limit(PAGE);
        for _ in 0..PAGES {
            let page = self.bounded(self.api.list(&params)).await?;
            reports
                .extend(page.items.into_iter().filter_map(report).filter(|report| self.wants(&report.node)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => break,
            }
        }
        Ok(reports)
    }

    /// Every later change, the present state once more at first; never ends by itself.
    pub(crate) fn watch(&self) -> impl Stream<Item = Turn> {
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

    async fn bounded<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        let fault = match tokio::time::timeout(self.limit, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => ClusterFault::from_kube(&error, &self.namespace),
            Err(_) => ClusterFault::Slow(self.limit),
        };
        Err(Failure::Cluster { also: self.also, namespace: self.namespace.clone(), fault })
    }
}

/// A speaker that has just started has an object without a status; it has not reported yet.
fn report(state: SpeakerState) -> Option<Report> {
    let written = state.metadata.managed_fields.into_iter().flatten().filter_map(|entry| entry.time).max();
    Some(Report { node: state.metadata.name?, written: written.map(|time| time.0), status: state.status? })
}
