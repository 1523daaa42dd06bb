//! From API objects to facts: EndpointSlices to counters, Secrets to passwords. The own Node is in `node`.
//!
//! Pure. The types read only the fields that are used, and read them leniently: an object that another program
//! wrote strangely must not stop the watch that it comes through. The types of Services and configuration objects
//! are in `api`.

use std::collections::BTreeSet;

use api::config::{PasswordSecret, TcpAo, TcpAoFault};
use api::names::{ABLE_ANNOTATION, PASSWORD_SECRET_KEY, label, tcp_ao_key};
use api::selector::Labels;
use api::service::{ServiceKey, ServiceType, ServiceView};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::decide::snapshot::{EndpointCounts, EndpointFacts, ServiceFacts};
use crate::decide::verdict::AddressFamily;

/// What decisions are made from, of a Service as the watch decodes it.
#[must_use]
pub fn service_facts(view: ServiceView) -> ServiceFacts {
    let pending = view.condition.filter(|condition| !condition.holds);
    ServiceFacts {
        uid: view.uid,
        load_balancer: view.service_type == ServiceType::LoadBalancer,
        pending: pending.map(|condition| condition.message.into()),
        labels: view.labels,
        ingress: view.ingress,
        traffic_policy: view.traffic_policy,
        allocated_from_pool: view.allocated_from_pool,
    }
}

/// An EndpointSlice as far as it is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlimSlice {
    #[serde(default, deserialize_with = "slice_meta")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    address_type: String,
    #[serde(default, deserialize_with = "null_is_default")]
    endpoints: Vec<SlimEndpoint>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimEndpoint {
    #[serde(default, deserialize_with = "null_is_default")]
    addresses: Present,
    node_name: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: SlimConditions,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct SlimConditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

/// Whether a list has an entry; the entries themselves are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Present(bool);

/// An EndpointSlice reduced to numbers; all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceFold {
    /// The Service that the slice belongs to.
    pub service: ServiceKey,
    /// The family of its endpoints.
    pub family: AddressFamily,
    /// Its endpoints, counted.
    pub counts: EndpointCounts,
}

/// Why a slice contributes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceFault {
    /// It belongs to no Service.
    #[error("the EndpointSlice has no label {}", label::SERVICE_NAME)]
    NoService,
    /// Its endpoints are names and not addresses.
    #[error("the address type of the EndpointSlice is neither IPv4 nor IPv6")]
    NoAddresses,
}

impl SlimSlice {
    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> (&str, &str) {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
    }

    /// Counts the endpoints by what they can do and where they are, seen from the node of that name.
    ///
    /// A missing `ready` means ready; what is serving though not ready must say so itself, since `serving` is
    /// missing where slices were written by hand.
    ///
    /// # Errors
    /// When the slice cannot count for any Service.
    pub fn fold(&self, node: &str) -> Result<SliceFold, SliceFault> {
        let labels = self.metadata.labels.as_ref();
        let service = labels.and_then(|labels| labels.get(label::SERVICE_NAME));
        let name = service.filter(|name| !name.is_empty()).ok_or(SliceFault::NoService)?;
        let family = match self.address_type.as_str() {
            "IPv4" => AddressFamily::V4,
            "IPv6" => AddressFamily::V6,
            _ => return Err(SliceFault::NoAddresses),
        };
        let mut counts = EndpointCounts::default();
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.addresses.0) {
            let ready = endpoint.conditions.ready.unwrap_or(true);
            let serving = !ready && endpoint.conditions.serving == Some(true);
            let host = endpoint.node_name.as_deref();
            let here = host == Some(node);
            let elsewhere = host.is_some() && !here;
            let count = |holds: bool| u32::from(holds);
            counts.any_ready += count(ready);
            counts.any_serving += count(serving);
            counts.local_ready += count(ready && here);
            counts.local_serving += count(serving && here);
            counts.elsewhere_ready += count(ready && elsewhere);
        }
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        Ok(SliceFold { service: ServiceKey::new(namespace, name), family, counts })
    }

    /// The Service that it belongs to, by its label.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(label::SERVICE_NAME).map(String::as_str)
    }

    /// The nodes of its ready endpoints; one as often as it has some.
    pub fn ready_nodes(&self) -> impl Iterator<Item = &str> {
        let ready =
            |endpoint: &&SlimEndpoint| endpoint.addresses.0 && endpoint.conditions.ready.unwrap_or(true);
        self.endpoints.iter().filter(ready).filter_map(|endpoint| endpoint.node_name.as_deref())
    }
}

impl SliceFold {
    /// Adds the slice to the sum of its Service.
    pub fn add_to(&self, sum: &mut EndpointFacts) {
        self.combine(sum, u32::saturating_add);
    }

    /// Takes the slice out of a sum that it was added to.
    pub fn take_from(&self, sum: &mut EndpointFacts) {
        self.combine(sum, u32::saturating_sub);
    }

