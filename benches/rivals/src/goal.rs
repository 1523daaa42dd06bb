//! What was to be reached, beside what was measured. `cargo xtask performance` puts these rows on top.

/// One aim.
pub(crate) struct Goal {
    /// The piece of work.
    work: &'static str,
    /// What it is to cost.
    target: &'static str,
    /// What it cost, in words.
    measured: String,
    met: bool,
}

impl Goal {
    /// Puts target and figure side by side.
    pub(crate) fn new(work: &'static str, target: &'static str, measured: String, met: bool) -> Self {
        Self { work, target, measured, met }
    }
}

/// Stands before the rows, for the reader of the output.
const MARK: &str = "<!-- goals -->";

/// Prints the rows of a table that begins elsewhere.
pub(crate) fn print(goals: &[Goal]) {
    println!("{MARK}");
    for Goal { work, target, measured, met } in goals {
        println!("| {work} | {target} | {measured} | {} |", if *met { "reached" } else { "**missed**" });
    }
}
