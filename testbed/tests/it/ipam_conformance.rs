//! MetalLB's rules of allocation through the real API server: one Service after the other in a small language, and what
//! it must come to. The full tables are in `controller/src/plan/tests`; here is what only an API server can show.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};

use crate::runner::Test;
use crate::witness::addresses;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "ipam_conformance_metallbs_rules_hold_on_the_api_server",
    plan: || LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(rules(lab)),
}];

const SOON: Duration = Duration::from_secs(40);

/// Every pool gives back at once, so that each row finds what it expects.
const POOLS: [(&str, &str); 6] = [
    ("one", r#"addresses: [10.1.0.0/30, "fd00:1::/126"]"#),
    ("two", "addresses: [10.2.0.0/30]"),
    ("six", r#"addresses: ["fd00:6::/126"], autoAssign: false"#),
    (
        "low",
        "addresses: [10.3.0.0/30], serviceAllocation: {priority: 20, namespaces: [default], serviceSelectors: \
         [{matchLabels: {tier: web}}]}",
    ),
    (
        "high",
        "addresses: [10.4.0.0/30], serviceAllocation: {priority: 10, serviceSelectors: [{matchLabels: {tier: web}}]}",
    ),
    ("buggy", "addresses: [10.5.0.0/24], avoidBuggyIPs: true, autoAssign: false"),
];

/// A line is one act: a Service's name, what it becomes (`new`, `edit`, `gone`), its wishes, and what it comes to:
/// addresses with the pool, or the reason of its condition.
const SCRIPT: &str = "
a new                                        = 10.1.0.0 one
b new ask=10.1.0.0                           = InUse
c new                                        = 10.1.0.1 one
a gone
b edit ask=10.1.0.0                          = 10.1.0.0 one
b gone
c edit ask=10.2.0.3                          = 10.2.0.3 two
c edit pool=one                              = 10.1.0.0 one
c edit pool=nowhere                          = UnknownPool
c edit ask=10.9.9.9                          = OutsidePools
c edit ask=10.2.0.1 pool=one                 = RequestedPool
c edit                                       = 10.1.0.0 one
c edit ask=ten                               = RequestNotAnAddress 10.1.0.0
c edit ask=10.1.0.1,10.1.0.2                 = RequestSameFamily 10.1.0.0
c edit ask=10.1.0.1 spec=10.1.0.1            = RequestedTwice 10.1.0.0
c edit spec=10.1.0.2                         = 10.1.0.2 one
c edit type=NodePort                         =
c edit                                       = 10.1.0.0 one
c edit type=ClusterIP                        =
c edit spec=10.2.0.2                         = 10.2.0.2 two
c gone
d new old-pool=two                           = 10.2.0.0 two
d gone
e new class=example.com/other                =
e gone
k1 new share=k1 port=80                      = 10.1.0.0 one
k1 edit share=k2 port=80                     = 10.1.0.0 one
k2 new share=k2 port=80 ask=10.1.0.0         = PortInUse
k2 edit share=k1 port=443 ask=10.1.0.0       = InUse
k2 edit share=k2 port=443 local ask=10.1.0.0 = InUse
k2 edit share=k2 port=443 ask=10.1.0.0       = 10.1.0.0 one
k2 edit share=k2 port=444 ask=10.1.0.0       = 10.1.0.0 one
k2 gone
k1 edit share=k3 port=80                     = 10.1.0.0 one
k1 gone
f new require                                = 10.1.0.0 fd00:1:: one
f gone
g new require v6first                        = fd00:1:: 10.1.0.0 one
g gone
h new prefer pool=two                        = PoolExhausted 10.2.0.0
h gone
i new                                        = 10.1.0.0 one
i edit prefer                                = 10.1.0.0 fd00:1:: one
i edit shrink                                = 10.1.0.0 one
i gone
j new require ask=10.2.0.1,fd00:6::1         = 10.2.0.1 fd00:6::1 two
j gone
l new require ask=10.1.0.1,fd00:6::1         = AcrossPools
l gone
m new tier=web                               = 10.4.0.0 high
m gone
n new pool=high                              = PoolNotForService
n edit pool=high tier=web                    = 10.4.0.0 high
n gone
o new ask=10.5.0.255                         = AvoidedAddress
o edit ask=10.5.0.0                          = AvoidedAddress
o edit pool=buggy                            = 10.5.0.1 buggy
o gone
p new v6 pool=six                            = fd00:6:: six
p edit v6 ask=10.1.0.1                       = RequestedFamily
p gone
";

async fn rules(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    for (name, spec) in POOLS {
        let head = format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: {HERALD_NAMESPACE}}}\n"
        );
        lab.cluster().apply(&format!("{head}spec: {{releaseQuarantine: 0s, {spec}}}\n")).await?;
    }
    lab.start_daemon("n1", Daemon::Controller).await?;
    let services = Api::<Service>::default_namespaced(lab.cluster().client());
    let mut rows = 0;
    for row in SCRIPT.lines().filter(|row| !row.is_empty()) {
        act(&services, row).await.with_context(|| format!("in the row `{row}`"))?;
        rows += 1;
    }
    println!("  {rows} rows");
    ensure!(rows > 50, "the script has only {rows} rows");
    lab.check_daemons()
}

