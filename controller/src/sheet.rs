//! `Sheet`: a Service as it is kept between two looks. Its view, written down in one piece of octets.
//!
//! A view is some twenty texts and lists, each a piece of the heap of its own; ten thousand of them cost more than all
//! else that the controller knows. Most are looked at once in their life. Leaves out what the facts mean; what is
//! written here never leaves the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use api::service::{
    FamilyPolicy, Ingress, IpFamily, Port, Protocol, ServiceCondition, ServiceKey, ServiceType, ServiceView,
    StatusManager, TrafficPolicy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::queue::Turn;

/// A Service at rest. What is looked for is at hand, the rest is written down.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    /// Namespace and name; one copy for whoever keeps something about the Service.
    pub(crate) key: Arc<ServiceKey>,
    /// UID.
    pub(crate) uid: Arc<str>,
    /// When the Service was made, in seconds since 1970.
    pub(crate) created: Option<i64>,
    octets: Box<[u8]>,
}

impl Sheet {
    /// Writes a view down. `before` is what was known of that name: equal texts are not kept twice.
    pub(crate) fn new(view: &ServiceView, before: Option<&Self>) -> Self {
        let key = before.map(|sheet| Arc::clone(&sheet.key)).filter(|key| **key == view.key);
        let uid = before.map(|sheet| Arc::clone(&sheet.uid)).filter(|uid| **uid == *view.uid);
        let mut pen = Pen::default();
        pen.view(view);
        Self {
            key: key.unwrap_or_else(|| Arc::new(view.key.clone())),
            uid: uid.unwrap_or_else(|| view.uid.as_str().into()),
            created: view.created,
            octets: pen.0.into_boxed_slice(),
        }
    }

    /// Its place among Services that are to be looked at.
    pub(crate) fn turn(&self) -> Turn {
        Turn { created: self.created, uid: Arc::clone(&self.uid), key: Arc::clone(&self.key) }
    }

    /// The view as it was written down.
    pub(crate) fn view(&self) -> ServiceView {
        Reader(&self.octets).view(self).expect("octets are read as they were written")
    }
}

#[derive(Default)]
struct Pen(Vec<u8>);

impl Pen {
    fn view(&mut self, view: &ServiceView) {
        // What is at hand is not written; a new field does not compile until it is in one of the two places.
        let ServiceView {
            key: _,
            uid: _,
            created: _,
            resource_version,
            labels,
            service_type,
            class,
            cluster_ips,
            families,
            family_policy,
            traffic_policy,
            ports,
            selector_text,
            ingress,
            pool_annotation,
            requested_ips,
            spec_load_balancer_ip,
            sharing_key,
            allocated_from_pool,
            deprecated_annotations,
            deleting,
            managed,
            recorders,
            condition,
        } = view;
        self.text(resource_version);
        self.list(labels.iter(), |pen, (key, value)| {
            pen.text(key);
            pen.text(value);
        });
        self.number(match service_type {
            ServiceType::LoadBalancer => 0,
            ServiceType::Other => 1,
        });
        self.list(cluster_ips, |pen, ip| pen.address(*ip));
        self.list(families, |pen, family| {
            pen.number(match family {
                IpFamily::V4 => 0,
                IpFamily::V6 => 1,
            });
        });
        self.number(match family_policy {
            FamilyPolicy::SingleStack => 0,
            FamilyPolicy::PreferDualStack => 1,
            FamilyPolicy::RequireDualStack => 2,
        });
        self.number(match traffic_policy {
            TrafficPolicy::Cluster => 0,
            TrafficPolicy::Local => 1,
        });
        self.list(ports, |pen, Port { protocol, port }| {
            pen.number(match protocol {
                Protocol::Tcp => 0,
                Protocol::Udp => 1,
                Protocol::Sctp => 2,
            });
            pen.number(u64::from(*port));
        });
        self.text(selector_text);
        match ingress {
            Ingress::None => self.number(0),
            Ingress::Addresses(addresses) => {
                self.number(1);
                self.list(addresses, |pen, ip| pen.address(*ip));
            }
            Ingress::Invalid(text) => {
                self.number(2);
                self.text(text);
            }
        }
        for wish in
            [class, pool_annotation, requested_ips, spec_load_balancer_ip, sharing_key, allocated_from_pool]
        {
            self.list(wish, |pen, text| pen.text(text));
        }
        self.number(u64::from(*deprecated_annotations));
        self.number(u64::from(*deleting));
        self.list(managed, |pen, StatusManager { manager, time, applied }| {
            pen.text(manager);
            pen.list(time, |pen, time| pen.time(*time));
            pen.number(u64::from(*applied));
        });
        self.list(recorders, |pen, manager| pen.text(manager));
        self.list(condition, |pen, ServiceCondition { holds, reason, message, since }| {
            pen.number(u64::from(*holds));
            pen.text(reason);
            pen.text(message);
            pen.list(since, |pen, since| {
                pen.time(since.0.as_second());
                pen.time(i64::from(since.0.subsec_nanosecond()));
            });
        });
    }

