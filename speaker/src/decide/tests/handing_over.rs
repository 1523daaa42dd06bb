//! Who announces while a bounded set of nodes changes: some node at every moment, and soon no more than there should be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::decide::width::Fleet;

const NODES: [&str; 4] = ["pandora", "iris", "hermes", "thalia"];

/// How much later than the first speaker the last one sees a change; far less than a node stays.
const SEEN: Duration = Duration::from_secs(2);

/// The announcers of all nodes, at one time.
struct Cluster {
    announcers: Vec<(&'static str, Announcer)>,
    now: Instant,
}

impl Cluster {
    fn new(most: u16) -> Self {
        let script = format!(
            "row 1\n  node any\n  pool default 10.20.30.0/24\n  peer peer1 1.2.3.4\n  \
             advertisement narrow maxNodes={most}\n  service test1 10.20.30.1\n  slice test1 ready@elsewhere\n"
        );
        let start = rows(&script).remove(0).snapshot;
        let announcer = |node: &'static str| {
            let mut announcer = Announcer::new(start.surroundings.exclude_label).on(node);
            for (key, service) in &start.services {
                announcer.set_service(key.clone(), Some(service));
                announcer.set_endpoints(key.clone(), start.endpoints.get(key).copied().unwrap_or_default());
            }
            announcer.set_node(start.surroundings.node.clone());
            announcer.set_config(Arc::clone(&start.surroundings.config));
            (node, announcer)
        };
        Self { announcers: NODES.into_iter().map(announcer).collect(), now: Instant::now() }
    }

    /// This node's speaker sees who is ready.
    fn see(&mut self, index: usize, ready: &BTreeSet<&str>) {
        let name = |node: &&str| Box::<str>::from(*node);
        let able = NODES.iter().map(|node| (name(node), ["narrow".into()].into())).collect();
        let fleet = Fleet { ready: ready.iter().map(name).collect(), able };
        self.announcers[index].1.set_fleet(&fleet);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The nodes that announce at this moment.
    fn announcing(&mut self) -> BTreeSet<&'static str> {
        let now = self.now;
        let announcing = self.announcers.iter_mut().filter_map(|(node, announcer)| {
            announcer.set_time(now);
            announcer.plan(Synced::all_watches());
            let verdict = announcer.verdicts().iter().next()?.1;
            verdict.reason().is_none().then_some(*node)
        });
        announcing.collect()
    }
}

proptest! {
    #[test]
    fn while_speakers_come_and_go_somebody_who_is_ready_announces_and_in_the_end_no_more_than_wanted(
        changes in prop::collection::vec((0usize..4, 0usize..24), 1..12), most in 1u16..4
    ) {
        let mut cluster = Cluster::new(most);
        let mut ready: BTreeSet<&str> = NODES.into();
        for index in 0..4 {
            cluster.see(index, &ready);
        }
        prop_assert_eq!(cluster.announcing().len(), usize::from(most), "a first plan hands nothing over");
        for (who, order) in changes {
            // A speaker ends by itself only when others may follow it, one at a time.
            let had = ready.clone();
            if !ready.remove(NODES[who]) {
                ready.insert(NODES[who]);
            }
            if ready.is_empty() {
                ready = had;
                continue;
            }
            // The speakers see it one after the other, in any order.
            let mut left: Vec<usize> = (0..4).collect();
            let mut order = order;
            while !left.is_empty() {
                let index = left.remove(order % left.len());
                order /= 2;
                cluster.see(index, &ready);
                let now = cluster.announcing();
                // Whoever is not ready serves nobody, unless it is still draining; it was there before, too.
                let serving = now.iter().any(|node| had.contains(node) || ready.contains(node));
                prop_assert!(serving, "nobody announces: {:?} of {:?}", now, ready);
                cluster.pass(SEEN / 4);
            }
            cluster.pass(Duration::from_secs(10));
            let now = cluster.announcing();
            prop_assert_eq!(now.len(), ready.len().min(most.into()));
            prop_assert!(now.iter().all(|node| ready.contains(node)), "{:?} of {:?}", now, ready);
        }
    }
}

#[test]
fn a_node_that_lost_its_place_stays_until_the_other_one_is_there() {
    let mut cluster = Cluster::new(1);
    // By score: iris, pandora, hermes and thalia somewhere.
    let without: BTreeSet<&str> = ["pandora", "hermes"].into();
    for index in 0..4 {
        cluster.see(index, &without);
    }
    let first = cluster.announcing();
    assert_eq!(first, ["pandora"].into());
    let with: BTreeSet<&str> = ["iris", "pandora", "hermes"].into();
    cluster.see(0, &with);
    assert_eq!(cluster.announcing(), first, "the old one has heard of it, the new one has not");
    cluster.pass(Duration::from_secs(1));
    cluster.see(1, &with);
    assert_eq!(cluster.announcing(), ["iris", "pandora"].into());
    let due = cluster.announcers[0].1.due().unwrap();
    assert!(due - cluster.now <= Duration::from_secs(4));
    cluster.now = due;
    assert_eq!(cluster.announcing(), ["iris"].into());
    assert_eq!(cluster.announcers[0].1.due(), None, "it is over");
}
