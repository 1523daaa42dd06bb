//! Herald's driver in its namespace.

use std::io::Write as _;
use std::path::Path;
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::network::Network;
use super::router::{HERALD_ASN, Setup};
use crate::daemon::{Process, folder};

use crate::pause;

/// A running driver.
pub(super) struct Spokesman {
    process: Process,
    words: ChildStdin,
    asked: usize,
}

/// What it announces and offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mission {
    /// IPv4 host routes.
    pub(super) v4: u32,
    /// IPv6 host routes.
    pub(super) v6: u32,
    /// Both families on the session.
    pub(super) dual: bool,
    /// TCP MD5 at Herald.
    pub(super) password: Option<&'static str>,
    /// Its identifier, where the router may call as well as be called; else it only dials.
    pub(super) called: Option<&'static str>,
}

/// How its session stands.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The word of the phase.
    pub(super) phase: String,
    /// How often it became Established.
    pub(super) established: u64,
    /// UPDATEs sent.
    pub(super) updates: u64,
    /// Why it went down last, in words.
    pub(super) fault: String,
}

impl Spokesman {
    /// Starts it.
    pub(super) fn start(program: &Path, network: &Network, setup: &Setup, mission: Mission) -> Result<Self> {
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        let mut words = vec![
            program.to_string_lossy().into_owned(),
            format!("address={}", setup.router()),
            "port=179".to_owned(),
            format!("local-as={HERALD_ASN}"),
            format!("remote-as={}", setup.router_asn()),
            format!("dual={}", yes(mission.dual)),
            format!("v4={}", mission.v4),
            format!("v6={}", mission.v6),
            "restart=yes".to_owned(),
        ];
        words.extend(mission.password.map(|password| format!("password={password}")));
        words.extend(mission.called.map(|identifier| format!("called-as={identifier}")));
        let mut process = Process::start_in(&network.herald, folder("herald")?, &words)?;
        let words = process.input().context("the driver reads its standard input")?;
        Ok(Self { process, words, asked: 0 })
    }

    /// Asks how the session stands.
    pub(super) fn state(&mut self) -> Result<State> {
        self.say("state")?;
        self.asked += 1;
        let start = Instant::now();
        loop {
            let log = self.process.log();
            if let Some(line) = log.lines().filter(|line| line.contains('\t')).nth(self.asked - 1) {
                let fields: Vec<&str> = line.split('\t').collect();
                let field = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
                return Ok(State {
                    phase: field(0),
                    established: field(1).parse().unwrap_or(0),
                    updates: field(2).parse().unwrap_or(0),
                    fault: field(3),
                });
            }
            ensure!(start.elapsed() < Duration::from_secs(5), "the driver does not answer: {log}");
            pause(Duration::from_millis(20));
        }
    }

    /// Tells it something.
    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.words, "{line}")?)
    }
}