    fn combine(&self, sum: &mut EndpointFacts, with: impl Fn(u32, u32) -> u32) {
        let counts = match self.family {
            AddressFamily::V4 => &mut sum.v4,
            AddressFamily::V6 => &mut sum.v6,
        };
        let EndpointCounts { local_ready, local_serving, elsewhere_ready, any_ready, any_serving } =
            self.counts;
        counts.local_ready = with(counts.local_ready, local_ready);
        counts.local_serving = with(counts.local_serving, local_serving);
        counts.elsewhere_ready = with(counts.elsewhere_ready, elsewhere_ready);
        counts.any_ready = with(counts.any_ready, any_ready);
        counts.any_serving = with(counts.any_serving, any_serving);
    }
}

/// A ConfigurationState of a speaker as far as it is read: whose it is, and what its node could announce.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimState {
    #[serde(default, deserialize_with = "state_meta")]
    pub(super) metadata: ObjectMeta,
}

impl SlimState {
    /// The node, and the BGPAdvertisements for a bounded number of nodes that it could follow. `None` for the object of
    /// something else than a speaker.
    #[must_use]
    pub fn able(&self) -> Option<(&str, BTreeSet<Box<str>>)> {
        let node = self.metadata.labels.as_ref()?.get(label::NODE_NAME)?;
        let able = self.metadata.annotations.as_ref().and_then(|all| all.get(ABLE_ANNOTATION));
        let names = able.into_iter().flat_map(|names| names.split(','));
        Some((node, names.filter(|name| !name.is_empty()).map(Into::into).collect()))
    }
}

/// With one label and one annotation.
fn state_meta<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    struct Meta {
        #[serde(default)]
        annotations: Option<OneAnnotation>,
        #[serde(flatten)]
        rest: SlimMeta<OneLabel>,
    }
    #[derive(Deserialize)]
    struct OneAnnotation {
        #[serde(rename = "herald-lb.io/able")]
        able: Option<String>,
    }
    #[derive(Deserialize)]
    struct OneLabel {
        #[serde(rename = "metallb.io/node-name")]
        node: Option<String>,
    }
    let Meta { annotations, rest } = Meta::deserialize(from)?;
    let keep = |labels: OneLabel| Some(Labels::from([(label::NODE_NAME.to_owned(), labels.node?)]));
    let able = annotations.and_then(|annotations| annotations.able);
    let annotations = able.map(|able| [(ABLE_ANNOTATION.to_owned(), able)].into());
    Ok(ObjectMeta { annotations, ..rest.with_labels(keep) })
}

/// A Secret as far as it is read: its type and the keys that sign sessions.
#[derive(Clone, Deserialize)]
pub struct SlimSecret {
    #[serde(default, deserialize_with = "secret_meta")]
    pub(super) metadata: ObjectMeta,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    data: SlimSecretData,
}

#[derive(Clone, Default, Deserialize)]
struct SlimSecretData {
    password: Option<ByteString>,
    #[serde(rename = "sendID")]
    send_id: Option<ByteString>,
    #[serde(rename = "recvID")]
    recv_id: Option<ByteString>,
    algorithm: Option<ByteString>,
}

impl SlimSecret {
    /// The password, or what keeps the Secret from being one.
    #[must_use]
    pub fn password(&self) -> PasswordSecret {
        PasswordSecret::from_secret(&self.secret())
    }

    /// The same as a TCP-AO master key tuple.
    ///
    /// # Errors
    /// [`TcpAoFault`] says what it lacks; a Secret that is only a password lacks the identifiers.
    pub fn tcp_ao(&self) -> Result<TcpAo, TcpAoFault> {
        TcpAo::from_secret(&self.secret())
    }

    fn secret(&self) -> Secret {
        let SlimSecretData { password, send_id, recv_id, algorithm } = &self.data;
        let values = [
            (PASSWORD_SECRET_KEY, password),
            (tcp_ao_key::SEND_ID, send_id),
            (tcp_ao_key::RECV_ID, recv_id),
            (tcp_ao_key::ALGORITHM, algorithm),
        ];
        let data = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        Secret { type_: Some(self.kind.clone()), data: Some(data.collect()), ..Secret::default() }
    }
}

impl std::fmt::Debug for SlimSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlimSecret").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

/// The parts of `metadata` that are read; what is left out costs no memory. `L` is what is kept of the labels.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimMeta<L> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<Time>,
    labels: Option<L>,
}

impl<L> SlimMeta<L> {
    pub(super) fn with_labels(self, labels: impl FnOnce(L) -> Option<Labels>) -> ObjectMeta {
        let Self { name, namespace, uid, resource_version, deletion_timestamp, labels: read } = self;
        let labels = read.and_then(labels);
        ObjectMeta {
            name,
            namespace,
            uid,
            resource_version,
            deletion_timestamp,
            labels,
            ..ObjectMeta::default()
        }
    }
}

fn secret_meta<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    SlimMeta::<IgnoredAny>::deserialize(from).map(|meta| meta.with_labels(|_| None))
}

/// With the one label that an EndpointSlice is read for; it carries all labels of its Service.
fn slice_meta<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    struct OneLabel {
        #[serde(rename = "kubernetes.io/service-name")]
        service: Option<String>,
    }
    let keep = |labels: OneLabel| Some(Labels::from([(label::SERVICE_NAME.to_owned(), labels.service?)]));
    SlimMeta::<OneLabel>::deserialize(from).map(|meta| meta.with_labels(keep))
}

