//! What is known of each Service between two looks, as small as it can be kept: most are looked at once in their life, and each
//! node of the cluster knows all of them.
//!
//! The facts of a Service are some ten texts and lists, each a piece of the heap of its own; they are written down as one
//! piece of octets, which never leaves the process. Leaves out what is decided.

use std::collections::BTreeMap;

use api::service::ServiceKey;

use super::snapshot::{Circumstances, EndpointFacts, ServiceFacts, Snapshot, Surroundings};
use super::width::Hosts;

/// Services and endpoints, in whatever order they become known.
#[derive(Debug, Default)]
pub(super) struct Known {
    entries: BTreeMap<ServiceKey, Box<Entry>>,
    services: usize,
}

/// At least one of its parts is not empty.
#[derive(Debug, Default)]
struct Entry {
    /// [`ServiceFacts`], written down.
    service: Option<Box<[u8]>>,
    endpoints: EndpointFacts,
    /// The nodes where they are, where that is wanted.
    hosts: Option<Box<Hosts>>,
}

impl Known {
    /// Takes a Service, or that it is gone. Its key if that is news.
    pub(super) fn set_service(
        &mut self,
        key: ServiceKey,
        service: Option<&ServiceFacts>,
    ) -> Option<ServiceKey> {
        let written = service.map(write);
        let (had, has) = (self.knows(&key), written.is_some());
        let key = self.change(key, |entry| {
            let news = entry.service != written;
            entry.service = written;
            news
        })?;
        self.services = self.services + usize::from(has) - usize::from(had);
        Some(key)
    }

    /// Takes the sum of a Service's endpoints. The key of the Service if that is news about one that is known.
    pub(super) fn set_endpoints(&mut self, key: ServiceKey, endpoints: EndpointFacts) -> Option<ServiceKey> {
        let key = self.change(key, |entry| {
            let news = entry.endpoints != endpoints;
            entry.endpoints = endpoints;
            news
        })?;
        self.knows(&key).then_some(key)
    }

    /// Takes the nodes with ready endpoints of a Service. The key of the Service if that is news about one that is known.
    pub(super) fn set_hosts(&mut self, key: ServiceKey, hosts: Hosts) -> Option<ServiceKey> {
        let key = self.change(key, |entry| {
            let hosts = (hosts != Hosts::default()).then(|| Box::new(hosts));
            let news = entry.hosts != hosts;
            entry.hosts = hosts;
            news
        })?;
        self.knows(&key).then_some(key)
    }

    /// The facts of a Service.
    pub(super) fn service(&self, key: &ServiceKey) -> Option<ServiceFacts> {
        let octets = self.entries.get(key)?.service.as_ref()?;
        Some(postcard::from_bytes(octets).expect("octets are read as they were written"))
    }

    /// Whether there is such a Service.
    pub(super) fn knows(&self, key: &ServiceKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.service.is_some())
    }

    /// Whether there is any Service.
    pub(super) fn has_services(&self) -> bool {
        self.services > 0
    }

    /// The keys of all Services, sorted.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.entries.iter().filter(|(_, entry)| entry.service.is_some()).map(|(key, _)| key)
    }

    /// What a Service is decided by besides itself; it does not linger.
    pub(super) fn circumstances(&self, key: &ServiceKey) -> Circumstances<'_> {
        let Some(entry) = self.entries.get(key) else { return Circumstances::default() };
        Circumstances { endpoints: entry.endpoints, hosts: entry.hosts.as_deref(), lingers: false }
    }

    /// The same key, if possible the one that is kept here: whoever keeps that one, too, needs no memory for its text. And the
    /// sum of the endpoints.
    pub(super) fn endpoints(&self, key: ServiceKey) -> (ServiceKey, EndpointFacts) {
        match self.entries.get_key_value(&key) {
            Some((kept, entry)) => (kept.clone(), entry.endpoints),
            None => (key, EndpointFacts::default()),
        }
    }

    /// Everything, written out.
    pub(super) fn snapshot(&self, surroundings: Surroundings) -> Snapshot {
        let entries = || self.entries.iter().map(|(key, entry)| (key.clone(), entry));
        let services = self.services().filter_map(|key| Some((key.clone(), self.service(key)?)));
        Snapshot {
            services: services.collect(),
            endpoints: entries().map(|(key, entry)| (key, entry.endpoints)).collect(),
            hosts: entries()
                .filter_map(|(key, entry)| Some((key, Hosts::clone(entry.hosts.as_ref()?))))
                .collect(),
            surroundings,
        }
    }

    /// Takes as little memory as it can, at the cost of a look at everything.
    pub(super) fn fill(&mut self) {
        fill(&mut self.entries);
    }

    /// Changes an entry, which comes and goes as it is needed. The key that is kept, if the change is one.
    fn change(&mut self, key: ServiceKey, change: impl FnOnce(&mut Entry) -> bool) -> Option<ServiceKey> {
        let Some((kept, _)) = self.entries.get_key_value(&key) else {
            let mut entry = Box::<Entry>::default();
            return change(&mut entry).then(|| {
                self.entries.insert(key.clone(), entry);
                key
            });
        };
        let kept = kept.clone();
        let entry = self.entries.get_mut(&kept)?;
        let news = change(entry);
        if entry.service.is_none() && entry.endpoints.is_empty() && entry.hosts.is_none() {
            self.entries.remove(&kept);
        }
        news.then_some(kept)
    }
}

