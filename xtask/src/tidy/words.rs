//! Words that mark unfinished or dodged work.

use super::Breach;
use crate::workspace::SourceFile;

/// The word (in two halves, so that this table does not find itself) and why it has no place here.
const WORDS: [(&str, &str, &str); 9] = [
    ("TO", "DO", "finish it or leave it out"),
    ("FIX", "ME", "fix it"),
    ("todo", "!(", "no stub"),
    ("unimple", "mented!(", "no stub"),
    ("for ", "now", "say what is so and why"),
    ("#[igno", "re", "a test that does not run is no test"),
    ("unbounded", "_channel", "everything is bounded"),
    ("Arc<Mutex", "<HashMap", "one owner per piece of state"),
    (".force", "()", "status is applied without force: a conflict is a finding, told and left alone"),
];

/// Where the head of a word has its one right place, and why.
const PLACES: [(&str, &str, &str); 1] = [(
    "controller/src/patch.rs",
    ".force",
    "taken over with an event: a predecessor's field once, a rival's once after each pause in which it was left alone",
)];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(in_file).collect()
}

fn in_file(file: &SourceFile) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for (head, tail, why) in WORDS {
            let word = format!("{head}{tail}");
            let allowed = PLACES.iter().any(|(path, of, _)| file.path == *path && head == *of);
            if line.contains(&word) && !allowed {
                breaches.push(Breach {
                    path: file.path.clone(),
                    line: at + 1,
                    why: format!("`{word}`: {why}"),
                });
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_found_in_comments_too() {
        let text = format!("// {}{}: later\n", "TO", "DO");
        assert_eq!(check(&[SourceFile { path: "a/src/b.rs".to_owned(), text }]).len(), 1);
    }
}
