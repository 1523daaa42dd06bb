//! The controller dies at each of its writes in turn, hears late, loses the API server again and again, and is frozen
//! in the middle of a burst. A witness looks at every version of every Service.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use testbed::gate::{GATE_ADDRESS, Gate, Moment};
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};

use crate::runner::Test;
use crate::witness::{Witness, addresses};

/// A share of the story: dead before or after each fourth write, from this one on.
macro_rules! killed {
    ($when:literal, $moment:ident, $first:literal, $number:literal) => {
        Test {
            name: concat!("ipam_killed_", $when, "_each_fourth_write_from_the_", $first, "_on_nothing_moves"),
            plan: one_node,
            story: |lab| Box::pin(every_write(lab, Moment::$moment, $number)),
        }
    };
}

pub(crate) const TESTS: &[Test] = &[
    killed!("before", Before, "first", 1),
    killed!("before", Before, "second", 2),
    killed!("before", Before, "third", 3),
    killed!("before", Before, "fourth", 4),
    killed!("after", After, "first", 1),
    killed!("after", After, "second", 2),
    killed!("after", After, "third", 3),
    killed!("after", After, "fourth", 4),
    Test {
        name: "ipam_late_news_and_a_flapping_api_server_move_nothing",
        plan: one_node,
        story: |lab| Box::pin(late(lab)),
    },
    Test {
        name: "ipam_frozen_in_a_burst_the_old_leader_changes_nothing_when_it_wakes",
        plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
        story: |lab| Box::pin(frozen(lab)),
    },
];

/// For a machine with much else to do; a lease runs for 15 s.
const SETTLED: Duration = Duration::from_secs(60);
/// A story is told once for each write, so they are shared out among this many labs.
const STEP: usize = 4;
/// No round of the story needs more writes than this.
const MOST_WRITES: usize = 80;

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

/// The story is told again and again; each time the controller dies at another write, every fourth one, until there is
/// none left.
async fn every_write(lab: &mut Lab, moment: Moment, first: usize) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let gate = Gate::open(lab.node("n1")?.namespace(), lab.cluster()).await?;
    for number in (first..MOST_WRITES).step_by(STEP) {
        let told = story(lab, &gate, number, moment).await;
        if !told.with_context(|| format!("killed {moment:?} write {number}"))? {
            println!("  killed {moment:?} each of {} writes", number / STEP);
            ensure!(number > 20, "the story has only {number} writes");
            return Ok(());
        }
    }
    bail!("the story did not come to its end within {MOST_WRITES} writes")
}

