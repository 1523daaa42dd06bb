//! Reads the text scripts in `testdata`: one block a row, each with the whole state and what is to follow from it.
//!
//! ```text
//! given                                   what all rows share
//!   node pandora label=zone:a             also: networkUnavailable, excluded, cordoned, notReady, shuttingDown,
//!                                         deleted, taint=KEY; a drain is over unless it says: notice
//!   pool default 10.20.30.0/24
//! row 4: policy Cluster, ready on iris    a row: the state ...
//!   peer peer1 1.2.3.4                    also: nodes=zone:a|zone:b
//!   speaker iris able=plain               what another speaker, or this one, says of itself; also: notready
//!   advertisement plain                   also: maxNodes= med= prepend= bandwidth=Endpoints without=Keep gracefulShutdown
//!                                         pools= length= length6= localPref= communities= nodes= peers= services=
//!   service test1 10.20.30.1              also: policy=Local type=ClusterIP label=a:b from=POOL; addresses a,b
//!   slice test1 ready@iris                also: v6, notready@, serving@, plain@; without a node: ready@
//!   -> peer1 10.20.30.1/32                ... and what is told to each session (`nothing` when it is nothing)
//!   => test1 withheld noEndpoints         ... and the verdicts that matter
//! ```
//! Objects become API objects first and are checked by `api::config`, so a row is also a test of that path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::config::{Config, Resources};
use api::service::{ServiceKey, SlimService};
use bgp_proto::wire::community::LinkBandwidth;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::decide::snapshot::{
    Drain, DrainStage, EndpointFacts, ExcludeLabel, NodeFacts, Snapshot, Surroundings,
};
use crate::decide::verdict::AddressFamily;
use crate::decide::width::{Fleet, Hosts, NodeHash};
use crate::plan::Plan;
use crate::watch::convert::{SlimSlice, service_facts};
use crate::watch::node::SlimNode;

/// One row of a script.
pub(super) struct Row {
    pub(super) title: String,
    pub(super) snapshot: Snapshot,
    told: BTreeMap<String, BTreeSet<String>>,
    verdicts: Vec<(ServiceKey, String)>,
}

/// Reads a whole script; whatever it does not understand is a panic that names the line.
pub(super) fn rows(script: &str) -> Vec<Row> {
    let mut given = Vec::new();
    let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
    for line in script.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if let Some(title) = line.strip_prefix("row ") {
            rows.push((title.to_owned(), given.clone()));
        } else if line == "given" || line.is_empty() {
            continue;
        } else if let Some((_, lines)) = rows.last_mut() {
            lines.push(line.trim());
        } else {
            given.push(line.trim());
        }
    }
    assert!(!rows.is_empty(), "a script without rows tests nothing");
    rows.into_iter().map(|(title, lines)| Row::read(title, &lines)).collect()
}

