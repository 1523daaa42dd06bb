//! The speaker's flags, with their environment twins, turned into checked [`Settings`]. The flag wins.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use api::duration::{DurationFault, parse};
use clap::{Parser, ValueEnum};
use runtime::settings::{CommonArgs, choice};

use crate::decide::snapshot::ExcludeLabel;

/// How long a plan on file is worth anything when nothing is given.
const MAX_AGE: &str = "1h";

/// The local socket when nothing is given.
const SOCKET: &str = "/run/herald/speaker.sock";

/// The folder for state when nothing is given.
const STATE_DIR: &str = "/var/lib/herald";

/// Announces LoadBalancer addresses from this node over BGP.
#[derive(Clone, Debug, Parser)]
#[command(name = "speaker", version, about)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// Name of the Node object that this speaker runs on
    #[arg(long, env = "NODE_NAME", value_name = "NAME", value_parser = node_name)]
    node_name: String,

    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers, too
    #[arg(long, env = "HERALD_IGNORE_EXCLUDE_LB", value_parser = switch, num_args = 0..=1, default_value = "false", default_missing_value = "true", hide_default_value = true)]
    ignore_exclude_lb: bool,

    /// Unix socket that answers GET /state, for speakerctl on this node
    #[arg(long, env = "HERALD_SOCKET", value_name = "PATH", value_parser = path_or(SOCKET), default_value = SOCKET)]
    socket: PathBuf,

    /// Folder for what is remembered from one start to the next
    #[arg(long, env = "HERALD_STATE_DIR", value_name = "PATH", value_parser = path_or(STATE_DIR), default_value = STATE_DIR)]
    state_dir: PathBuf,

    /// How long after the last speaker ran its plan is announced again when the API server is away at the start; 0 is never
    #[arg(long, env = "HERALD_STATE_MAX_AGE", value_name = "DURATION", default_value = MAX_AGE, value_parser = duration)]
    state_max_age: Duration,

    /// The DaemonSet of the speakers: when it is deleted or no longer wants this node, the end is a removal
    #[arg(long, env = "HERALD_DAEMON_SET", value_name = "NAME")]
    daemon_set: Option<String>,

    /// What the end of this process means for the routes: auto looks whether the node or the speakers leave the cluster
    #[arg(long, env = "HERALD_ON_TERMINATE", value_name = "WHAT", value_parser = choice::<OnTerminate>(), default_value = "auto", ignore_case = true)]
    on_terminate: OnTerminate,

    /// Write this node's SpeakerState and ConfigurationState and the events of its sessions: on, or off where thousands of
    /// nodes would write too much; the local socket tells the same
    #[arg(long, env = "HERALD_STATUS_OBJECTS", value_name = "SWITCH", value_parser = choice::<StatusObjects>(), default_value = "on", ignore_case = true)]
    status_objects: StatusObjects,

    /// Write a ServiceBGPStatus for each Service that this node announces: as many objects as nodes times Services
    #[arg(long, env = "HERALD_SERVICE_BGP_STATUS", value_name = "SWITCH", value_enum, default_value_t = ServiceStatus::Off, ignore_case = true)]
    service_bgp_status: ServiceStatus,
}

/// Whether there is a ServiceBGPStatus for each Service that the node announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceStatus {
    /// There is, written at a bounded pace.
    On,
    /// There is none.
    Off,
}

/// Whether the node's own status objects are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StatusObjects {
    /// They are, at a bounded pace.
    #[default]
    On,
    /// They are not; speakerctl has to ask the speaker's socket.
    Off,
}

/// What the end of the process means for the routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnTerminate {
    /// Removal when the node is leaving the cluster, restart otherwise.
    #[default]
    Auto,
    /// The routes stay with the routers (graceful restart) until the next start.
    Restart,
    /// The routes are withdrawn.
    Remove,
}

/// What this process was told, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The flags that both daemons have.
    pub common: CommonArgs,
    /// Name of the own Node.
    pub node: String,
    /// Whether the exclusion label on the Node counts.
    pub exclude_label: ExcludeLabel,
    /// Where the local socket is.
    pub socket: PathBuf,
    /// Where the mark of earlier starts and the last plan are.
    pub state_dir: PathBuf,
    /// How long the last plan is worth anything after the last speaker ran; zero is never.
    pub state_max_age: Duration,
    /// The DaemonSet of the speakers, where there is one.
    pub daemon_set: Option<String>,
    /// What the end of the process means.
    pub on_terminate: OnTerminate,
    /// Whether the node's own status objects are written.
    pub status_objects: StatusObjects,
    /// Whether there is a ServiceBGPStatus for each Service that the node announces.
    pub service_bgp_status: ServiceStatus,
}

impl Settings {
    /// Where speakers of one node meet when one follows the other: beside the local socket, so that one shared folder
    /// does for both. Another Herald on the node, which has another namespace, meets elsewhere.
    #[must_use]
    pub fn takeover_socket(&self) -> PathBuf {
        self.socket.with_file_name(format!("takeover-{}.sock", self.common.namespace))
    }

    /// What this Herald remembers in the folder for state, apart from another one on the node.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.state_dir.join(&self.common.namespace)
    }
}

impl From<Args> for Settings {
    fn from(args: Args) -> Self {
        Self {
            common: args.common,
            node: args.node_name,
            exclude_label: if args.ignore_exclude_lb {
                ExcludeLabel::Ignored
            } else {
                ExcludeLabel::Honoured
            },
            socket: args.socket,
            state_dir: args.state_dir,
            state_max_age: args.state_max_age,
            // An empty environment variable is one that was not set.
            daemon_set: args.daemon_set.filter(|name| !name.is_empty()),
            on_terminate: args.on_terminate,
            status_objects: args.status_objects,
            service_bgp_status: args.service_bgp_status,
        }
    }
}

