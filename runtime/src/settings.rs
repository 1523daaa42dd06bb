//! The flags that both daemons have, with their environment twins. The flag wins; an empty value means "not given".
//!
//! Leaves out what one daemon alone has (node name, sockets, state folder) and the meaning of the values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, Command, ValueEnum};

use crate::event::Regarding;

/// One of Herald's daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Gives addresses.
    Controller,
    /// Announces them.
    Speaker,
}

impl Component {
    /// The name in logs, metrics and the User-Agent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Speaker => "speaker",
        }
    }

    /// Where the admin server listens when nothing else is said: loopback only, port 7472 or 7473, so that both
    /// daemons may share the network of one node.
    #[must_use]
    pub const fn default_admin_addr(self) -> SocketAddr {
        let port = match self {
            Self::Controller => 7472,
            Self::Speaker => 7473,
        };
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The namespace when none is given.
const NAMESPACE: &str = "metallb-system";

/// The log level when none is given.
const LEVEL: &str = "info";

/// A value that an empty text leaves unset. The name keeps clap from treating the field as its own `Option`.
pub type Unless<T> = Option<T>;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The flags that both daemons have. Flatten it into the daemon's own arguments with `#[command(flatten)]`.
#[derive(Clone, Debug, clap::Args)]
pub struct CommonArgs {
    /// Kubeconfig file; without it the Pod's service account is used
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", value_parser = given::<PathBuf>, default_value = "", hide_default_value = true)]
    pub kubeconfig: Unless<PathBuf>,

    /// Namespace of Herald's own objects and configuration
    #[arg(long, env = "HERALD_NAMESPACE", value_name = "NAME", value_parser = namespace, default_value = NAMESPACE)]
    pub namespace: String,

    /// Name of this Pod, used as identity in the lease and in events
    #[arg(long, env = "POD_NAME", value_name = "NAME", value_parser = given::<String>, default_value = "", hide_default_value = true)]
    pub pod_name: Unless<String>,

    /// UID of this Pod: what keeps it from being ready is then told as an event on the Pod
    #[arg(long, env = "POD_UID", value_name = "UID", value_parser = given::<String>, default_value = "", hide_default_value = true)]
    pub pod_uid: Unless<String>,

    /// Serve only Services of exactly this loadBalancerClass; without it only Services without a class
    #[arg(long, env = "HERALD_LB_CLASS", value_name = "CLASS", value_parser = given::<String>, default_value = "", hide_default_value = true)]
    pub load_balancer_class: Unless<String>,

    /// Address of the admin server: health, metrics, debug [default: 127.0.0.1:7472 controller, 127.0.0.1:7473 speaker]
    #[arg(long, env = "HERALD_ADMIN_ADDR", value_name = "ADDR:PORT", value_parser = given::<SocketAddr>, default_value = "", hide_default_value = true)]
    pub admin_addr: Unless<SocketAddr>,

    /// Second address that serves metrics only, for scraping from outside the node [default: off]
    #[arg(long, env = "HERALD_METRICS_ADDR", value_name = "ADDR:PORT", value_parser = given::<SocketAddr>, default_value = "", hide_default_value = true)]
    pub metrics_addr: Unless<SocketAddr>,

    /// Log level: off, error, warn, info, debug, trace, or a list such as info,speaker=debug
    #[arg(long, env = "HERALD_LOG", value_name = "LEVEL", value_parser = level, default_value = LEVEL)]
    pub log_level: String,

    /// Form of the log lines
    #[arg(long, env = "HERALD_LOG_FORMAT", value_name = "FORMAT", value_parser = choice::<LogFormat>(), default_value = "auto", ignore_case = true)]
    pub log_format: LogFormat,
}

impl CommonArgs {
    /// This Pod as an event names it; `None` outside of Pods.
    #[must_use]
    pub fn own_pod(&self) -> Option<Regarding> {
        Regarding::own_pod(&self.namespace, self.pod_name.as_deref(), self.pod_uid.as_deref())
    }

    /// Where the admin server of `component` listens: as given, or the component's default.
    #[must_use]
    pub fn admin_addr(&self, component: Component) -> SocketAddr {
        self.admin_addr.unwrap_or_else(|| component.default_admin_addr())
    }
}

/// Reads a value for clap: empty or blank text means that nothing was given.
///
/// # Errors
/// The value's own complaint when it is neither empty nor readable.
pub fn given<T>(text: &str) -> Result<Unless<T>, T::Err>
where
    T: FromStr,
{
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

/// Reads one of several words; empty or blank text means the default. For clap's `value_parser`.
#[must_use]
pub fn choice<E: ValueEnum + Clone + Default + Send + Sync + 'static>() -> impl TypedValueParser<Value = E> {
    Choice(EnumValueParser::<E>::new())
}

/// Clap's own parser with a word for "not given".
#[derive(Clone)]
struct Choice<E: ValueEnum + Clone + Send + Sync + 'static>(EnumValueParser<E>);

impl<E: ValueEnum + Clone + Default + Send + Sync + 'static> TypedValueParser for Choice<E> {
    type Value = E;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<E, clap::Error> {
        if value.to_str().is_some_and(|text| text.trim().is_empty()) {
            return Ok(E::default());
        }
        self.0.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

/// Why a namespace name is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum NamespaceFault {
    #[error(
        "is no namespace name: at most 63 letters a-z, digits and hyphens, with a letter or digit at both ends"
    )]
    NotALabel,
}

