//! The command line: kubectl's usual flags, and the choice between the socket and the API that follows from them.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::names::DEFAULT_NAMESPACE;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use runtime::settings::{Unless, given};

use crate::span::parse_limit;

/// Where a speaker listens unless it was told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/herald/speaker.sock";

/// How people call the plugin.
const PLUGIN: &str = "kubectl herald";

const LONG_ABOUT: &str = "Asks Herald's speakers about their BGP peers, their routes, and why a Service is not announced.

In the speaker's container the speaker itself answers, through its unix socket, even while the Kubernetes API is away. \
From anywhere else the answer comes from the API: each speaker keeps one SpeakerState object, named as its node, in \
Herald's namespace.

The socket is used when --socket is given, or when the default socket exists and neither --kubeconfig, --context nor \
--namespace is given. In every other case the API is asked.

Exit codes: 0 answered, 1 failed, 2 wrong usage, 3 answered and not well (peers --check, routes --check, why, version \
--check).";

#[derive(Parser, Debug)]
#[command(name = "speakerctl", version, about = "Asks Herald's speakers about peers, routes and reasons", long_about = LONG_ABOUT)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show the BGP sessions of one node or of all nodes
    Peers(PeersArgs),
    /// Show the routes that routers are told: attributes, peers, and the Services behind them
    Routes(RoutesArgs),
    /// Say why a Service is announced or not: the chain of facts, up to the first one that does not hold
    Why(WhyArgs),
    /// Show the version of this program and of the speakers
    Version(VersionArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Write the manual pages into a folder
    Man(ManArgs),
}

/// How to reach what is asked.
#[derive(Args, Debug)]
#[command(next_help_heading = "Where to ask")]
pub(crate) struct ReachArgs {
    /// The speaker's unix socket [default: /run/herald/speaker.sock, if it exists]
    #[arg(long, global = true, value_name = "PATH", env = "HERALD_SOCKET", hide_env_values = true,
          value_parser = given::<PathBuf>, default_value = "", hide_default_value = true)]
    pub(crate) socket: Unless<PathBuf>,
    /// The kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The kubeconfig context
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Herald's namespace (not the one of the kubeconfig context)
    #[arg(short, long, global = true, value_name = "NAME", env = "HERALD_NAMESPACE", hide_env_values = true,
          value_parser = namespace, default_value = DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// How long one request may take: 10, 10s, 1m
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_limit, default_value = "10s")]
    pub(crate) request_timeout: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct PeersArgs {
    /// Only these nodes
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// After the list, go on and print every session that changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Leave out the line of column heads
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// End with code 3 unless there are sessions, each of them is Established, no two nodes show one router ID, and, as far
    /// as the API is asked and lets you list nodes, each node that reports is there and Ready
    #[arg(long, conflicts_with = "watch")]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RoutesArgs {
    /// Only these nodes
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Only this prefix, or the prefixes that contain this address
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Only routes of this Service: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only routes of this peer
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// After the list, go on and print every route that changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Leave out the line of column heads
    #[arg(long)]
    pub(crate) no_headers: bool,
    /// End with code 3 unless there are routes, each of them is with all its peers, and, as far as the API is asked and lets
    /// you list nodes, each node that reports is there and Ready
    #[arg(long, conflicts_with = "watch")]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WhyArgs {
    /// The Service: NAME (in the namespace default) or NAMESPACE/NAME
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Only this node
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Only this peer
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub(crate) output: Document,
}

#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// Only the version of this program; asks nobody
    #[arg(long)]
    pub(crate) client: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Document::Text)]
    pub(crate) output: Document,
    /// End with code 3 unless all speakers answer and have the version of this program
    #[arg(long, conflicts_with = "client")]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder; it is made where it does not exist
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

/// How to print what is no list.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Text,
    Json,
    Yaml,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// Where the answer is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// The speaker's unix socket.
    Socket(&'a Path),
    /// The Kubernetes API; `tried` is the default socket that was looked for and not found, if it was looked for.
    Cluster { tried: Option<&'a Path> },
}

/// What was said on the command line itself; the environment does not count here, because a speaker's own container
/// has a namespace and a socket in its environment and is still a place to ask the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    socket: bool,
    kube: bool,
}

/// Flags that cannot be meant together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--socket asks the speaker on this node, --kubeconfig, --context and --namespace ask the Kubernetes API: give one"
)]
pub(crate) struct BothPlaces;

