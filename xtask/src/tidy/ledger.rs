//! What the ledgers in `docs/rfc`, the walks in `ARCHITECTURE.md` and the list of known disasters name must be there:
//! symbols, tests, files.
//!
//! Looked at are the words in backticks behind the requirement or the step, and in `docs/field-bugs.md` those that are
//! paths or as long as the name of a test. Whether a test shows what the ledger says is for the reader to judge.

use super::Breach;
use crate::workspace::SourceFile;

const LEDGERS: &str = "docs/rfc/";
const WALKS: &str = "ARCHITECTURE.md";
const DISASTERS: &str = "docs/field-bugs.md";
/// What may stand before a name where it is declared.
const KEYWORDS: [&str; 8] = ["fn ", "struct ", "enum ", "const ", "static ", "mod ", "trait ", "type "];
/// Crates, as paths and as folders.
const CRATES: [(&str, &str); 3] =
    [("bgp_proto", "bgp-proto/"), ("bfd_proto", "bfd-proto/"), ("speaker", "speaker/")];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    let sources: Vec<&SourceFile> = files.iter().filter(|file| file.path.ends_with(".rs")).collect();
    files.iter().filter(|file| file.path.ends_with(".md")).flat_map(|file| unknown(file, &sources)).collect()
}

fn unknown(file: &SourceFile, sources: &[&SourceFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for word in words(&file.path, line) {
            if !is_known(word, sources) {
                let why = format!("`{word}` is named here and is not in the tree");
                breaches.push(Breach { path: file.path.clone(), line: at + 1, why });
            }
        }
    }
    breaches
}

/// The words in backticks that have to be known.
fn words<'a>(path: &str, line: &'a str) -> Vec<&'a str> {
    let in_ledger = (path.starts_with(LEDGERS) || path == WALKS) && line.starts_with('|');
    let text = match line.match_indices('|').nth(2) {
        Some((third, _)) if in_ledger => line.get(third..).unwrap_or_default(),
        Some(_) | None => line,
    };
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| if in_ledger { is_name(word) } else { path == DISASTERS && is_long_name(word) })
        .collect()
}

/// A Rust path, or the name of a file. `lowerCamel` words are fields of Kubernetes objects.
fn is_name(word: &str) -> bool {
    let is_of_names = word.chars().all(|c| c.is_ascii_alphanumeric() || "_:*/.-".contains(c));
    let is_field = word.starts_with(|c: char| c.is_ascii_lowercase())
        && !word.contains([':', '/'])
        && word.contains(|c: char| c.is_ascii_uppercase());
    is_of_names && !is_field
}

fn is_long_name(word: &str) -> bool {
    is_name(word) && (word.contains("::") || word.matches('_').count() >= 3)
}

fn is_known(word: &str, sources: &[&SourceFile]) -> bool {
    if word.contains('/') || word.ends_with(".rs") {
        let folder = word.trim_end_matches('/');
        return sources.iter().any(|file| format!("/{}/", file.path).contains(&format!("/{folder}/")));
    }
    let mut segments: Vec<&str> = word.split("::").collect();
    let root =
        CRATES.iter().find(|(name, _)| segments.first() == Some(name)).map_or("", |(_, folder)| folder);
    if !root.is_empty() {
        segments.remove(0);
    }
    let Some((last, way)) = segments.split_last() else { return true };
    sources
        .iter()
        .filter(|file| file.path.starts_with(root) && way.iter().all(|segment| leads_through(segment, file)))
        .any(|file| {
            *last == "*"
                || is_module(last, &file.path)
                || (file.text.contains(last) && declares(&file.text, last))
        })
}

/// Modules are parts of the file's path or declared in it; types are mentioned in it.
fn leads_through(segment: &str, file: &SourceFile) -> bool {
    if segment.starts_with(|c: char| c.is_ascii_uppercase()) {
        return file.text.contains(segment);
    }
    is_module(segment, &file.path) || file.text.contains(&format!("mod {segment} "))
}

fn is_module(name: &str, path: &str) -> bool {
    path.trim_end_matches(".rs").split('/').any(|part| part == name)
}

/// An item behind its keyword; a field, a variant or a row of a macro, alone on its line; a system test by its name in
/// quotes.
fn declares(text: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    text.lines().any(|line| {
        let line = line.trim_start();
        let is_item = KEYWORDS.iter().any(|keyword| {
            let mut places = line.match_indices(keyword);
            places.any(|(at, _)| line[at + keyword.len()..].strip_prefix(name).is_some_and(ends))
        });
        let bare = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .trim_start_matches("pub ");
        let is_part = bare.strip_prefix(name).is_some_and(|rest| {
            rest.starts_with([':', ',', '(', '{']) || rest.starts_with(" {") || rest.starts_with(" = ")
        });
        is_item || is_part || line.contains(&format!("\"{name}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(line: &str) -> usize {
        breaches_in("docs/rfc/rfc1.md", line)
    }

    fn breaches_in(path: &str, line: &str) -> usize {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        check(&[
            file(path, line),
            file(
                "bgp-proto/src/wire/check.rs",
                "pub struct Pass {\n    seen: u64,\n}\nimpl Pass {\n    fn note() {}\n}\n",
            ),
            file("bgp-proto/tests/it/sim.rs", "#[test]\nfn a_session_comes_up() {}\n"),
        ])
        .len()
    }

    #[test]
    fn a_symbol_or_a_test_that_is_not_there_is_a_breach() {
        for sound in [
            "| 1 | `anything` | `wire::check::Pass::note`, `check::Pass` (`seen`) | `sim::a_session_comes_up` |",
            "| 1 | x | `bgp_proto::wire` and `bgp-proto/src/wire`, `echoMode` | `sim::*` |",
            "`nowhere::at_all` outside of a table",
        ] {
            assert_eq!(breaches(sound), 0, "{sound}");
        }
        for broken in [
            "| 1 | x | `wire::check::Pass::judge` | |",
            "| 1 | x | `wire::open::Pass` | |",
            "| 1 | x | `bgp-proto/src/fsm` | |",
            "| 1 | x | `Pass` | `sim::a_session_comes` |",
            "| 1 | x | `bfd_proto::wire::check::Pass` | |",
        ] {
            assert_eq!(breaches(broken), 1, "{broken}");
        }
    }

    #[test]
    fn a_walk_names_files_and_functions_that_are_there() {
        for (line, count) in [
            ("| 1 | `what` happens | `wire/check.rs` `Pass::note`, `sim.rs` |", 0),
            ("| 1 | what happens | `wire/chek.rs` |", 1),
            ("| 1 | what happens | `Pass::judge` |", 1),
            ("`Pass::judge` outside of a table", 0),
        ] {
            assert_eq!(breaches_in("ARCHITECTURE.md", line), count, "{line}");
        }
    }
}
