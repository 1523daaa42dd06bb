//! The commands that documents, alerts and the chart's notes tell people are ones that this program takes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::args::command;

/// Where people read commands, from the root of the repository.
const PLACES: [&str; 5] = [
    "README.md",
    "docs",
    "manifests/components/monitoring",
    "manifests/charts/herald/templates/NOTES.txt",
    "manifests/charts/herald/templates/rules.yaml",
];
/// What a command begins with.
const NAMES: [&str; 3] = ["kubectl herald ", "/speakerctl ", "speakerctl "];
/// Decisions are about what was, and may name what is no more.
const HISTORY: &str = "docs/adr";

#[test]
fn every_command_that_people_are_told_is_taken() {
    let mut told = 0;
    for file in files() {
        let mut text = fs::read_to_string(&file).expect("a document is text");
        if file.extension().is_some_and(|ending| ending == "txt") {
            // The chart's notes are one block.
            text = format!("```\n{text}```\n");
        }
        for line in commands(&text) {
            told += 1;
            let words = std::iter::once("speakerctl").chain(line.split_whitespace());
            if let Err(refusal) = command(None).try_get_matches_from(words) {
                panic!("{}: `{line}`: {refusal}", file.display());
            }
        }
    }
    assert!(told > 10, "only {told} commands were found: the documents are read wrongly");
}

#[test]
fn commands_are_found_in_blocks_in_running_text_and_behind_other_programs() {
    let text = "See `kubectl herald peers\n--check` and `speakerctl`, or\n\n```\n$ kubectl herald routes | head\nkubectl -n x exec ds/y -- /speakerctl why a/b  # one node\n```\n`kubectl herald why` names `speakerctl why NAMESPACE/NAME`.";
    assert_eq!(commands(text), ["peers --check", "routes", "why a/b", "why SERVICE", "why NAMESPACE/NAME"]);
}

/// What follows the name of the program, in each block line and each text between backticks that begins with a command.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        if number % 2 == 1 {
            found.extend(part.lines().filter_map(in_line));
        } else {
            // A text between backticks may go over the end of a line.
            found.extend(part.split('`').skip(1).step_by(2).filter_map(in_line));
        }
    }
    found
}

fn in_line(line: &str) -> Option<String> {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let after = NAMES.iter().find_map(|name| {
        let at = line.find(name)?;
        // Not the end of another word, and not a file or a package of that name.
        line.get(..at)?.chars().last().is_none_or(char::is_whitespace).then(|| line.get(at + name.len()..))?
    })?;
    let end = after.find(['#', '|', '>', ';']).unwrap_or(after.len());
    let command = after.get(..end)?.trim();
    match command {
        // The command alone, as its name.
        "why" => Some("why SERVICE".to_owned()),
        _ => Some(command.to_owned()),
    }
}

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the repository");
    let mut found = Vec::new();
    for place in PLACES {
        collect(&root.join(place), &root.join(HISTORY), &mut found);
    }
    found.sort();
    found
}

fn collect(path: &Path, left_out: &Path, found: &mut Vec<PathBuf>) {
    if path == left_out {
        return;
    }
    if !path.is_dir() {
        return found.push(path.to_owned());
    }
    for entry in fs::read_dir(path).expect("the folder can be read") {
        collect(&entry.expect("an entry").path(), left_out, found);
    }
}
