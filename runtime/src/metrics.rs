//! Metric names, and the metrics that every process has: build information and `process_*` from procfs.
//!
//! Leaves out the values of the daemons' own metrics. Names end without `_total` where the encoder adds it (counters).

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::settings::Component;

/// MetalLB's names, kept as they are. Its gauges that end in `_total` keep that wart; counters are named without it,
/// because the encoder adds it.
pub mod name {
    /// Gauge, label `pool`: usable addresses.
    pub const ALLOCATOR_ADDRESSES: &str = "metallb_allocator_addresses_total";
    /// Gauge, label `pool`: addresses in use.
    pub const ALLOCATOR_ADDRESSES_IN_USE: &str = "metallb_allocator_addresses_in_use_total";
    /// Gauge, label `pool`: usable IPv4 addresses.
    pub const ALLOCATOR_IPV4_ADDRESSES: &str = "metallb_allocator_ipv4_addresses_total";
    /// Gauge, label `pool`: usable IPv6 addresses.
    pub const ALLOCATOR_IPV6_ADDRESSES: &str = "metallb_allocator_ipv6_addresses_total";
    /// Gauge, label `pool`: IPv4 addresses in use.
    pub const ALLOCATOR_IPV4_ADDRESSES_IN_USE: &str = "metallb_allocator_ipv4_addresses_in_use_total";
    /// Gauge, label `pool`: IPv6 addresses in use.
    pub const ALLOCATOR_IPV6_ADDRESSES_IN_USE: &str = "metallb_allocator_ipv6_addresses_in_use_total";
    /// Gauge, label `pool`: Services with an address of the pool.
    pub const ALLOCATOR_SERVICES_ALLOCATED: &str = "metallb_allocator_services_allocated_total";
    /// Counter (`_total` is added): objects taken in.
    pub const CLIENT_UPDATES: &str = "metallb_k8s_client_updates";
    /// Counter (`_total` is added): objects that could not be taken in.
    pub const CLIENT_UPDATE_ERRORS: &str = "metallb_k8s_client_update_errors";
    /// Gauge: 1 when a configuration is in force.
    pub const CLIENT_CONFIG_LOADED: &str = "metallb_k8s_client_config_loaded_bool";
    /// Gauge: 1 while something in the configuration is rejected.
    pub const CLIENT_CONFIG_STALE: &str = "metallb_k8s_client_config_stale_bool";
    /// Gauge, labels `service`, `protocol`, `node`, `ip`.
    pub const SPEAKER_ANNOUNCED: &str = "metallb_speaker_announced";
    /// Gauge, label `peer` (`addr:port`).
    pub const BGP_SESSION_UP: &str = "metallb_bgp_session_up";
    /// Gauge, label `peer`: prefixes announced to the peer.
    pub const BGP_ANNOUNCED_PREFIXES: &str = "metallb_bgp_announced_prefixes_total";
    /// Gauge, label `peer`: prefixes that wait to be sent.
    pub const BGP_PENDING_PREFIXES: &str = "metallb_bgp_pending_prefixes_total";
    /// Counter (`_total` is added), label `peer`: UPDATE messages sent.
    pub const BGP_UPDATES: &str = "metallb_bgp_updates";
    /// Gauge, label `peer` (the address alone): 1 while BFD is up.
    pub const BFD_SESSION_UP: &str = "metallb_bfd_session_up";
    /// Label `peer`: BFD control packets taken. Counts up, and has no `_total`.
    pub const BFD_PACKETS_IN: &str = "metallb_bfd_control_packet_input";
    /// Label `peer`: BFD control packets sent. Counts up, and has no `_total`.
    pub const BFD_PACKETS_OUT: &str = "metallb_bfd_control_packet_output";
    /// Label `peer`: times that BFD came up. Counts up, and has no `_total`.
    pub const BFD_UP_EVENTS: &str = "metallb_bfd_session_up_events";
    /// Label `peer`: times that BFD went down. Counts up, and has no `_total`.
    pub const BFD_DOWN_EVENTS: &str = "metallb_bfd_session_down_events";
    /// Counter prefix of the FRR mode's further message counters, labels `peer`, `vrf`: append for example `opens_sent`.
    pub const BGP_PREFIX: &str = "metallb_bgp_";
    /// Gauge, label `kind`: objects rejected now.
    pub const CONFIG_REJECTED: &str = "herald_config_rejected";
    /// Gauge, labels `pool`, `family`, `state`.
    pub const POOL_ADDRESSES: &str = "herald_pool_addresses";
    /// Gauge, label `peer`: the session's state as a number, 0 Idle to 5 Established.
    pub const BGP_SESSION_STATE: &str = "herald_bgp_session_state";
    /// Histogram, seconds.
    pub const RECONCILE_DURATION: &str = "herald_reconcile_duration_seconds";
}

