//! Facts in many orders, and what follows from them.

use std::sync::Arc;

use api::config::{Kind, Password, SessionKey};
use api::json::FromJson;

use serde_json::{Value, json};

use super::*;
use crate::decide::snapshot::ExcludeLabel;
use crate::decide::verdict::Reason;

fn settings() -> WatchSettings {
    WatchSettings {
        node: "n1".to_owned(),
        namespace: "metallb-system".to_owned(),
        class: None,
        exclude_label: ExcludeLabel::Honoured,
        seed: 1,
    }
}

/// One moment for all that does not depend on time.
fn now() -> Instant {
    static MOMENT: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *MOMENT.get_or_init(Instant::now)
}

fn object<T: FromJson>(value: Value) -> T {
    T::from_json(&value.to_string()).unwrap()
}

fn config_object(kind: &str, version: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system", "resourceVersion": "7"}, "spec": spec,
    })
}

fn pool(addresses: Value) -> Fact {
    Fact::Pool(Change::Apply(object(config_object(
        "IPAddressPool",
        "v1beta1",
        "home",
        json!({"addresses": addresses}),
    ))))
}

fn peer(spec: Value) -> Fact {
    let mut whole = json!({"myASN": 64500, "peerASN": 65530, "peerAddress": "10.0.2.1"});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Fact::Peer(Change::Apply(object(config_object("BGPPeer", "v1beta2", "router", whole))))
}

fn advertisement() -> Fact {
    Fact::Advertisement(Change::Apply(object(config_object("BGPAdvertisement", "v1beta1", "all", json!({})))))
}

fn node(labels: Value) -> Change<SlimNode> {
    Change::Apply(object(json!({"metadata": {"name": "n1", "uid": "node-uid", "labels": labels}})))
}

fn service(class: Option<&str>) -> Change<SlimService> {
    Change::Apply(object(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "svc-uid"},
        "spec": {"type": "LoadBalancer", "loadBalancerClass": class},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.4.1"}]}},
    })))
}

fn slice(ready: bool) -> Change<SlimSlice> {
    Change::Apply(object(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "n2", "conditions": {"ready": ready}}],
    })))
}

fn secret(password: &str) -> Change<SlimSecret> {
    let data = serde_json::to_value(k8s_openapi::ByteString(password.as_bytes().to_vec())).unwrap();
    Change::Apply(object(json!({
        "metadata": {"name": "bgp", "namespace": "metallb-system"},
        "type": "kubernetes.io/basic-auth", "data": {"password": data, "username": ""},
    })))
}

/// All watches at their beginning, then at their end: `Restarted` or `Synced` for each.
fn every_watch(begin: bool) -> Vec<Fact> {
    fn change<K>(begin: bool) -> Change<K> {
        if begin { Change::Restarted } else { Change::Synced }
    }
    vec![
        Fact::Node(change(begin)),
        Fact::Pool(change(begin)),
        Fact::Peer(change(begin)),
        Fact::Advertisement(change(begin)),
        Fact::Community(change(begin)),
        Fact::BfdProfile(change(begin)),
        Fact::Secret(change(begin)),
        Fact::Service(change(begin)),
        Fact::Slice(change(begin)),
    ]
}

fn home() -> Vec<Fact> {
    vec![
        Fact::Node(node(json!({"zone": "a"}))),
        pool(json!(["10.0.4.0/24"])),
        peer(json!({})),
        advertisement(),
        Fact::Service(service(None)),
        Fact::Slice(slice(true)),
    ]
}

/// An intake that has seen the home network, and the first plan.
fn started() -> (Intake, Planned) {
    let mut intake = Intake::new(&settings(), &Barrier::new());
    for fact in every_watch(true).into_iter().chain(home()) {
        intake.take(fact);
    }
    for fact in every_watch(false) {
        assert!(intake.plan(now()).is_none(), "nothing is planned before the last watch is complete");
        intake.take(fact);
    }
    let planned = intake.plan(now()).unwrap();
    (intake, planned)
}

fn routes(planned: &Planned) -> Vec<String> {
    let peers = planned.plan.peers.iter();
    peers
        .flat_map(|(name, peer)| peer.routes.iter().map(move |(prefix, _)| format!("{name} {prefix}")))
        .collect()
}

