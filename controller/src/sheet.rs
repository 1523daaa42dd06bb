//! `Sheet`: a Service as it is kept between two looks. Its view, written down in one piece of octets.
//!
//! A view is some twenty texts and lists, each a piece of the heap of its own; ten thousand of them cost more than all
//! else that the controller knows. Most are looked at once in their life. Leaves out what the facts mean; what is
//! written here never leaves the process.

use std::sync::Arc;

use api::service::{ServiceKey, ServiceView};

use crate::queue::Turn;

/// A Service at rest. What is looked for is at hand, all of it is written down.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    /// Namespace and name; one copy for whoever keeps something about the Service.
    pub(crate) key: ServiceKey,
    /// UID.
    pub(crate) uid: Arc<str>,
    /// When the Service was made, in seconds since 1970.
    pub(crate) created: Option<i64>,
    octets: Box<[u8]>,
}

impl Sheet {
    /// Writes a view down. `before` is what was known of that name: equal texts are not kept twice.
    pub(crate) fn new(view: &ServiceView, before: Option<&Self>) -> Self {
        let key = before.map(|sheet| sheet.key.clone()).filter(|key| *key == view.key);
        let uid = before.map(|sheet| Arc::clone(&sheet.uid)).filter(|uid| **uid == *view.uid);
        let octets = postcard::to_allocvec(view).expect("texts, lists and numbers can be written down");
        Self {
            key: key.unwrap_or_else(|| view.key.clone()),
            uid: uid.unwrap_or_else(|| view.uid.as_str().into()),
            created: view.created,
            octets: octets.into_boxed_slice(),
        }
    }

    /// Its place among Services that are to be looked at.
    pub(crate) fn turn(&self) -> Turn {
        Turn { created: self.created, uid: Arc::clone(&self.uid), key: self.key.clone() }
    }

    /// The view as it was written down.
    pub(crate) fn view(&self) -> ServiceView {
        let view = postcard::from_bytes(&self.octets).expect("octets are read as they were written");
        ServiceView { key: self.key.clone(), ..view }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use api::service::{
        FamilyPolicy, Ingress, IpFamily, Port, Protocol, ServiceCondition, ServiceType, StatusManager,
        TrafficPolicy,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn ingress() -> impl Strategy<Value = Ingress> {
        prop_oneof![
            Just(Ingress::None),
            vec(any::<IpAddr>(), 0..3).prop_map(Ingress::Addresses),
            any::<String>().prop_map(Ingress::Invalid),
        ]
    }

    fn port() -> impl Strategy<Value = Port> {
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
        (protocol, any::<u16>()).prop_map(|(protocol, port)| Port { protocol, port })
    }

    fn condition() -> impl Strategy<Value = ServiceCondition> {
        // The API knows times to the second.
        let since = option::of(-1_000_000_000..4_000_000_000_i64);
        (any::<bool>(), any::<String>(), any::<String>(), since).prop_map(
            |(holds, reason, message, since)| {
                let since = since.map(|seconds| Time(Timestamp::from_second(seconds).unwrap()));
                ServiceCondition { holds, reason, message, since }
            },
        )
    }

    fn manager() -> impl Strategy<Value = StatusManager> {
        let parts = (any::<String>(), any::<Option<i64>>(), any::<bool>());
        parts.prop_map(|(manager, time, applied)| StatusManager { manager, time, applied })
    }

    fn view() -> impl Strategy<Value = ServiceView> {
        let families = vec(prop_oneof![Just(IpFamily::V4), Just(IpFamily::V6)], 0..3);
        let policy = prop_oneof![
            Just(FamilyPolicy::SingleStack),
            Just(FamilyPolicy::PreferDualStack),
            Just(FamilyPolicy::RequireDualStack)
        ];
        let texts = (vec(any::<String>(), 5), any::<[Option<String>; 6]>(), vec(any::<String>(), 0..3));
        let lists = (vec(any::<IpAddr>(), 0..3), families, vec(port(), 0..4), vec(manager(), 0..3));
        let labels = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4);
        let rest =
            (any::<Option<i64>>(), labels, any::<[bool; 4]>(), policy, ingress(), option::of(condition()));
        (texts, lists, rest).prop_map(|(texts, lists, rest)| {
            let (texts, wishes, recorders) = texts;
            let (cluster_ips, families, ports, managed) = lists;
            let (created, labels, flags, family_policy, ingress, condition) = rest;
            let [is_ours, is_local, deprecated_annotations, deleting] = flags;
            let [class, pool_annotation, requested_ips, spec_load_balancer_ip, sharing_key, from] = wishes;
            ServiceView {
                key: ServiceKey::new(texts[0].clone(), texts[1].clone()),
                uid: texts[2].clone(),
                resource_version: texts[3].clone(),
                created,
                labels,
                service_type: if is_ours { ServiceType::LoadBalancer } else { ServiceType::Other },
                class,
                cluster_ips,
                families,
                family_policy,
                traffic_policy: if is_local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
                ports,
                selector_text: texts[4].clone(),
                ingress,
                pool_annotation,
                requested_ips,
                spec_load_balancer_ip,
                sharing_key,
                allocated_from_pool: from,
                deprecated_annotations,
                deleting,
                managed,
                recorders,
                condition,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_down_is_read_again(view in view(), other in view()) {
            let sheet = Sheet::new(&view, None);
            prop_assert_eq!(&sheet.view(), &view);
            let again = Sheet::new(&view, Some(&sheet));
            prop_assert!(again.key.shares(&sheet.key) && Arc::ptr_eq(&again.uid, &sheet.uid));
            prop_assert_eq!(Sheet::new(&other, Some(&sheet)).view(), other);
        }
    }
}