/// Gives, shares, edits, releases. Returns whether the controller had to die.
async fn story(lab: &mut Lab, gate: &Gate, number: usize, moment: Moment) -> Result<bool> {
    let client = lab.cluster().client();
    clear(&client).await?;
    gate.reset(Some((number, moment)));
    let witness = Witness::start(client.clone());
    set_pool(&client, &["10.0.4.0/28", "fd00:4::/124"]).await?;
    for (name, spec, annotations) in [
        ("a", json!({}), json!({})),
        ("b", json!({}), json!({})),
        ("s1", json!({}), json!({"metallb.io/allow-shared-ip": "k"})),
        ("s2", json!({"ports": [{"port": 443}]}), json!({"metallb.io/allow-shared-ip": "k"})),
        ("d", json!({"ipFamilyPolicy": "RequireDualStack"}), json!({})),
    ] {
        create(&client, name, &spec, &annotations).await?;
    }
    lab.start_daemon_at("n1", Daemon::Controller, GATE_ADDRESS).await?;
    let mut crashed = false;
    let counts = async || shown(&client).await;
    live_through(lab, gate, &mut crashed, async || {
        let shown = counts().await?;
        let given: Vec<usize> = shown.iter().map(|(_, addresses)| addresses.len()).collect();
        ensure!(given == [1, 1, 2, 1, 1], "{shown:?}");
        counters(&client, 4, 1).await
    })
    .await?;
    let before = shown(&client).await?;

    services(&client).delete("a", &DeleteParams::default()).await?;
    set_pool(&client, &["10.0.4.8/29", "fd00:4::/124"]).await?;
    patch(&client, "s2", &json!({"spec": {"type": "ClusterIP"}})).await?;
    let one = services(&client).get("d").await?.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
    let single = json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": one.get(..1)});
    patch(&client, "d", &json!({"spec": single})).await?;
    create(&client, "e", &json!({}), &json!({})).await?;
    live_through(lab, gate, &mut crashed, async || {
        let shown = counts().await?;
        let given: Vec<usize> = shown.iter().map(|(_, addresses)| addresses.len()).collect();
        ensure!(given == [1, 1, 1, 1, 0], "{shown:?}");
        counters(&client, 1, 0).await
    })
    .await?;
    let after = shown(&client).await?;
    for name in ["b", "s1", "d"] {
        let of = |list: &[(String, Vec<IpAddr>)]| {
            list.iter().find(|(one, _)| one == name).and_then(|(_, addresses)| addresses.first().copied())
        };
        ensure!(of(&before) == of(&after), "{name} went from {:?} to {:?}", of(&before), of(&after));
    }
    witness.check()?;
    if !crashed {
        // Recovered = before: a new life finds everything as it should be.
        crash(lab, gate).await?;
        eventually(SETTLED, "the new life to lead", async || {
            let leads = gate.writes().iter().any(|write| write.path.contains("/leases"));
            if leads { Ok(()) } else { bail!("it has not written its lease") }
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let writes: Vec<_> =
            gate.writes().into_iter().filter(|write| !write.path.contains("/leases")).collect();
        ensure!(writes.is_empty(), "after a restart nothing is to be written: {writes:?}");
        ensure!(shown(&client).await? == after, "a restart changes nothing");
    }
    lab.kill_daemon("n1", Daemon::Controller).await?;
    Ok(crashed)
}

/// Waits for a state, over the one death of the controller.
async fn live_through(
    lab: &mut Lab,
    gate: &Gate,
    crashed: &mut bool,
    mut state: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    if !*crashed {
        tokio::select! {
            biased;
            () = gate.sprung() => {}
            reached = eventually(SETTLED, "the state of the story", &mut state) => return reached.map(drop),
        }
        *crashed = true;
        crash(lab, gate).await?;
    }
    eventually(SETTLED, "the state of the story after the crash", state).await.map(drop)
}

/// kill -9, and the next life. Its lease is taken away, so that nobody waits for the 15 s that it would run.
async fn crash(lab: &mut Lab, gate: &Gate) -> Result<()> {
    lab.kill_daemon("n1", Daemon::Controller).await?;
    gate.reset(None);
    end_lease(&lab.cluster().client()).await?;
    lab.start_daemon_at("n1", Daemon::Controller, GATE_ADDRESS).await
}

async fn late(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let client = lab.cluster().client();
    let gate = Gate::open(lab.node("n1")?.namespace(), lab.cluster()).await?;
    set_pool(&client, &["10.0.4.0/26"]).await?;
    let witness = Witness::start(client.clone());
    lab.start_daemon_at("n1", Daemon::Controller, GATE_ADDRESS).await?;
    create_many(&client, "s", 0..10).await?;
    wait_for(&client, 10).await?;
    gate.delay_watches(Duration::from_secs(3));
    for round in 0..3 {
        // Gone and made again before the controller hears of either, under the same names and under new ones.
        for number in 0..5 {
            services(&client).delete(&format!("s{number}"), &DeleteParams::default()).await?;
        }
        create_many(&client, "s", 0..5).await?;
        create_many(&client, &format!("r{round}x"), 0..5).await?;
        set_pool(&client, if round == 1 { &["10.0.4.32/27"] } else { &["10.0.4.0/26"] }).await?;
    }
    wait_for(&client, 25).await?;
    witness.check()?;
    lab.stop_daemon("n1", Daemon::Controller).await?;

    // The same through the plain door, which is cut again and again.
    lab.start_daemon("n1", Daemon::Controller).await?;
    for round in 0..12 {
        lab.node("n1")?.door().cut();
        create_many(&client, &format!("f{round}x"), 0..2).await?;
        services(&client).delete(&format!("f{round}x0"), &DeleteParams::default()).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    wait_for(&client, 37).await?;
    witness.check()?;
    lab.check_daemons()
}

async fn frozen(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let client = lab.cluster().client();
    set_pool(&client, &["10.0.4.0/25"]).await?;
    let gate = Gate::open(lab.node("n1")?.namespace(), lab.cluster()).await?;
    let witness = Witness::start(client.clone());
    lab.start_daemon_at("n1", Daemon::Controller, GATE_ADDRESS).await?;
    create_many(&client, "a", 0..10).await?;
    wait_for(&client, 10).await?;
    lab.start_daemon("n2", Daemon::Controller).await?;
    // The 20th write from here stops the leader's world; 16 may be under way by then.
    gate.reset(Some((20, Moment::After)));
    create_many(&client, "b", 0..40).await?;
    gate.sprung().await;
    lab.freeze_daemon("n1", Daemon::Controller, true)?;
    for number in 0..5 {
        services(&client).delete(&format!("a{number}"), &DeleteParams::default()).await?;
    }
    let start = std::time::Instant::now();
    wait_for(&client, 45).await?;
    println!("  the standby gave the last address {:.1?} after the leader was frozen", start.elapsed());
    gate.reset(None);
    lab.freeze_daemon("n1", Daemon::Controller, false)?;
    create_many(&client, "c", 0..10).await?;
    wait_for(&client, 55).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // It may stand for election again, and tell of what it had done before; it may do nothing any more.
    let says = |path: &str| path.contains("/leases") || path.contains("/events");
    let writes: Vec<_> = gate.writes().into_iter().filter(|write| !says(&write.path)).collect();
    ensure!(writes.is_empty(), "the old leader woke up and wrote {writes:?}");
    witness.check()?;
    lab.check_daemons()
}

async fn clear(client: &Client) -> Result<()> {
    for object in services(client).list(&ListParams::default()).await?.items {
        let name = object.metadata.name.unwrap_or_default();
        if name != "kubernetes" {
            services(client).delete(&name, &DeleteParams::default()).await?;
        }
    }
    for (kind, name) in [("IPAddressPool", "home"), ("ConfigurationState", "controller")] {
        match metallb(client, kind).delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => bail!("deleting {kind} {name}: {error}"),
        }
    }
    end_lease(client).await
}

async fn end_lease(client: &Client) -> Result<()> {
    let leases = Api::<Lease>::namespaced(client.clone(), HERALD_NAMESPACE);
    match leases.delete("herald-controller", &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => bail!("deleting the lease: {error}"),
    }
}

async fn set_pool(client: &Client, ranges: &[&str]) -> Result<()> {
    let body = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "home", "namespace": HERALD_NAMESPACE}, "spec": {"addresses": ranges},
    });
    let pools = metallb(client, "IPAddressPool");
    pools
        .patch("home", &PatchParams::apply("testbed"), &Patch::Apply(&body))
        .await
        .context("the pool")
        .map(drop)
}

