//! What the status objects and events say, as data.

use std::net::IpAddr;
use std::time::SystemTime;

use api::config::{Config, Peer, Resources};
use api::service::ServiceKey;
use bfd_proto::State;
use bgp_proto::{Families, PathAttrs, Prefix, RouteSet};
use serde_json::json;

use super::object::configuration_status;
use super::report::difference;
use super::*;
use crate::decide::Explanation;
use crate::decide::verdict::{AddressFamily, Announcement, Reason, Terms, Verdict};
use crate::decide::verdicts::Verdicts;
use crate::decide::why::{Finding, Step};
use crate::plan::{BfdRow, PacketCounts, PeerPlan, SessionFault, SessionPhase, SessionRow};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 345)
}

fn row(phase: SessionPhase) -> SessionRow {
    SessionRow {
        address: IpAddr::from([10, 0, 2, 1]),
        port: 179,
        remote_asn: Some(65530),
        local_asn: 64500,
        phase,
        since: at(1_700_000_000),
        carries: Families::IPV4,
        written: None,
        prefixes_sent: 2,
        prefixes_pending: 0,
        hold_time_seconds: Some(15),
        keepalive_seconds: Some(5),
        router_id: Some([10, 0, 2, 1].into()),
        local_router_id: Some([10, 0, 2, 11].into()),
        local_address: Some(IpAddr::from([10, 0, 2, 11])),
        last_error: None,
        established_count: 1,
        messages_sent: 10,
        messages_received: 9,
        updates_sent: 2,
        verdicts: None,
        messages: bgp_proto::Counters::default(),
        unacknowledged: None,
        bfd: None,
    }
}

fn table(rows: &[(&str, SessionRow)]) -> SessionTable {
    SessionTable { sessions: rows.iter().map(|(peer, row)| ((*peer).to_owned(), row.clone())).collect() }
}

fn failed(phase: SessionPhase, text: &str) -> SessionRow {
    let last_error = Some(SessionFault { text: text.to_owned(), at: at(1_700_000_100) });
    SessionRow { last_error, ..row(phase) }
}

#[test]
fn a_session_is_shown_with_everything_that_is_known_of_it() {
    let table = table(&[("router", failed(SessionPhase::Established, "hold timer expired"))]);
    let status = report::status(&Plan::unsynced(), &table, &[]);
    assert_eq!(status.summary, "1/1");
    assert_eq!(
        json!(status.sessions[0]),
        json!({
            "peer": "router", "address": "10.0.2.1", "port": 179, "asn": 65530, "localAsn": 64500,
            "state": "Established", "since": "2023-11-14T22:13:20Z", "prefixesSent": 2, "holdTimeSeconds": 15,
            "keepaliveSeconds": 5, "routerId": "10.0.2.1", "localRouterId": "10.0.2.11", "localAddress": "10.0.2.11",
            "lastError": "hold timer expired", "lastErrorAt": "2023-11-14T22:15:00Z", "establishedCount": 1,
            "messagesSent": 10, "messagesReceived": 9,
        })
    );
}

#[test]
fn the_last_word_takes_back_sessions_and_routes_and_keeps_the_nodes_networks() {
    let last = json!(farewell::last_status(vec!["10.0.2.0/24".to_owned()]));
    let expected = json!({
        "version": report::VERSION, "summary": "0/0", "removed": true, "announcedPrefixes": 0, "withheldTotal": 0,
        "connectedNetworks": ["10.0.2.0/24"],
    });
    assert_eq!(last, expected);
    let next = report::status(&Plan::unsynced(), &SessionTable::default(), &[]);
    assert_eq!(json!(next).get("removed"), None, "the next speaker of the node takes it back");
}

