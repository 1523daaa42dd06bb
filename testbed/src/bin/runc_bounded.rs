//! runc for a machine whose own rights are bounded: takes out of a container's wishes what this machine cannot give
//! (CAP_SYS_RESOURCE, an oom_score_adj below 0), and becomes runc. Container engines call it in runc's place.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use serde_json::Value;

const MISSING: &str = "CAP_SYS_RESOURCE";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let file = wishes(&arguments);
    if file.is_file()
        && let Err(why) = narrow_file(&file)
    {
        eprintln!("runc-bounded: {}: {why:#}", file.display());
        return ExitCode::FAILURE;
    }
    let error = Command::new("runc").args(&arguments).exec();
    eprintln!("runc-bounded: runc: {error}");
    ExitCode::FAILURE
}

/// The file that says what the process of a container is to be: of a bundle, or of `exec --process`.
fn wishes(arguments: &[OsString]) -> PathBuf {
    let mut file = PathBuf::from("config.json");
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy();
        if text == "--bundle" || text == "-b" {
            file = PathBuf::from(words.next().cloned().unwrap_or_default()).join("config.json");
        } else if text == "--process" || text == "-p" {
            file = PathBuf::from(words.next().cloned().unwrap_or_default());
        } else if let Some(folder) = text.strip_prefix("--bundle=") {
            file = PathBuf::from(folder).join("config.json");
        } else if let Some(process) = text.strip_prefix("--process=") {
            file = PathBuf::from(process);
        }
    }
    file
}

fn narrow_file(file: &PathBuf) -> Result<()> {
    let text = std::fs::read_to_string(file).context("reading")?;
    let mut wishes: Value = serde_json::from_str(&text).context("it is no JSON")?;
    narrow(&mut wishes);
    std::fs::write(file, wishes.to_string()).context("writing")
}

/// A bundle's file has the process inside, that of `exec` is the process.
fn narrow(wishes: &mut Value) {
    let process = if wishes["process"].is_object() { &mut wishes["process"] } else { wishes };
    if let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|capability| capability != MISSING);
        }
    }
    if process.get("oomScoreAdj").and_then(Value::as_i64).is_some_and(|score| score < 0) {
        process["oomScoreAdj"] = Value::from(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_given_is_taken_out_and_the_rest_stays() {
        let wish = json!({"args": ["x"], "oomScoreAdj": -998, "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"],
        }});
        let given = json!({"args": ["x"], "oomScoreAdj": 0, "capabilities": {
            "bounding": ["CAP_CHOWN"], "effective": [],
        }});
        let (mut exec, mut bundle) = (wish.clone(), json!({"process": wish, "root": {"path": "rootfs"}}));
        narrow(&mut exec);
        narrow(&mut bundle);
        assert_eq!(exec, given);
        assert_eq!(bundle, json!({"process": given, "root": {"path": "rootfs"}}));
    }

    #[test]
    fn every_way_to_name_the_file_is_understood() {
        for (words, file) in [
            (&["create", "--bundle", "/b", "id"][..], "/b/config.json"),
            (&["create", "-b", "/b", "id"], "/b/config.json"),
            (&["create", "--bundle=/b", "id"], "/b/config.json"),
            (&["exec", "--process", "/p", "id"], "/p"),
            (&["exec", "--process=/p", "id"], "/p"),
            (&["kill", "id"], "config.json"),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(wishes(&words), PathBuf::from(file), "{words:?}");
        }
    }
}
