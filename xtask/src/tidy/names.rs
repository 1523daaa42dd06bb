//! Files are nouns that say what is inside; the names below say nothing.

use super::Breach;
use crate::workspace::SourceFile;

const EMPTY_NAMES: [&str; 10] =
    ["util", "utils", "helper", "helpers", "common", "manager", "misc", "types2", "stuff", "shared"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    files.iter().filter(|file| file.path.ends_with(".rs")).filter_map(empty_name).collect()
}

fn empty_name(file: &SourceFile) -> Option<Breach> {
    let part = file.path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part))?;
    Some(Breach { path: file.path.clone(), line: 0, why: format!("`{part}` does not say what is inside") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_a_breach_as_file_and_as_folder() {
        for path in ["runtime/src/util.rs", "runtime/src/helpers/x.rs"] {
            assert_eq!(
                check(&[SourceFile { path: path.to_owned(), text: String::new() }]).len(),
                1,
                "{path}"
            );
        }
    }
}
