//! Herald's driver as a program of its own, so that its memory and CPU time are its own: `announcer ROUTES ADDRESS...`.
//!
//! Announces ROUTES host routes from 10.0.0.0 on to every ADDRESS (`127.0.0.2:1790`). A line on standard input changes
//! that: `toggle` adds or takes away one route more, `clear` takes away all, `fill` brings them back; the end of standard
//! input ends it. What a cluster would decide is left out: the plan is made here.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use benches::cluster;
use bgp_proto::{PathAttrs, Prefix, RouteSet};
use speaker::metrics::WireTimes;
use speaker::peering::{PeeringSettings, run};
use speaker::plan::{PeerPlan, Plan, SessionTable, StopHow};
use tokio::sync::watch;
use yardstick::memory;

/// The route that `toggle` is about.
const TOGGLED: [u8; 4] = [172, 16, 0, 1];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse().ok());
    let peers: Option<Vec<SocketAddr>> = arguments.map(|address| address.parse().ok()).collect();
    let (Some(count), Some(peers)) = (count, peers) else {
        eprintln!("usage: announcer ROUTES ADDRESS...");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let routes = memory::routes(count);
    let more = Arc::new(routes.with(Prefix::host(TOGGLED.into()), Arc::new(PathAttrs::default())));
    let (plans, plan) = watch::channel(Arc::new(plan(&peers, &routes, 1)));
    let (table, _sessions) = watch::channel(Arc::new(SessionTable::default()));
    let (stop, stops) = watch::channel(None);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        let (mut has_more, none) = (false, Arc::default());
        for (line, version) in lines.zip(2..) {
            let wanted = match line.as_str() {
                "toggle" => {
                    has_more = !has_more;
                    if has_more { &more } else { &routes }
                }
                "clear" => &none,
                "fill" => &routes,
                _ => continue,
            };
            if plans.send(Arc::new(self::plan(&peers, wanted, version))).is_err() {
                return;
            }
        }
        // An error means that the driver has ended already.
        let _ended = stop.send(Some(StopHow::Restart));
    });
    runtime.block_on(run(
        plan,
        table,
        PeeringSettings { node_name: "bench".to_owned(), seed: 1, times: WireTimes::default() },
        stops,
    ));
    ExitCode::SUCCESS
}

fn plan(peers: &[SocketAddr], routes: &Arc<RouteSet>, version: u64) -> Plan {
    let wanted = peers.iter().enumerate().map(|(number, address)| {
        let name = format!("sink-{number}");
        let peer = Arc::new(cluster::peer(&name, *address));
        (name, PeerPlan { peer, routes: Arc::clone(routes) })
    });
    Plan { peers: wanted.collect::<BTreeMap<_, _>>(), synced: true, version, ..Plan::unsynced() }
}