/// Why a value is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("is empty: the DaemonSet sets it from spec.nodeName")]
    NoNodeName,
    #[error("is no node name: at most 253 letters a-z, digits, hyphens and dots")]
    NotANodeName,
    #[error("is neither true nor false")]
    NotASwitch,
}

fn path_or(default: &'static str) -> impl Fn(&str) -> Result<PathBuf, Infallible> + Clone {
    move |text| Ok(PathBuf::from(if text.trim().is_empty() { default } else { text }))
}

fn duration(text: &str) -> Result<Duration, DurationFault> {
    match text.trim() {
        "" => parse(MAX_AGE),
        text => parse(text),
    }
}

fn node_name(text: &str) -> Result<String, Fault> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    match text.trim() {
        "" => Err(Fault::NoNodeName),
        name if name.len() > 253 || !name.bytes().all(inner) => Err(Fault::NotANodeName),
        name => Ok(name.to_owned()),
    }
}

/// An empty environment variable is one that was not set.
fn switch(text: &str) -> Result<bool, Fault> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(Fault::NotASwitch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Settings, String> {
        let line = std::iter::once("speaker").chain(args.iter().copied());
        Args::try_parse_from(line).map(Settings::from).map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_name_is_enough() {
        let settings = read(&["--node-name=n1"]).unwrap();
        assert_eq!(settings.node, "n1");
        assert_eq!(settings.exclude_label, ExcludeLabel::Honoured);
        assert_eq!(settings.socket, PathBuf::from("/run/herald/speaker.sock"));
        assert_eq!(settings.takeover_socket(), PathBuf::from("/run/herald/takeover-metallb-system.sock"));
        assert_eq!(settings.state_folder(), PathBuf::from("/var/lib/herald/metallb-system"));
        assert_eq!(settings.on_terminate, OnTerminate::Auto);
        assert_eq!(settings.status_objects, StatusObjects::On);
        assert_eq!(settings.service_bgp_status, ServiceStatus::Off);
        assert_eq!((settings.state_max_age, settings.daemon_set), (Duration::from_secs(3600), None));
    }

    #[test]
    fn empty_values_count_as_not_given() {
        let settings = read(&[
            "--node-name=n1",
            "--ignore-exclude-lb=",
            "--state-max-age=",
            "--daemon-set=",
            "--on-terminate=",
            "--status-objects= ",
            "--socket=",
            "--state-dir=",
        ])
        .unwrap();
        let defaults = read(&["--node-name=n1"]).unwrap();
        assert_eq!(settings.exclude_label, defaults.exclude_label);
        assert_eq!(settings.state_max_age, defaults.state_max_age);
        assert_eq!((settings.on_terminate, settings.status_objects), (OnTerminate::Auto, StatusObjects::On));
        assert_eq!((settings.daemon_set, defaults.daemon_set), (None, None));
        assert_eq!((settings.socket, settings.state_dir), (defaults.socket, defaults.state_dir));
    }

    #[test]
    fn given_values_are_kept() {
        let settings = read(&[
            "--node-name=n1.example.com",
            "--ignore-exclude-lb",
            "--socket=/tmp/s",
            "--state-max-age=90s",
            "--daemon-set=speaker",
            "--state-dir=/tmp/d",
            "--on-terminate=Remove",
            "--namespace=lb",
            "--status-objects=off",
            "--service-bgp-status=On",
        ])
        .unwrap();
        assert_eq!(settings.node, "n1.example.com");
        assert_eq!(settings.exclude_label, ExcludeLabel::Ignored);
        assert_eq!(settings.socket, PathBuf::from("/tmp/s"));
        assert_eq!(settings.state_dir, PathBuf::from("/tmp/d"));
        assert_eq!(settings.state_max_age, Duration::from_secs(90));
        assert_eq!(settings.daemon_set.as_deref(), Some("speaker"));
        assert_eq!(settings.on_terminate, OnTerminate::Remove);
        assert_eq!(settings.common.namespace, "lb");
        assert_eq!(settings.status_objects, StatusObjects::Off);
        assert_eq!(settings.service_bgp_status, ServiceStatus::On);
    }

    #[test]
    fn two_heralds_of_one_node_meet_their_successors_and_keep_their_plans_apart() {
        let of = |namespace: &str| read(&["--node-name=n1", &format!("--namespace={namespace}")]).unwrap();
        let (one, other) = (of("metallb-system"), of("metallb-test"));
        assert_ne!(one.takeover_socket(), other.takeover_socket());
        assert_ne!(one.state_folder(), other.state_folder());
    }

    #[test]
    fn the_exclusion_switch_takes_a_value_too() {
        for (value, expected) in [("true", ExcludeLabel::Ignored), ("false", ExcludeLabel::Honoured)] {
            let settings = read(&["--node-name=n1", &format!("--ignore-exclude-lb={value}")]).unwrap();
            assert_eq!(settings.exclude_label, expected);
        }
    }

    #[test]
    fn wrong_values_are_refused_with_a_sentence() {
        for (args, part) in [
            (&["--node-name="][..], "is empty"),
            (&["--node-name=A b"][..], "is no node name"),
            (&["--node-name=n1", "--ignore-exclude-lb=perhaps"][..], "neither true nor false"),
            (&["--node-name=n1", "--on-terminate=explode"][..], "possible values"),
            (&["--node-name=n1", "--unheard-of"][..], "unexpected argument"),
        ] {
            let error = read(args).unwrap_err();
            assert!(error.contains(part), "{args:?}: {error}");
        }
    }
}
