//! What a process weighs, and the processor time that it has had, as the kernel counts them.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Resident memory of a process, in octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What it takes now.
    pub(crate) resident: u64,
    peak: u64,
    of_files: u64,
}

impl Memory {
    /// Reads `/proc/PID/status`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status =
            std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process' status")?;
        let field = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .with_context(|| format!("no {name}"))?;
            let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            anyhow::Ok(kibibytes * 1024)
        };
        Ok(Self { resident: field("VmRSS")?, peak: field("VmHWM")?, of_files: field("RssFile")? })
    }

    /// What it takes now, in words.
    pub(crate) fn resident(self) -> String {
        megabytes(self.resident)
    }

    /// What of that are pages of its program's file, in words.
    pub(crate) fn of_files(self) -> String {
        megabytes(self.of_files)
    }

    /// The most that it ever took, in words.
    pub(crate) fn peak(self) -> String {
        megabytes(self.peak)
    }
}

/// Milliseconds of the unit in which /proc tells processor time (USER_HZ is 100 on every platform that Herald runs on).
const TICK: u64 = 10;

/// Processor time of a process so far, to the hundredth of a second that the kernel tells.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process' stat")?;
    // The name of the program, in brackets, may hold blanks.
    let (_, rest) = stat.rsplit_once(')').context("a process' stat has a name")?;
    let field = |at: usize| -> Result<u64> {
        rest.split_whitespace().nth(at).context("a short stat")?.parse().context("a number")
    };
    Ok(Duration::from_millis((field(11)? + field(12)?) * TICK))
}

/// Octets as `1.2 MB` (10^6).
pub(crate) fn megabytes(octets: u64) -> String {
    let tenths = octets / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
