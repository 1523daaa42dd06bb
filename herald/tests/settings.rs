//! The table of settings in `docs/install.md` has each flag of the two daemons, with its twin in the environment, and no other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// What clap adds.
const OWN: [&str; 2] = ["--help", "--version"];

#[test]
fn the_table_of_settings_is_that_of_the_daemons() {
    let mut flags = flags_of("controller");
    flags.extend(flags_of("speaker"));
    let table = table();
    assert_eq!(flags, table, "the daemons' flags are on the left, those of docs/install.md on the right");
}

/// The flags that a daemon's help names, and their environment variables.
fn flags_of(daemon: &str) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder for the link");
    let program = folder.path().join(daemon);
    symlink(env!("CARGO_BIN_EXE_herald"), &program).expect("a link in it");
    let help = Command::new(program).arg("--help").env_clear().output().expect("the program starts");
    assert!(help.status.success(), "{help:?}");
    let help = String::from_utf8(help.stdout).expect("help is text");
    let mut flags = BTreeMap::new();
    let mut last = None;
    for line in help.lines() {
        let start = line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, ");
        if start.starts_with("--") {
            last = start.split([' ', '[']).next().map(str::to_owned);
            flags.extend(last.clone().map(|flag| (flag, String::new())));
        }
        if let Some((_, variable)) = line.split_once("[env: ") {
            let variable = variable.split(['=', ']']).next().unwrap_or_default();
            flags.extend(last.clone().map(|flag| (flag, variable.to_owned())));
        }
    }
    flags.retain(|flag, _| !OWN.contains(&flag.as_str()));
    assert!(flags.len() > 5, "the help of {daemon} is read wrongly: {help}");
    flags
}

/// The rows that begin with a flag.
fn table() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/install.md");
    let text = fs::read_to_string(path).expect("the document is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `--"));
    rows.map(|row| {
        let mut texts = row.split('`');
        let flag = format!("--{}", texts.next().unwrap_or_default());
        (flag, texts.nth(1).unwrap_or_default().to_owned())
    })
    .collect()
}