#[test]
fn the_first_plan_comes_with_the_last_watch_and_is_complete() {
    let (mut intake, planned) = started();
    assert_eq!(routes(&planned), ["router 10.0.4.1/32"]);
    assert_eq!(planned.transitions.len(), 1);
    assert_eq!(intake.uid_of(&ServiceKey::new("shop", "web")), Some("svc-uid".to_owned()));
    assert_eq!(intake.node().unwrap().uid, "node-uid");
    let report = intake.take_report().unwrap();
    assert!(report.loaded && !report.is_stale());
    assert!(intake.plan(now()).is_none() && intake.take_report().is_none(), "nothing new, nothing said");
}

#[test]
fn a_lost_endpoint_is_a_plan_at_once() {
    let (mut intake, _) = started();
    intake.take(Fact::Slice(slice(false)));
    let planned = intake.plan(now()).unwrap();
    assert_eq!(routes(&planned), [""; 0]);
    assert_eq!(planned.transitions[0].withdrawal().unwrap().word(), "noEndpoints");
}

#[test]
fn watches_that_start_over_withdraw_nothing() {
    let (mut intake, _) = started();
    for fact in every_watch(true) {
        intake.take(fact);
        assert!(intake.plan(now()).is_none(), "the beginning of a list is no statement about its contents");
    }
    for fact in home().into_iter().chain(every_watch(false)) {
        intake.take(fact);
        if let Some(planned) = intake.plan(now()) {
            assert_eq!(routes(&planned), ["router 10.0.4.1/32"]);
        }
    }
}

#[test]
fn what_a_list_that_starts_over_does_not_name_is_gone() {
    let (mut intake, _) = started();
    intake.take(Fact::Service(Change::Restarted));
    intake.take(Fact::Service(Change::Synced));
    let planned = intake.plan(now()).unwrap();
    assert_eq!(routes(&planned), [""; 0]);
    assert_eq!(planned.transitions[0].withdrawal(), Some(Reason::ServiceDeleted));
}

#[test]
fn services_of_another_class_do_not_exist_here() {
    let (mut intake, _) = started();
    intake.take(Fact::Service(service(Some("example.com/other"))));
    let planned = intake.plan(now()).unwrap();
    assert_eq!(routes(&planned), [""; 0]);
    assert!(planned.plan.verdicts.is_empty());
    intake.take(Fact::Service(service(Some("example.com/other"))));
    assert!(intake.plan(now()).is_none());
}