/// Makes a map take as little memory as it can: a list comes sorted, and a B-tree that grows at its end alone leaves nearly half
/// of each node empty.
pub fn fill<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

fn write(service: &ServiceFacts) -> Box<[u8]> {
    postcard::to_allocvec(service).expect("texts, lists and numbers can be written down").into()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use api::service::{Ingress, TrafficPolicy};
    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::super::snapshot::EndpointCounts;
    use super::super::width::NodeHash;
    use super::*;

    fn facts() -> impl Strategy<Value = ServiceFacts> {
        let ingress = prop_oneof![
            Just(Ingress::None),
            vec(any::<IpAddr>(), 0..3).prop_map(Ingress::Addresses),
            any::<String>().prop_map(Ingress::Invalid),
        ];
        let texts = (any::<String>(), option::of(any::<String>()), option::of(any::<String>()));
        let labels = btree_map(any::<String>(), any::<String>(), 0..4);
        (texts, labels, ingress, any::<[bool; 2]>()).prop_map(
            |((uid, pending, allocated_from_pool), labels, ingress, [load_balancer, local])| ServiceFacts {
                uid,
                load_balancer,
                labels,
                ingress,
                pending: pending.map(Into::into),
                traffic_policy: if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
                allocated_from_pool,
            },
        )
    }

    fn hosts() -> impl Strategy<Value = Hosts> {
        btree_set("[a-c]", 0..3).prop_map(|names| Hosts {
            v4: names.iter().map(|name| NodeHash::of(name)).collect(),
            ..Hosts::default()
        })
    }

    /// What becomes known of a Service.
    #[derive(Clone, Debug)]
    enum News {
        Service(Option<ServiceFacts>),
        Endpoints(u32),
        Hosts(Hosts),
    }

    fn news() -> impl Strategy<Value = News> {
        prop_oneof![
            option::of(facts()).prop_map(News::Service),
            (0..3_u32).prop_map(News::Endpoints),
            hosts().prop_map(News::Hosts),
        ]
    }

    type Told = (Option<ServiceFacts>, EndpointFacts, Hosts);

    proptest! {
        #[test]
        fn what_was_told_last_is_known_and_what_changed_is_news(steps in vec((0..3_u8, news()), 0..40)) {
            let mut known = Known::default();
            let mut model: BTreeMap<ServiceKey, Told> = BTreeMap::new();
            for (name, news) in steps {
                let key = ServiceKey::new("ns", format!("service-{name}"));
                let told = model.entry(key.clone()).or_default();
                let before = told.clone();
                let heard = match news {
                    News::Service(service) => {
                        told.0 = service;
                        known.set_service(key.clone(), told.0.as_ref())
                    }
                    News::Endpoints(any_ready) => {
                        told.1.v4 = EndpointCounts { any_ready, ..EndpointCounts::default() };
                        known.set_endpoints(key.clone(), told.1)
                    }
                    News::Hosts(hosts) => {
                        told.2 = hosts;
                        known.set_hosts(key.clone(), told.2.clone())
                    }
                };
                let news = before != *told && (told.0.is_some() || before.0.is_some());
                prop_assert_eq!(heard, news.then(|| key.clone()));
            }
            for (key, (service, endpoints, hosts)) in &model {
                prop_assert_eq!(&known.service(key), service);
                prop_assert_eq!(known.knows(key), service.is_some());
                let around = known.circumstances(key);
                prop_assert_eq!(around.endpoints, *endpoints);
                prop_assert_eq!(around.hosts.cloned().unwrap_or_default(), hosts.clone());
                prop_assert_eq!(known.endpoints(key.clone()), (key.clone(), *endpoints));
            }
            let services: Vec<_> = model.iter().filter(|(_, told)| told.0.is_some()).map(|(key, _)| key).collect();
            prop_assert_eq!(known.services().collect::<Vec<_>>(), services.clone());
            prop_assert_eq!(known.has_services(), !services.is_empty());
            let needed = model.values().filter(|told| **told != Told::default()).count();
            prop_assert_eq!(known.entries.len(), needed, "nothing is kept of what is gone");
        }
    }

    #[test]
    fn one_text_of_a_key_is_kept_for_all_who_ask() {
        let mut known = Known::default();
        let [first, second] = [(); 2].map(|()| ServiceKey::new("ns", "web"));
        let counts = EndpointCounts { any_ready: 1, ..EndpointCounts::default() };
        assert_eq!(known.set_endpoints(first.clone(), EndpointFacts { v4: counts, v6: counts }), None);
        assert!(known.endpoints(second.clone()).0.shares(&first));
        let service = ServiceFacts {
            uid: String::new(),
            load_balancer: true,
            labels: BTreeMap::new(),
            ingress: Ingress::None,
            pending: None,
            traffic_policy: TrafficPolicy::Cluster,
            allocated_from_pool: None,
        };
        let key = known.set_service(second, Some(&service)).unwrap();
        assert!(key.shares(&first));
    }
}