#[test]
fn differences_are_graded() {
    let status = |row: SessionRow| report::status(&Plan::unsynced(), &table(&[("router", row)]), &[]);
    let up = status(row(SessionPhase::Established));
    let check = |before: &SpeakerStateStatus, after: SessionRow, expected| {
        assert_eq!(difference(before, &status(after)), expected);
    };
    check(&up, row(SessionPhase::Established), Difference::None);
    check(
        &up,
        SessionRow { messages_sent: 99, messages_received: 99, ..row(SessionPhase::Established) },
        Difference::None,
    );
    check(&up, SessionRow { prefixes_sent: 3, ..row(SessionPhase::Established) }, Difference::Numbers);
    check(&up, row(SessionPhase::Idle), Difference::Transition);
    let trying = status(failed(SessionPhase::Connect, "connection refused"));
    let again = SessionRow { since: at(9), ..failed(SessionPhase::Active, "connection refused") };
    check(&trying, again, Difference::Numbers);
    check(&trying, failed(SessionPhase::Active, "no route to host"), Difference::Transition);
    assert_eq!(
        difference(&up, &report::status(&Plan::unsynced(), &SessionTable::default(), &[])),
        Difference::Transition
    );
}

#[test]
fn bfd_is_shown_beside_its_session_and_trying_is_no_transition() {
    let bfd = |state: State, message: Option<&str>| SessionRow {
        bfd: Some(BfdRow {
            state,
            detection_time: (state == State::Up).then_some(Duration::from_millis(900)),
            message: message.map(str::to_owned),
            ups: 1,
            downs: 0,
            packets: PacketCounts::default(),
        }),
        ..row(SessionPhase::Established)
    };
    let status = |row: SessionRow| report::status(&Plan::unsynced(), &table(&[("router", row)]), &[]);
    let (up, down) = (status(bfd(State::Up, None)), status(bfd(State::Down, Some("nothing has come"))));
    assert_eq!(
        (up.sessions[0].bfd.as_deref(), up.sessions[0].bfd_detection_milliseconds),
        (Some("Up"), Some(900))
    );
    assert_eq!(down.sessions[0].bfd_message.as_deref(), Some("nothing has come"));
    assert_eq!(difference(&up, &down), Difference::Transition);
    assert_eq!(
        difference(&down, &status(bfd(State::Init, Some("it does not hear us")))),
        Difference::Numbers
    );
    assert_eq!(
        difference(&down, &status(bfd(State::AdminDown, Some("switched off")))),
        Difference::Transition
    );
}

#[test]
fn session_news_are_transitions_only() {
    let check = |before: &[(&str, SessionRow)], after: &[(&str, SessionRow)], expected: &[&str]| {
        let news = session::news(&table(before), &table(after));
        let told: Vec<String> =
            news.iter().map(|news| format!("{}: {}", news.reason.as_str(), news.note)).collect();
        assert_eq!(told, expected);
    };
    let up = row(SessionPhase::Established);
    let down = failed(SessionPhase::Idle, "hold timer expired: nothing heard for 15 s");
    let again = SessionRow { established_count: 2, ..failed(SessionPhase::Established, "connection reset") };
    let refused = failed(SessionPhase::Refused, "Secret \"bgp\" with the password does not exist");
    let is_up = "SessionUp: session with peer r (10.0.2.1, AS 65530) is established";
    check(&[], &[("r", down.clone())], &[]);
    check(&[("r", down.clone())], &[("r", row(SessionPhase::OpenSent))], &[]);
    check(&[("r", down.clone())], &[("r", up.clone())], &[is_up]);
    check(&[("r", up.clone())], &[("r", up.clone())], &[]);
    check(
        &[("r", up.clone())],
        &[("r", down)],
        &["SessionDown: session with peer r (10.0.2.1) is down: hold timer expired: nothing heard for 15 s"],
    );
    check(
        &[("r", up.clone())],
        &[("r", again)],
        &["SessionDown: session with peer r (10.0.2.1) is down: connection reset", is_up],
    );
    check(
        &[],
        &[("r", refused.clone())],
        &[
            "SessionDown: session with peer r (10.0.2.1) is down: Secret \"bgp\" with the password does not exist",
        ],
    );
    check(&[("r", refused.clone())], &[("r", refused)], &[]);
    let elsewhere = SessionRow {
        address: IpAddr::from([10, 0, 2, 2]),
        established_count: 0,
        ..row(SessionPhase::Connect)
    };
    let moved = "SessionDown: session with peer r (10.0.2.1) ended: the peer is the router at 10.0.2.2 now";
    check(&[("r", up.clone())], &[("r", elsewhere.clone())], &[moved]);
    let there = SessionRow { phase: SessionPhase::Established, established_count: 1, ..elsewhere };
    let is_up_there = "SessionUp: session with peer r (10.0.2.2, AS 65530) is established";
    check(&[("r", up.clone())], &[("r", there)], &[moved, is_up_there]);
    check(
        &[("r", up)],
        &[],
        &["SessionDown: session with peer r (10.0.2.1) ended: the node does not have this peer any more"],
    );
}

