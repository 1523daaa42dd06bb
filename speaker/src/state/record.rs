//! A plan in the form in which it is written down.
//!
//! Peers that must stay down are left out, and so are those with a key where the folder is on a disk: a key is in memory or
//! nowhere. Verdicts are left out: they explain decisions, and nothing is decided without the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::config::Peer;
use bgp_proto::RouteSet;
use serde::{Deserialize, Serialize};

use crate::key_record::{TcpAoRecord, key_of, record};
use crate::plan::{PeerPlan, Plan};
use crate::route_list::{ListFault, RouteList};

#[derive(Serialize, Deserialize)]
pub(super) struct PlanRecord {
    peers: BTreeMap<String, PeerRecord>,
    /// Each set once, however many peers have it.
    routes: Vec<RouteList>,
}

#[derive(Serialize, Deserialize)]
struct PeerRecord {
    peer: Peer,
    password: Option<Vec<u8>>,
    #[serde(default)]
    tcp_ao: Option<TcpAoRecord>,
    routes: usize,
}

impl PlanRecord {
    pub(super) fn of(plan: &Plan, with_passwords: bool) -> Self {
        let mut sets: Vec<&Arc<RouteSet>> = Vec::new();
        let mut peers = BTreeMap::new();
        for (name, PeerPlan { peer, routes }) in &plan.peers {
            if peer.refused.is_some() || (peer.key.is_some() && !with_passwords) {
                continue;
            }
            let place = sets.iter().position(|set| Arc::ptr_eq(set, routes)).unwrap_or_else(|| {
                sets.push(routes);
                sets.len() - 1
            });
            let (password, tcp_ao) = record(peer.key.as_ref());
            peers.insert(
                name.clone(),
                PeerRecord { peer: Peer::clone(peer), password, tcp_ao, routes: place },
            );
        }
        Self { peers, routes: sets.into_iter().map(|set| RouteList::of(set)).collect() }
    }

    pub(super) fn to_plan(&self) -> Result<Plan, ListFault> {
        let sets: Vec<Arc<RouteSet>> =
            self.routes.iter().map(|list| list.to_set().map(Arc::new)).collect::<Result<_, _>>()?;
        let mut peers = BTreeMap::new();
        for (name, record) in &self.peers {
            let routes = sets.get(record.routes).ok_or(ListFault::Attributes)?;
            // Without its key the peer stays down until its Secret can be read.
            let Ok(key) = key_of(record.password.as_deref(), record.tcp_ao.as_ref()) else { continue };
            let peer = Peer { key, ..record.peer.clone() };
            peers.insert(name.clone(), PeerPlan { peer: Arc::new(peer), routes: Arc::clone(routes) });
        }
        Ok(Plan { peers, synced: true, ..Plan::unsynced() })
    }
}
