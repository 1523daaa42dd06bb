//! What a process weighs, as the kernel counts it.

use std::fmt;

use anyhow::{Context as _, Result};

/// Resident memory of a process, in octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    resident: u64,
    peak: u64,
}

impl Memory {
    /// Reads `/proc/PID/status`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process' status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            anyhow::Ok(kibibytes * 1024)
        };
        Ok(Self { resident: field("VmRSS")?, peak: field("VmHWM")? })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {}", megabytes(self.resident), megabytes(self.peak))
    }
}

/// Octets as `1.2 MB` (10^6).
pub(crate) fn megabytes(octets: u64) -> String {
    let tenths = octets / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
