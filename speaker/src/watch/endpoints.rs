//! The EndpointSlices of the cluster as one small sum for each Service.
//!
//! Of a slice only its counters are kept, so that a change can be taken out of the sum again; the cost of a change
//! does not depend on how many slices the Service has. A watch that starts over is followed by epoch, as
//! `runtime::watch::Mirror` does it; here the counters of what has gone are needed as well.

use std::collections::{BTreeMap, BTreeSet};

use api::service::ServiceKey;
use runtime::watch::Change;

use super::convert::{SliceFold, SlimSlice};
use crate::decide::snapshot::EndpointFacts;

/// Counters by slice, and sums by Service.
#[derive(Debug)]
pub struct Endpoints {
    node: Box<str>,
    slices: BTreeMap<SliceKey, Kept>,
    epoch: u32,
    sums: BTreeMap<ServiceKey, Sum>,
}

#[derive(Clone, Debug)]
struct Kept {
    fold: SliceFold,
    epoch: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    facts: EndpointFacts,
    slices: u32,
}

/// Namespace and name in one allocation, since there are many: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SliceKey(Box<str>);

impl SliceKey {
    fn of(slice: &SlimSlice) -> Self {
        let (namespace, name) = slice.key();
        Self(format!("{namespace}/{name}").into())
    }

    fn service(&self, name: &str) -> ServiceKey {
        let namespace = self.0.split('/').next().unwrap_or_default();
        ServiceKey::new(namespace, name)
    }
}

