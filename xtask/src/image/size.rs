//! How big the image is, for people: `docs/performance-image.md`, which `cargo xtask image --document` writes.

use std::fs;

use anyhow::{Context as _, Result};

use super::platform::Platform;
use crate::workspace;

const DOCUMENT: &str = "docs/performance-image.md";

/// What a node may have to fetch, and how big a static program may be, in octets.
const MOST_COMPRESSED: usize = 4_000_000;
const MOST_PROGRAM: usize = 5_000_000;

const HEAD: &str = "\
# How big the image is

`cargo xtask image --document` builds all platforms and writes this file. The image holds one static program that is
controller, speaker and speakerctl (`docs/adr/0060-one-program-with-three-names-in-the-image.md`). Compressed is what a node
fetches: layer, configuration and manifest. A million octets are a megabyte. What makes it small, what was tried besides, and why
5 MB are not reached everywhere: `docs/adr/0068-what-makes-the-program-small.md`.

";

/// Platform, octets of its program, compressed octets of its image.
type Row = (Platform, usize, usize);

/// The rows as Markdown, each figure with what became of its goal.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text =
        "| platform | program | goal ≤ 5 MB | image, compressed | goal ≤ 4 MB |\n|---|--:|---|--:|---|\n"
            .to_owned();
    for (platform, program, compressed) in rows {
        text.push_str(&format!(
            "| {platform} | {} | {} | {} | {} |\n",
            megabytes(*program),
            outcome(*program, MOST_PROGRAM),
            megabytes(*compressed),
            outcome(*compressed, MOST_COMPRESSED),
        ));
    }
    text
}

/// Writes the document.
pub(super) fn write(table: &str) -> Result<()> {
    fs::write(workspace::root().join(DOCUMENT), format!("{HEAD}{table}"))
        .with_context(|| format!("writing {DOCUMENT}"))
}

fn megabytes(octets: usize) -> String {
    format!("{}.{:02} MB", octets / 1_000_000, octets % 1_000_000 / 10_000)
}

fn outcome(octets: usize, most: usize) -> &'static str {
    if octets <= most { "reached" } else { "**missed**" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_called_so() {
        let rows = [(Platform::Amd64, 5_000_001, 4_000_000), (Platform::ArmV7, 5_000_000, 4_000_001)];
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| linux/amd64 | 5.00 MB | **missed** | 4.00 MB | reached |",
                "| linux/arm/v7 | 5.00 MB | reached | 4.00 MB | **missed** |"
            ]
        );
    }
}