async fn act(services: &Api<Service>, row: &str) -> Result<()> {
    // No wish has a space before its sign of equality.
    let (words, expected) = match row.rsplit_once(" =") {
        Some((words, expected)) => (words, Some(expected.trim())),
        None => (row, None),
    };
    let mut words = words.split_whitespace();
    let (name, what) = (words.next().context("a name")?, words.next().context("an act")?);
    let wishes: Vec<&str> = words.collect();
    match what {
        "gone" => {
            services.delete(name, &DeleteParams::default()).await?;
            return eventually(SOON, "the Service to be gone", async || {
                match services.get_opt(name).await? {
                    None => Ok(()),
                    Some(_) => bail!("it is there"),
                }
            })
            .await
            .map(drop);
        }
        "new" => {
            let mut body = object(name, &wishes)?;
            drop_absent(&mut body);
            let object: Service = serde_json::from_value(body)?;
            services.create(&PostParams::default(), &object).await?;
        }
        "edit" if wishes == ["shrink"] => {
            let now = services.get(name).await?.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
            let spec =
                json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": now.get(..1)});
            services.patch(name, &PatchParams::default(), &Patch::Merge(&json!({ "spec": spec }))).await?;
        }
        "edit" => {
            let body = object(name, &wishes)?;
            services.patch(name, &PatchParams::default(), &Patch::Merge(&body)).await?;
        }
        other => bail!("no such act: {other}"),
    }
    let expected = expected.context("an act other than `gone` comes to something")?;
    eventually(SOON, expected, async || {
        let shown = shown(&services.get(name).await?);
        if shown == expected { Ok(()) } else { bail!("it comes to `{shown}`") }
    })
    .await
    .map(drop)
}

/// The reason of the condition if something is wrong, the addresses, and else the pool.
fn shown(object: &Service) -> String {
    let conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ours = conditions.filter(|one| one.type_ == "herald-lb.io/AddressAssigned" && one.status == "False");
    let mut words: Vec<String> = ours.map(|one| one.reason.clone()).collect();
    let wrong = !words.is_empty();
    words.extend(addresses(object).iter().map(ToString::to_string));
    if !wrong {
        let pool =
            object.metadata.annotations.as_ref().and_then(|all| all.get("metallb.io/ip-allocated-from-pool"));
        words.extend(pool.cloned());
    }
    words.join(" ")
}

/// What is not wished is taken back: the body is a merge patch as well.
fn object(name: &str, wishes: &[&str]) -> Result<Value> {
    let mut notes = json!({
        "metallb.io/loadBalancerIPs": null, "metallb.io/address-pool": null, "metallb.io/allow-shared-ip": null,
        "metallb.universe.tf/address-pool": null,
    });
    let mut labels = json!({"tier": null});
    let mut spec = json!({
        "type": "LoadBalancer", "selector": {"app": "web"}, "loadBalancerIP": null, "externalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP"}],
    });
    for wish in wishes {
        let (word, value) = wish.split_once('=').unwrap_or((wish, ""));
        match word {
            "ask" => notes["metallb.io/loadBalancerIPs"] = json!(value),
            "pool" => notes["metallb.io/address-pool"] = json!(value),
            "old-pool" => notes["metallb.universe.tf/address-pool"] = json!(value),
            "share" => notes["metallb.io/allow-shared-ip"] = json!(value),
            "spec" => spec["loadBalancerIP"] = json!(value),
            "port" => spec["ports"] = json!([{"port": value.parse::<u16>()?, "protocol": "TCP"}]),
            "local" => spec["externalTrafficPolicy"] = json!("Local"),
            "class" => spec["loadBalancerClass"] = json!(value),
            "tier" => labels["tier"] = json!(value),
            "type" => {
                spec["type"] = json!(value);
                if value == "ClusterIP" {
                    spec["externalTrafficPolicy"] = Value::Null;
                }
            }
            "v6" => spec["ipFamilies"] = json!(["IPv6"]),
            "require" => spec["ipFamilyPolicy"] = json!("RequireDualStack"),
            "prefer" => spec["ipFamilyPolicy"] = json!("PreferDualStack"),
            "v6first" => spec["ipFamilies"] = json!(["IPv6", "IPv4"]),
            other => bail!("no such wish: {other}"),
        }
    }
    Ok(json!({"metadata": {"name": name, "annotations": notes, "labels": labels}, "spec": spec}))
}

fn drop_absent(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(drop_absent);
    }
}
