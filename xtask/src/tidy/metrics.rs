//! Metrics that alerts, dashboards and documents name are metrics that a daemon registers: an alert on a name that nobody exports
//! never fires, and nobody notices.
//!
//! Leaves out labels.

use std::collections::BTreeSet;

use super::{Breach, is_test, product_lines};
use crate::workspace::SourceFile;

const DAEMONS: [&str; 3] = ["controller/src/", "runtime/src/", "speaker/src/"];
const READERS: [&str; 3] = ["docs/", "manifests/components/monitoring/", "README.md"];
const PREFIXES: [&str; 2] = ["herald_", "metallb_"];
/// The prefix of the message counters, whose tails stand alone in the code, and how those end.
const COMPOSED: &str = "metallb_bgp_";
const TAILS: [&str; 2] = ["_sent", "_received"];
/// What the text form appends to the name of a counter, a histogram, a unit or an info metric.
const ENDINGS: [&str; 7] = ["_total", "_bucket", "_count", "_sum", "_seconds", "_info", "_created"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    let known: BTreeSet<&str> = files
        .iter()
        .filter(|file| DAEMONS.iter().any(|folder| file.path.starts_with(folder)) && !is_test(&file.path))
        .flat_map(|file| product_lines(&file.text).flat_map(|(_, line)| literals(line)))
        .collect();
    let readers = files.iter().filter(|file| {
        READERS.iter().any(|place| file.path.starts_with(place)) && !file.path.ends_with(".rs")
    });
    readers.flat_map(|file| in_file(file, &known)).collect()
}

fn in_file(file: &SourceFile, known: &BTreeSet<&str>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for name in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if is_metric(name) && !is_registered(name, known) {
                let why =
                    format!("no daemon registers a metric {name}: what asks for it never sees anything");
                breaches.push(Breach { path: file.path.clone(), line: at + 1, why });
            }
        }
    }
    breaches
}

fn is_metric(name: &str) -> bool {
    // What ends in a low line is meant as a beginning, as in "what is ours begins with `herald_`".
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with('_')
}

/// Under its own name, or without what the text form appends, or as a tail that the speaker puts behind `metallb_bgp_`.
fn is_registered(name: &str, known: &BTreeSet<&str>) -> bool {
    let mut rest = name;
    loop {
        if known.contains(rest) || rest.strip_prefix(COMPOSED).is_some_and(|tail| known.contains(tail)) {
            return true;
        }
        match ENDINGS.iter().find_map(|ending| rest.strip_suffix(ending)) {
            Some(shorter) => rest = shorter,
            None => return false,
        }
    }
}

/// The texts in quotation marks that look like metrics, or like the tails of message counters.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    let texts = line.split('"').skip(1).step_by(2);
    texts.filter(|text| is_metric(text) || TAILS.iter().any(|tail| text.ends_with(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_registers_is_a_breach() {
        let code = SourceFile {
            path: "speaker/src/metrics.rs".to_owned(),
            text: "registry.register(\"herald_plans\", \"..\");\nof_sessions(\"opens_sent\");\n".to_owned(),
        };
        let check = |text: &str, found: usize| {
            let rules = "manifests/components/monitoring/rules.yaml".to_owned();
            let files = [
                SourceFile { path: code.path.clone(), text: code.text.clone() },
                SourceFile { path: rules, text: text.to_owned() },
            ];
            assert_eq!(check(&files).len(), found, "{text}");
        };
        check("expr: rate(herald_plans_total[5m]) > 0", 0);
        check("expr: herald_plans_seconds_bucket{le=\"1\"} and metallb_bgp_opens_sent", 0);
        check("what is ours begins with `herald_`", 0);
        check("expr: herald_plan_total > 0", 1);
        check("expr: metallb_bgp_opens_total", 1);
        check("expr: metallb_bfd_session_up == 0", 1);
    }
}
