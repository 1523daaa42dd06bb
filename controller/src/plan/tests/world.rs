//! A world in words for the tables: pools and Services as one line each, planned until nothing changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::config::{Config, Resources};
use api::selector::Labels;
use api::service::{ServiceKey, ServiceView, SlimService};
use api::v1beta1::IPAddressPool;
use serde_json::{Value, json};

use crate::alloc::{Allocator, Network, Terms};
use crate::plan::{Memory, Step, Surroundings, existing, plan};

/// Services and pools, and the allocator between them.
pub(super) struct World {
    pub(super) allocator: Allocator,
    objects: BTreeMap<String, Value>,
    memory: BTreeMap<String, Memory>,
    namespaces: BTreeMap<String, Labels>,
    now: Instant,
}

impl World {
    /// A controller that starts on a cluster in this state. Pools and Services: see [`pool`] and [`service`].
    pub(super) fn start(pools: &str, services: &[&str]) -> Self {
        Self::start_with(Terms::default(), pools, services)
    }

    /// The same with other settings of the controller.
    pub(super) fn start_with(terms: Terms, pools: &str, services: &[&str]) -> Self {
        let now = Instant::now();
        let objects: BTreeMap<String, Value> = services.iter().map(|words| service(words)).collect();
        let labels = Labels::new();
        let around = Surroundings { namespace_labels: &labels, class: None, rivals: &[], now };
        let adopted = objects.values().filter_map(|object| existing(&view(object), &around));
        let (allocator, _) =
            Allocator::rebuild(&config(pools).pools, Network::default(), terms, now, adopted);
        Self { allocator, objects, memory: BTreeMap::new(), namespaces: BTreeMap::new(), now }
    }

    /// The same cluster after a restart of the controller with these pools.
    pub(super) fn restart(self, pools: &str) -> Self {
        let (now, network) = (self.now, self.allocator.network().clone());
        let labels = Labels::new();
        let around = Surroundings { namespace_labels: &labels, class: None, rivals: &[], now };
        let adopted = self.objects.values().filter_map(|object| existing(&view(object), &around));
        let (allocator, _) =
            Allocator::rebuild(&config(pools).pools, network, Terms::default(), now, adopted);
        Self { allocator, memory: BTreeMap::new(), ..self }
    }

    pub(super) fn set_pools(&mut self, pools: &str) {
        self.allocator.set_pools(&config(pools).pools);
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub(super) fn namespace(&mut self, name: &str, label: (&str, &str)) {
        let labels = Labels::from([(label.0.to_owned(), label.1.to_owned())]);
        self.namespaces.insert(name.to_owned(), labels);
    }

    /// Creates the Service or changes its spec; what was written to its status stays.
    pub(super) fn put(&mut self, words: &str) {
        let (name, mut object) = service(words);
        if let Some(old) = self.objects.get(&name) {
            object["status"] = old["status"].clone();
            // Who wrote what is the API server's to say, and no edit takes it away.
            object["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
            let from = old["metadata"]["annotations"][api::names::annotation::IP_ALLOCATED_FROM_POOL].clone();
            if from.is_string() {
                object["metadata"]["annotations"][api::names::annotation::IP_ALLOCATED_FROM_POOL] = from;
            }
        }
        self.objects.insert(name, object);
    }

    pub(super) fn delete(&mut self, name: &str) {
        let key = view(&self.objects.remove(name).unwrap()).key;
        self.allocator.advance(self.now);
        self.allocator.release(&key);
        self.memory.remove(name);
    }

    /// One pass over one Service. The write is carried out.
    pub(super) fn step(&mut self, name: &str) -> Step {
        let step = self.step_without_write(name);
        if let Some(write) = &step.write {
            let object = self.objects.get_mut(name).unwrap();
            let ingress: Vec<Value> =
                write.ingress.iter().map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"})).collect();
            object["status"]["loadBalancer"] = json!({ "ingress": ingress });
            let condition = write.remark.as_ref().map(|remark| {
                json!({"type": "herald-lb.io/AddressAssigned", "status": if remark.holds { "True" } else { "False" },
                       "reason": remark.reason, "message": remark.message})
            });
            object["status"]["conditions"] = condition.into_iter().collect();
            object["metadata"]["managedFields"] = managed("herald-controller", true, true);
            object["metadata"]["annotations"][api::names::annotation::IP_ALLOCATED_FROM_POOL] =
                write.pool.clone().map_or(Value::Null, Value::String);
        }
        self.memory.insert(name.to_owned(), step.memory.clone());
        step
    }

    /// One pass whose write does not reach the API server.
    pub(super) fn step_without_write(&mut self, name: &str) -> Step {
        self.step_among(name, &[])
    }

    /// The same while these field managers write the status, too.
    pub(super) fn step_among(&mut self, name: &str, rivals: &[String]) -> Step {
        let view = view(&self.objects[name]);
        let nothing = Labels::new();
        let namespace_labels = self.namespaces.get(view.key.namespace()).unwrap_or(&nothing);
        let around = Surroundings { namespace_labels, class: None, rivals, now: self.now };
        let before = self.memory.get(name).cloned().unwrap_or_default();
        plan(&view, &around, &mut self.allocator, &before)
    }

    /// Passes over all Services until nobody writes. Returns the events as `service Reason: note`.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..5 {
            let mut wrote = false;
            for name in self.objects.keys().cloned().collect::<Vec<_>>() {
                let step = self.step(&name);
                wrote |= step.write.is_some() || !step.released.is_empty();
                let events = step.events.iter();
                told.extend(events.map(|event| format!("{name} {}: {}", event.reason.as_str(), event.note)));
            }
            if !wrote {
                return told;
            }
        }
        panic!("the plan does not settle: {told:?}");
    }

