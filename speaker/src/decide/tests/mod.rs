//! The text scripts of `testdata`, and the property that the incremental plan equals the full one.

mod handing_over;
mod script;

use std::collections::BTreeSet;
use std::sync::Arc;

use api::config::Config;
use proptest::prelude::*;

use super::announcer::{Announcer, Synced};
use super::snapshot::Snapshot;
use super::verdict::Reason;
use super::{full, verdict};
use crate::plan::Plan;
use script::{Row, rows};

const SCRIPTS: [(&str, &str); 4] = [
    ("metallb_speaker", include_str!("testdata/metallb_speaker.txt")),
    ("metallb_node_selectors", include_str!("testdata/metallb_node_selectors.txt")),
    ("metallb_local_pref_conflicts", include_str!("testdata/metallb_local_pref_conflicts.txt")),
    ("herald", include_str!("testdata/herald.txt")),
];

#[test]
fn each_row_of_each_script_holds_by_itself() {
    for (name, script) in SCRIPTS {
        let rows = rows(script);
        println!("{name}: {} rows", rows.len());
        for row in rows {
            row.check(&full::announcements(&row.snapshot));
        }
    }
}

#[test]
fn each_script_holds_as_a_sequence_of_changes_too() {
    for (_, script) in SCRIPTS {
        let rows = rows(script);
        let mut follower = Follower::new(&rows[0].snapshot);
        for row in rows.iter().chain(rows.iter().rev()) {
            row.check(follower.follow(&row.snapshot));
        }
    }
}

#[test]
fn an_advertisement_whose_attributes_fit_no_message_is_withheld_in_words() {
    let communities = |count: u32| {
        let all: Vec<String> = (0..count).map(|number| format!("large:1:1:{number}")).collect();
        all.join(",")
    };
    let script = |count: u32, more: &str, expected: &str| {
        let long = communities(count);
        format!(
            "given\n node pandora\n pool default 10.20.30.0/24\n peer peer1 1.2.3.4\nrow long: {count}\n \
             advertisement long communities={long}\n {more}\n service test1 10.20.30.1\n slice test1 ready@iris\n {expected}"
        )
    };
    let cases = [
        script(400, "", "-> peer1 nothing\n => test1 withheld advertisementWithheld"),
        // Others go on, and what stays within the bound is announced.
        script(400, "advertisement short communities=0:1", "-> peer1 10.20.30.1/32 communities=0:1"),
        script(300, "", &format!("-> peer1 10.20.30.1/32 communities={}", communities(300))),
    ];
    for case in cases {
        for row in rows(&case) {
            row.check(&full::announcements(&row.snapshot));
        }
    }
    let plan = full::announcements(&rows(&script(400, "", "-> peer1 nothing"))[0].snapshot);
    let verdicts: Vec<String> = plan.verdicts.iter().map(|(_, verdict)| format!("{verdict:?}")).collect();
    let words = "path attributes of 4838 octets do not fit a message (4000): use fewer communities";
    assert!(verdicts.iter().any(|verdict| verdict.contains(words)), "{verdicts:?}");
}

/// An announcer that is moved from snapshot to snapshot, as the watch side moves it.
struct Follower {
    announcer: Announcer,
    plan: Plan,
}

impl Follower {
    fn new(snapshot: &Snapshot) -> Self {
        Self {
            announcer: Announcer::new(snapshot.surroundings.exclude_label).on(&snapshot.surroundings.own),
            plan: Plan::unsynced(),
        }
    }

    fn follow(&mut self, to: &Snapshot) -> &Plan {
        let (known, around) = (self.announcer.snapshot().surroundings, &to.surroundings);
        if known.exclude_label != around.exclude_label || known.own != around.own {
            // A flag of the process, and its node: they change with a restart and not otherwise.
            *self = Self::new(to);
        }
        let keys = |a: &Snapshot, b: &Snapshot| -> BTreeSet<_> {
            let services = a.services.keys().chain(b.services.keys());
            services.chain(a.endpoints.keys()).chain(b.endpoints.keys()).cloned().collect()
        };
        for key in keys(&self.announcer.snapshot(), to) {
            self.announcer.set_service(key.clone(), to.services.get(&key));
            self.announcer.set_endpoints(key.clone(), to.endpoints.get(&key).copied().unwrap_or_default());
            self.announcer.set_hosts(key.clone(), to.hosts.get(&key).cloned().unwrap_or_default());
        }
        self.announcer.set_fleet(&around.fleet);
        self.announcer.set_node(around.node.clone());
        self.announcer.set_config(Arc::clone(&around.config));
        if let Some(planned) = self.announcer.plan(Synced::all_watches()) {
            assert_eq!(planned.plan.version, self.plan.version + 1);
            self.plan = planned.plan;
        }
        &self.plan
    }
}