/// Fails until the pool's status counts so many addresses in use, of IPv4 and of IPv6.
async fn counters(client: &Client, v4: i64, v6: i64) -> Result<()> {
    let pool = metallb(client, "IPAddressPool").get("home").await?;
    let count = |field: &str| pool.data.pointer(&format!("/status/{field}")).and_then(Value::as_i64);
    let found = (count("assignedIPv4"), count("assignedIPv6"));
    if found == (Some(v4), Some(v6)) { Ok(()) } else { bail!("the pool counts {found:?}") }
}

fn metallb(client: &Client, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", "v1beta1", kind));
    Api::namespaced_with(client.clone(), HERALD_NAMESPACE, &resource)
}

fn services(client: &Client) -> Api<Service> {
    Api::default_namespaced(client.clone())
}

async fn create(client: &Client, name: &str, spec: &Value, annotations: &Value) -> Result<()> {
    let mut object = json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    let object: Service = serde_json::from_value(object)?;
    services(client)
        .create(&PostParams::default(), &object)
        .await
        .with_context(|| format!("creating {name}"))
        .map(drop)
}

async fn create_many(client: &Client, name: &str, numbers: std::ops::Range<usize>) -> Result<()> {
    stream::iter(numbers)
        .map(|number| async move { create(client, &format!("{name}{number}"), &json!({}), &json!({})).await })
        .buffer_unordered(8)
        .try_for_each(|()| async { Ok(()) })
        .await
}

async fn patch(client: &Client, name: &str, patch: &Value) -> Result<()> {
    let done = services(client).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    done.with_context(|| format!("patching {name}")).map(drop)
}

/// The Services by name, with what they show.
async fn shown(client: &Client) -> Result<Vec<(String, Vec<IpAddr>)>> {
    let list = services(client).list(&ListParams::default()).await.context("listing Services")?;
    let ours = list.items.iter().filter(|object| object.metadata.name.as_deref() != Some("kubernetes"));
    let mut shown: Vec<(String, Vec<IpAddr>)> =
        ours.map(|object| (object.metadata.name.clone().unwrap_or_default(), addresses(object))).collect();
    shown.sort();
    Ok(shown)
}

async fn wait_for(client: &Client, count: usize) -> Result<()> {
    let what = format!("{count} Services to have an address");
    eventually(SETTLED, &what, async || {
        let shown = shown(client).await?;
        let with = shown.iter().filter(|(_, addresses)| !addresses.is_empty()).count();
        if with == count && shown.len() == count { Ok(()) } else { bail!("{with} of {}", shown.len()) }
    })
    .await
    .map(drop)
}