/// Reads the command line; the process ends here with code 2 on wrong usage and 0 on `--help` and `--version`.
pub(crate) fn read() -> (Cli, Said) {
    let program = std::env::args_os().next();
    let mut command = command(program.as_deref());
    let matches = command.get_matches_mut();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => (cli, Said::new(&matches)),
        Err(error) => error.format(&mut command).exit(),
    }
}

/// The command, named as the caller knows it.
pub(crate) fn command(program: Option<&OsStr>) -> clap::Command {
    let name = name_of(program);
    match name {
        PLUGIN => Cli::command().name(name).bin_name(name),
        _ => Cli::command(),
    }
}

/// What to type to run this program again.
pub(crate) fn called() -> &'static str {
    name_of(std::env::args_os().next().as_deref())
}

/// kubectl completes the command line of a plugin by running this name.
pub(crate) fn asks_for_suggestions() -> bool {
    let program = std::env::args_os().next();
    program.is_some_and(|path| Path::new(&path).file_stem() == Some(OsStr::new("kubectl_complete-herald")))
}

/// kubectl runs a plugin under the name `kubectl-herald`.
fn name_of(program: Option<&OsStr>) -> &'static str {
    match program.and_then(|path| Path::new(path).file_stem()).and_then(OsStr::to_str) {
        Some("kubectl-herald") => PLUGIN,
        Some(_) | None => "speakerctl",
    }
}

impl Said {
    fn new(matches: &ArgMatches) -> Self {
        let on_line = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        Self {
            socket: on_line("socket"),
            kube: ["kubeconfig", "context", "namespace"].into_iter().any(on_line),
        }
    }
}

/// An empty environment variable is one that was not set.
fn namespace(text: &str) -> Result<String, Infallible> {
    Ok(if text.is_empty() { DEFAULT_NAMESPACE } else { text }.to_owned())
}

impl ReachArgs {
    /// Chooses the place; `default_socket` is the default path if a socket exists there.
    pub(crate) fn place<'a>(&'a self, said: Said, default_exists: bool) -> Result<Place<'a>, BothPlaces> {
        let default = Path::new(DEFAULT_SOCKET);
        match (said, self.socket.as_deref()) {
            (Said { socket: true, kube: true }, _) => Err(BothPlaces),
            (Said { kube: true, .. }, _) => Ok(Place::Cluster { tried: None }),
            (_, Some(path)) => Ok(Place::Socket(path)),
            (_, None) if default_exists => Ok(Place::Socket(default)),
            (_, None) => Ok(Place::Cluster { tried: Some(default) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> (Cli, Said) {
        let matches = command(None).try_get_matches_from(line.split_whitespace()).unwrap();
        (Cli::from_arg_matches(&matches).unwrap(), Said::new(&matches))
    }

    #[test]
    fn the_place_follows_from_the_flags_and_from_the_default_socket() {
        let default = Path::new(DEFAULT_SOCKET);
        let check = |line: &str, default_exists: bool, expected: Result<Place<'_>, BothPlaces>| {
            let (cli, said) = parse(line);
            assert_eq!(
                cli.reach.place(said, default_exists),
                expected,
                "{line}, default exists: {default_exists}"
            );
        };
        check("speakerctl peers", true, Ok(Place::Socket(default)));
        check("speakerctl peers", false, Ok(Place::Cluster { tried: Some(default) }));
        check("speakerctl peers --socket /tmp/s", false, Ok(Place::Socket(Path::new("/tmp/s"))));
        check("speakerctl --socket /tmp/s peers", false, Ok(Place::Socket(Path::new("/tmp/s"))));
        check("speakerctl peers --context home", true, Ok(Place::Cluster { tried: None }));
        check("speakerctl --kubeconfig k peers", true, Ok(Place::Cluster { tried: None }));
        check("speakerctl peers -n lb", true, Ok(Place::Cluster { tried: None }));
        check("speakerctl peers --request-timeout 3s", true, Ok(Place::Socket(default)));
        check("speakerctl peers --socket /tmp/s -n lb", true, Err(BothPlaces));
        check("speakerctl peers --socket=", false, Ok(Place::Cluster { tried: Some(default) }));
    }

    #[test]
    fn the_help_speaks_as_the_program_was_called() {
        let check = |program: &str, expected: &str| {
            let usage = command(Some(OsStr::new(program))).render_usage().to_string();
            assert!(usage.contains(expected), "{program}: {usage}");
        };
        check("/usr/local/bin/kubectl-herald", "kubectl herald [OPTIONS] <COMMAND>");
        check("/usr/local/bin/speakerctl", "speakerctl [OPTIONS] <COMMAND>");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
