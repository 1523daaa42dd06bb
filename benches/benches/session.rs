//! 100,000 /32 through the real driver and a loopback socket to a bare sink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use benches::cluster;
use bgp_proto::RouteSet;
use speaker::metrics::WireTimes;
use speaker::peering::{PeeringSettings, run};
use speaker::plan::{PeerPlan, Plan, SessionTable, StopHow};
use tokio::sync::watch;
use yardstick::sink::{Arrival, Sink};
use yardstick::{Measured, Size, Table, memory};

/// How long a round may take before the bench fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let size = Size::from_args();
    let table = Table::new("Established to the last route, real driver, loopback", size);
    for (peers, count) in [(1, size.pick(10_000, 100_000)), (size.pick(2, 10), size.pick(1_000, 100_000))] {
        let routes = memory::routes(count);
        let mut best: Option<Arrival> = None;
        for _ in 0..size.pick(1, 7) {
            let slowest = announce(peers, &routes);
            best = Some(
                best.map_or(slowest, |best| if slowest.duration < best.duration { slowest } else { best }),
            );
        }
        let best = best.expect("at least one round");
        let name = format!("{peers} peers, {count} /32, {} UPDATEs, {} octets", best.updates, best.octets);
        table.row(&name, Measured { best: best.duration, items: count * peers });
        assert_eq!(best.prefixes, u64::try_from(count).expect("fits"));
        let expected = u64::try_from(count.div_ceil(810)).expect("fits");
        assert!(best.updates.abs_diff(expected) <= 1, "{} UPDATEs, expected {expected}", best.updates);
    }
}

/// The slowest arrival of all peers.
fn announce(peers: usize, routes: &Arc<RouteSet>) -> Arrival {
    let prefixes = u64::try_from(routes.len()).expect("fits");
    let sinks: Vec<Sink> = (0..peers).map(|_| Sink::listen(prefixes).expect("loopback is there")).collect();
    let wanted = sinks.iter().enumerate().map(|(number, sink)| {
        let name = format!("sink-{number}");
        let peer = Arc::new(cluster::peer(&name, sink.address));
        (name, PeerPlan { peer, routes: Arc::clone(routes) })
    });
    let plan =
        Plan { peers: wanted.collect::<BTreeMap<_, _>>(), synced: true, version: 1, ..Plan::unsynced() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_plans, plan) = watch::channel(Arc::new(plan));
    let (table, _sessions) = watch::channel(Arc::new(SessionTable::default()));
    let (stop, stops) = watch::channel(None);
    let settings = PeeringSettings { node_name: "bench".to_owned(), seed: 1, times: WireTimes::default() };
    let collector = std::thread::spawn(move || {
        let arrivals = sinks.into_iter().map(|sink| sink.thread.join().expect("a sink does not panic"));
        let slowest = arrivals
            .map(|arrival| arrival.expect("all routes arrive"))
            .max_by_key(|arrival| arrival.duration);
        stop.send(Some(StopHow::Restart)).expect("the driver runs");
        slowest.expect("at least one peer")
    });
    runtime.block_on(async {
        let driver = run(plan, table, settings, stops);
        tokio::time::timeout(PATIENCE, driver).await.expect("the driver ends when all routes have arrived");
    });
    collector.join().expect("the collector does not panic")
}
