//! What the story measured, as rows of a Markdown table.

use std::time::Duration;

/// The figures in the order in which they were taken.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rows: Vec<(String, String, &'static str)>,
}

impl Figures {
    /// A time without a goal.
    pub(crate) fn span(&mut self, what: &str, took: Duration) {
        self.note(what, &seconds(took), "");
    }

    /// Any figure; the goal is shown beside it.
    pub(crate) fn note(&mut self, what: &str, figure: &str, goal: &'static str) {
        println!(
            "  {what}: {figure}{}",
            if goal.is_empty() { String::new() } else { format!(" (goal {goal})") }
        );
        self.rows.push((what.to_owned(), figure.to_owned(), goal));
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = "| what | measured | goal |\n|---|---|---|\n".to_owned();
        for (what, figure, goal) in &self.rows {
            text.push_str(&format!("| {what} | {figure} | {goal} |\n"));
        }
        text
    }
}

/// `0.42 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// `3.1 MB`, with a million octets to the megabyte.
pub(crate) fn megabytes(octets: u64) -> String {
    format!("{}.{} MB", octets / 1_000_000, octets % 1_000_000 / 100_000)
}
