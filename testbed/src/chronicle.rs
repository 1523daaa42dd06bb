//! What failures cost, one line each, so that `cargo xtask failures` can make a table of it.

use std::fmt;
use std::time::Duration;

use crate::traffic::Loss;

/// How every such line begins.
pub const MARK: &str = "failure | ";

/// Where in the document a failure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    /// Pods come and go.
    Pods,
    /// The speaker restarts, crashes, is removed.
    Speaker,
    /// Nodes and their cables.
    Nodes,
    /// Routers, and whoever else speaks to them.
    Routers,
    /// The API server.
    Api,
    /// Many things at once.
    Bulk,
}

impl Chapter {
    /// The word in the line, and in the document's markers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Speaker => "speaker",
            Self::Nodes => "nodes",
            Self::Routers => "routers",
            Self::Api => "api",
            Self::Bulk => "bulk",
        }
    }
}

/// What happened to clients meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// Nobody was sending.
    NotMeasured,
    /// Requests and long connections.
    Measured(Loss),
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMeasured => f.write_str("not measured"),
            Self::Measured(loss) => loss.fmt(f),
        }
    }
}

/// Prints the line of one failure: what happened, what the router did, how long that took, what it cost.
pub fn tell(chapter: Chapter, event: &str, outcome: &str, took: Duration, cost: Cost) {
    println!("{MARK}{} | {event} | {outcome} | {} | {cost}", chapter.word(), in_words(took));
}

fn in_words(took: Duration) -> String {
    if took.is_zero() {
        return "—".to_owned();
    }
    let millis = took.as_millis();
    if millis < 1_000 {
        format!("{millis} ms")
    } else {
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_to_read() {
        let check = |millis: u64, text: &str| assert_eq!(in_words(Duration::from_millis(millis)), text);
        check(0, "—");
        check(87, "87 ms");
        check(14_960, "14.9 s");
    }
}
