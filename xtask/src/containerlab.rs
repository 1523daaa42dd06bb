//! The labs of `testbed/containerlab`: builds the image, then plays each lab in network namespaces and with containerlab.

use std::fs;

use anyhow::{Context, Result};

use crate::{cargo, kubelet};

/// The image's program carries all three names.
const NAMES: [&str; 3] = ["controller", "speaker", "speakerctl"];

/// Plays all labs; `arguments` are parts of names and choose some.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (archive, program) = kubelet::build_image()?;
    let folder = cargo::target().join("containerlab");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for name in NAMES {
        fs::copy(&program, folder.join(name)).with_context(|| format!("copying {}", program.display()))?;
    }
    let mut test = cargo::command(&["test", "--package", "testbed", "--test", "containerlab", "--"]);
    test.args(arguments).env("HERALD_CONTAINERLAB_IMAGE", &archive).env("HERALD_TESTBED_DAEMONS", &folder);
    cargo::finish(&mut test, "the labs of containerlab")
}
