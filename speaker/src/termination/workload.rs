//! Reads what the DaemonSet of the speakers wants of this node: once while all is well, and again at the end.
//!
//! The first look is what makes the second one mean something: an object that was never seen is not gone, and a right that
//! was never there was not taken away. Leaves out what follows from it.

use std::time::Duration;

use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info};

use super::Workload;
use super::wish::{Place, SlimDaemonSet};

/// How long the API server may take at the end; part of the grace period of a Pod.
pub const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Between two tries of the first look: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The DaemonSet and the node to ask about.
#[derive(Clone)]
pub struct Question {
    /// Who asks.
    pub client: Client,
    /// Herald's namespace.
    pub namespace: String,
    /// The DaemonSet; `None`: there is none.
    pub daemon_set: Option<String>,
    /// The node.
    pub node: String,
}

impl Question {
    /// Looks until the DaemonSet was seen once; says so by the sender.
    pub async fn first_look(self, seen: watch::Sender<bool>) {
        let Some(name) = &self.daemon_set else { return };
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout(LOOK_LIMIT, self.sets().get(name)).await {
                Ok(Ok(_)) => {
                    debug!(daemon_set = name, "the DaemonSet of this speaker was found");
                    seen.send_replace(true);
                    return;
                }
                Ok(Err(error)) => {
                    debug!(daemon_set = name, %error, "the DaemonSet of this speaker was not found")
                }
                Err(_elapsed) => debug!(daemon_set = name, "the API server does not answer"),
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// What is wanted now; bounded.
    pub async fn ask(&self, seen: bool) -> Workload {
        let Some(name) = self.daemon_set.as_deref().filter(|_| seen) else { return Workload::Unknown };
        let workload = match timeout(LOOK_LIMIT, self.look(name)).await {
            Ok(workload) => workload,
            Err(_elapsed) => Workload::Unknown,
        };
        info!(daemon_set = name, ?workload, "asked whether this speaker is wanted here any longer");
        workload
    }

    async fn look(&self, name: &str) -> Workload {
        let nodes: Api<Place> = Api::all(self.client.clone());
        let sets = self.sets();
        let (set, node) = tokio::join!(sets.get(name), nodes.get(&self.node));
        match set {
            Ok(set) if set.metadata.deletion_timestamp.is_some() => Workload::Deleting,
            Ok(set) => match node.ok().and_then(|node| set.unwanted_on(&node)) {
                Some(why) => Workload::NotHere(why),
                None => Workload::Wanted,
            },
            Err(kube::Error::Api(status)) => of_refusal(status.code),
            Err(_) => Workload::Unknown,
        }
    }

    fn sets(&self) -> Api<SlimDaemonSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// What it means that the API server refuses with this HTTP status.
fn of_refusal(status: u16) -> Workload {
    match status {
        404 => Workload::Gone,
        403 => Workload::RightsGone,
        // 401 among them: a server that does not know us (a token that has expired, keys that were changed) says
        // nothing about what we may do.
        _ => Workload::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_right_that_was_taken_away_is_a_removal_and_a_token_that_has_expired_is_not() {
        let table = [
            (404, Workload::Gone),
            (403, Workload::RightsGone),
            (401, Workload::Unknown),
            (429, Workload::Unknown),
            (500, Workload::Unknown),
            (503, Workload::Unknown),
        ];
        for (status, expected) in table {
            assert_eq!(of_refusal(status), expected, "{status}");
        }
    }
}