impl Row {
    fn read(title: String, lines: &[&str]) -> Self {
        let mut objects = Objects::default();
        let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut verdicts = Vec::new();
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words: Vec<&str> = rest.split_whitespace().collect();
            match (word, words.as_slice()) {
                ("->", [peer, "nothing"]) => {
                    told.entry((*peer).to_owned()).or_default();
                }
                ("->", [peer, route @ ..]) => {
                    told.entry((*peer).to_owned()).or_default().insert(route.join(" "));
                }
                ("=>", [service, verdict @ ..]) => verdicts.push((key(service), verdict.join(" "))),
                (word, words) => objects.read(word, words, line),
            }
        }
        Self { title, snapshot: objects.snapshot(), told, verdicts }
    }

    /// Whether a plan says what the row expects.
    pub(super) fn check(&self, plan: &Plan) {
        let told: BTreeMap<String, BTreeSet<String>> = plan
            .peers
            .iter()
            .map(|(name, peer)| {
                let routes = peer.routes.iter().map(|(prefix, attrs)| {
                    let mut text = prefix.to_string();
                    if let Some(value) = attrs.local_pref {
                        text += &format!(" localPref={value}");
                    }
                    if let Some(value) = attrs.med {
                        text += &format!(" med={value}");
                    }
                    if attrs.prepend > 0 {
                        text += &format!(" prepend={}", attrs.prepend);
                    }
                    for octets in &attrs.ext_communities {
                        let share = LinkBandwidth::from_octets(*octets).unwrap();
                        text += &format!(" bandwidth={}x{}", share.asn, share.octets_per_second / 125e6);
                    }
                    let standard = attrs.communities.iter().map(ToString::to_string);
                    let large = attrs.large_communities.iter().map(|value| format!("large:{value}"));
                    let communities: Vec<String> = standard.chain(large).collect();
                    if !communities.is_empty() {
                        text += &format!(" communities={}", communities.join(","));
                    }
                    text
                });
                (name.clone(), routes.collect())
            })
            .collect();
        assert_eq!(told, self.told, "row {}: what the sessions are told", self.title);
        for (service, expected) in &self.verdicts {
            let verdict = plan.verdicts.get(service);
            let found = match verdict {
                None => "absent".to_owned(),
                Some(crate::decide::verdict::Verdict::Withhold(reason)) => {
                    format!("withheld {}", reason.word())
                }
                Some(crate::decide::verdict::Verdict::Announce { withheld, .. }) => {
                    let partly =
                        withheld.iter().map(|(ip, reason)| format!(" without {ip} {}", reason.word()));
                    format!("announced{}", partly.collect::<String>())
                }
            };
            assert_eq!(found, *expected, "row {}: verdict of {service}, in full {verdict:?}", self.title);
        }
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

#[derive(Default)]
struct Objects {
    resources: Resources,
    node: Option<(String, NodeFacts)>,
    services: BTreeMap<ServiceKey, SlimService>,
    slices: Vec<SlimSlice>,
    ignore_exclude_label: bool,
    fleet: Fleet,
}

impl Objects {
    fn read(&mut self, word: &str, words: &[&str], line: &str) {
        let options = Options::read(words);
        let name = options.plain.first().copied().unwrap_or_default();
        let meta = json!({"name": name, "namespace": "metallb-system", "labels": options.labels("label")});
        match word {
            "node" => {
                let mut labels = options.labels("label");
                if options.plain.contains(&"excluded") {
                    labels[api::names::label::EXCLUDE_FROM_EXTERNAL_LB] = json!("false");
                }
                let unavailable =
                    if options.plain.contains(&"networkUnavailable") { "True" } else { "False" };
                let has = |word| options.plain.contains(&word);
                let shutdown =
                    json!({"type": "Ready", "status": "False", "message": "node is shutting down"});
                let lost = json!({"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."});
                let ready = match (has("shuttingDown"), has("notReady")) {
                    (true, _) => shutdown,
                    (false, true) => lost,
                    (false, false) => json!({"type": "Ready", "status": "True"}),
                };
                let taints: Vec<Value> = options.all("taint").map(|key| json!({"key": key})).collect();
                let node: SlimNode = object(json!({
                    "metadata": {
                        "name": name, "labels": labels,
                        "deletionTimestamp": has("deleted").then_some("2026-01-01T00:00:00Z"),
                    },
                    "spec": {"unschedulable": has("cordoned"), "taints": taints},
                    "status": {"conditions": [{"type": "NetworkUnavailable", "status": unavailable}, ready]},
                }));
                let view = node.view();
                let stage = if has("notice") { DrainStage::Notice } else { DrainStage::Over };
                let drain = view.leaving.map(|leaving| Drain { leaving, stage });
                self.node = Some((name.to_owned(), NodeFacts { drain, ..view.facts }));
            }
            "speaker" => {
                if !options.plain.contains(&"notready") {
                    self.fleet.ready.insert(name.into());
                }
                let able = options.list("able").unwrap_or_default();
                self.fleet.able.insert(name.into(), able.into_iter().map(Into::into).collect());
            }
            "ignore-exclude-lb" => self.ignore_exclude_label = true,
            "pool" => self.resources.pools.push(object(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": meta,
                "spec": {"addresses": &options.plain[1..]},
            }))),
            "peer" => self.resources.peers.push(object(json!({
                "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": meta,
                "spec": {
                    "myASN": 100, "peerASN": 200, "peerAddress": options.plain[1],
                    "nodeSelectors": options.selectors("nodes"),
                },
            }))),
            "advertisement" => self.resources.advertisements.push(object(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement", "metadata": meta,
                "spec": {
                    "ipAddressPools": options.list("pools"),
                    "aggregationLength": options.number("length"),
                    "aggregationLengthV6": options.number("length6"),
                    "localPref": options.number("localPref"),
                    "communities": options.list("communities"),
                    "nodeSelectors": options.selectors("nodes"),
                    "peers": options.list("peers"),
                    "serviceSelectors": options.selectors("services"),
                    "med": options.number("med"),
                    "asPathPrepend": options.number("prepend"),
                    "linkBandwidth": options.one("bandwidth"),
                    "withoutEndpoints": options.one("without"),
                    "maxNodes": options.number("maxNodes"),
                    "gracefulShutdown": options.plain.contains(&"gracefulShutdown"),
                },
            }))),
            "service" => {
                let ingress: Vec<Value> = options
                    .plain
                    .get(1)
                    .into_iter()
                    .flat_map(|addresses| addresses.split(','))
                    .map(|address| match address.strip_prefix("host:") {
                        Some(host) => json!({"hostname": host}),
                        None => json!({"ip": address}),
                    })
                    .collect();
                let service = object(json!({
                    "apiVersion": "v1", "kind": "Service",
                    "metadata": {
                        "name": name, "namespace": "default", "labels": options.labels("label"),
                        "annotations": options.one("from").map(|pool| json!({"metallb.io/ip-allocated-from-pool": pool})),
                    },
                    "spec": {
                        "type": options.one("type").unwrap_or("LoadBalancer"),
                        "externalTrafficPolicy": options.one("policy").unwrap_or("Cluster"),
                    },
                    "status": {"loadBalancer": {"ingress": ingress}},
                }));
                self.services.insert(key(name), service);
            }
            "slice" => {
                let endpoints: Vec<Value> = options.plain[1..]
                    .iter()
                    .filter(|word| word.contains('@'))
                    .map(|word| endpoint(word))
                    .collect();
                self.slices.push(object(json!({
                    "metadata": {
                        "name": format!("{name}-{}", self.slices.len()), "namespace": "default",
                        "labels": {"kubernetes.io/service-name": name, "other": "label"},
                    },
                    "addressType": if options.plain.contains(&"v6") { "IPv6" } else { "IPv4" },
                    "endpoints": endpoints,
                })));
            }
            _ => panic!("nothing is known about the line: {line}"),
        }
    }

    fn snapshot(self) -> Snapshot {
        let (config, rejections) = Config::build(&self.resources, &Config::default());
        assert!(rejections.is_empty(), "the objects of a row are to be good: {rejections:?}");
        let node_name = self.node.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
        let mut endpoints: BTreeMap<ServiceKey, EndpointFacts> = BTreeMap::new();
        let mut hosts: BTreeMap<ServiceKey, Hosts> = BTreeMap::new();
        for slice in &self.slices {
            let fold = slice.fold(&node_name).unwrap();
            fold.add_to(endpoints.entry(fold.service.clone()).or_default());
            let hosts = hosts.entry(fold.service).or_default();
            let of_family = match fold.family {
                AddressFamily::V4 => &mut hosts.v4,
                AddressFamily::V6 => &mut hosts.v6,
            };
            of_family.extend(slice.ready_nodes().map(NodeHash::of));
        }
        Snapshot {
            services: self
                .services
                .into_iter()
                .map(|(key, service)| (key, service_facts(service.view())))
                .collect(),
            endpoints,
            hosts,
            surroundings: Surroundings {
                fleet: self.fleet,
                own: node_name.into(),
                node: self.node.map(|(_, facts)| facts),
                config: Arc::new(config),
                exclude_label: match self.ignore_exclude_label {
                    true => ExcludeLabel::Ignored,
                    false => ExcludeLabel::Honoured,
                },
            },
        }
    }
}

