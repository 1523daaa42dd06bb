//! Speed and memory of the image's program on the real parts, and of MetalLB's speaker beside it.
//!
//! Takes about ten minutes to build and half an hour to measure with the default numbers; every wait in the measurement has a
//! limit, the longest of them 400 s. With `--small` (a trial) the measurement takes some three minutes.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, image, performance, workspace};

const DOCUMENT: &str = "docs/performance-cluster.md";
/// The one argument with which the document is written all the same.
const WITHOUT_RIVAL: &str = "--without-rival";
const LEFT_OUT: &str = "\
MetalLB's part was left out of this run (`cargo xtask measure --without-rival`).

";

/// Builds the program that ships, lets the test bed measure them, and writes the document. Arguments are the measurement's;
/// with any but `--without-rival`, only the terminal gets the figures.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let daemons = image::shipped()?;
    let mut measure = cargo::command(&["run", "--quiet", "--package", "testbed", "--bin", "measure", "--"]);
    measure.args(arguments).env("HERALD_TESTBED_DAEMONS", daemons);
    let done = measure.stderr(std::process::Stdio::inherit()).output().context("starting the measurement")?;
    let figures = String::from_utf8(done.stdout).context("figures that are text")?;
    print!("{figures}");
    if !done.status.success() {
        bail!("the measurement ended with {}", done.status);
    }
    if arguments.iter().all(|argument| argument == WITHOUT_RIVAL) {
        let left_out = if arguments.is_empty() { "" } else { LEFT_OUT };
        let text = [HEAD, left_out, &performance::machine()?, figures.trim_end(), "\n"].concat();
        fs::write(workspace::root().join(DOCUMENT), text).with_context(|| format!("writing {DOCUMENT}"))?;
    }
    Ok(())
}

const HEAD: &str = "\
# Performance in a cluster

`cargo xtask measure` measures all of this in one run and writes this file: Herald's speaker, which is the static program of the
image, and MetalLB's native speaker built from its own module, one after the other on the same node, with the same objects, the
same API server and the same bare BGP peer. Read the ratios between the two; another machine has other figures. (`cargo xtask measure --small` tries the whole of it in a few
minutes and writes nothing.)

Latency is from the moment at which a bare watch client of the same API server has read the event to the moment at which
the peer has read the UPDATE; negative figures mean that the speaker was told before the bare client was. Both reach the API
server through a proxy of the test bed. Announcements that follow each other within a second wait in Herald's window of 8 ms, as
they do here; withdrawals do not. *Beside* a peer that pours a full table in: 1,000,000 prefixes a second, five with each set of
attributes, for as long as is measured. Beside a peer that reads nothing: it takes the session and then leaves everything in a
small buffer. CPU of a change is all processor time of the process divided by the number of changes, in steps of 10 ms for the
whole of them. *Start* is from the start of the process until the peer has the last prefix; the API server's own lists are two
plain requests for all Services and all EndpointSlices, just before.
The API server's outage ends when it calls itself ready; from then on it counts until the peer has a Service that was
made after that, the controller's work included (Herald's for both speakers).
A cluster has a tenth as many Nodes as Services, and each Service but the first has endpoints on three of them.
The line with no Service is a speaker with a session. Sizes are in units of 10^6 octets. Resident memory is what the kernel counts
for the process; *of the program file* is the part that it need not give, but can take back at any time and shares between controller,
speaker and speakerctl, which are one file.

";