fn report_with_pools(pools: &[serde_json::Value]) -> ConfigReport {
    let pools = pools.iter().map(|pool| serde_json::from_value(pool.clone()).unwrap()).collect();
    let (config, rejections) =
        Config::build(&Resources { pools, ..Resources::default() }, &Config::default());
    ConfigReport { loaded: true, config: Arc::new(config), rejections, ..ConfigReport::default() }
}

fn bad_pool(name: &str) -> serde_json::Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name}, "spec": {"addresses": ["x"]}})
}

fn time(seconds: i64) -> Time {
    Time(Timestamp::from_second(seconds).unwrap())
}

#[test]
fn the_configuration_state_lists_every_rejected_object() {
    let status = configuration_status(&ConfigReport::default(), &[], &time(1));
    assert_eq!((status.result.as_str(), status.conditions[0].status.as_str()), ("Unknown", "Unknown"));

    let good = configuration_status(&report_with_pools(&[]), &status.conditions, &time(2));
    assert_eq!((good.result.as_str(), good.error_summary.as_str()), ("Valid", ""));
    assert_eq!(good.conditions[0].reason, "Reconciled");
    assert_eq!(good.conditions[0].last_transition_time, time(2));

    let bad =
        configuration_status(&report_with_pools(&[bad_pool("a"), bad_pool("b")]), &good.conditions, &time(3));
    assert_eq!(bad.result, "Invalid");
    assert_eq!(bad.error_summary.lines().count(), 2);
    assert!(bad.error_summary.starts_with("IPAddressPool a: invalid CIDR"), "{}", bad.error_summary);
    assert_eq!(
        (bad.conditions[0].status.as_str(), bad.conditions[0].reason.as_str()),
        ("False", "ConfigurationError")
    );
    assert_eq!(bad.conditions[0].last_transition_time, time(3));

    let still = configuration_status(&report_with_pools(&[bad_pool("a")]), &bad.conditions, &time(4));
    assert_eq!(still.conditions[0].last_transition_time, time(3), "the verdict did not change");
    assert_eq!(still.conditions.len(), 1);
}

#[test]
fn a_long_list_of_complaints_is_cut_and_counted() {
    let pools: Vec<_> = (0..500).map(|n| bad_pool(&format!("pool-{n:03}"))).collect();
    let status = configuration_status(&report_with_pools(&pools), &[], &time(1));
    assert!(status.error_summary.len() < 5000);
    let told = status.error_summary.lines().count() - 1;
    assert!(status.error_summary.ends_with(&format!("and {} more", 500 - told)), "{}", status.error_summary);
}

#[test]
fn the_objects_belong_to_the_node() {
    let owner =
        Owner { namespace: "metallb-system".to_owned(), node: "n1".to_owned(), node_uid: "u-1".to_owned() };
    assert_eq!(
        owner.configuration_state(&BTreeSet::new()),
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
            "metadata": {
                "name": "speaker-n1", "namespace": "metallb-system",
                "labels": {"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u-1"}],
            },
            "spec": {},
        })
    );
    let status = owner.speaker_status(&report::status(&Plan::unsynced(), &SessionTable::default(), &[]));
    assert_eq!(status["apiVersion"], "herald-lb.io/v1beta1");
    assert_eq!(status["metadata"], json!({"name": "n1", "namespace": "metallb-system"}));
    assert_eq!(status["status"]["summary"], "0/0");
}

/// A plan with one Service on one address, told to the peers of the table.
fn plan_of(service: &ServiceKey, peers: &[&str], reaches: &[&str]) -> (Plan, Explanation) {
    plan_with(&[[10, 0, 4, 1].into()], service, peers, reaches)
}