fn endpoint(word: &str) -> Value {
    let (condition, node) = word.split_once('@').unwrap();
    let conditions = match condition {
        "ready" => json!({"ready": true}),
        "notready" => json!({"ready": false}),
        "serving" => json!({"ready": false, "serving": true}),
        "readynotserving" => json!({"ready": true, "serving": false}),
        "terminating" => json!({"ready": false, "serving": true, "terminating": true}),
        "plain" => json!({}),
        _ => panic!("no such endpoint condition: {condition}"),
    };
    let node = if node.is_empty() { Value::Null } else { json!(node) };
    json!({"addresses": ["10.244.0.5"], "nodeName": node, "conditions": conditions})
}

fn object<T: DeserializeOwned>(mut value: Value) -> T {
    drop_nulls(&mut value);
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// An option that was not given is a field that is not there.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(drop_nulls);
    }
}

/// The words of a line: plain ones, and `name=value`.
struct Options<'a> {
    plain: Vec<&'a str>,
    named: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    fn read(words: &[&'a str]) -> Self {
        let mut options = Self { plain: Vec::new(), named: Vec::new() };
        for word in words {
            match word.split_once('=') {
                Some(named) => options.named.push(named),
                None => options.plain.push(word),
            }
        }
        options
    }

    fn one(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.named.iter().filter(move |(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.one(name).map(|value| value.parse().unwrap())
    }

    fn list(&self, name: &str) -> Option<Vec<&'a str>> {
        self.one(name).map(|value| value.split(',').collect())
    }

    /// `label=a:b label=c:d` as an object.
    fn labels(&self, name: &str) -> Value {
        let labels = self.named.iter().filter(|(given, _)| *given == name);
        labels
            .map(|(_, label)| label.split_once(':').unwrap())
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect()
    }

    /// `nodes=a:b|c:d,e` as two label selectors, the second with two values to choose from.
    fn selectors(&self, name: &str) -> Option<Vec<Value>> {
        let selector = |label: &str| {
            let (key, value) = label.split_once(':').unwrap();
            match value.split(',').collect::<Vec<_>>().as_slice() {
                [one] => json!({"matchLabels": {key: one}}),
                values => json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]}),
            }
        };
        self.one(name).map(|value| value.split('|').map(selector).collect())
    }
}