impl Endpoints {
    /// Seen from the node of that name.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self { node: node.into(), slices: BTreeMap::new(), epoch: 0, sums: BTreeMap::new() }
    }

    /// Takes what the watch says; returns the Services whose sum may have changed.
    #[must_use]
    pub fn take(&mut self, change: Change<SlimSlice>) -> BTreeSet<ServiceKey> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Restarted => self.epoch = self.epoch.wrapping_add(1),
            Change::Apply(slice) => {
                let key = SliceKey::of(&slice);
                let fold = slice.fold(&self.node);
                if let Err(fault) = fold {
                    tracing::debug!(slice = %key.0, reason = %fault, "EndpointSlice counts for no Service");
                }
                self.replace(key, fold.ok(), &mut touched);
            }
            Change::Delete(slice) => self.replace(SliceKey::of(&slice), None, &mut touched),
            Change::Synced => {
                let epoch = self.epoch;
                let gone: Vec<_> = self.slices.extract_if(.., |_, kept| kept.epoch != epoch).collect();
                for (key, kept) in gone {
                    self.subtract(&key, &kept.fold, &mut touched);
                }
            }
        }
        touched
    }

    /// Forgets all slices; returns the Services that had some. What a later watch says is taken as from the first one.
    #[must_use]
    pub fn forget(&mut self) -> BTreeSet<ServiceKey> {
        self.slices.clear();
        std::mem::take(&mut self.sums).into_keys().collect()
    }

    /// The sum of a Service's slices; `None` when it has none.
    #[must_use]
    pub fn of(&self, service: &ServiceKey) -> Option<EndpointFacts> {
        self.sums.get(service).map(|sum| sum.facts)
    }

    fn replace(&mut self, key: SliceKey, fold: Option<SliceFold>, touched: &mut BTreeSet<ServiceKey>) {
        if let Some(fold) = &fold {
            let service = key.service(&fold.service);
            let sum = self.sums.entry(service.clone()).or_default();
            fold.add_to(&mut sum.facts);
            sum.slices = sum.slices.saturating_add(1);
            touched.insert(service);
        }
        let before = match fold {
            Some(fold) => self.slices.insert(key.clone(), Kept { fold, epoch: self.epoch }),
            None => self.slices.remove(&key),
        };
        if let Some(before) = before {
            self.subtract(&key, &before.fold, touched);
        }
    }

    fn subtract(&mut self, key: &SliceKey, fold: &SliceFold, touched: &mut BTreeSet<ServiceKey>) {
        let service = key.service(&fold.service);
        if let Some(sum) = self.sums.get_mut(&service) {
            fold.take_from(&mut sum.facts);
            sum.slices = sum.slices.saturating_sub(1);
            if sum.slices == 0 {
                self.sums.remove(&service);
            }
        }
        touched.insert(service);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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

    fn counts(endpoints: &Endpoints, service: &str) -> Option<(u32, u32, u32, u32, u32)> {
        let of = endpoints.of(&ServiceKey::new("ns", service))?;
        let c = of.v4;
        Some((c.local_ready, c.local_serving, c.elsewhere_ready, c.any_ready, c.any_serving))
    }

    fn take(endpoints: &mut Endpoints, change: Change<SlimSlice>) -> Vec<String> {
        endpoints.take(change).into_iter().map(|key| key.to_string()).collect()
    }

    #[test]
    fn slices_of_a_service_are_summed_and_taken_out_again() {
        let mut endpoints = Endpoints::new("here");
        assert_eq!(take(&mut endpoints, Change::Restarted), [""; 0]);
        let _ = endpoints.take(Change::Apply(slice("a", Some("web"), "IPv4", "Rrs")));
        let _ = endpoints.take(Change::Apply(slice("b", Some("web"), "IPv4", "rS")));
        assert_eq!(counts(&endpoints, "web"), Some((1, 1, 2, 3, 2)));
        let touched = take(&mut endpoints, Change::Apply(slice("b", Some("web"), "IPv4", "")));
        assert_eq!(touched, ["ns/web"]);
        assert_eq!(counts(&endpoints, "web"), Some((1, 0, 1, 2, 1)));
        let _ = endpoints.take(Change::Delete(slice("a", Some("web"), "IPv4", "Rrs")));
        assert_eq!(counts(&endpoints, "web"), Some((0, 0, 0, 0, 0)));
        let _ = endpoints.take(Change::Delete(slice("b", Some("web"), "IPv4", "")));
        assert_eq!(counts(&endpoints, "web"), None);
    }

    #[test]
    fn a_slice_that_moves_to_another_service_touches_both() {
        let mut endpoints = Endpoints::new("here");
        let _ = endpoints.take(Change::Apply(slice("a", Some("web"), "IPv4", "R")));
        let touched = take(&mut endpoints, Change::Apply(slice("a", Some("db"), "IPv4", "R")));
        assert_eq!(touched, ["ns/db", "ns/web"]);
        assert_eq!((counts(&endpoints, "web"), counts(&endpoints, "db")), (None, Some((1, 0, 0, 1, 0))));
    }

    #[test]
    fn what_belongs_to_no_service_or_has_no_addresses_counts_for_none() {
        let mut endpoints = Endpoints::new("here");
        assert_eq!(take(&mut endpoints, Change::Apply(slice("a", None, "IPv4", "R"))), [""; 0]);
        assert_eq!(take(&mut endpoints, Change::Apply(slice("a", Some("web"), "FQDN", "R"))), [""; 0]);
        assert!(endpoints.sums.is_empty() && endpoints.slices.is_empty());
    }

    #[test]
    fn a_restart_of_the_watch_drops_what_is_not_named_again_and_nothing_before_its_end() {
        let mut endpoints = Endpoints::new("here");
        for name in ["a", "b"] {
            let _ = endpoints.take(Change::Apply(slice(name, Some(name), "IPv4", "R")));
        }
        let _ = endpoints.take(Change::Restarted);
        let _ = endpoints.take(Change::Apply(slice("a", Some("a"), "IPv4", "R")));
        assert!(counts(&endpoints, "b").is_some());
        assert_eq!(take(&mut endpoints, Change::Synced), ["ns/b"]);
        assert_eq!((counts(&endpoints, "a").is_some(), counts(&endpoints, "b")), (true, None));
    }

    proptest! {
        #[test]
        fn sums_equal_what_counting_everything_again_gives(
            steps in prop::collection::vec((0u8..6, prop::option::of((0u8..3, "[rRsS]{0,4}", any::<bool>()))), 0..80)
        ) {
            let mut endpoints = Endpoints::new("here");
            let mut model: BTreeMap<String, SlimSlice> = BTreeMap::new();
            for (name, to) in steps {
                let name = format!("slice{name}");
                match to {
                    Some((service, kinds, v6)) => {
                        let family = if v6 { "IPv6" } else { "IPv4" };
                        let slice = slice(&name, Some(&format!("svc{service}")), family, &kinds);
                        let _ = endpoints.take(Change::Apply(slice.clone()));
                        model.insert(name, slice);
                    }
                    None => if let Some(slice) = model.remove(&name) {
                        let _ = endpoints.take(Change::Delete(slice));
                    }
                }
            }
            let mut sums: BTreeMap<ServiceKey, EndpointFacts> = BTreeMap::new();
            for slice in model.values() {
                let fold = slice.fold("here").unwrap();
                fold.add_to(sums.entry(ServiceKey::new("ns", fold.service.as_ref())).or_default());
            }
            let kept: BTreeMap<_, _> = endpoints.sums.iter().map(|(key, sum)| (key.clone(), sum.facts)).collect();
            prop_assert_eq!(kept, sums);
        }
    }
}
