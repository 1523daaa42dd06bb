//! Gets the daemons from the distribution, once.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What must be there, and the package that brings it.
const PROGRAMS: [(&str, &str); 6] = [
    ("/usr/sbin/bird", "bird2"),
    ("/usr/lib/frr/bgpd", "frr"),
    ("/usr/bin/gobgpd", "gobgpd"),
    ("/usr/bin/gobgp", "gobgpd"),
    ("/usr/sbin/exabgp", "exabgp"),
    ("/usr/bin/strace", "strace"),
];

/// Installs what is missing with apt-get, saying so.
pub(crate) fn install() -> Result<()> {
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !Path::new(program).is_file())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("installing {} with apt-get: they run beside Herald; only the first time", packages.join(" "));
    let _quiet = NoServices::declare();
    apt(&["update", "-qq"])?;
    for (number, package) in packages.iter().enumerate() {
        eprintln!("installing {package} ({} of {})", number + 1, packages.len());
        apt(&["install", "-y", "-qq", "--no-install-recommends", package])?;
    }
    for (program, package) in PROGRAMS {
        ensure!(Path::new(program).is_file(), "{package} is installed, and {program} is still missing");
    }
    Ok(())
}

/// The upstream version of an installed package.
pub(crate) fn version(package: &str) -> String {
    let asked = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
    let text = asked.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    text.split(['-', '+']).next().unwrap_or_default().to_owned()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let done = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("starting apt-get")?;
    ensure!(
        done.status.success(),
        "apt-get {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}

/// While this exists, Debian starts no service of a fresh package. A policy that is there already stays as it is.
struct NoServices {
    made: bool,
}

impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn declare() -> Self {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(Self::POLICY);
        Self { made: file.is_ok_and(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n").is_ok()) }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            // Gone already is as good.
            let _removed = std::fs::remove_file(Self::POLICY);
        }
    }
}