    /// `address[ address] pool`, or `-`.
    pub(super) fn shows(&self, name: &str) -> String {
        let view = view(&self.objects[name]);
        let mut words: Vec<String> = view.addresses().iter().map(ToString::to_string).collect();
        words.extend(view.allocated_from_pool);
        if words.is_empty() { "-".to_owned() } else { words.join(" ") }
    }

    /// Someone else writes the status.
    pub(super) fn overwrite_status(&mut self, name: &str, ingress: Value) {
        let object = self.objects.get_mut(name).unwrap();
        object["status"]["loadBalancer"] = json!({ "ingress": ingress });
        let entries = [managed("herald-controller", true, false), managed("k3s", false, true)];
        object["metadata"]["managedFields"] =
            entries.into_iter().flat_map(|entry| entry.as_array().cloned().unwrap()).collect();
    }

    /// The condition as `status reason`.
    pub(super) fn condition(&self, name: &str) -> String {
        let condition = &self.objects[name]["status"]["conditions"][0];
        let word = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("status"), word("reason")).trim().to_owned()
    }

    /// The condition's sentence.
    pub(super) fn message(&self, name: &str) -> String {
        self.objects[name]["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }
}

pub(super) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn view(object: &Value) -> ServiceView {
    serde_json::from_value::<SlimService>(object.clone()).unwrap().view()
}

/// Pools, one on a line: `name: range, range [auto=no] [buggy] [prio=1] [ns=a,b] [nslabel=k=v] [label=k=v]
/// [excl=range+range] [rsv=ip@service] [edges] [rest=5m] [policy=Renumber] [off] [select=Spread]`.
pub(super) fn config(text: &str) -> Config {
    let lines = text.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty());
    let pools = lines.map(pool).collect();
    let (config, rejections) =
        Config::build(&Resources { pools, ..Resources::default() }, &Config::default());
    assert!(rejections.is_empty(), "{rejections:?}");
    config
}

fn pool(line: &str) -> IPAddressPool {
    let (name, rest) = line.split_once(':').unwrap();
    let mut spec = json!({ "addresses": [] });
    for word in rest.split([' ', ',']).filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            None if word == "buggy" => spec["avoidBuggyIPs"] = json!(true),
            None if word == "edges" => spec["skipNetworkAndBroadcast"] = json!(true),
            None if word == "off" => spec["disabled"] = json!(true),
            None if word == "pinned" => spec["serviceAllocation"] = json!({}),
            None => spec["addresses"].as_array_mut().unwrap().push(json!(word)),
            Some(("auto", "no")) => spec["autoAssign"] = json!(false),
            Some(("prio", number)) => {
                spec["serviceAllocation"]["priority"] = json!(number.parse::<i64>().unwrap())
            }
            Some(("ns", names)) => {
                spec["serviceAllocation"]["namespaces"] = json!(names.split('+').collect::<Vec<_>>());
            }
            Some(("nslabel", label)) => {
                spec["serviceAllocation"]["namespaceSelectors"] = json!([{ "matchLabels": labels(label) }]);
            }
            Some(("label", label)) => {
                spec["serviceAllocation"]["serviceSelectors"] = json!([{ "matchLabels": labels(label) }]);
            }
            Some(("excl", ranges)) => spec["excluded"] = json!(ranges.split('+').collect::<Vec<_>>()),
            Some(("rsv", text)) => {
                let (address, service) = text.split_once('@').unwrap();
                spec["reserved"] = json!([{"address": address, "namespace": "default", "service": service}]);
            }
            Some(("rest", time)) => spec["releaseQuarantine"] = json!(time),
            Some(("policy", policy)) => spec["editPolicy"] = json!(policy),
            Some(("select", how)) => spec["selection"] = json!(how),
            Some(other) => panic!("no such word: {other:?}"),
        }
    }
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "spec": spec,
        "metadata": {"name": name, "uid": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
    });
    serde_json::from_value(object).unwrap()
}

