//! Who may import whom: between crates by their manifests, between modules by `use crate::…`.

use super::{Breach, code_lines, is_test};
use crate::workspace::SourceFile;

const CRATES: [&str; 12] = [
    "api",
    "benches",
    "bfd-proto",
    "bgp-proto",
    "controller",
    "herald",
    "runtime",
    "speaker",
    "speakerctl",
    "testbed",
    "xtask",
    "yardstick",
];

/// What each crate may depend on inside the workspace (`[dev-dependencies]` are free).
const MAY_USE: [(&str, &[&str]); 14] = [
    ("api", &[]),
    ("bfd-proto", &[]),
    ("bgp-proto", &[]),
    ("bgp-proto/fuzz", &["bgp-proto"]),
    ("runtime", &["api"]),
    ("controller", &["api", "runtime"]),
    ("speaker", &["api", "bfd-proto", "bgp-proto", "runtime"]),
    ("speakerctl", &["api", "runtime"]),
    ("herald", &["controller", "speaker", "speakerctl"]),
    ("testbed", &["api", "runtime"]),
    ("benches", &["api", "bgp-proto", "controller", "runtime", "speaker", "yardstick"]),
    ("benches/yardstick", &["bgp-proto"]),
    ("benches/rivals", &["bgp-proto", "yardstick"]),
    ("xtask", &["api"]),
];

/// Folder, modules of the same crate that it must not name, and why.
const MODULES: [(&str, &[&str], &str); 6] = [
    (
        "speaker/src/decide",
        &["crate::watch", "crate::peering", "crate::status", "crate::args"],
        "decisions see facts, not where they come from or go to",
    ),
    (
        "speaker/src/peering",
        &["crate::watch", "crate::decide", "crate::status", "crate::args"],
        "peering meets the rest in `main` through the Plan",
    ),
    (
        "speaker/src/bfd",
        &["crate::watch", "crate::decide", "crate::status", "crate::args"],
        "BFD watches paths and knows nothing of what runs over them",
    ),
    ("speaker/src/watch", &["crate::peering", "crate::status"], "the watch side knows no sockets"),
    ("controller/src/alloc", &["crate::plan", "crate::reconcile"], "the allocator is a library"),
    ("controller/src/plan", &["crate::reconcile"], "plans know no API server"),
];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    let crates = files.iter().filter(|f| f.path.ends_with("/Cargo.toml")).flat_map(crate_edges);
    let modules =
        files.iter().filter(|f| f.path.ends_with(".rs") && !is_test(&f.path)).flat_map(module_edges);
    crates.chain(modules).collect()
}

fn crate_edges(file: &SourceFile) -> Vec<Breach> {
    let name = file.path.trim_end_matches("/Cargo.toml");
    let Some((_, allowed)) = MAY_USE.iter().find(|(of, _)| *of == name) else {
        return vec![Breach {
            path: file.path.clone(),
            line: 0,
            why: "a crate without a row in MAY_USE".to_owned(),
        }];
    };
    let mut breaches = Vec::new();
    let mut in_dependencies = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]";
            continue;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if in_dependencies && CRATES.contains(&dependency) && !allowed.contains(&dependency) {
            let why = format!("{name} may not depend on {dependency}");
            breaches.push(Breach { path: file.path.clone(), line: at + 1, why });
        }
    }
    breaches
}

fn module_edges(file: &SourceFile) -> Vec<Breach> {
    let rules = MODULES.iter().filter(|(folder, ..)| file.path.starts_with(folder));
    rules
        .flat_map(|(_, forbidden, why)| {
            code_lines(&file.text)
                .filter(|(_, line)| forbidden.iter().any(|module| line.contains(module)))
                .map(move |(line, _)| Breach { path: file.path.clone(), line, why: (*why).to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_speaker_may_not_depend_on_the_controller() {
        let manifest =
            file("speaker/Cargo.toml", "[dependencies]\napi.workspace = true\ncontroller.workspace = true\n");
        assert_eq!(check(&[manifest]).len(), 1);
    }

    #[test]
    fn a_dev_dependency_is_free() {
        let manifest =
            file("speaker/Cargo.toml", "[dependencies]\n[dev-dependencies]\ntestbed.workspace = true\n");
        assert!(check(&[manifest]).is_empty());
    }

    #[test]
    fn decide_may_not_name_the_watches() {
        assert_eq!(check(&[file("speaker/src/decide/mod.rs", "use crate::watch::Facts;")]).len(), 1);
        assert!(check(&[file("speaker/src/decide/mod.rs", "// crate::watch feeds this")]).is_empty());
    }
}
