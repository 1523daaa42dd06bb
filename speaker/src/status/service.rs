//! The ServiceBGPStatus objects of this node: which there should be, and the next write that brings them about. Pure.
//!
//! One object for each Service that this node announces, as MetalLB has them: it tells to which peers the Service is
//! meant to be told, and nothing of sessions. Leaves out the writing (`services`).

use std::collections::BTreeMap;

use api::names::label;
use api::service::ServiceKey;
use api::v1beta1::{ServiceBGPStatus, ServiceBGPStatusStatus};
use serde_json::{Value, json};

use super::object::{Owner, head};
use crate::hash::fnv;
use crate::plan::Plan;

/// The longest value of a label; the node's name has to be one.
const LABEL_MAX: usize = 63;

/// Peers by Service, as the objects are to tell them. What a session has carried is not asked.
pub type Meant = BTreeMap<ServiceKey, Vec<String>>;

/// Why there are no such objects for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeFault {
    /// The objects are found by a label with the node's name.
    #[error(
        "the node's name has {0} characters, and the labels of ServiceBGPStatus objects hold {LABEL_MAX}; none is written"
    )]
    NameTooLong(usize),
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The Service is told to these peers.
    Write(ServiceKey, Vec<String>),
    /// The object of this name is no longer true.
    Remove(String),
}

/// The selector of this node's objects.
///
/// # Errors
/// When no label holds the node's name.
pub fn selector(node: &str) -> Result<String, NodeFault> {
    match node.len() {
        length if length > LABEL_MAX => Err(NodeFault::NameTooLong(length)),
        _ => Ok(format!("{}={node}", label::STATUS_NODE)),
    }
}

/// To which peers the plan means each Service to be told. A Service that reaches no peer has no object.
#[must_use]
pub fn meant_peers(plan: &Plan) -> Meant {
    let peers = |announcements: &[crate::plan::Announcement]| -> Vec<String> {
        let reached = |peer: &&String| announcements.iter().any(|one| one.terms.reaches(peer));
        plan.peers.keys().filter(reached).cloned().collect()
    };
    let meant =
        plan.verdicts.iter().map(|(service, verdict)| (service.clone(), peers(verdict.announcements())));
    meant.filter(|(_, peers)| !peers.is_empty()).collect()
}

/// The objects as they are in the API server, by name.
#[derive(Debug, Default)]
pub struct Shelf(BTreeMap<String, Option<(ServiceKey, Vec<String>)>>);

impl Shelf {
    /// An object that was found; one without a whole status is not true whatever it says.
    pub fn put(&mut self, name: String, status: Option<ServiceBGPStatusStatus>) {
        let status = status.filter(|status| !status.service_name.is_empty());
        let content = status
            .map(|status| (ServiceKey::new(&status.service_namespace, &status.service_name), status.peers));
        self.0.insert(name, content);
    }

    /// All writes that are missing, first what is no longer true.
    #[must_use]
    pub fn steps(&self, node: &str, wanted: &Meant) -> Vec<Step> {
        let names: BTreeMap<String, (&ServiceKey, &Vec<String>)> =
            wanted.iter().map(|(service, peers)| (name(node, service), (service, peers))).collect();
        let gone = self.0.keys().filter(|name| !names.contains_key(*name)).cloned().map(Step::Remove);
        let missing = names.iter().filter_map(|(name, (service, peers))| {
            let known = self.0.get(name).and_then(Option::as_ref);
            let same = known.is_some_and(|(of, told)| of == *service && told == *peers);
            (!same).then(|| Step::Write((*service).clone(), (*peers).clone()))
        });
        gone.chain(missing).collect()
    }

    /// That write has been done.
    pub fn done(&mut self, node: &str, step: Step) {
        match step {
            Step::Write(service, peers) => {
                self.0.insert(name(node, &service), Some((service, peers)));
            }
            Step::Remove(name) => {
                self.0.remove(&name);
            }
        }
    }
}

/// The same name each time, so that a restarted speaker finds its objects again.
#[must_use]
pub fn name(node: &str, service: &ServiceKey) -> String {
    let texts = [node, service.namespace(), service.name()];
    // A zero octet behind each, which none of them contains.
    let digest = fnv(texts.iter().flat_map(|text| [text.as_bytes(), &[0]]));
    format!("bgp-{digest:016x}")
}