/// A Service: `name [v6|v4+v6|v6+v4|headless] [prefer|require] [status=ip] [hostname=h] [from=pool] [ask=ip,ip]
/// [spec=ip] [pool=name] [share=key] [port=80] [local] [selector=a] [ns=n] [label=k=v] [type=NodePort] [uid=u]
/// [class=c] [oldpool=name] [deleting] [ours] [foreign=m]`; `ours`: our field manager owns the status;
/// `foreign=m`: manager m owns it, and ours still owns the annotation.
pub(super) fn service(words: &str) -> (String, Value) {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let (v4, v6) = (["IPv4", "10.96.0.9"], ["IPv6", "fd00:10:96::9"]);
    let mut families = vec![v4];
    let mut spec =
        json!({"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": "a"}});
    let mut metadata = json!({
        "name": name, "namespace": "default", "uid": name, "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {},
    });
    let mut ingress = Vec::new();
    for word in words {
        let (word, value) = word.split_once('=').unwrap_or((word, ""));
        match word {
            "v4" => families = vec![v4],
            "v6" => families = vec![v6],
            "v4+v6" => families = vec![v4, v6],
            "v6+v4" => families = vec![v6, v4],
            "headless" => families = Vec::new(),
            "prefer" => spec["ipFamilyPolicy"] = json!("PreferDualStack"),
            "require" => spec["ipFamilyPolicy"] = json!("RequireDualStack"),
            "status" => ingress.extend(value.split(',').map(|ip| json!({ "ip": ip, "ipMode": "VIP" }))),
            "hostname" => ingress.push(json!({ "hostname": value })),
            "from" => metadata["annotations"]["metallb.io/ip-allocated-from-pool"] = json!(value),
            "ask" => metadata["annotations"]["metallb.io/loadBalancerIPs"] = json!(value),
            "pool" => metadata["annotations"]["metallb.io/address-pool"] = json!(value),
            "oldpool" => metadata["annotations"]["metallb.universe.tf/address-pool"] = json!(value),
            "share" => metadata["annotations"]["metallb.io/allow-shared-ip"] = json!(value),
            "spec" => spec["loadBalancerIP"] = json!(value),
            "port" => spec["ports"] = json!([{ "port": value.parse::<u16>().unwrap(), "protocol": "TCP" }]),
            "local" => spec["externalTrafficPolicy"] = json!("Local"),
            "selector" => spec["selector"] = json!({ "app": value }),
            "ns" => metadata["namespace"] = json!(value),
            "label" => metadata["labels"] = labels(value),
            "type" => spec["type"] = json!(value),
            "uid" => metadata["uid"] = json!(value),
            "class" => spec["loadBalancerClass"] = json!(value),
            "ours" => metadata["managedFields"] = managed("herald-controller", false, true),
            "foreign" => {
                let entries = [managed("herald-controller", true, false), managed(value, false, true)];
                metadata["managedFields"] =
                    entries.into_iter().flat_map(|entry| entry.as_array().cloned().unwrap()).collect();
            }
            "deleting" => metadata["deletionTimestamp"] = json!("2026-01-02T00:00:00Z"),
            other => panic!("no such word: {other:?}"),
        }
    }
    spec["ipFamilies"] = families.iter().map(|family| family[0]).collect();
    spec["clusterIPs"] = families.iter().map(|family| family[1]).collect();
    spec["clusterIP"] = json!(families.first().map_or("", |family| family[1]));
    let status = json!({ "loadBalancer": { "ingress": ingress } });
    (
        name,
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": status}),
    )
}

/// One entry of managedFields: a manager that owns the record of the pool, the addresses, or both.
fn managed(manager: &str, record: bool, addresses: bool) -> Value {
    let mut fields = json!({});
    if record {
        fields["f:metadata"] = json!({ "f:annotations": { "f:metallb.io/ip-allocated-from-pool": {} } });
    }
    if addresses {
        fields["f:status"] = json!({ "f:loadBalancer": { "f:ingress": {} } });
    }
    json!([{ "manager": manager, "operation": "Apply", "subresource": "status", "fieldsV1": fields }])
}

fn labels(text: &str) -> Value {
    let (key, value) = text.split_once('=').unwrap();
    json!({ key: value })
}
