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
use crate::decide::verdict::AddressFamily;
use crate::decide::width::{Hosts, NodeHash};

/// Counters by slice, and sums by Service.
#[derive(Debug)]
pub struct Endpoints {
    node: Box<str>,
    slices: BTreeMap<SliceKey, Kept>,
    epoch: u32,
    sums: BTreeMap<ServiceKey, Sum>,
    /// Whether the nodes of ready endpoints are kept, too.
    keeps_hosts: bool,
}

/// How many slices have a ready endpoint on a node, by family. Rarely needed, so it is a pointer elsewhere.
type HostCounts = Option<Box<[BTreeMap<NodeHash, u32>; 2]>>;

#[derive(Clone, Debug)]
struct Kept {
    fold: SliceFold,
    hosts: Option<Box<[NodeHash]>>,
    epoch: u32,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    facts: EndpointFacts,
    hosts: HostCounts,
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
        Self {
            node: node.into(),
            slices: BTreeMap::new(),
            epoch: 0,
            sums: BTreeMap::new(),
            keeps_hosts: false,
        }
    }

    /// Whether the nodes of ready endpoints are kept from now on. What was taken in before does not tell them: the watch
    /// has to begin anew.
    pub fn keep_hosts(&mut self, keep: bool) {
        self.keeps_hosts = keep;
    }

    /// The nodes with ready endpoints of a Service; `None` where they are not kept.
    #[must_use]
    pub fn hosts_of(&self, service: &ServiceKey) -> Option<Hosts> {
        let [v4, v6] = &**self.sums.get(service)?.hosts.as_ref()?;
        Some(Hosts { v4: v4.keys().copied().collect(), v6: v6.keys().copied().collect() })
    }

    /// Takes what the watch says; returns the Services whose sum may have changed.
    #[must_use]
    pub fn take(&mut self, change: Change<SlimSlice>) -> BTreeSet<ServiceKey> {
        let mut touched = BTreeSet::new();
        match change {
            Change::Restarted => self.epoch = self.epoch.wrapping_add(1),
            Change::Apply(slice) => {
                let key = SliceKey::of(&slice);
                let hosts = self.keeps_hosts.then(|| {
                    let hosts: BTreeSet<NodeHash> = slice.ready_nodes().map(NodeHash::of).collect();
                    hosts.into_iter().collect()
                });
                let fold = slice.fold(&self.node);
                if let Err(fault) = fold {
                    tracing::debug!(slice = %key.0, reason = %fault, "EndpointSlice counts for no Service");
                }
                let kept = fold.ok().map(|fold| Kept { fold, hosts, epoch: self.epoch });
                self.replace(key, kept, &mut touched);
            }
            Change::Delete(slice) => self.replace(SliceKey::of(&slice), None, &mut touched),
            Change::Synced => {
                let epoch = self.epoch;
                let gone: Vec<_> = self.slices.extract_if(.., |_, kept| kept.epoch != epoch).collect();
                for (key, kept) in gone {
                    self.subtract(&key, &kept, &mut touched);
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

    fn replace(&mut self, key: SliceKey, slice: Option<Kept>, touched: &mut BTreeSet<ServiceKey>) {
        if let Some(Kept { fold, hosts, .. }) = &slice {
            let service = key.service(&fold.service);
            let sum = self.sums.entry(service.clone()).or_default();
            fold.add_to(&mut sum.facts);
            if let Some(hosts) = hosts {
                let counts = of_family(sum.hosts.get_or_insert_default(), fold.family);
                hosts.iter().for_each(|host| *counts.entry(*host).or_default() += 1);
            }
            sum.slices = sum.slices.saturating_add(1);
            touched.insert(service);
        }
        let before = match slice {
            Some(slice) => self.slices.insert(key.clone(), slice),
            None => self.slices.remove(&key),
        };
        if let Some(before) = before {
            self.subtract(&key, &before, touched);
        }
    }

    fn subtract(&mut self, key: &SliceKey, slice: &Kept, touched: &mut BTreeSet<ServiceKey>) {
        let Kept { fold, hosts, .. } = slice;
        let service = key.service(&fold.service);
        if let Some(sum) = self.sums.get_mut(&service) {
            fold.take_from(&mut sum.facts);
            if let (Some(hosts), Some(counts)) = (hosts, &mut sum.hosts) {
                let counts = of_family(counts, fold.family);
                for host in hosts.iter() {
                    let count = counts.entry(*host).or_default();
                    *count = count.saturating_sub(1);
                }
                counts.retain(|_, count| *count > 0);
            }
            sum.slices = sum.slices.saturating_sub(1);
            if sum.slices == 0 {
                self.sums.remove(&service);
            }
        }
        touched.insert(service);
    }
}

fn of_family(
    [v4, v6]: &mut [BTreeMap<NodeHash, u32>; 2],
    family: AddressFamily,
) -> &mut BTreeMap<NodeHash, u32> {
    match family {
        AddressFamily::V4 => v4,
        AddressFamily::V6 => v6,
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
    fn the_nodes_of_ready_endpoints_are_known_once_the_watch_began_anew() {
        let mut endpoints = Endpoints::new("here");
        let web = ServiceKey::new("ns", "web");
        let (here, there) = (NodeHash::of("here"), NodeHash::of("there"));
        let _ = endpoints.take(Change::Apply(slice("a", Some("web"), "IPv4", "Rr")));
        assert_eq!(endpoints.hosts_of(&web), None);
        endpoints.keep_hosts(true);
        let _ = endpoints.take(Change::Restarted);
        let _ = endpoints.take(Change::Apply(slice("a", Some("web"), "IPv4", "RRr")));
        let _ = endpoints.take(Change::Apply(slice("b", Some("web"), "IPv4", "rS")));
        let _ = endpoints.take(Change::Apply(slice("c", Some("web"), "IPv6", "R")));
        let _ = endpoints.take(Change::Synced);
        let hosts = |v4: &[NodeHash], v6: &[NodeHash]| {
            Some(Hosts { v4: v4.iter().copied().collect(), v6: v6.iter().copied().collect() })
        };
        assert_eq!(endpoints.hosts_of(&web), hosts(&[here, there], &[here]));
        let _ = endpoints.take(Change::Delete(slice("a", Some("web"), "IPv4", "RRr")));
        assert_eq!(endpoints.hosts_of(&web), hosts(&[there], &[here]), "a terminating one is not ready");
        endpoints.keep_hosts(false);
        let _ = endpoints.take(Change::Apply(slice("b", Some("web"), "IPv4", "rS")));
        let _ = endpoints.take(Change::Apply(slice("c", Some("web"), "IPv6", "R")));
        assert_eq!(endpoints.hosts_of(&web), hosts(&[], &[]));
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
