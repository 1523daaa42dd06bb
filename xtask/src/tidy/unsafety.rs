//! `unsafe` lives in one audited file, and each block there says why it is sound.

use super::{Breach, code_lines};
use crate::workspace::SourceFile;

const AUDITED: &str = "speaker/src/peering/sockopt.rs";

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    files
        .iter()
        .filter(|f| f.path.ends_with(".rs") && !f.path.starts_with("xtask/src/tidy"))
        .flat_map(in_file)
        .collect()
}

fn in_file(file: &SourceFile) -> Vec<Breach> {
    let breach = |line, why: &str| Breach { path: file.path.clone(), line, why: why.to_owned() };
    let lines: Vec<&str> = file.text.lines().collect();
    code_lines(&file.text)
        .filter(|(_, text)| {
            text.contains("unsafe {") || text.contains("unsafe fn") || text.contains("unsafe impl")
        })
        .filter_map(|(line, _)| {
            if file.path != AUDITED {
                return Some(breach(line, "unsafe code belongs to speaker/src/peering/sockopt.rs alone"));
            }
            let above = lines.get(line.saturating_sub(6)..line.saturating_sub(1)).unwrap_or_default();
            (!above.iter().any(|l| l.contains("SAFETY")))
                .then(|| breach(line, "an unsafe block without a SAFETY line"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> usize {
        check(&[SourceFile { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn unsafe_code_elsewhere_is_a_breach() {
        assert_eq!(breaches("runtime/src/log.rs", "unsafe { x() }"), 1);
    }

    #[test]
    fn the_audited_file_needs_its_safety_line() {
        assert_eq!(breaches(AUDITED, "fn a() {\n    unsafe { x() }\n}"), 1);
        assert_eq!(breaches(AUDITED, "fn a() {\n    // SAFETY: x takes nothing.\n    unsafe { x() }\n}"), 0);
    }
}
