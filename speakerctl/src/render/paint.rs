//! Colour, where a person looks at a terminal and did not forbid it.

use std::io::IsTerminal;

/// What a text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
}

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// Colour on a terminal that shows it, unless the environment says NO_COLOR with any text (<https://no-color.org>).
    pub(crate) fn of_stdout() -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stdout().is_terminal() && !forbidden && !dumb { Self::Coloured } else { Self::Plain }
    }

    pub(crate) fn text(self, text: &str, tone: Tone) -> String {
        match (self, tone) {
            (Self::Plain, _) | (Self::Coloured, Tone::Plain) => text.to_owned(),
            (Self::Coloured, Tone::Good) => format!("\u{1b}[32m{text}\u{1b}[0m"),
            (Self::Coloured, Tone::Bad) => format!("\u{1b}[31m{text}\u{1b}[0m"),
        }
    }
}
