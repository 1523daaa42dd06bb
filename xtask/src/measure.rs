//! Speed and memory of the release build on the real parts, printed as Markdown.

use anyhow::Result;

use crate::cargo;

/// Builds the release binaries, then lets the test bed measure them.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    eprintln!("building controller, speaker and speakerctl as they ship (minutes)");
    cargo::run(&[
        "build",
        "--release",
        "--package",
        "controller",
        "--package",
        "speaker",
        "--package",
        "speakerctl",
    ])?;
    let mut measure = cargo::command(&["run", "--quiet", "--package", "testbed", "--bin", "measure", "--"]);
    measure.args(arguments).env("HERALD_TESTBED_DAEMONS", cargo::target().join("release"));
    cargo::finish(&mut measure, "measure")
}