/// As [`plan_of`], with several addresses.
fn plan_with(
    addresses: &[IpAddr],
    service: &ServiceKey,
    peers: &[&str],
    reaches: &[&str],
) -> (Plan, Explanation) {
    let terms = Terms {
        advertisement: "all".to_owned(),
        peers: reaches.iter().map(|peer| (*peer).to_owned()).collect(),
        local_pref: None,
        med: None,
        prepend: 0,
        communities: Vec::new(),
    };
    let terms = Arc::new(terms);
    let announcement = |address: &IpAddr| Announcement {
        address: *address,
        prefix: Prefix::host(*address),
        terms: Arc::clone(&terms),
        weight: None,
    };
    let verdict = Verdict::Announce {
        announcements: addresses.iter().map(announcement).collect(),
        withheld: Box::default(),
    };
    let mut verdicts = Verdicts::default();
    verdicts.set(service.clone(), verdict.clone());
    let attrs = PathAttrs {
        med: Some(7),
        communities: vec![bgp_proto::Community::NO_EXPORT],
        ..PathAttrs::default()
    };
    let attrs = Arc::new(attrs);
    let routes: RouteSet =
        addresses.iter().map(|address| (Prefix::host(*address), Arc::clone(&attrs))).collect();
    let peers = peers.iter().map(|name| {
        let told = terms.reaches(name);
        let routes = if told { Arc::new(routes.clone()) } else { Arc::default() };
        let peer = Peer { name: (*name).to_owned(), ..some_peer() };
        ((*name).to_owned(), PeerPlan { peer: Arc::new(peer), routes })
    });
    let plan = Plan {
        peers: peers.collect(),
        verdicts: Arc::new(verdicts),
        synced: true,
        version: 1,
        ..Plan::unsynced()
    };
    let steps = vec![Step { address: None, outcome: Ok(Finding::Addresses(addresses.to_vec())) }];
    (plan, Explanation { verdict, steps })
}

/// A session that is up and has carried all routes of a peer.
fn carried(plan: &Plan, peer: &str, carries: Families) -> SessionRow {
    let written = Some(Arc::clone(&plan.peers[peer].routes));
    SessionRow { carries, written, ..row(SessionPhase::Established) }
}

fn some_peer() -> Peer {
    let resources = Resources {
        peers: vec![
            serde_json::from_value(json!({
                "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": {"name": "router"},
                "spec": {"myASN": 64500, "peerASN": 65530, "peerAddress": "10.0.2.1"},
            }))
            .unwrap(),
        ],
        ..Resources::default()
    };
    let (config, _) = Config::build(&resources, &Config::default());
    config.peers["router"].clone()
}

#[test]
fn routes_are_listed_with_attributes_peers_and_services() {
    let service = ServiceKey::new("shop", "web");
    let (plan, _) = plan_of(&service, &["a", "b", "c"], &["a", "b"]);
    let sent = carried(&plan, "a", Families::IPV4);
    let acked = table(&[("a", SessionRow { unacknowledged: Some(0), ..sent.clone() })]);
    let told = |routes: Vec<api::herald::RouteState>| routes[0].peers[0].told;
    assert_eq!(told(routes::first(&plan, &acked, 1)), api::herald::Told::Acknowledged);
    assert_eq!(told(report::status(&plan, &acked, &[]).routes), api::herald::Told::Sent);
    let table = table(&[("a", sent), ("b", row(SessionPhase::Established)), ("c", row(SessionPhase::Idle))]);
    assert_eq!(
        json!(routes::report("n1", &plan, &table)),
        json!({"node": "n1", "synced": true, "routes": [{
            "prefix": "10.0.4.1/32", "med": 7, "communities": ["65535:65281"],
            "peers": [{"peer": "a", "told": "sent"}, {"peer": "b", "told": "pending"}],
            "services": ["shop/web"], "servicesTotal": 1,
        }]})
    );
    assert_eq!(report::status(&plan, &table, &[]).routes.len(), 1);
    assert_eq!(routes::first(&plan, &table, 0), []);
}

