//! Herald's driver as a program with one peer that is told what to be: for runs against real routers.
//!
//! `spokesman KEY=VALUE...`, all keys needed but `password` and `called-as` (our identifier; the router may call at
//! the same port, too): `address` and `port` of the router, `local-as`,
//! `remote-as`, `dual` (`yes` announces IPv4 and IPv6 on the session, whatever its transport), `v4` and `v6` (host
//! routes to announce), `restart` (`yes` offers graceful restart). On standard input: `state` prints one line
//! (phase, how often Established, UPDATEs sent, last error, separated by tabs), `remove TEXT` takes the routes back
//! and ends with that text, the end of standard input is a planned restart.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use api::config::{Password, Peer, RemoteAsn, SessionKey};
use api::v1beta2::ConnectMode;
use benches::cluster;
use bgp_proto::{PathAttrs, Prefix, RouteSet};
use speaker::metrics::WireTimes;
use speaker::peering::{PeeringSettings, run};
use speaker::plan::{PeerPlan, Plan, SessionTable, StopHow};
use tokio::sync::watch;

const PEER: &str = "router";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let keys: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
    let Some(plan) = plan(&keys) else {
        eprintln!(
            "usage: spokesman address=A port=N local-as=N remote-as=N dual=no v4=N v6=N restart=no [password=P] [called-as=I]"
        );
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_plans, plan) = watch::channel(Arc::new(plan));
    let (table, sessions) = watch::channel(Arc::new(SessionTable::default()));
    let (stop, stops) = watch::channel(None);
    std::thread::spawn(move || {
        let mut how = StopHow::Restart;
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == "state" {
                println!("{}", state(&sessions.borrow()));
            } else if let Some(text) = line.strip_prefix("remove ") {
                how = StopHow::Remove(text.to_owned());
                break;
            }
        }
        // An error means that the driver has ended already.
        let _ended = stop.send(Some(how));
    });
    runtime.block_on(run(
        plan,
        table,
        PeeringSettings { node_name: "bench".to_owned(), seed: 1, times: WireTimes::default() },
        stops,
    ));
    ExitCode::SUCCESS
}

fn plan(keys: &BTreeMap<&str, &str>) -> Option<Plan> {
    let number = |key: &str| keys.get(key)?.parse::<u32>().ok();
    let yes = |key: &str| Some(*keys.get(key)? == "yes");
    let address = SocketAddr::new(keys.get("address")?.parse().ok()?, keys.get("port")?.parse().ok()?);
    let called_as = match keys.get("called-as") {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let peer = Peer {
        local_asn: number("local-as")?,
        remote_asn: RemoteAsn::Exactly(number("remote-as")?),
        dual_stack: yes("dual")?,
        graceful_restart: yes("restart")?,
        key: keys.get("password").and_then(|password| Password::try_new(*password)).map(SessionKey::Md5),
        connect_time: Some(1),
        router_id: called_as,
        connect: if called_as.is_some() { ConnectMode::Both } else { ConnectMode::Active },
        listen_port: address.port(),
        ..cluster::peer(PEER, address)
    };
    let attrs = Arc::new(PathAttrs::default());
    let v4 = (0x0A00_0000_u32..).take(usize::try_from(number("v4")?).ok()?);
    let v6 = (0xFD00_u128 << 112..).take(usize::try_from(number("v6")?).ok()?);
    let hosts = v4.map(|bits| std::net::Ipv4Addr::from_bits(bits).into());
    let hosts = hosts.chain(v6.map(|bits| std::net::Ipv6Addr::from_bits(bits).into()));
    let routes: RouteSet = hosts.map(|host| (Prefix::host(host), Arc::clone(&attrs))).collect();
    let wanted = PeerPlan { peer: Arc::new(peer), routes: Arc::new(routes) };
    Some(Plan { peers: [(PEER.to_owned(), wanted)].into(), synced: true, version: 1, ..Plan::unsynced() })
}

fn state(table: &SessionTable) -> String {
    let unknown = || "\t0\t0\t".to_owned();
    table.sessions.get(PEER).map_or_else(unknown, |row| {
        let fault = row.last_error.as_ref().map_or("", |fault| fault.text.as_str());
        format!("{}\t{}\t{}\t{fault}", row.phase.word(), row.established_count, row.updates_sent)
    })
}