/// The API says `null` for an empty list or object now and then.
pub(super) fn null_is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> serde::de::Visitor<'de> for List {
            type Value = Present;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Present, A::Error> {
                let mut present = false;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    present = true;
                }
                Ok(Present(present))
            }
        }
        from.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use api::config::TcpAoAlgorithm;
    use serde_json::{Value, json};

    use super::*;

    fn check(endpoints: Value, expected: [u32; 5]) {
        let slice: SlimSlice = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web", "a": "b"},
                "managedFields": [{"manager": "x"}]},
            "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
        }))
        .unwrap();
        let counts = slice.fold("here").unwrap().counts;
        let EndpointCounts { local_ready, local_serving, elsewhere_ready, any_ready, any_serving } = counts;
        assert_eq!([local_ready, local_serving, elsewhere_ready, any_ready, any_serving], expected);
    }

    #[test]
    fn endpoints_are_counted_by_what_they_can_do_and_where_they_are() {
        let a = json!(["10.0.0.1", "10.0.0.2"]);
        check(Value::Null, [0; 5]);
        check(json!([]), [0; 5]);
        check(json!([{"addresses": a, "nodeName": "here", "conditions": {"ready": true}}]), [1, 0, 0, 1, 0]);
        check(json!([{"addresses": a, "nodeName": "here"}]), [1, 0, 0, 1, 0]);
        check(json!([{"addresses": a, "nodeName": "here", "conditions": null}]), [1, 0, 0, 1, 0]);
        check(json!([{"addresses": a, "nodeName": "there", "conditions": {"ready": null}}]), [0, 0, 1, 1, 0]);
        check(json!([{"addresses": a, "conditions": {"ready": true, "serving": false}}]), [0, 0, 0, 1, 0]);
        check(json!([{"addresses": a, "nodeName": "here", "conditions": {"ready": false}}]), [0; 5]);
        check(
            json!([{"addresses": a, "nodeName": "here",
                "conditions": {"ready": false, "serving": true, "terminating": true}}]),
            [0, 1, 0, 0, 1],
        );
        check(
            json!([{"addresses": [], "nodeName": "here"}, {"addresses": null, "nodeName": "here"}]),
            [0; 5],
        );
        check(json!([{"nodeName": "here"}]), [0; 5]);
    }

    #[test]
    fn a_speaker_says_in_an_annotation_what_its_node_could_announce() {
        let state = |value: Value| serde_json::from_value::<SlimState>(value).unwrap();
        let able = |state: &SlimState| {
            let (node, able) = state.able()?;
            Some(format!("{node}: {}", able.into_iter().collect::<Vec<_>>().join(" ")))
        };
        let labels = json!({"metallb.io/node-name": "n1", "metallb.io/component-type": "speaker"});
        let meta = json!({"name": "speaker-n1", "namespace": "lb", "resourceVersion": "7", "labels": labels,
            "annotations": {"herald-lb.io/able": "wide,narrow", "other": "x"}});
        let speaking = state(json!({"metadata": meta, "status": {"result": "Valid"}}));
        assert_eq!(able(&speaking).as_deref(), Some("n1: narrow wide"));
        assert_eq!(speaking.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(able(&state(json!({"metadata": {"labels": labels}}))).as_deref(), Some("n1: "));
        assert_eq!(able(&state(json!({"metadata": {"name": "controller"}}))), None);
    }

    #[test]
    fn a_secret_shows_its_password_to_the_socket_only() {
        let secret: SlimSecret = serde_json::from_value(json!({
            "metadata": {"name": "bgp"}, "type": "kubernetes.io/basic-auth", "data": {"password": "aHVudGVyMg=="},
        }))
        .unwrap();
        let PasswordSecret::Password(password) = secret.password() else { panic!("no password") };
        assert_eq!(password.octets(), b"hunter2");
        assert!(!format!("{secret:?}{:?}", secret.password()).contains("hunter"));
        let empty: SlimSecret = serde_json::from_value(json!({"type": "kubernetes.io/basic-auth"})).unwrap();
        assert_eq!(empty.password(), PasswordSecret::MissingKey);
        assert_eq!(secret.tcp_ao(), Err(TcpAoFault::Missing("sendID")));
        let whole: SlimSecret = serde_json::from_value(json!({
            "metadata": {"name": "bgp"}, "type": "kubernetes.io/basic-auth",
            "data": {
                "password": "aHVudGVyMg==", "sendID": "MQ==", "recvID": "Mg==", "algorithm": "aG1hYy1zaGEtMS05Ng==",
                "username": "bm9ib2R5",
            },
        }))
        .unwrap();
        let key = whole.tcp_ao().unwrap();
        assert_eq!((key.key.octets(), key.send_id, key.recv_id), (&b"hunter2"[..], 1, 2));
        assert_eq!(key.algorithm, TcpAoAlgorithm::HmacSha1);
        assert!(!format!("{whole:?}{key:?}").contains("hunter"));
    }
}
