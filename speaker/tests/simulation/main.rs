//! A whole cluster on virtual time: nodes with the speaker's real intake, decisions and BGP core, routers with tables and
//! graceful restart, Services that come and go, nodes that are drained, speakers that follow each other, and faults by seed.
//!
//! What must hold (`judge`): a node announces nothing that its facts do not say is served, and withdraws nothing that
//! they say is; no router keeps a path to a node that cannot serve for longer than its bound (hold time, BFD, restart
//! time); where the number of nodes is bounded (`fleet`), at the end none is more than wanted, and no address is ever left
//! alone for longer than it takes to learn who is gone; planned restarts, crashes and takeovers lose nothing; and when the
//! faults end, the tables become the truth and everybody falls silent. `HERALD_SEEDS=5000` plays that many seeds, `HERALD_FIRST_SEED` says where to begin. A seed that fails
//! is printed with the shortest list of events that still fails. Left out: sockets, the API server's own behaviour and
//! kube-proxy, which the system tests have.

#![allow(clippy::unwrap_used, reason = "a surprise ends the run")]

mod chance;
mod cluster;
mod fault;
mod fleet;
mod judge;
mod node;
mod router;
mod scenario;
mod turn;
mod wire;
mod witness;
mod world;

use std::thread;

use scenario::Scenario;
use world::{Tally, play};

/// What the gate plays; `cargo xtask soak` plays more.
const SEEDS: u64 = 300;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number of seeds"))
}

/// The first seed of a range that fails, and what was played up to there.
fn search(seeds: impl Iterator<Item = u64>) -> (Tally, Option<(u64, String)>) {
    let mut sum = Tally::default();
    for seed in seeds {
        match play(&Scenario::from_seed(seed)) {
            Ok(tally) => sum.add(&tally),
            Err(fault) => return (sum, Some((seed, fault))),
        }
    }
    (sum, None)
}

#[test]
fn whatever_happens_routers_come_to_know_the_truth_and_never_believe_the_dead_for_long() {
    let (first, count) = (number("HERALD_FIRST_SEED", 1), number("HERALD_SEEDS", SEEDS));
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get() as u64).min(count.max(1));
    let results: Vec<_> = thread::scope(|scope| {
        let work = |worker: u64| move || search((first + worker..first + count).step_by(workers as usize));
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(work(worker))).collect();
        running.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut sum = Tally::default();
    for (tally, failure) in results {
        if let Some((seed, fault)) = failure {
            let whole = Scenario::from_seed(seed);
            let short = whole.shortened(|shorter| play(shorter).is_err());
            let again = play(&short).err().unwrap_or_default();
            panic!("seed {seed} fails {fault}\nthe shortest that fails, {again}\n{short}");
        }
        sum.add(&tally);
    }
    println!(
        "{count} seeds: {} sessions, {} UPDATEs, {} takeovers, {} routes lost for a reason",
        sum.sessions, sum.updates, sum.takeovers, sum.routes_lost
    );
    assert!(sum.sessions >= count && sum.updates > count && sum.routes_lost > count / 4, "{sum:?}");
    assert!(sum.takeovers > count / 4, "{sum:?}");
}

#[test]
fn the_same_seed_plays_the_same_run() {
    for seed in 1..4 {
        let scenario = Scenario::from_seed(seed);
        assert_eq!(format!("{:?}", play(&scenario)), format!("{:?}", play(&scenario)));
    }
}