#[test]
fn an_edit_of_a_service_counts_by_its_addresses_and_its_external_policy_there_and_back() {
    let check = |what: &str, spec: Value, ingress: Value, announced: bool| {
        let mut whole = json!({"type": "LoadBalancer"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let edited = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "svc-uid"}, "spec": whole,
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        let (mut intake, first) = started();
        let mut now_routed = routes(&first);
        for (fact, expected) in [(Change::Apply(object(edited)), announced), (service(None), true)] {
            intake.take(Fact::Service(fact));
            if let Some(planned) = intake.plan(now()) {
                now_routed = routes(&planned);
            }
            let route = ["router 10.0.4.1/32".to_owned()];
            assert_eq!(now_routed, if expected { &route[..] } else { &[] }, "{what}");
        }
    };
    let ip = || json!([{"ip": "10.0.4.1"}]);
    // The one endpoint is on another node.
    check("external policy", json!({"externalTrafficPolicy": "Local"}), ip(), false);
    check("internal policy", json!({"internalTrafficPolicy": "Local"}), ip(), true);
    check("a policy of tomorrow", json!({"externalTrafficPolicy": "Nearby"}), ip(), true);
    check(
        "how others reach it",
        json!({}),
        json!([{"ip": "10.0.4.1", "ipMode": "Proxy", "ports": []}]),
        true,
    );
    check("a host name", json!({}), json!([{"hostname": "lb.example.com"}]), false);
    check(
        "a host name beside",
        json!({}),
        json!([{"ip": "10.0.4.1"}, {"hostname": "lb.example.com"}]),
        false,
    );
    check("no address", json!({}), json!([]), false);
}

#[test]
fn a_node_object_that_vanishes_changes_nothing_but_what_the_end_means() {
    for vanish in [vec![Change::Delete(object(json!({})))], vec![Change::Restarted, Change::Synced]] {
        let (mut intake, _) = started();
        for change in vanish {
            intake.take(Fact::Node(change));
        }
        assert!(intake.plan(now()).is_none());
        assert_eq!(intake.node().unwrap().leaving, Some(Leaving::Deleted));
        intake.take(Fact::Node(node(json!({"zone": "a"}))));
        assert_eq!(intake.node().unwrap().leaving, None);
    }
}

/// The API server may be back with other data, so whoever has written there looks what is there now.
#[test]
fn each_complete_read_of_the_own_node_is_counted_and_no_change_of_it_is() {
    let (mut intake, _) = started();
    let first = intake.node_reads();
    assert_eq!(first, 1);
    intake.take(Fact::Node(node(json!({"zone": "a"}))));
    intake.take(Fact::Node(Change::Restarted));
    intake.take(Fact::Node(node(json!({"zone": "a"}))));
    assert_eq!(intake.node_reads(), first, "the read is not complete");
    intake.take(Fact::Node(Change::Synced));
    assert_eq!(intake.node_reads(), first + 1);
}

#[test]
fn without_a_node_object_no_session_is_opened() {
    let mut intake = Intake::new(&settings(), &Barrier::new());
    for fact in every_watch(true).into_iter().chain(home().split_off(1)).chain(every_watch(false)) {
        intake.take(fact);
    }
    let planned = intake.plan(now()).unwrap();
    assert!(planned.plan.peers.is_empty() && planned.plan.synced);
    intake.take(Fact::Node(node(json!({}))));
    assert_eq!(routes(&intake.plan(now()).unwrap()), ["router 10.0.4.1/32"]);
}

#[test]
fn a_peer_waits_for_its_secret_and_notices_a_new_password() {
    let (mut intake, _) = started();
    intake.take(peer(json!({"passwordSecret": {"name": "bgp"}})));
    let refused = |planned: Planned| planned.plan.peers["router"].peer.refused.is_some();
    assert!(refused(intake.plan(now()).unwrap()));
    assert_eq!(intake.take_report().unwrap().complaints().count(), 1);
    intake.take(Fact::Secret(secret("one")));
    assert!(!refused(intake.plan(now()).unwrap()));
    assert!(!intake.take_report().unwrap().is_stale());
    intake.take(Fact::Secret(secret("one")));
    assert!(intake.plan(now()).is_none());
    intake.take(Fact::Secret(secret("two")));
    let planned = intake.plan(now()).unwrap();
    let two = Password::try_new("two").map(SessionKey::Md5);
    assert_eq!(planned.plan.peers["router"].peer.key, two);
    intake.take(Fact::Secret(Change::Delete(object(json!({"metadata": {"name": "bgp"}})))));
    assert!(refused(intake.plan(now()).unwrap()));
}

#[test]
fn a_bad_edit_leaves_the_last_good_version_in_force_and_is_reported() {
    let (mut intake, _) = started();
    let _ = intake.take_report();
    intake.take(pool(json!(["10.0.4.0-nonsense"])));
    assert!(intake.plan(now()).is_none_or(|planned| routes(&planned) == ["router 10.0.4.1/32"]));
    let report = intake.take_report().unwrap();
    assert!(report.rejections[0].in_force);
    assert_eq!(report.rejections[0].object.kind, Kind::IPAddressPool);
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_last_version_and_is_reported() {
    let (mut intake, _) = started();
    let unreadable = config_object("IPAddressPool", "v1beta1", "home", json!({"addresses": 7}));
    intake.take(Fact::Pool(Change::Apply(object(unreadable.clone()))));
    assert!(intake.plan(now()).is_none());
    let report = intake.take_report().unwrap();
    assert_eq!(report.unreadable.len(), 1);
    // Also when the list starts over and names it again.
    intake.take(Fact::Pool(Change::Restarted));
    intake.take(Fact::Pool(Change::Apply(object(unreadable))));
    intake.take(Fact::Pool(Change::Synced));
    assert!(intake.plan(now()).is_none());
    intake.take(pool(json!(["10.0.4.0/24"])));
    assert!(intake.plan(now()).is_none());
    assert!(!intake.take_report().unwrap().is_stale());
}

#[test]
fn a_second_peer_with_the_same_router_is_reported_on_the_nodes_that_would_run_both() {
    let (mut intake, _) = started();
    let second = json!({"myASN": 64500, "peerASN": 65530, "peerAddress": "10.0.2.1",
        "nodeSelectors": [{"matchLabels": {"zone": "b"}}]});
    intake.take(Fact::Peer(Change::Apply(object(config_object("BGPPeer", "v1beta2", "second", second)))));
    let _ = intake.plan(now());
    let before = intake.take_report().unwrap();
    intake.take(Fact::Node(node(json!({"zone": "b"}))));
    let planned = intake.plan(now());
    assert!(planned.is_none_or(|planned| planned.plan.peers.len() == 1));
    let after = intake.take_report().unwrap();
    assert!(after.rejections.len() >= before.rejections.len() && after.is_stale());
}

#[test]
fn a_node_that_leaves_warns_its_routers_and_then_withdraws() {
    let (mut intake, _) = started();
    let marked = |planned: &Planned| {
        let attrs = planned.plan.peers["router"].routes.iter().map(|(_, attrs)| Arc::clone(attrs));
        attrs.map(|attrs| (attrs.local_pref, attrs.communities.clone())).collect::<Vec<_>>()
    };
    let tainted = json!({
        "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]},
    });
    intake.take(Fact::Node(Change::Apply(object(tainted))));
    let planned = intake.plan(now()).unwrap();
    assert_eq!(marked(&planned), [(Some(0), vec![bgp_proto::Community::GRACEFUL_SHUTDOWN])]);
    let due = intake.due(now()).unwrap();
    assert!(intake.plan(due - std::time::Duration::from_millis(1)).is_none());
    let planned = intake.plan(due).unwrap();
    assert!(routes(&planned).is_empty());
    assert_eq!(planned.transitions[0].withdrawal(), Some(Reason::NodeLeaves(Leaving::Autoscaler)));
    assert_eq!(intake.due(due), None);
    intake.take(Fact::Node(node(json!({"zone": "a"}))));
    let planned = intake.plan(due).unwrap();
    assert_eq!(marked(&planned), [(None, Vec::new())], "it stays after all");
}

#[test]
fn a_cordon_and_a_node_that_is_not_ready_change_nothing() {
    let (mut intake, _) = started();
    let trouble = json!({
        "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "spec": {"unschedulable": true, "taints": [
            {"key": "node.kubernetes.io/unschedulable"}, {"key": "node.kubernetes.io/unreachable"},
        ]},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}]},
    });
    intake.take(Fact::Node(Change::Apply(object(trouble))));
    assert!(intake.plan(now()).is_none());
    assert_eq!(intake.due(now()), None);
}

