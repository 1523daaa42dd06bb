//! What a log line says of a value is its `Display`.
//!
//! Releases are built with derived `Debug` cut down to the name of the type: a field with tracing's `?` would say all in a test and
//! next to nothing on a cluster.

use super::{Breach, is_test, product_lines};
use crate::workspace::SourceFile;

/// What ships.
const SHIPPED: [&str; 8] =
    ["api/", "bfd-proto/", "bgp-proto/", "controller/", "herald/", "runtime/", "speaker/", "speakerctl/"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    let shipped = |file: &&SourceFile| {
        SHIPPED.iter().any(|part| file.path.starts_with(part))
            && file.path.ends_with(".rs")
            && !is_test(&file.path)
    };
    files.iter().filter(shipped).flat_map(in_file).collect()
}

fn in_file(file: &SourceFile) -> Vec<Breach> {
    product_lines(&file.text)
        .filter(|(_, line)| asks_for_debug(line))
        .map(|(at, _)| Breach {
            path: file.path.clone(),
            line: at,
            why: "`?` in a log line: a release prints only the name of the type; say it with `%`".to_owned(),
        })
        .collect()
}

/// Whether a `?` stands before a name. After one it is the operator, `?Sized` is no name of a value, and `?name=` is an address.
fn asks_for_debug(line: &str) -> bool {
    line.match_indices('?').any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + 1..];
        let name = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').count();
        before.is_none_or(|c| c == ' ' || c == '(')
            && rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && !rest[name..].starts_with('=')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_field_is_found_in_what_ships_and_an_operator_is_none() {
        for line in ["info!(?how, \"x\");", "info!(how = ?how);", "info!(a, ?b)", "    ?how,"] {
            let of =
                |path: &str| check(&[SourceFile { path: path.to_owned(), text: format!("{line}\n") }]).len();
            assert_eq!(
                (of("speaker/src/a.rs"), of("testbed/src/a.rs"), of("speaker/src/a/tests.rs")),
                (1, 0, 0),
                "{line}"
            );
        }
        for line in [
            "let a = b?;",
            "call(b?, c)?",
            "T: ?Sized",
            "a?.b",
            "info!(%how)",
            "GET ?service=a",
            "\"is it? yes\"",
        ] {
            assert!(!asks_for_debug(line), "{line}");
        }
    }
}
