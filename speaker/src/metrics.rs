//! The speaker's metrics: MetalLB's names as they are, Herald's own under `herald_`.
//!
//! What describes a state is read from the state at each scrape, so that a series ends with the object it is about.
//! Only what counts up is kept here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bfd_proto::State;
use bgp_proto::{Counters as MessageCounters, VerdictCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use runtime::metrics::name;
use tokio::sync::watch::Receiver;

use crate::plan::{BfdRow, Plan, SessionPhase, SessionRow, SessionTable};
use crate::watch::configuration::ConfigReport;

/// What counts up. Clones count together.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Facts taken in from the API server.
    pub updates: Counter,
    /// Objects that were not accepted, each time one is newly so.
    pub update_errors: Counter,
    /// Plans published.
    pub plans: Counter,
    /// Seconds from an EndpointSlice event to the published plan.
    pub endpoint_to_plan: Histogram,
    /// How long events take to the routers.
    pub wire: WireTimes,
}

/// How long it takes from an EndpointSlice or Service event to a router, for each session that has to be told.
#[derive(Clone, Debug)]
pub struct WireTimes {
    /// Seconds until the kernel has taken the octets.
    pub written: Histogram,
    /// Seconds until the router's TCP has acknowledged them.
    pub acknowledged: Histogram,
    /// Times that were not taken to their end: the session ended first, or the router was too far behind.
    pub abandoned: Counter,
}

impl Default for WireTimes {
    fn default() -> Self {
        // 100 µs to 26 s: the budget of a withdrawal is 2 ms, and a router may be slow.
        let histogram = || Histogram::new(exponential_buckets(0.000_1, 2.0, 19));
        Self { written: histogram(), acknowledged: histogram(), abandoned: Counter::default() }
    }
}

impl WireTimes {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "herald_speaker_event_to_written",
            "Time from an EndpointSlice or Service event until the kernel took its octets for a router",
            Unit::Seconds,
            self.written.clone(),
        );
        registry.register_with_unit(
            "herald_speaker_event_to_acknowledged",
            "Time from an EndpointSlice or Service event until the TCP of a router acknowledged its octets",
            Unit::Seconds,
            self.acknowledged.clone(),
        );
        let help = "Events whose way to a router was not timed to its end";
        registry.register("herald_speaker_event_times_abandoned", help, self.abandoned.clone());
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            updates: Counter::default(),
            update_errors: Counter::default(),
            plans: Counter::default(),
            // 10 µs to 82 ms: the budget is well below 1 ms.
            endpoint_to_plan: Histogram::new(exponential_buckets(0.000_01, 2.0, 14)),
            wire: WireTimes::default(),
        }
    }
}

impl Counters {
    /// Shows the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(name::CLIENT_UPDATES, "Facts taken in from the API server", self.updates.clone());
        let help = "Times that a configuration object was newly rejected";
        registry.register(name::CLIENT_UPDATE_ERRORS, help, self.update_errors.clone());
        registry.register("herald_speaker_plans", "Plans handed to peering", self.plans.clone());
        registry.register_with_unit(
            "herald_speaker_endpoint_to_plan",
            "Time from an EndpointSlice event to the plan that it led to",
            Unit::Seconds,
            self.endpoint_to_plan.clone(),
        );
        self.wire.register(registry);
    }
}