    /// Seven bits an octet, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn time(&mut self, time: i64) {
        self.0.extend(time.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len().try_into().expect("no text is longer than 2^64 octets"));
        self.0.extend(text.as_bytes());
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.number(0);
                self.0.extend(v4.octets());
            }
            IpAddr::V6(v6) => {
                self.number(1);
                self.0.extend(v6.octets());
            }
        }
    }

    /// The number of things, and each of them; an option is a list of at most one.
    fn list<T>(
        &mut self,
        things: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        one: impl Fn(&mut Self, T),
    ) {
        let things = things.into_iter();
        self.number(things.len().try_into().expect("no list is longer than 2^64"));
        things.for_each(|thing| one(self, thing));
    }
}

/// The octets that are still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn view(&mut self, sheet: &Sheet) -> Option<ServiceView> {
        Some(ServiceView {
            key: (*sheet.key).clone(),
            uid: (*sheet.uid).to_owned(),
            created: sheet.created,
            resource_version: self.text()?,
            labels: self.list(|reader| Some((reader.text()?, reader.text()?)))?,
            service_type: if self.flag()? { ServiceType::Other } else { ServiceType::LoadBalancer },
            cluster_ips: self.list(Self::address)?,
            families: self.list(|reader| Some(if reader.flag()? { IpFamily::V6 } else { IpFamily::V4 }))?,
            family_policy: match self.number()? {
                0 => FamilyPolicy::SingleStack,
                1 => FamilyPolicy::PreferDualStack,
                2 => FamilyPolicy::RequireDualStack,
                _ => return None,
            },
            traffic_policy: if self.flag()? { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
            ports: self.list(Self::port)?,
            selector_text: self.text()?,
            ingress: match self.number()? {
                0 => Ingress::None,
                1 => Ingress::Addresses(self.list(Self::address)?),
                2 => Ingress::Invalid(self.text()?),
                _ => return None,
            },
            class: self.maybe(Self::text)?,
            pool_annotation: self.maybe(Self::text)?,
            requested_ips: self.maybe(Self::text)?,
            spec_load_balancer_ip: self.maybe(Self::text)?,
            sharing_key: self.maybe(Self::text)?,
            allocated_from_pool: self.maybe(Self::text)?,
            deprecated_annotations: self.flag()?,
            deleting: self.flag()?,
            managed: self.list(|reader| {
                let (manager, time) = (reader.text()?, reader.maybe(Self::time)?);
                Some(StatusManager { manager, time, applied: reader.flag()? })
            })?,
            recorders: self.list(Self::text)?,
            condition: self.maybe(Self::condition)?,
        })
    }

    fn condition(&mut self) -> Option<ServiceCondition> {
        let (holds, reason, message) = (self.flag()?, self.text()?, self.text()?);
        let since = self.maybe(|reader| {
            let (seconds, part) = (reader.time()?, reader.time()?);
            Timestamp::new(seconds, part.try_into().ok()?).ok().map(Time)
        })?;
        Some(ServiceCondition { holds, reason, message, since })
    }

    fn port(&mut self) -> Option<Port> {
        let protocol = match self.number()? {
            0 => Protocol::Tcp,
            1 => Protocol::Udp,
            2 => Protocol::Sctp,
            _ => return None,
        };
        Some(Port { protocol, port: self.number()?.try_into().ok()? })
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [octet] = self.take()?;
            number |= u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn time(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?.try_into().ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    fn address(&mut self) -> Option<IpAddr> {
        if self.flag()? {
            self.take::<16>().map(|octets| Ipv6Addr::from(octets).into())
        } else {
            self.take::<4>().map(|octets| Ipv4Addr::from(octets).into())
        }
    }

    fn list<T, C: FromIterator<T>>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<C> {
        let length = self.number()?;
        (0..length).map(|_| one(self)).collect()
    }

    fn maybe<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { one(self).map(Some) } else { Some(None) }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (octets, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*octets)
    }
}

#[cfg(test)]
mod tests {
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
        let since = option::of((-1_000_000_000..4_000_000_000_i64, 0..1_000_000_000_i32));
        (any::<bool>(), any::<String>(), any::<String>(), since).prop_map(
            |(holds, reason, message, since)| {
                let since = since.map(|(seconds, part)| Time(Timestamp::new(seconds, part).unwrap()));
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
            prop_assert!(Arc::ptr_eq(&again.key, &sheet.key) && Arc::ptr_eq(&again.uid, &sheet.uid));
            prop_assert_eq!(Sheet::new(&other, Some(&sheet)).view(), other);
        }
    }
}
