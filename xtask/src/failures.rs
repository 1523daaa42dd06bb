//! `cargo xtask failures`: makes the failures on real parts, and writes what they cost into `docs/failures.md`.
//!
//! The document's prose is written by hand. Between the markers of a chapter stands its table, and that is written here,
//! from the lines that the system tests print (`testbed::chronicle`).

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, image, performance, workspace};

const DOCUMENT: &str = "docs/failures.md";
/// How a line begins that is meant for the document.
const MARK: &str = "failure | ";
/// The tests that tell of failures, by parts of their names.
const TESTS: [&str; 8] = [
    "failure_of_",
    "an_api_server_that_is_away_for_a_minute",
    "an_api_server_that_restarts_without_its_history",
    "a_router_that_restarts",
    "a_speaker_whose_node_leaves",
    "a_session_with_a_password",
    "a_speaker_that_hangs",
    "soak_of_",
];

/// Runs the tests with the program that ships, and writes the document. It takes about seven minutes, twelve with
/// `--with-soak` (two thousand Services).
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let soak = match arguments {
        [] => false,
        [flag] if flag == "--with-soak" => true,
        _ => bail!("usage: cargo xtask failures [--with-soak]"),
    };
    let lines = play(&TESTS, soak)?;
    let path = workspace::root().join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {DOCUMENT}"))?;
    let text = filled(&text, "machine", performance::machine()?.trim());
    let text = tables(&text, &lines);
    fs::write(&path, text).with_context(|| format!("writing {DOCUMENT}"))
}

/// Runs system tests by parts of their names, and gives the lines that are meant for the document.
pub(crate) fn play(names: &[&str], soak: bool) -> Result<Vec<String>> {
    let daemons = image::shipped()?;
    let mut command = cargo::command(&["test", "--package", "testbed", "--test", "it", "--"]);
    command.args(names).env("HERALD_REQUIRE_SYSTEM_TESTS", "1").env("HERALD_TESTBED_DAEMONS", daemons);
    command.stdout(Stdio::piped());
    if soak {
        command.env("HERALD_SOAK", "1");
    }
    let mut child = command.spawn().context("starting the system tests")?;
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().context("its standard output is ours")?).lines() {
        let line = line.context("reading what the tests say")?;
        println!("{line}");
        told.extend(line.strip_prefix(MARK).map(str::to_owned));
    }
    let status = child.wait().context("waiting for the system tests")?;
    if status.success() { Ok(told) } else { bail!("the system tests ended with {status}") }
}

/// The document with the table of each chapter that something was told of; the others keep what they have.
fn tables(text: &str, lines: &[String]) -> String {
    let mut text = text.to_owned();
    for chapter in ["pods", "speaker", "nodes", "routers", "api", "bulk"] {
        let start = format!("{chapter} | ");
        let rows: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(start.as_str())).collect();
        if rows.is_empty() {
            continue;
        }
        let mut table =
            String::from("| event | what happens | after | lost by clients |\n|---|---|--:|---|\n");
        rows.iter().for_each(|row| table.push_str(&format!("| {row} |\n")));
        text = filled(&text, chapter, table.trim_end());
    }
    text
}

/// The text with something else between two markers.
fn filled(text: &str, marker: &str, content: &str) -> String {
    let (open, close) = (format!("<!-- {marker} -->\n"), format!("<!-- end of {marker} -->"));
    let Some((before, rest)) = text.split_once(&open) else { return text.to_owned() };
    let Some((_, after)) = rest.split_once(&close) else { return text.to_owned() };
    format!("{before}{open}{content}\n{close}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_what_stood_between_its_markers_and_nothing_else() {
        let text =
            "a\n<!-- pods -->\nold\n<!-- end of pods -->\nb\n<!-- api -->\nkept\n<!-- end of api -->\n";
        let told = ["pods | a pod dies | the path goes | 80 ms | —".to_owned()];
        let expected = "a\n<!-- pods -->\n| event | what happens | after | lost by clients |\n|---|---|--:|---|\n\
                        | a pod dies | the path goes | 80 ms | — |\n<!-- end of pods -->\nb\n\
                        <!-- api -->\nkept\n<!-- end of api -->\n";
        assert_eq!(tables(text, &told), expected);
        assert_eq!(tables(expected, &told), expected);
    }

    #[test]
    fn the_document_has_a_place_for_every_chapter() {
        let text = fs::read_to_string(workspace::root().join(DOCUMENT)).unwrap();
        for chapter in ["machine", "pods", "speaker", "nodes", "routers", "api", "bulk"] {
            assert_ne!(filled(&text, chapter, "something that is not there"), text, "{chapter}");
        }
    }
}