/// The object without its status.
#[must_use]
pub fn object(owner: &Owner, service: &ServiceKey) -> Value {
    let mut object = head::<ServiceBGPStatus>(&name(&owner.node, service), &owner.namespace);
    object["metadata"]["ownerReferences"] = owner.reference();
    object["metadata"]["labels"] = json!({
        (label::STATUS_NODE): owner.node,
        (label::STATUS_SERVICE_NAME): service.name(),
        (label::STATUS_SERVICE_NAMESPACE): service.namespace(),
    });
    object["spec"] = json!({});
    object
}

/// Its status.
#[must_use]
pub fn status(owner: &Owner, service: &ServiceKey, peers: &[String]) -> Value {
    let mut object = head::<ServiceBGPStatus>(&name(&owner.node, service), &owner.namespace);
    object["status"] = json!(ServiceBGPStatusStatus {
        node: owner.node.clone(),
        service_name: service.name().to_owned(),
        service_namespace: service.namespace().to_owned(),
        peers: peers.to_vec(),
    });
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(services: &[(&str, &[&str])]) -> Meant {
        let peers = |peers: &[&str]| peers.iter().map(|peer| (*peer).to_owned()).collect();
        services.iter().map(|(name, told)| (ServiceKey::new("shop", *name), peers(told))).collect()
    }

    /// Does all steps and gives them in words.
    fn settle(shelf: &mut Shelf, wanted: &Meant) -> Vec<String> {
        let words = |step: &Step| match step {
            Step::Write(service, peers) => format!("{service} {}", peers.join(",")),
            Step::Remove(name) => format!("remove {name}"),
        };
        let steps = shelf.steps("n1", wanted);
        let mut told: Vec<String> = steps.iter().map(words).collect();
        told.sort();
        steps.into_iter().for_each(|step| shelf.done("n1", step));
        assert!(shelf.steps("n1", wanted).is_empty(), "nothing is written twice");
        told
    }

    #[test]
    fn only_what_differs_is_written_and_what_is_gone_is_removed() {
        let mut shelf = Shelf::default();
        let both = wanted(&[("web", &["a", "b"]), ("mail", &["a"])]);
        assert_eq!(settle(&mut shelf, &both), ["shop/mail a", "shop/web a,b"]);
        assert_eq!(settle(&mut shelf, &wanted(&[("web", &["a"]), ("mail", &["a"])])), ["shop/web a"]);
        let gone = format!("remove {}", name("n1", &ServiceKey::new("shop", "web")));
        assert_eq!(settle(&mut shelf, &wanted(&[("mail", &["a"])])), [gone]);
    }

    #[test]
    fn a_restarted_speaker_goes_on_with_what_it_finds_and_replaces_what_others_named() {
        let mut shelf = Shelf::default();
        let service = ServiceKey::new("shop", "web");
        let status = ServiceBGPStatusStatus {
            node: "n1".to_owned(),
            service_name: "web".to_owned(),
            service_namespace: "shop".to_owned(),
            peers: vec!["a".to_owned()],
        };
        shelf.put(name("n1", &service), Some(status.clone()));
        shelf.put("bgp-x7k2p".to_owned(), Some(status));
        shelf.put(name("n1", &ServiceKey::new("shop", "mail")), None);
        let both = wanted(&[("web", &["a"]), ("mail", &["a"])]);
        assert_eq!(settle(&mut shelf, &both), ["remove bgp-x7k2p", "shop/mail a"]);
    }

    #[test]
    fn names_differ_by_node_and_service_and_are_good_names() {
        let service = |namespace: &str, name: &str| ServiceKey::new(namespace, name);
        let names = [
            name("n1", &service("a", "bc")),
            name("n1", &service("ab", "c")),
            name("n2", &service("a", "bc")),
        ];
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        assert!(names.iter().all(|name| name.len() == 20 && name.starts_with("bgp-")));
    }

    #[test]
    fn a_node_name_that_is_no_label_is_said() {
        assert_eq!(selector("n1").as_deref(), Ok("metallb.io/node=n1"));
        assert_eq!(selector(&"n".repeat(64)), Err(NodeFault::NameTooLong(64)));
    }
}