#[test]
fn the_chain_goes_on_to_peer_session_and_route() {
    let service = ServiceKey::new("shop", "web");
    let (plan, explanation) = plan_of(&service, &["a", "b", "c"], &["a", "b"]);
    let sent = carried(&plan, "a", Families::IPV4);
    let table = table(&[("a", sent), ("b", failed(SessionPhase::Active, "connection refused"))]);
    let links = |explanation| {
        let report = why::why("n1", &service, explanation, &plan, &table);
        let line = |link: &api::herald::WhyLink| {
            let (peer, reason) =
                (link.peer.as_deref().unwrap_or("-"), link.reason.as_deref().unwrap_or("ok"));
            format!("{} {peer} {reason}: {}", link.subject, link.text)
        };
        report.links.iter().map(line).collect::<Vec<_>>()
    };
    let expected = [
        "address - ok: has 10.0.4.1",
        "peer a ok: 10.0.2.1 is told by BGPAdvertisement \"all\"",
        "session a ok: is Established",
        "route a ok: 10.0.4.1/32 is sent",
        "peer b ok: 10.0.2.1 is told by BGPAdvertisement \"all\"",
        "session b sessionDown: is Active: connection refused",
        "peer c peerNotSelected: the BGPAdvertisements of this Service name other peers",
    ];
    assert_eq!(links(Some(&explanation)), expected);
    let unknown = "service - notFound: there is no such Service of type LoadBalancer and of this speaker's load balancer class";
    assert_eq!(links(None), [unknown]);
}

/// Each route with the sessions that it is on, and the chain as reasons.
fn shown(plan: &Plan, explanation: &Explanation, table: &SessionTable) -> (Vec<String>, Vec<String>) {
    let peer = |peer: &api::herald::RoutePeer| format!(" {} {}", peer.peer, peer.told.word());
    let route = |route: api::herald::RouteState| {
        route.prefix.clone() + &route.peers.iter().map(peer).collect::<String>()
    };
    let routes = routes::first(plan, table, usize::MAX).into_iter().map(route).collect();
    let why = why::why("n1", &ServiceKey::new("shop", "web"), Some(explanation), plan, table);
    let link = |link: &api::herald::WhyLink| {
        let about = [link.peer.as_deref(), link.address.as_deref()].into_iter().flatten();
        let reason = link.reason.as_deref().unwrap_or("ok");
        format!("{} {} {reason}", link.subject, about.collect::<Vec<_>>().join(" "))
    };
    (routes, why.links.iter().map(link).skip(1).collect())
}

#[test]
fn with_one_session_per_family_each_route_is_on_the_session_that_carries_it() {
    let service = ServiceKey::new("shop", "web");
    let addresses = [IpAddr::from([10, 0, 4, 1]), "fd00::1".parse().unwrap()];
    let (plan, explanation) = plan_with(&addresses, &service, &["r4", "r6"], &[]);
    let (r4, r6) = (carried(&plan, "r4", Families::IPV4), carried(&plan, "r6", Families::IPV6));
    let both = table(&[("r4", r4.clone()), ("r6", r6.clone())]);
    let (routes, why) = shown(&plan, &explanation, &both);
    assert_eq!(routes, ["10.0.4.1/32 r4 sent", "fd00::1/128 r6 sent"]);
    let expected = [
        "peer r4 ok",
        "session r4 ok",
        "route r4 10.0.4.1 ok",
        "peer r6 ok",
        "session r6 ok",
        "route r6 fd00::1 ok",
    ];
    assert_eq!(why, expected);
    assert_eq!(report::status(&plan, &both, &[]).announced_prefixes, 2);

    // One session does both; the other is down and is to carry one family.
    let both = SessionRow { carries: Families::BOTH, ..r4.clone() };
    let down = SessionRow { phase: SessionPhase::Active, ..r6.clone() };
    let (routes, _) = shown(&plan, &explanation, &table(&[("r4", both), ("r6", down)]));
    assert_eq!(routes, ["10.0.4.1/32 r4 sent", "fd00::1/128 r4 sent r6 session-down"]);

    // A family that no session carries is no route on its way.
    let ipv4_only = table(&[("r4", r4.clone()), ("r6", r4)]);
    let (routes, why) = shown(&plan, &explanation, &ipv4_only);
    assert_eq!(routes[1], "fd00::1/128");
    assert_eq!(why.last().map(String::as_str), Some("route fd00::1 familyNotCarried"));
    assert_eq!(report::status(&plan, &ipv4_only, &[]).announced_prefixes, 1);
    let alone = [IpAddr::from([10, 0, 4, 1])];
    let (plan, explanation) = plan_with(&alone, &service, &["r4", "r6"], &[]);
    let (_, why) =
        shown(&plan, &explanation, &table(&[("r4", carried(&plan, "r4", Families::IPV4)), ("r6", r6)]));
    assert_eq!(why[3..], ["peer r6 ok", "session r6 ok"], "the other family is not its business");
}