/// Reads the states when it is scraped.
#[derive(Debug)]
pub struct States {
    /// Name of the own Node.
    pub node: Arc<str>,
    /// The plan in force.
    pub plan: Receiver<Arc<Plan>>,
    /// The sessions.
    pub sessions: Receiver<Arc<SessionTable>>,
    /// What was made of the configuration.
    pub config: Receiver<Arc<ConfigReport>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JudgedLabels {
    peer: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: String,
}

/// The label set of MetalLB's FRR mode; sessions run in the node's own network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerVrfLabel {
    peer: String,
    vrf: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnnouncedLabels {
    service: String,
    protocol: &'static str,
    node: Arc<str>,
    ip: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl Collector for States {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let plan = Arc::clone(&self.plan.borrow());
        let sessions = Arc::clone(&self.sessions.borrow());
        let config = Arc::clone(&self.config.borrow());
        show_sessions(&mut encoder, &sessions)?;
        show_verdicts(&mut encoder, &plan, &self.node)?;
        show_config(&mut encoder, &config)
    }
}

fn show_sessions(encoder: &mut DescriptorEncoder<'_>, table: &SessionTable) -> Result<(), fmt::Error> {
    let mut of_sessions = |name: &str, help: &str, value: fn(&SessionRow) -> i64| {
        let rows =
            table.sessions.iter().map(|(name, row)| (peer_label(name, row), ConstGauge::new(value(row))));
        family(encoder, name, help, MetricType::Gauge, rows)
    };
    let up = |row: &SessionRow| i64::from(row.phase == SessionPhase::Established);
    of_sessions(name::BGP_SESSION_UP, "BGP session state (1 is up, 0 is down)", up)?;
    let help = "Number of prefixes currently being advertised on the BGP session";
    of_sessions(name::BGP_ANNOUNCED_PREFIXES, help, |row| i64::from(row.prefixes_sent))?;
    let help = "Number of prefixes that should be advertised on the BGP session";
    of_sessions(name::BGP_PENDING_PREFIXES, help, |row| i64::from(row.prefixes_pending))?;
    let help = "State of the BGP session: 0 Idle, 1 Connect, 2 Active, 3 OpenSent, 4 OpenConfirm, 5 Established, -1 refused";
    of_sessions(name::BGP_SESSION_STATE, help, |row| state_number(row.phase))?;
    let mut counted = |name: &str, help: &str, value: fn(&SessionRow) -> u64| {
        let rows =
            table.sessions.iter().map(|(name, row)| (peer_label(name, row), ConstCounter::new(value(row))));
        family(encoder, name, help, MetricType::Counter, rows)
    };
    counted(name::BGP_UPDATES, "Number of BGP UPDATE messages sent", |row| row.updates_sent)?;
    counted("herald_bgp_messages_sent", "Number of BGP messages sent", |row| row.messages_sent)?;
    counted("herald_bgp_messages_received", "Number of BGP messages received", |row| row.messages_received)?;
    let help = "Times that the BGP session came up";
    counted("herald_bgp_session_established", help, |row| u64::from(row.established_count))?;
    show_judged(encoder, table)?;
    show_messages(encoder, table)?;
    show_bfd(encoder, table)
}

fn show_judged(encoder: &mut DescriptorEncoder<'_>, table: &SessionTable) -> Result<(), fmt::Error> {
    let rows =
        table.sessions.iter().filter_map(|(name, row)| Some((peer_label(name, row).peer, row.verdicts?)));
    let judged = rows.flat_map(|(peer, counts)| {
        let VerdictCounts { accepted, discarded, withdrawn, reset } = counts;
        let all = [("accept", accepted), ("discard", discarded), ("withdraw", withdrawn), ("reset", reset)];
        all.map(|(verdict, count)| (JudgedLabels { peer: peer.clone(), verdict }, ConstCounter::new(count)))
    });
    let help = "Number of received BGP UPDATE messages that were inspected, by what RFC 7606 makes of them";
    family(encoder, "herald_bgp_updates_inspected", help, MetricType::Counter, judged)
}

/// What MetalLB's FRR mode shows of each session, under the same names: they count up and have no `_total` at their end.
fn show_messages(encoder: &mut DescriptorEncoder<'_>, table: &SessionTable) -> Result<(), fmt::Error> {
    let mut of_sessions = |name: &str, help: &str, value: fn(&MessageCounters) -> u64| {
        let metric = format!("{}{name}", name::BGP_PREFIX);
        let rows = table.sessions.iter().map(|(name, row)| {
            let label = PeerVrfLabel { peer: peer_label(name, row).peer, vrf: "default" };
            (label, ConstGauge::new(i64::try_from(value(&row.messages)).unwrap_or(i64::MAX)))
        });
        family(encoder, &metric, help, MetricType::Unknown, rows)
    };
    of_sessions("opens_sent", "Number of BGP OPEN messages sent", |count| count.sent.opens)?;
    of_sessions("opens_received", "Number of BGP OPEN messages received", |count| count.received.opens)?;
    let help = "Number of BGP NOTIFICATION messages sent";
    of_sessions("notifications_sent", help, |count| count.sent.notifications)?;
    let help = "Number of BGP UPDATE messages received";
    of_sessions("updates_total_received", help, |count| count.received.updates)?;
    of_sessions("keepalives_sent", "Number of BGP KEEPALIVE messages sent", |count| count.sent.keepalives)?;
    let help = "Number of BGP KEEPALIVE messages received";
    of_sessions("keepalives_received", help, |count| count.received.keepalives)?;
    let help = "Number of BGP ROUTE-REFRESH messages sent";
    of_sessions("route_refresh_sent", help, |count| count.sent.refreshes)?;
    of_sessions("total_sent", "Number of BGP messages sent", |count| count.sent.total())?;
    of_sessions("total_received", "Number of BGP messages received", |count| count.received.total())
}

/// MetalLB labels BFD by address alone; sessions of several ports of one router share its BFD session. Its counters have no
/// `_total`, so they are written as what they are called.
fn show_bfd(encoder: &mut DescriptorEncoder<'_>, table: &SessionTable) -> Result<(), fmt::Error> {
    let peer = |name: &String, address: IpAddr| match is_one_router(address) {
        true => address.to_string(),
        false => name.clone(),
    };
    let rows = table.sessions.iter();
    let rows: BTreeMap<String, &BfdRow> =
        rows.filter_map(|(name, row)| Some((peer(name, row.address), row.bfd.as_ref()?))).collect();
    let mut of_paths = |name: &str, help: &str, kind: MetricType, value: fn(&BfdRow) -> u64| {
        let series = rows.iter().map(|(peer, row)| {
            let label = PeerLabel { peer: peer.clone() };
            (label, ConstGauge::new(i64::try_from(value(row)).unwrap_or(i64::MAX)))
        });
        family(encoder, name, help, kind, series)
    };
    let up = |row: &BfdRow| u64::from(row.state == State::Up);
    of_paths(name::BFD_SESSION_UP, "BFD session state (1 is up, 0 is down)", MetricType::Gauge, up)?;
    let help = "Number of received BFD control packets";
    of_paths(name::BFD_PACKETS_IN, help, MetricType::Unknown, |row| row.packets.received())?;
    let help = "Number of sent BFD control packets";
    of_paths(name::BFD_PACKETS_OUT, help, MetricType::Unknown, |row| row.packets.sent())?;
    let help = "Number of times that the BFD session came up";
    of_paths(name::BFD_UP_EVENTS, help, MetricType::Unknown, |row| row.ups)?;
    let help = "Number of times that the BFD session went down";
    of_paths(name::BFD_DOWN_EVENTS, help, MetricType::Unknown, |row| row.downs)
}

fn show_verdicts(
    encoder: &mut DescriptorEncoder<'_>,
    plan: &Plan,
    node: &Arc<str>,
) -> Result<(), fmt::Error> {
    let announced = plan.verdicts.iter().flat_map(|(service, verdict)| {
        verdict.addresses().into_iter().map(move |ip| {
            let (service, ip) = (service.to_string(), ip.to_string());
            (AnnouncedLabels { service, protocol: "bgp", node: Arc::clone(node), ip }, ConstGauge::new(1i64))
        })
    });
    let help = "Services being announced from this node";
    family(encoder, name::SPEAKER_ANNOUNCED, help, MetricType::Gauge, announced)?;
    let mut withheld: BTreeMap<&'static str, i64> = BTreeMap::new();
    for reason in plan.verdicts.iter().filter_map(|(_, verdict)| verdict.reason()) {
        *withheld.entry(reason.word()).or_default() += 1;
    }
    let withheld =
        withheld.into_iter().map(|(reason, count)| (ReasonLabel { reason }, ConstGauge::new(count)));
    let help = "Services not being announced from this node, by reason";
    family(encoder, "herald_speaker_services_withheld", help, MetricType::Gauge, withheld)
}

fn show_config(encoder: &mut DescriptorEncoder<'_>, config: &ConfigReport) -> Result<(), fmt::Error> {
    let mut single = |name: &str, help: &str, value: bool| {
        let gauge = ConstGauge::new(i64::from(value));
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
    };
    single(name::CLIENT_CONFIG_LOADED, "1 if the configuration was loaded at least once", config.loaded)?;
    let help = "1 while some configuration object is not in force as written";
    single(name::CLIENT_CONFIG_STALE, help, config.is_stale())?;
    let mut rejected: BTreeMap<&'static str, i64> = BTreeMap::new();
    for (object, _) in config.complaints() {
        *rejected.entry(object.kind.as_str()).or_default() += 1;
    }
    let rejected = rejected.into_iter().map(|(kind, count)| (KindLabel { kind }, ConstGauge::new(count)));
    let help = "Configuration objects that are not in force as written";
    family(encoder, name::CONFIG_REJECTED, help, MetricType::Gauge, rejected)
}

/// One metric with all its series.
fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    series: impl Iterator<Item = (L, M)>,
) -> Result<(), fmt::Error> {
    let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, metric) in series {
        metric.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The address and port, as MetalLB has them, or the peer's name.
fn peer_label(name: &str, row: &SessionRow) -> PeerLabel {
    let known = is_one_router(row.address);
    PeerLabel {
        peer: if known { SocketAddr::new(row.address, row.port).to_string() } else { name.to_owned() },
    }
}

/// Whether no other peer of this node can have this address: not one that is still looked for, and not a link-local one,
/// which another link may have as well (a router gives one to all its VLANs).
fn is_one_router(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_unspecified() && !is_link_local
}

fn state_number(phase: SessionPhase) -> i64 {
    match phase {
        SessionPhase::Refused => -1,
        SessionPhase::Idle => 0,
        SessionPhase::Connect => 1,
        SessionPhase::Active => 2,
        SessionPhase::OpenSent => 3,
        SessionPhase::OpenConfirm => 4,
        SessionPhase::Established => 5,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::SystemTime;

    use api::service::ServiceKey;
    use tokio::sync::watch;

    use super::*;
    use crate::decide::verdict::{Reason, Verdict};
    use crate::decide::verdicts::Verdicts;
    use crate::plan::PacketCounts;

    #[test]
    fn states_are_shown_under_metallbs_names() {
        let bfd = BfdRow {
            state: State::Up,
            detection_time: None,
            message: None,
            ups: 2,
            downs: 1,
            packets: PacketCounts::default(),
        };
        bfd.packets.set(8, 9);
        let row = |address: IpAddr, phase| SessionRow {
            address,
            port: 179,
            remote_asn: None,
            local_asn: 64500,
            phase,
            since: SystemTime::UNIX_EPOCH,
            carries: bgp_proto::Families::NONE,
            written: None,
            prefixes_sent: 3,
            prefixes_pending: 1,
            hold_time_seconds: None,
            keepalive_seconds: None,
            router_id: None,
            local_router_id: None,
            local_address: None,
            last_error: None,
            established_count: 4,
            messages_sent: 5,
            messages_received: 6,
            updates_sent: 2,
            verdicts: (phase == SessionPhase::Established).then(|| VerdictCounts {
                accepted: 7,
                withdrawn: 1,
                ..VerdictCounts::default()
            }),
            messages: MessageCounters {
                sent: bgp_proto::MessageCounts { keepalives: 3, updates: 2, opens: 1, ..Default::default() },
                ..MessageCounters::default()
            },
            unacknowledged: None,
            bfd: (phase == SessionPhase::Established).then(|| bfd.clone()),
        };
        let mut verdicts = Verdicts::default();
        verdicts.set(ServiceKey::new("shop", "web"), Verdict::withhold(Reason::NodeNetworkUnavailable));
        let plan = Plan { verdicts: Arc::new(verdicts), ..Plan::unsynced() };
        let sessions = SessionTable {
            sessions: [
                ("r4".to_owned(), row(IpAddr::from([10, 0, 2, 1]), SessionPhase::Established)),
                ("not-found".to_owned(), row(Ipv6Addr::UNSPECIFIED.into(), SessionPhase::Idle)),
                ("eth1".to_owned(), row("fe80::1".parse().unwrap(), SessionPhase::Established)),
                ("eth2".to_owned(), row("fe80::1".parse().unwrap(), SessionPhase::Established)),
                ("r6".to_owned(), row(Ipv6Addr::LOCALHOST.into(), SessionPhase::Refused)),
            ]
            .into(),
        };
        let states = States {
            node: "n1".into(),
            plan: watch::channel(Arc::new(plan)).1,
            sessions: watch::channel(Arc::new(sessions)).1,
            config: watch::channel(Arc::new(ConfigReport { loaded: true, ..ConfigReport::default() })).1,
        };
        let mut registry = Registry::default();
        Counters::default().register(&mut registry);
        registry.register_collector(Box::new(states));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "metallb_bgp_session_up{peer=\"10.0.2.1:179\"} 1",
            "metallb_bgp_session_up{peer=\"[::1]:179\"} 0",
            "metallb_bgp_announced_prefixes_total{peer=\"10.0.2.1:179\"} 3",
            "metallb_bgp_pending_prefixes_total{peer=\"10.0.2.1:179\"} 1",
            "metallb_bgp_updates_total{peer=\"10.0.2.1:179\"} 2",
            "herald_bgp_updates_inspected_total{peer=\"10.0.2.1:179\",verdict=\"withdraw\"} 1",
            "metallb_bgp_session_up{peer=\"not-found\"} 0",
            "herald_bgp_messages_sent_total{peer=\"10.0.2.1:179\"} 5",
            "metallb_bgp_opens_sent{peer=\"10.0.2.1:179\",vrf=\"default\"} 1",
            "metallb_bgp_keepalives_sent{peer=\"10.0.2.1:179\",vrf=\"default\"} 3",
            "metallb_bgp_total_sent{peer=\"10.0.2.1:179\",vrf=\"default\"} 6",
            "metallb_bgp_updates_total_received{peer=\"[::1]:179\",vrf=\"default\"} 0",
            "metallb_bfd_session_up{peer=\"10.0.2.1\"} 1",
            "metallb_bgp_session_up{peer=\"eth1\"} 1",
            "metallb_bgp_session_up{peer=\"eth2\"} 1",
            "metallb_bfd_session_up{peer=\"eth1\"} 1",
            "metallb_bfd_session_up{peer=\"eth2\"} 1",
            "metallb_bfd_control_packet_input{peer=\"10.0.2.1\"} 8",
            "metallb_bfd_control_packet_output{peer=\"10.0.2.1\"} 9",
            "metallb_bfd_session_up_events{peer=\"10.0.2.1\"} 2",
            "metallb_bfd_session_down_events{peer=\"10.0.2.1\"} 1",
            "herald_bgp_session_state{peer=\"[::1]:179\"} -1",
            "herald_speaker_services_withheld{reason=\"nodeNetworkUnavailable\"} 1",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "metallb_k8s_client_updates_total 0",
            "herald_speaker_endpoint_to_plan_seconds_count 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in:\n{text}");
        }
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let mut series: Vec<&str> = series.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all, "no series is there twice:\n{text}");
    }
}