/// Both plans in a form that shows what differs.
fn contents(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let peers = plan.peers.iter().map(|(name, peer)| {
        let routes: Vec<_> =
            peer.routes.iter().map(|(prefix, attrs)| format!("{prefix} {attrs:?}")).collect();
        format!("{name} {:?} {routes:?}", peer.peer.router)
    });
    (peers.collect(), plan.verdicts.iter().map(|entry| format!("{entry:?}")).collect())
}

/// A handful of good states to jump between, made of the scripts' rows. Parts of different rows are mixed, so that
/// Services, endpoints, node and configuration change independently of each other.
fn all_rows() -> Vec<Row> {
    SCRIPTS.iter().flat_map(|(_, script)| rows(script)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_incremental_plan_equals_the_full_one(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..5, any::<prop::sample::Index>()), 1..60)
    ) {
        let rows = all_rows();
        let mut now = rows[0].snapshot.clone();
        let mut follower = Follower::new(&now);
        for (from, part, which) in steps {
            let from = &from.get(&rows).snapshot;
            match part {
                0 => now.surroundings.config = Arc::clone(&from.surroundings.config),
                1 => now.surroundings.node.clone_from(&from.surroundings.node),
                2 => {
                    let keys: Vec<_> = now.services.keys().chain(from.services.keys()).cloned().collect();
                    if !keys.is_empty() {
                        let key = which.get(&keys);
                        match from.services.get(key) {
                            Some(service) => now.services.insert(key.clone(), service.clone()),
                            None => now.services.remove(key),
                        };
                    }
                }
                3 => now.surroundings.fleet = from.surroundings.fleet.clone(),
                _ => {
                    let keys: Vec<_> = now.endpoints.keys().chain(from.endpoints.keys()).cloned().collect();
                    if !keys.is_empty() {
                        let key = which.get(&keys);
                        match from.endpoints.get(key) {
                            Some(endpoints) => now.endpoints.insert(key.clone(), *endpoints),
                            None => now.endpoints.remove(key),
                        };
                        match from.hosts.get(key) {
                            Some(hosts) => now.hosts.insert(key.clone(), hosts.clone()),
                            None => now.hosts.remove(key),
                        };
                    }
                }
            }
            let plan = follower.follow(&now);
            prop_assert_eq!(contents(plan), contents(&full::announcements(&now)));
        }
    }
}

#[test]
fn nothing_new_is_no_new_plan() {
    let rows = all_rows();
    let mut follower = Follower::new(&rows[0].snapshot);
    for row in &rows {
        let version = follower.follow(&row.snapshot).version;
        assert_eq!(follower.follow(&row.snapshot).version, version, "row {}", row.title);
    }
}

#[test]
fn a_change_of_one_service_leaves_the_other_routes_where_they_are() {
    let script = "given\n  node pandora\n  pool default 10.20.0.0/16\n  peer peer1 1.2.3.4\n  advertisement all\n  \
                  peer peer2 1.2.3.5\n  advertisement some peers=peer2 communities=0:1\n";
    let services: String = (0..500u32)
        .map(|n| format!("  service s{n:03} 10.20.{}.{}\n  slice s{n:03} ready@iris\n", n / 250, n % 250))
        .collect();
    let all = rows(&format!("{script}{services}row 1\n"));
    let mut follower = Follower::new(&all[0].snapshot);
    let before = follower.follow(&all[0].snapshot).clone();
    let mut changed = all[0].snapshot.clone();
    let key = changed.services.keys().nth(250).unwrap().clone();
    changed.endpoints.remove(&key);
    let after = follower.follow(&changed).clone();
    for (name, peer) in &after.peers {
        assert_eq!(peer.routes.len(), 499);
        assert!(Arc::ptr_eq(&peer.peer, &before.peers[name].peer));
        let shared = peer.routes.iter().filter(|(prefix, attrs)| {
            before.peers[name].routes.get(prefix).is_some_and(|had| Arc::ptr_eq(had, attrs))
        });
        assert_eq!(shared.count(), 499, "untouched routes keep their attributes");
    }
    // A part of the configuration that touches no route leaves the route sets themselves alone.
    let mut reconfigured = changed.clone();
    let mut config = Config::clone(&reconfigured.surroundings.config);
    config.peers.get_mut("peer1").unwrap().port = 1179;
    reconfigured.surroundings.config = Arc::new(config);
    let again = follower.follow(&reconfigured);
    for (name, peer) in &again.peers {
        assert!(Arc::ptr_eq(&peer.routes, &after.peers[name].routes), "{name}");
    }
    assert_eq!(again.peers["peer1"].peer.port, 1179);
    assert!(Arc::ptr_eq(&again.peers["peer2"].peer, &after.peers["peer2"].peer));
}

