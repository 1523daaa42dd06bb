//! Herald's driver against the routers of Debian in network namespaces: run here, written down in `docs/interop.md`.

use std::fs;

use anyhow::{Context, Result};

use crate::performance::{build_release, build_rivals, driver_folder, output};
use crate::workspace;

const DOCUMENT: &str = "docs/interop.md";

/// Builds, runs, prints and writes the document.
pub(crate) fn run() -> Result<()> {
    build_release("spokesman")?;
    let program = build_rivals()?;
    let spokesman = driver_folder().join("spokesman").to_string_lossy().into_owned();
    let text = format!("{HEAD}{}\n", output(&program, &["interop", &spokesman])?.trim_end());
    print!("{text}");
    fs::write(workspace::root().join(DOCUMENT), text).with_context(|| format!("writing {DOCUMENT}"))
}

const HEAD: &str = "\
# Interoperation

`cargo xtask interop` runs all of this and writes this file. It needs root: Herald's driver (the release build) and
one router of Debian at a time live in two network namespaces joined by a cable. A `yes` means that the router's own
client showed what the case asks, and Herald's session table too where it has a say; `–` that the router cannot do
it; `**no**` that something else was seen, which the list below the table names. Where both sides dial, the router's process
is stopped while its own call is under way, until a call of Herald's waits beside it.

";