#[test]
fn endpoint_slices_are_watched_only_while_a_decision_may_ask_for_them() {
    let (mut intake, _) = started();
    assert!(intake.slices_needed().is_some());
    let gone = object(config_object("BGPAdvertisement", "v1beta1", "all", json!({})));
    intake.take(Fact::Advertisement(Change::Delete(gone)));
    let planned = intake.plan(now()).unwrap();
    assert!(routes(&planned).is_empty());
    assert!(intake.slices_needed().is_none());
    intake.take(Fact::SlicesForgotten);
    assert!(intake.plan(now()).is_none(), "what nobody asks for changes nothing");

    intake.take(advertisement());
    let planned = intake.plan(now()).unwrap();
    assert!(
        intake.slices_needed().is_some() && routes(&planned).is_empty(),
        "its endpoints are not known yet"
    );
    for change in [Change::Restarted, slice(true), Change::Synced] {
        intake.take(Fact::Slice(change));
    }
    assert_eq!(routes(&intake.plan(now()).unwrap()), ["router 10.0.4.1/32"]);

    let service = object(json!({"metadata": {"name": "web", "namespace": "shop"}}));
    intake.take(Fact::Service(Change::Delete(service)));
    intake.plan(now()).unwrap();
    assert!(intake.slices_needed().is_none(), "there is no Service left");
}

