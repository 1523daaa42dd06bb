//! The EndpointSlices of the cluster as one small sum for each Service.
//!
//! The sums are the announcer's. Of a slice only its counters are kept, so that a change can be taken out of the sum again; the
//! cost of a change does not depend on how many slices the Service has. A watch that starts over is followed by epoch, as
//! `runtime::watch::Mirror` does it; here the counters of what has gone are needed as well. Of a list that begins with nothing the
//! sums are told at its end: half of it is no fact.

use std::collections::{BTreeMap, BTreeSet};

use api::service::ServiceKey;
use runtime::watch::Change;

use super::convert::{SliceFold, SlimSlice};
use super::hosting::Hosting;
use crate::decide::fill;
use crate::decide::snapshot::EndpointFacts;
use crate::decide::width::Hosts;

/// Counters by slice.
#[derive(Debug)]
pub struct Endpoints {
    node: Box<str>,
    slices: BTreeMap<SliceKey, Kept>,
    epoch: u32,
    hosting: Hosting,
    /// The sums of a list that began with nothing and has not come to its end.
    untold: Option<BTreeMap<ServiceKey, EndpointFacts>>,
}

#[derive(Clone, Debug)]
struct Kept {
    fold: SliceFold,
    epoch: u32,
}

/// Namespace and name in one allocation, since there are many: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SliceKey(Box<str>);

impl SliceKey {
    fn of(slice: &SlimSlice) -> Self {
        let (namespace, name) = slice.key();
        Self(format!("{namespace}/{name}").into())
    }
}

/// The Services that a change touches, and what the sums of their endpoints come to.
struct Sums<F> {
    touched: BTreeMap<ServiceKey, EndpointFacts>,
    /// The sum before, and the key of the Service as it is kept beside it.
    known: F,
}

impl<F: Fn(ServiceKey) -> (ServiceKey, EndpointFacts)> Sums<F> {
    fn of(&mut self, service: ServiceKey) -> &mut EndpointFacts {
        let (service, sum) = (self.known)(service);
        self.touched.entry(service).or_insert(sum)
    }
}