#[test]
fn equal_peers_share_one_route_set() {
    let row = &rows(
        "row 1\n  node pandora\n  pool default 10.20.30.0/24\n  peer peer1 1.2.3.4\n  peer peer2 1.2.3.5\n  \
         peer peer3 1.2.3.6\n  advertisement all\n  advertisement third peers=peer3 communities=0:3\n  \
         service test1 10.20.30.1\n  slice test1 ready@iris\n",
    )[0];
    let mut follower = Follower::new(&row.snapshot);
    let plan = follower.follow(&row.snapshot);
    assert!(Arc::ptr_eq(&plan.peers["peer1"].routes, &plan.peers["peer2"].routes));
    assert!(!Arc::ptr_eq(&plan.peers["peer1"].routes, &plan.peers["peer3"].routes));
}

#[test]
fn a_withdrawal_says_why() {
    let state = |lines: &str| {
        let given = "row 1\n  node pandora\n  pool default 10.20.30.0/24\n  peer peer1 1.2.3.4\n  advertisement all\n";
        rows(&format!("{given}{lines}")).remove(0).snapshot
    };
    let announced = state("  service test1 10.20.30.1\n  slice test1 ready@iris\n");
    for (to, expected) in [
        (state(""), Some(Reason::ServiceDeleted)),
        (state("  service test1 10.20.30.1\n"), Some(Reason::NoEndpoints(verdict::AddressFamily::V4))),
        (
            state("  service test1 10.20.30.2\n  slice test1 ready@iris\n"),
            Some(Reason::LoadBalancerIpChanged),
        ),
        (state("  service test1 10.20.30.1,10.20.30.2\n  slice test1 ready@iris\n"), None),
    ] {
        let mut follower = Follower::new(&announced);
        follower.follow(&announced);
        let facts = to.services.iter().next().map(|(_, facts)| facts.clone());
        let key = announced.services.keys().next().unwrap().clone();
        follower.announcer.set_service(key.clone(), facts.as_ref());
        follower.announcer.set_endpoints(key.clone(), to.endpoints.get(&key).copied().unwrap_or_default());
        let planned = follower.announcer.plan(Synced::all_watches()).unwrap();
        assert_eq!(planned.transitions.len(), 1);
        assert_eq!(planned.transitions[0].withdrawal(), expected);
    }
}

#[test]
fn the_chain_of_facts_ends_where_the_decision_does() {
    for row in all_rows() {
        let mut follower = Follower::new(&row.snapshot);
        let plan = follower.follow(&row.snapshot).clone();
        for (service, verdict) in plan.verdicts.iter() {
            let explanation = follower.announcer.explain(service).unwrap();
            assert_eq!(explanation.verdict, *verdict, "row {}", row.title);
            let refused: Vec<&Reason> =
                explanation.steps.iter().filter_map(|step| step.outcome.as_ref().err()).collect();
            match verdict {
                verdict::Verdict::Withhold(reason) => assert_eq!(refused.first(), Some(&reason.as_ref())),
                verdict::Verdict::Announce { withheld, .. } => assert_eq!(refused.len(), withheld.len()),
            }
        }
    }
}

#[test]
fn a_chain_names_every_fact_in_words() {
    let row = &rows(
        "row 1\n  node pandora deleted notice\n  pool default 10.20.30.0/24\n  peer peer1 1.2.3.4\n  \
         advertisement plain\n  advertisement other services=app:db\n  service test1 10.20.30.1 policy=Local\n  \
         slice test1 ready@pandora ready@iris\n",
    )[0];
    let mut follower = Follower::new(&row.snapshot);
    follower.follow(&row.snapshot);
    let service = row.snapshot.services.keys().next().unwrap();
    let steps = follower.announcer.explain(service).unwrap().steps;
    let told: Vec<String> = steps
        .iter()
        .map(|step| {
            let finding = step.outcome.as_ref().unwrap();
            format!("{} {finding}", finding.subject())
        })
        .collect();
    let expected = [
        "service is of type LoadBalancer and of this speaker's class",
        "address has 10.20.30.1",
        "pool IPAddressPool \"default\" contains it",
        "advertisement pool and node are selected by other, plain",
        "advertisement the Service is selected by plain",
        "node the Node object is being deleted: routes ask to be avoided (GRACEFUL_SHUTDOWN)",
        "endpoints 1 IPv4 ready on this node",
    ];
    assert_eq!(told, expected);
}