fn namespace(text: &str) -> Result<String, NamespaceFault> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.trim() {
        "" => Ok(NAMESPACE.to_owned()),
        name if name.len() > 63 || !name.bytes().all(inner) => Err(NamespaceFault::NotALabel),
        name if name.starts_with('-') || name.ends_with('-') => Err(NamespaceFault::NotALabel),
        name => Ok(name.to_owned()),
    }
}

fn level(text: &str) -> Result<String, crate::log::LevelFault> {
    let text = if text.trim().is_empty() { LEVEL } else { text };
    crate::log::check_level(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Whole {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn parse(args: &[&str]) -> Result<CommonArgs, String> {
        let line = std::iter::once("herald").chain(args.iter().copied());
        Whole::try_parse_from(line).map(|whole| whole.common).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_given_means_the_documented_defaults() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.namespace, "metallb-system");
        assert_eq!(args.load_balancer_class, None);
        assert_eq!(args.metrics_addr, None);
        assert_eq!(args.log_level, "info");
        assert_eq!(args.log_format, LogFormat::Auto);
        assert_eq!(args.admin_addr(Component::Controller).to_string(), "127.0.0.1:7472");
        assert_eq!(args.admin_addr(Component::Speaker).to_string(), "127.0.0.1:7473");
    }

    #[test]
    fn empty_values_count_as_not_given() {
        let args = parse(&[
            "--load-balancer-class=",
            "--pod-name= ",
            "--kubeconfig=",
            "--admin-addr=",
            "--metrics-addr=",
            "--namespace=",
            "--log-level=",
            "--log-format= ",
        ]);
        let args = args.unwrap();
        assert_eq!(args.load_balancer_class, None);
        assert_eq!(args.pod_name, None);
        assert_eq!(args.kubeconfig, None);
        assert_eq!(args.admin_addr, None);
        assert_eq!(args.metrics_addr, None);
        assert_eq!((args.namespace.as_str(), args.log_level.as_str()), ("metallb-system", "info"));
        assert_eq!(args.log_format, LogFormat::Auto);
    }

    #[test]
    fn given_values_are_kept() {
        let args = parse(&[
            "--load-balancer-class=herald-lb.io/home",
            "--pod-name=controller-1",
            "--kubeconfig=/etc/kube",
            "--admin-addr=[::1]:1",
            "--metrics-addr=10.0.2.11:9120",
            "--log-level=info,speaker=debug",
            "--log-format=json",
            "--namespace=lb",
        ])
        .unwrap();
        assert_eq!(args.load_balancer_class.as_deref(), Some("herald-lb.io/home"));
        assert_eq!(args.pod_name.as_deref(), Some("controller-1"));
        assert_eq!(args.kubeconfig, Some(PathBuf::from("/etc/kube")));
        assert_eq!(args.admin_addr(Component::Speaker).to_string(), "[::1]:1");
        assert_eq!(args.metrics_addr.map(|addr| addr.to_string()).as_deref(), Some("10.0.2.11:9120"));
        assert_eq!(args.namespace, "lb");
        assert_eq!(args.log_format, LogFormat::Json);
    }

    #[test]
    fn wrong_values_are_refused_with_a_sentence() {
        for (arg, part) in [
            ("--admin-addr=localhost", "invalid socket address"),
            ("--log-level=loud", "loud"),
            ("--namespace=A", "is no namespace name"),
            ("--namespace=-a", "is no namespace name"),
            ("--log-format=xml", "possible values"),
        ] {
            let error = parse(&[arg]).unwrap_err();
            assert!(error.contains(part), "{arg}: {error}");
        }
    }
}