impl Endpoints {
    /// Seen from the node of that name.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.into(),
            slices: BTreeMap::new(),
            epoch: 0,
            hosting: Hosting::default(),
            // Before the first lists are complete nobody decides.
            untold: None,
        }
    }

    /// Whether the nodes of ready endpoints are kept from now on. What was taken in before does not tell them: the watch
    /// has to begin anew.
    pub fn keep_hosts(&mut self, keep: bool) {
        self.hosting.keep(keep);
    }

    /// The nodes with ready endpoints of a Service; none where they are not kept.
    #[must_use]
    pub fn hosts_of(&self, service: &ServiceKey) -> Hosts {
        self.hosting.of(service)
    }

    /// Takes what the watch says; returns the Services whose sum may have changed, with the sum, which is zeros for one that
    /// has no slices any more. `known` tells the sum as this last told it, and the key as it is kept there.
    #[must_use]
    pub fn take(
        &mut self,
        change: Change<SlimSlice>,
        known: impl Fn(ServiceKey) -> (ServiceKey, EndpointFacts),
    ) -> BTreeMap<ServiceKey, EndpointFacts> {
        let ends = matches!(change, Change::Synced);
        let waits = self.untold.is_some() && !ends;
        let mut sums = Sums { touched: self.untold.take().unwrap_or_default(), known };
        match change {
            Change::Restarted => {
                self.epoch = self.epoch.wrapping_add(1);
                self.hosting.begin();
            }
            Change::Apply(slice) => {
                let key = SliceKey::of(&slice);
                let fold = slice.fold(&self.node);
                if let Err(fault) = &fold {
                    tracing::debug!(slice = %key.0, reason = %fault, "EndpointSlice counts for no Service");
                }
                self.hosting.set(&key, fold.as_ref().ok(), &slice);
                self.replace(key, fold.ok(), &mut sums);
            }
            Change::Delete(slice) => {
                let key = SliceKey::of(&slice);
                self.hosting.remove(&key);
                self.replace(key, None, &mut sums);
            }
            Change::Synced => {
                let epoch = self.epoch;
                for (key, kept) in self.slices.extract_if(.., |_, kept| kept.epoch != epoch) {
                    self.hosting.remove(&key);
                    kept.fold.take_from(sums.of(kept.fold.service.clone()));
                }
                for service in self.hosting.end() {
                    sums.of(service);
                }
                fill(&mut self.slices);
            }
        }
        if waits {
            self.untold = Some(sums.touched);
            return BTreeMap::new();
        }
        sums.touched
    }

    /// Forgets all slices; returns the Services that had some. What a later watch says is told when it is complete.
    #[must_use]
    pub fn forget(&mut self) -> BTreeSet<ServiceKey> {
        self.hosting.forget();
        self.untold = Some(BTreeMap::new());
        std::mem::take(&mut self.slices).into_values().map(|kept| kept.fold.service).collect()
    }

    fn replace<F>(&mut self, key: SliceKey, fold: Option<SliceFold>, sums: &mut Sums<F>)
    where
        F: Fn(ServiceKey) -> (ServiceKey, EndpointFacts),
    {
        // First what comes, then what goes: a sum that stays is never nothing in between.
        let kept = fold.map(|fold| {
            let (service, _) = (sums.known)(fold.service);
            let fold = SliceFold { service, ..fold };
            fold.add_to(sums.of(fold.service.clone()));
            Kept { fold, epoch: self.epoch }
        });
        let before = match kept {
            Some(kept) => self.slices.insert(key, kept),
            None => self.slices.remove(&key),
        };
        if let Some(Kept { fold, .. }) = before {
            fold.take_from(sums.of(fold.service.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::decide::width::NodeHash;

    /// `kinds` are the endpoints: r(eady) or s(erving), on this node (capital) or another one.
    fn slice(name: &str, service: Option<&str>, family: &str, kinds: &str) -> SlimSlice {
        let endpoints: Vec<_> = kinds
            .chars()
            .map(|kind| {
                let node = if kind.is_uppercase() { "here" } else { "there" };
                let ready = kind.eq_ignore_ascii_case(&'r');
                json!({"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": ready, "serving": true}})
            })
            .collect();
        let labels = service
            .map(|service| json!({"kubernetes.io/service-name": service}))
            .unwrap_or_else(|| json!({}));
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "labels": labels},
            "addressType": family, "endpoints": endpoints,
        }))
        .unwrap()
    }

    /// Endpoints as the node "here" sees them, and the sums that were told of them, as the announcer keeps them.
    struct Told {
        endpoints: Endpoints,
        sums: BTreeMap<ServiceKey, EndpointFacts>,
    }

    impl Told {
        fn nothing() -> Self {
            Self { endpoints: Endpoints::new("here"), sums: BTreeMap::new() }
        }

        /// The Services that were touched.
        fn take(&mut self, change: Change<SlimSlice>) -> Vec<String> {
            let sums = &self.sums;
            let known = |service| {
                let sum = sums.get(&service).copied().unwrap_or_default();
                (service, sum)
            };
            let touched = self.endpoints.take(change, known);
            let names = touched.keys().map(ToString::to_string).collect();
            self.sums.extend(touched);
            self.sums.retain(|_, sum| !sum.is_empty());
            names
        }

        fn counts(&self, service: &str) -> [u32; 5] {
            let c = self.sums.get(&ServiceKey::new("ns", service)).copied().unwrap_or_default().v4;
            [c.local_ready, c.local_serving, c.elsewhere_ready, c.any_ready, c.any_serving]
        }
    }

    #[test]
    fn slices_of_a_service_are_summed_and_taken_out_again() {
        let mut told = Told::nothing();
        assert_eq!(told.take(Change::Restarted), [""; 0]);
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "Rrs")));
        told.take(Change::Apply(slice("b", Some("web"), "IPv4", "rS")));
        assert_eq!(told.counts("web"), [1, 1, 2, 3, 2]);
        let touched = told.take(Change::Apply(slice("b", Some("web"), "IPv4", "")));
        assert_eq!(touched, ["ns/web"]);
        assert_eq!(told.counts("web"), [1, 0, 1, 2, 1]);
        told.take(Change::Delete(slice("a", Some("web"), "IPv4", "Rrs")));
        assert_eq!(told.counts("web"), [0; 5]);
        assert_eq!(told.take(Change::Delete(slice("b", Some("web"), "IPv4", ""))), ["ns/web"]);
    }

    #[test]
    fn a_slice_that_moves_to_another_service_touches_both() {
        let mut told = Told::nothing();
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "R")));
        let touched = told.take(Change::Apply(slice("a", Some("db"), "IPv4", "R")));
        assert_eq!(touched, ["ns/db", "ns/web"]);
        assert_eq!((told.counts("web"), told.counts("db")), ([0; 5], [1, 0, 0, 1, 0]));
    }

    #[test]
    fn what_belongs_to_no_service_or_has_no_addresses_counts_for_none() {
        let mut told = Told::nothing();
        assert_eq!(told.take(Change::Apply(slice("a", None, "IPv4", "R"))), [""; 0]);
        assert_eq!(told.take(Change::Apply(slice("a", Some("web"), "FQDN", "R"))), [""; 0]);
        assert!(told.sums.is_empty() && told.endpoints.slices.is_empty());
    }

    #[test]
    fn the_nodes_of_ready_endpoints_are_known_once_the_watch_began_anew() {
        let mut told = Told::nothing();
        let web = ServiceKey::new("ns", "web");
        let (here, there) = (NodeHash::of("here"), NodeHash::of("there"));
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "Rr")));
        assert_eq!(told.endpoints.hosts_of(&web), Hosts::default());
        told.endpoints.keep_hosts(true);
        told.take(Change::Restarted);
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "RRr")));
        told.take(Change::Apply(slice("b", Some("web"), "IPv4", "rS")));
        told.take(Change::Apply(slice("c", Some("web"), "IPv6", "R")));
        told.take(Change::Synced);
        let hosts = |v4: &[NodeHash], v6: &[NodeHash]| Hosts {
            v4: v4.iter().copied().collect(),
            v6: v6.iter().copied().collect(),
        };
        assert_eq!(told.endpoints.hosts_of(&web), hosts(&[here, there], &[here]));
        told.take(Change::Delete(slice("a", Some("web"), "IPv4", "RRr")));
        assert_eq!(told.endpoints.hosts_of(&web), hosts(&[there], &[here]), "a terminating one is not ready");
        told.endpoints.keep_hosts(false);
        told.take(Change::Apply(slice("b", Some("web"), "IPv4", "rS")));
        told.take(Change::Apply(slice("c", Some("web"), "IPv6", "R")));
        assert_eq!(told.endpoints.hosts_of(&web), hosts(&[], &[]));
    }

    #[test]
    fn a_restart_of_the_watch_drops_what_is_not_named_again_and_nothing_before_its_end() {
        let mut told = Told::nothing();
        for name in ["a", "b"] {
            told.take(Change::Apply(slice(name, Some(name), "IPv4", "R")));
        }
        told.take(Change::Restarted);
        told.take(Change::Apply(slice("a", Some("a"), "IPv4", "R")));
        assert_eq!(told.counts("b"), [1, 0, 0, 1, 0]);
        assert_eq!(told.take(Change::Synced), ["ns/b"]);
        assert_eq!((told.counts("a"), told.counts("b")), ([1, 0, 0, 1, 0], [0; 5]));
    }

    #[test]
    fn a_list_that_begins_with_nothing_is_told_at_its_end() {
        let mut told = Told::nothing();
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "R")));
        assert_eq!(told.endpoints.forget().len(), 1);
        told.sums.clear();
        let list = [
            Change::Restarted,
            Change::Apply(slice("a", Some("web"), "IPv4", "S")),
            Change::Apply(slice("b", Some("web"), "IPv4", "r")),
            Change::Apply(slice("c", Some("db"), "IPv4", "R")),
            // The connection breaks, and the list begins once more.
            Change::Restarted,
            Change::Apply(slice("a", Some("web"), "IPv4", "S")),
            Change::Apply(slice("b", Some("web"), "IPv4", "rr")),
        ];
        for change in list {
            assert_eq!(told.take(change), [""; 0]);
        }
        assert_eq!(told.take(Change::Synced), ["ns/db", "ns/web"]);
        assert_eq!((told.counts("web"), told.counts("db")), ([0, 1, 2, 2, 1], [0; 5]));
        assert_eq!(told.take(Change::Apply(slice("b", Some("web"), "IPv4", ""))), ["ns/web"]);
    }

    #[test]
    fn nodes_are_told_when_the_list_that_tells_them_is_complete() {
        let mut told = Told::nothing();
        let (web, here) = (ServiceKey::new("ns", "web"), NodeHash::of("here"));
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "R")));
        told.endpoints.keep_hosts(true);
        // Not of the list that tells nodes yet.
        told.take(Change::Apply(slice("b", Some("db"), "IPv4", "R")));
        told.take(Change::Restarted);
        told.take(Change::Apply(slice("a", Some("web"), "IPv4", "R")));
        assert_eq!(told.endpoints.hosts_of(&web), Hosts::default());
        assert_eq!(told.counts("web"), [1, 0, 0, 1, 0], "what is known stays in force");
        told.take(Change::Apply(slice("b", Some("db"), "IPv4", "R")));
        assert_eq!(told.take(Change::Synced), ["ns/db", "ns/web"]);
        assert_eq!(told.endpoints.hosts_of(&web), Hosts { v4: [here].into(), ..Hosts::default() });
    }

    proptest! {
        #[test]
        fn sums_equal_what_counting_everything_again_gives(
            steps in prop::collection::vec((0u8..6, prop::option::of((0u8..3, "[rRsS]{0,4}", any::<bool>()))), 0..80)
        ) {
            let mut told = Told::nothing();
            let mut model: BTreeMap<String, SlimSlice> = BTreeMap::new();
            for (name, to) in steps {
                let name = format!("slice{name}");
                match to {
                    Some((service, kinds, v6)) => {
                        let family = if v6 { "IPv6" } else { "IPv4" };
                        let slice = slice(&name, Some(&format!("svc{service}")), family, &kinds);
                        told.take(Change::Apply(slice.clone()));
                        model.insert(name, slice);
                    }
                    None => if let Some(slice) = model.remove(&name) {
                        told.take(Change::Delete(slice));
                    }
                }
            }
            let mut sums: BTreeMap<ServiceKey, EndpointFacts> = BTreeMap::new();
            for slice in model.values() {
                let fold = slice.fold("here").unwrap();
                fold.add_to(sums.entry(fold.service.clone()).or_default());
            }
            sums.retain(|_, sum| !sum.is_empty());
            prop_assert_eq!(told.sums, sums);
        }
    }
}