#[test]
fn the_routers_of_a_network_have_routes_of_their_own() {
    let service = ServiceKey::new("shop", "web");
    let (plan, explanation) = plan_of(&service, &["fabric", "fabric-2"], &["fabric"]);
    let up = carried(&plan, "fabric", Families::IPV4);
    let rows = [
        ("fabric-2", row(SessionPhase::Established)),
        ("fabric@10.0.2.1", up.clone()),
        ("fabric@10.0.2.2", SessionRow { written: None, ..up }),
        ("fabricate", row(SessionPhase::Established)),
    ];
    let (routes, why) = shown(&plan, &explanation, &table(&rows));
    assert_eq!(routes, ["10.0.4.1/32 fabric@10.0.2.1 sent fabric@10.0.2.2 pending"]);
    let expected = [
        "peer fabric ok",
        "session fabric@10.0.2.1 ok",
        "route fabric@10.0.2.1 10.0.4.1 ok",
        "session fabric@10.0.2.2 ok",
        "route fabric@10.0.2.2 10.0.4.1 pending",
        "peer fabric-2 peerNotSelected",
    ];
    assert_eq!(why, expected);
    assert_eq!(report::status(&plan, &table(&rows), &[]).announced_prefixes, 1);
    let nobody = table(&[("fabric", row(SessionPhase::Active))]);
    assert_eq!(shown(&plan, &explanation, &nobody).0, ["10.0.4.1/32 fabric session-down"]);
}

#[test]
fn what_the_controller_says_is_missing_breaks_the_chain_and_what_is_there_goes_on() {
    let service = ServiceKey::new("shop", "web");
    let (plan, mut explanation) = plan_of(&service, &["a"], &[]);
    let lack = Finding::Lacks("no available IPs in pool home".into());
    explanation.steps.push(Step { address: None, outcome: Ok(lack) });
    let sent = carried(&plan, "a", Families::IPV4);
    let report = why::why("n1", &service, Some(&explanation), &plan, &table(&[("a", sent)]));
    let told: Vec<(&str, bool)> =
        report.links.iter().map(|link| (link.subject.as_str(), link.holds)).collect();
    let expected =
        [("address", true), ("address", false), ("peer", true), ("session", true), ("route", true)];
    assert_eq!(told, expected);
    assert_eq!(report.links[1].text, "not all is well with its addresses: no available IPs in pool home");
}

#[test]
fn an_address_that_stays_behind_is_listed_and_its_service_is_not_counted_as_withheld() {
    let service = ServiceKey::new("shop", "web");
    let (mut plan, explanation) = plan_of(&service, &["a"], &[]);
    let Verdict::Announce { announcements, .. } = explanation.verdict else { panic!("it is announced") };
    let behind = ("fd00::1".parse().unwrap(), Reason::NoEndpoints(AddressFamily::V6));
    let mut verdicts = Verdicts::default();
    verdicts.set(service, Verdict::Announce { announcements, withheld: vec![behind].into() });
    verdicts.set(ServiceKey::new("shop", "db"), Verdict::withhold(Reason::NotLoadBalancer));
    plan.verdicts = Arc::new(verdicts);
    let status = report::status(&plan, &SessionTable::default(), &[]);
    assert_eq!(
        json!(status.withheld),
        json!([
            {"service": "shop/db", "reason": "notLoadBalancer", "message": "the Service is not of type LoadBalancer"},
            {"service": "shop/web", "address": "fd00::1", "reason": "noEndpoints",
             "message": "no IPv6 endpoint of the Service is ready anywhere"},
        ])
    );
    assert_eq!(status.withheld_total, 1);
}