/// Adds what every daemon shows: build information, `process_*` and the counters of its watches.
pub fn register_process(registry: &mut Registry, component: Component) {
    let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("component", component.name())]);
    registry.register("herald_build", "What runs here", build);
    registry.register_collector(Box::new(Process));
    crate::watch::register_metrics(registry);
}

/// `process_*`, read from procfs at each scrape; what cannot be read is left out.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(sample) = Sample::take() else { return Ok(()) };
        let mut show = |name, help, unit: Option<&Unit>, metric: &dyn Shown| {
            let encoder = encoder.encode_descriptor(name, help, unit, metric.kind())?;
            metric.show(encoder)
        };
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        show("process_cpu", "Time on a processor", seconds, &ConstCounter::new(sample.cpu_seconds))?;
        show("process_resident_memory", "Memory in use", bytes, &ConstGauge::new(sample.resident_bytes))?;
        show(
            "process_virtual_memory",
            "Address space in use",
            bytes,
            &ConstGauge::new(sample.virtual_bytes),
        )?;
        show("process_threads", "Threads", None, &ConstGauge::new(sample.threads))?;
        show("process_start_time", "Start, in Unix time", seconds, &ConstGauge::new(sample.start_seconds))?;
        if let Some(open) = sample.open_fds {
            show("process_open_fds", "Open file descriptors", None, &ConstGauge::new(open))?;
        }
        if let Some(most) = sample.max_fds {
            show("process_max_fds", "Most file descriptors that may be open", None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

/// A metric behind one face, so that the list above stays a list.
trait Shown {
    fn kind(&self) -> prometheus_client::metrics::MetricType;
    fn show(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> Result<(), std::fmt::Error>;
}

impl<M: EncodeMetric> Shown for M {
    fn kind(&self) -> prometheus_client::metrics::MetricType {
        self.metric_type()
    }

    fn show(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    cpu_seconds: f64,
    resident_bytes: i64,
    virtual_bytes: i64,
    threads: i64,
    start_seconds: f64,
    open_fds: Option<i64>,
    max_fds: Option<i64>,
}

/// Clock ticks a second in procfs: 100 on every Linux that Herald runs on.
const TICKS: f64 = 100.0;

impl Sample {
    fn take() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let open =
            std::fs::read_dir("/proc/self/fd").ok().and_then(|entries| i64::try_from(entries.count()).ok());
        let limits = std::fs::read_to_string("/proc/self/limits").ok();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        let mut sample = Self::read(&stat, &status, &uptime, now)?;
        sample.open_fds = open;
        sample.max_fds = limits.as_deref().and_then(most_files);
        Some(sample)
    }

    fn read(stat: &str, status: &str, uptime: &str, now: f64) -> Option<Self> {
        // The name in parentheses may hold blanks; what is counted comes behind it, the state first.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let booted = now - uptime.split_whitespace().next()?.parse::<f64>().ok()?;
        let kilobytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
        };
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
        Some(Self {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS,
            resident_bytes: kilobytes("VmRSS:")?,
            virtual_bytes: kilobytes("VmSize:")?,
            threads: threads.trim().parse().ok()?,
            start_seconds: booted + ticks(19)? / TICKS,
            open_fds: None,
            max_fds: None,
        })
    }
}

fn most_files(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_text_becomes_a_sample() {
        let mut stat = "7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 150 50".to_owned();
        stat.push_str(" 0 0 20 0 1 0 1000 0 0");
        let status = "Name:\tx\nVmSize:\t    2000 kB\nVmRSS:\t     100 kB\nThreads:\t3\n";
        let sample = Sample::read(&stat, status, "110.00 5.00", 1000.0).unwrap();
        assert_eq!(
            sample,
            Sample {
                cpu_seconds: 2.0,
                resident_bytes: 102_400,
                virtual_bytes: 2_048_000,
                threads: 3,
                start_seconds: 900.0,
                open_fds: None,
                max_fds: None
            }
        );
        assert_eq!(most_files("Limit x\nMax open files            1024   4096  files\n"), Some(1024));
        assert_eq!(Sample::read("", status, "1 1", 1.0), None);
        assert_eq!(Sample::read(&stat, "", "1 1", 1.0), None);
    }

    #[test]
    fn the_process_shows_itself_under_the_usual_names() {
        let mut registry = Registry::default();
        register_process(&mut registry, Component::Speaker);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_virtual_memory_bytes ",
            "process_start_time_seconds ",
            "process_threads ",
            "process_open_fds ",
            "process_max_fds ",
            "herald_build_info{version=\"",
        ] {
            assert!(text.contains(name), "{name} is missing in:\n{text}");
        }
        assert!(text.contains("component=\"speaker\""));
        assert!(text.ends_with("# EOF\n"));
    }
}
