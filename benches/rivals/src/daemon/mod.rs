//! The speakers that do the same work: Herald's driver and the daemons of Debian, each started for one sink.
//!
//! All listen and dial on 127.0.0.1 (ports that were free a moment before) towards a sink on 127.0.0.2, keep their
//! files in a folder that goes away with them, and are ended by their process id when the value is dropped.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
pub(crate) mod installer;
mod process;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

pub(crate) use process::{Process, Usage, folder};

/// The AS of every speaker under test.
pub(crate) const SPEAKER_ASN: u32 = yardstick::memory::NODE_ASN;
/// The address they dial from.
pub(crate) const SPEAKER_ADDRESS: &str = "127.0.0.1";

/// A program that speaks BGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// Herald's driver, with the build profile that ships.
    Herald,
    /// BIRD 2.
    Bird,
    /// FRR's bgpd, without zebra.
    Frr,
    /// GoBGP.
    Gobgp,
    /// ExaBGP.
    Exabgp,
}

impl Speaker {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Herald, Self::Bird, Self::Frr, Self::Gobgp, Self::Exabgp];

    /// Name and version.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Herald => "Herald".to_owned(),
            Self::Bird => format!("BIRD {}", installer::version("bird2")),
            Self::Frr => format!("FRR bgpd {}", installer::version("frr")),
            Self::Gobgp => format!("GoBGP {}", installer::version("gobgpd")),
            Self::Exabgp => format!("ExaBGP {}", installer::version("exabgp")),
        }
    }

    /// Starts it with `routes` host routes for one sink.
    pub(crate) fn start(self, announcer: &Path, sink: SocketAddr, routes: usize) -> Result<Process> {
        match self {
            Self::Herald => herald(announcer, &[sink], routes),
            Self::Bird => bird::start(sink, routes),
            Self::Frr => frr::start(sink, routes),
            Self::Gobgp => gobgp::start(sink, routes),
            Self::Exabgp => exabgp::start(sink, routes),
        }
        .with_context(|| format!("starting {}", self.title()))
    }
}

/// Herald's driver for any number of sinks.
pub(crate) fn herald(announcer: &Path, sinks: &[SocketAddr], routes: usize) -> Result<Process> {
    let mut arguments = vec![routes.to_string()];
    arguments.extend(sinks.iter().map(SocketAddr::to_string));
    let folder = process::folder("herald")?;
    Process::start(folder, announcer, &arguments)
}

/// The same under strace, which writes each call that sends into `trace` in its folder.
pub(crate) fn herald_traced(announcer: &Path, sink: SocketAddr, routes: usize) -> Result<Process> {
    let folder = process::folder("traced")?;
    let (program, routes, sink) = (announcer.to_string_lossy(), routes.to_string(), sink.to_string());
    let calls = "trace=write,writev,sendto,sendmsg";
    Process::start(folder, "strace", &["-f", "-e", calls, "-o", "trace", &program, &routes, &sink])
}

/// A TCP port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((SPEAKER_ADDRESS, 0))?.local_addr()?.port())
}

/// The host routes of every run: the addresses of the codec bench, too.
fn addresses(routes: usize) -> impl Iterator<Item = std::net::Ipv4Addr> {
    yardstick::memory::addresses(routes).map(Into::into)
}

/// How long a daemon may take for a step of its start.
const PATIENCE: Duration = Duration::from_secs(120);
