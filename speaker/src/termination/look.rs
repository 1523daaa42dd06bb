//! Reads what the DaemonSet of the speakers wants of this node, once while all is well, and again at the end; then the Node,
//! too.
//!
//! The first look is what makes the second one mean something: an object that was never seen is not gone, and a right that
//! was never there was not taken away. Leaves out what follows from it.

use std::time::Duration;

use kube::{Api, Client};
use runtime::client::call;
use tokio::sync::watch;
use tracing::{debug, info};

use super::wish::SlimDaemonSet;
use super::{Facts, Workload};
use crate::decide::snapshot::Leaving;
use crate::watch::node::{NodeView, SlimNode};

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

/// What was known before the end.
#[derive(Clone, Debug)]
pub struct LastSeen {
    /// What the watch said of the Node; `None`: it was never seen.
    pub node: Option<NodeView>,
    /// Whether the DaemonSet was seen.
    pub daemon_set: bool,
}

impl Question {
    /// Looks until the DaemonSet was seen once; says so by the sender.
    pub async fn first_look(self, seen: watch::Sender<bool>) {
        let Some(name) = &self.daemon_set else { return };
        let mut pause = FIRST_PAUSE;
        loop {
            match call(LOOK_LIMIT, self.sets().get(name)).await {
                Ok(_) => {
                    debug!(daemon_set = name, "the DaemonSet of this speaker was found");
                    seen.send_replace(true);
                    return;
                }
                Err(error) => {
                    debug!(daemon_set = name, %error, "the DaemonSet of this speaker was not found")
                }
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// What is so now; bounded.
    ///
    /// The Node is read again although it is watched: whoever says that it leaves ends its Pods next, and the end may come
    /// before the watch does.
    pub async fn ask(&self, last: LastSeen) -> Facts {
        let (node, set) = tokio::join!(self.node(), self.set(last.daemon_set));
        let facts = facts(&node, set, &last);
        info!(found = %facts, "asked whether this speaker is wanted here any longer");
        facts
    }

    async fn node(&self) -> Answer {
        let nodes: Api<SlimNode> = Api::all(self.client.clone());
        match call(LOOK_LIMIT, nodes.get(&self.node)).await {
            Ok(node) => Answer::Node(Box::new(node)),
            Err(error) if error.is_not_found() => Answer::Gone,
            Err(_) => Answer::None,
        }
    }

    /// The DaemonSet, or what it means that there is none to be read.
    async fn set(&self, seen: bool) -> Result<SlimDaemonSet, Workload> {
        let name = self.daemon_set.as_deref().filter(|_| seen).ok_or(Workload::Unknown)?;
        call(LOOK_LIMIT, self.sets().get(name))
            .await
            .map_err(|error| error.code().map_or(Workload::Unknown, of_refusal))
    }

    fn sets(&self) -> Api<SlimDaemonSet> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// What the API server says about the Node.
enum Answer {
    Node(Box<SlimNode>),
    Gone,
    None,
}

/// Where there is no answer about the Node, what was last seen of it holds.
fn facts(node: &Answer, set: Result<SlimDaemonSet, Workload>, last: &LastSeen) -> Facts {
    let leaving = match node {
        Answer::Node(node) => node.leaving(),
        Answer::Gone => last.node.as_ref().map(|_| Leaving::Deleted),
        Answer::None => last.node.as_ref().and_then(|node| node.leaving),
    };
    let unwanted = |set: &SlimDaemonSet| match node {
        Answer::Node(node) => set.unwanted_on(node),
        Answer::Gone | Answer::None => None,
    };
    let workload = match set {
        Ok(set) if set.metadata.deletion_timestamp.is_some() => Workload::Deleting,
        Ok(set) => unwanted(&set).map_or(Workload::Wanted, Workload::NotHere),
        Err(workload) => workload,
    };
    Facts { leaving, workload }
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
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::super::Unwanted;
    use super::*;

    /// Asks an API server whose objects are these by their paths; one without objects never answers. Gives the paths that were
    /// asked for, too, sorted.
    async fn ask(objects: &'static [(&str, &str)], last: LastSeen) -> (Facts, Vec<String>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let server = tower::service_fn(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            seen.lock().unwrap().push(path.clone());
            let object = objects.iter().find(|(at, _)| *at == path).map(|(_, object)| *object);
            let answer = match object {
                Some(object) => Response::new(Body::from(object.as_bytes().to_vec())),
                None => {
                    let absent = json!({"kind": "Status", "code": 404, "reason": "NotFound"}).to_string();
                    let mut answer = Response::new(Body::from(absent.into_bytes()));
                    *answer.status_mut() = http::StatusCode::NOT_FOUND;
                    answer
                }
            };
            async move {
                if objects.is_empty() {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let question = Question {
            client: Client::new(server, "default"),
            namespace: "metallb-system".to_owned(),
            daemon_set: Some("speaker".to_owned()),
            node: "n1".to_owned(),
        };
        let facts = question.ask(last).await;
        let mut asked = asked.lock().unwrap().clone();
        asked.sort();
        (facts, asked)
    }

    const NODE: &str = "/api/v1/nodes/n1";
    const SET: &str = "/apis/apps/v1/namespaces/metallb-system/daemonsets/speaker";
    const LEAVING: &str =
        r#"{"metadata":{"name":"n1"},"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler"}]}}"#;
    const STAYING: &str = r#"{"metadata":{"name":"n1"}}"#;

    fn stays() -> Option<NodeView> {
        Some(serde_json::from_str::<SlimNode>(STAYING).unwrap().view())
    }

    #[tokio::test]
    async fn the_end_asks_about_the_node_although_it_was_watched() {
        let last = LastSeen { node: stays(), daemon_set: true };
        let (facts, asked) = ask(&[(NODE, LEAVING), (SET, "{}")], last.clone()).await;
        assert_eq!(facts, Facts { leaving: Some(Leaving::Autoscaler), workload: Workload::Wanted });
        assert_eq!(asked, [NODE, SET]);
        let (facts, _) = ask(&[(SET, "{}")], last.clone()).await;
        assert_eq!(facts.leaving, Some(Leaving::Deleted));
        let (facts, _) = ask(&[(NODE, STAYING)], last).await;
        assert_eq!(facts, Facts { leaving: None, workload: Workload::Gone });
    }

    #[tokio::test]
    async fn a_daemon_set_that_was_never_seen_is_not_asked_about() {
        let last = LastSeen { node: stays(), daemon_set: false };
        let (facts, asked) = ask(&[(NODE, LEAVING)], last).await;
        assert_eq!(facts, Facts { leaving: Some(Leaving::Autoscaler), workload: Workload::Unknown });
        assert_eq!(asked, [NODE]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_holds_the_end_up_for_no_longer_than_the_limit() {
        let began = tokio::time::Instant::now();
        let last = LastSeen { node: stays(), daemon_set: true };
        let (facts, _) = ask(&[], last).await;
        assert_eq!(facts, Facts { leaving: None, workload: Workload::Unknown });
        assert!(began.elapsed() <= LOOK_LIMIT + Duration::from_millis(1), "{:?}", began.elapsed());
    }

    fn set(object: Value) -> Result<SlimDaemonSet, Workload> {
        Ok(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_the_node_says_at_the_end_counts_for_more_than_what_was_last_seen() {
        let node = |object: Value| Answer::Node(serde_json::from_value(object).unwrap());
        let plain = || node(json!({"metadata": {"name": "n"}}));
        let tainted = || node(json!({"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}}));
        let seen = |object: Value| Some(serde_json::from_value::<SlimNode>(object).unwrap().view());
        let stays = || seen(json!({"metadata": {"name": "n"}}));
        let leaves = || seen(json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service"}]}}));
        let table = [
            (tainted(), stays(), Some(Leaving::Autoscaler)),
            (tainted(), None, Some(Leaving::Autoscaler)),
            (plain(), leaves(), None),
            (Answer::Gone, stays(), Some(Leaving::Deleted)),
            (Answer::Gone, leaves(), Some(Leaving::Deleted)),
            // A name that no Node ever had says nothing.
            (Answer::Gone, None, None),
            (Answer::None, leaves(), Some(Leaving::OutOfService)),
            (Answer::None, stays(), None),
            (Answer::None, None, None),
        ];
        for (answer, node, leaving) in table {
            let last = LastSeen { node, daemon_set: true };
            let found = facts(&answer, set(json!({})), &last);
            assert_eq!(found, Facts { leaving, workload: Workload::Wanted }, "{last:?}");
        }
    }

    #[test]
    fn a_daemon_set_is_judged_by_the_node_if_it_answers() {
        let last = LastSeen { node: None, daemon_set: true };
        let elsewhere = || set(json!({"spec": {"template": {"spec": {"nodeSelector": {"bgp": "yes"}}}}}));
        let deleted = || set(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        let node = || Answer::Node(serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
        let table = [
            (node(), elsewhere(), Workload::NotHere(Unwanted::Selector)),
            (Answer::None, elsewhere(), Workload::Wanted),
            (Answer::None, deleted(), Workload::Deleting),
            (node(), deleted(), Workload::Deleting),
            (node(), Err(Workload::RightsGone), Workload::RightsGone),
        ];
        for (answer, set, expected) in table {
            assert_eq!(facts(&answer, set, &last).workload, expected);
        }
    }

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