#[test]
fn after_a_pause_nothing_is_announced_on_half_a_list_of_endpoints() {
    let (mut intake, _) = started();
    let local = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "svc-uid"},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.4.1"}]}},
    });
    intake.take(Fact::Service(Change::Delete(object(local.clone()))));
    intake.plan(now()).unwrap();
    assert!(intake.slices_needed().is_none());
    intake.take(Fact::SlicesForgotten);
    intake.take(Fact::Service(Change::Apply(object(local))));
    assert_eq!(routes(&intake.plan(now()).unwrap()), [""; 0]);
    // One endpoint terminates here, a ready one is elsewhere: alone the former would be the last resort.
    let terminating = json!({
        "metadata": {"name": "web-0", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": [{
            "addresses": ["10.244.0.7"], "nodeName": "n1",
            "conditions": {"ready": false, "serving": true, "terminating": true},
        }],
    });
    for change in [Change::Restarted, Change::Apply(object(terminating)), slice(true), Change::Synced] {
        intake.take(Fact::Slice(change));
        assert!(intake.plan(now()).is_none_or(|planned| routes(&planned).is_empty()));
    }
    intake.take(Fact::Slice(slice(false)));
    assert_eq!(routes(&intake.plan(now()).unwrap()), ["router 10.0.4.1/32"], "now it is the last one");
}

fn narrow() -> Fact {
    let spec = json!({"maxNodes": 1});
    Fact::Advertisement(Change::Apply(object(config_object("BGPAdvertisement", "v1beta1", "all", spec))))
}

fn speakers(nodes: &[&str]) -> Fact {
    let endpoint =
        |node: &&str| json!({"addresses": ["10.0.2.9"], "nodeName": node, "conditions": {"ready": true}});
    Fact::Slice(Change::Apply(object(json!({
        "metadata": {
            "name": "herald-speakers-x", "namespace": "metallb-system",
            "labels": {"kubernetes.io/service-name": "herald-speakers"},
        },
        "addressType": "IPv4", "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>(),
    }))))
}

fn able(node: &str) -> Fact {
    Fact::State(Change::Apply(object(json!({"metadata": {
        "name": format!("speaker-{node}"), "namespace": "metallb-system",
        "labels": {"metallb.io/node-name": node}, "annotations": {"herald-lb.io/able": "all"},
    }}))))
}

#[test]
fn where_a_bounded_number_of_nodes_announces_the_others_are_listened_to() {
    let barrier = Barrier::new();
    let mut intake = Intake::new(&settings(), &barrier);
    let start = now();
    every_watch(true).into_iter().chain(home()).for_each(|fact| intake.take(fact));
    every_watch(false).into_iter().for_each(|fact| intake.take(fact));
    let routes = |planned: &Planned| planned.plan.peers["router"].routes.len();
    let first = intake.plan(start).unwrap();
    assert_eq!((routes(&first), first.plan.able.len()), (1, 0));
    assert_eq!((intake.slices_needed(), intake.needs_states()), (Some(SliceUse::Counts), false));

    intake.take(narrow());
    let bounded = intake.plan(start).unwrap();
    assert!(bounded.plan.able.contains("all"), "the others are to know");
    assert_eq!(routes(&bounded), 1, "nobody is known to be able, so everybody announces");
    assert_eq!((intake.slices_needed(), intake.needs_states()), (Some(SliceUse::Hosts), true));

    // By score for 10.0.4.1: n1, n3, n2.
    for fact in [Fact::State(Change::Restarted), speakers(&["n1", "n2", "n3"]), able("n2"), able("n3")] {
        intake.take(fact);
        assert!(intake.plan(start).is_none() && intake.due(start).is_none(), "not everybody has been heard");
    }
    intake.take(Fact::State(Change::Synced));
    assert!(intake.plan(start).is_none(), "others were chosen, and have to be there first");
    let later = intake.due(start).unwrap();
    let handed_over = intake.plan(later).unwrap();
    assert_eq!(routes(&handed_over), 0);
    let verdict = handed_over.plan.verdicts.iter().next().unwrap().1;
    assert_eq!(verdict.reason().unwrap().to_string(), "this node is not among the 1 chosen of 2: n3");

    intake.take(able("n1"));
    assert_eq!(routes(&intake.plan(later).unwrap()), 1, "a place that is won is taken at once");
    intake.take(Fact::StatesForgotten);
    intake.plan(later);
    intake.take(advertisement());
    assert_eq!(intake.plan(later).map(|planned| planned.plan.able.len()), Some(0));
    assert_eq!((intake.slices_needed(), intake.needs_states()), (Some(SliceUse::Counts), false));
}
