//! The repository's rules as code: each rule reads the sources and says what breaks it, with the reason of the rule.
//!
//! A new rule is one function `fn(&[SourceFile]) -> Vec<Breach>` and one row in [`RULES`].

mod borders;
mod fields;
mod ledger;
mod length;
mod metrics;
mod names;
mod purity;
mod unsafety;
mod words;

use anyhow::{Result, bail};

use crate::workspace::{self, SourceFile};

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    /// File, from the root.
    pub(crate) path: String,
    /// Line, from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    /// What is wrong and why it is a rule.
    pub(crate) why: String,
}

type Rule = fn(&[SourceFile]) -> Vec<Breach>;

const RULES: [(&str, Rule); 9] = [
    ("file length", length::check),
    ("import borders", borders::check),
    ("purity", purity::check),
    ("unsafe code", unsafety::check),
    ("log fields", fields::check),
    ("names", names::check),
    ("words", words::check),
    ("ledgers", ledger::check),
    ("metrics", metrics::check),
];

/// Runs every rule and prints each breach as `path:line: rule: why`.
pub(crate) fn run() -> Result<()> {
    let breaches = breaches()?;
    for line in &breaches {
        eprintln!("{line}");
    }
    if breaches.is_empty() {
        println!("tidy: {} rules hold", RULES.len());
        return Ok(());
    }
    bail!("{} places break the repository's rules", breaches.len())
}

fn breaches() -> Result<Vec<String>> {
    let files = workspace::files(&[".rs", "Cargo.toml", ".md", ".yaml", ".json"])?;
    Ok(RULES
        .iter()
        .flat_map(|(name, rule)| {
            rule(&files).into_iter().map(move |b| format!("{}:{}: {name}: {}", b.path, b.line, b.why))
        })
        .collect())
}

/// Lines that are code: comment lines left out, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Tests and benches may do what product code may not.
fn is_test(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/benches/")
        || path.starts_with("testbed/")
}

/// The part of a product file before its own `#[cfg(test)]` module.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    code_lines(text).take_while(|(_, line)| !line.contains("#[cfg(test)]"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        assert_eq!(super::breaches().expect("the sources can be read"), Vec::<String>::new());
    }
}
