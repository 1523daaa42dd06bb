//! No source file over 600 lines: what is longer holds two ideas. Tests are data and may be longer.

use super::{Breach, is_test};
use crate::workspace::SourceFile;

const LIMIT: usize = 600;

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && !is_test(&file.path))
        .filter_map(too_long)
        .collect()
}

fn too_long(file: &SourceFile) -> Option<Breach> {
    let lines = file.text.lines().count();
    (lines > LIMIT).then(|| Breach {
        path: file.path.clone(),
        line: 0,
        why: format!("{lines} lines, more than {LIMIT}: cut it where two ideas meet"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: usize) -> SourceFile {
        SourceFile { path: path.to_owned(), text: "x\n".repeat(lines) }
    }

    #[test]
    fn a_file_of_600_lines_passes_and_one_more_does_not() {
        assert!(check(&[file("speaker/src/a.rs", 600)]).is_empty());
        assert_eq!(check(&[file("speaker/src/a.rs", 601)]).len(), 1);
    }

    #[test]
    fn tests_may_be_longer() {
        assert!(check(&[file("speaker/src/decide/tests.rs", 900)]).is_empty());
    }
}
