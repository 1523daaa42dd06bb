//! Files that are generated from the code: the test says when they are stale, `cargo xtask bless` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{chart, crds, install, workspace};

/// Folders below `manifests` in which every file is generated, but for those of the chart that are written by hand.
const FOLDERS: [&str; 2] = ["crds", chart::TEMPLATES];

/// Writes every generated file and removes those that are no longer generated.
pub(crate) fn bless() -> Result<()> {
    let (wanted, root) = (wanted()?, root());
    for path in existing(&wanted)?.into_keys().filter(|path| !wanted.contains_key(path)) {
        fs::remove_file(root.join(path))?;
    }
    for (path, text) in &wanted {
        let file = root.join(path);
        fs::create_dir_all(file.parent().context("a generated file lies in a folder")?)?;
        fs::write(file, text).with_context(|| format!("writing {path}"))?;
    }
    println!("bless: {} files in manifests", wanted.len());
    Ok(())
}

/// Fails with the names of the stale files.
pub(crate) fn check() -> Result<()> {
    let wanted = wanted()?;
    let existing = existing(&wanted)?;
    let paths: BTreeSet<&String> = wanted.keys().chain(existing.keys()).collect();
    let stale: Vec<&String> =
        paths.into_iter().filter(|path| wanted.get(*path) != existing.get(*path)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    bail!("stale in manifests: {stale:?}; run `cargo xtask bless` and look at the difference")
}

/// All generated files: path below `manifests` to text.
fn wanted() -> Result<BTreeMap<String, String>> {
    let crds: BTreeMap<String, String> =
        crds::generate()?.into_iter().map(|(name, text)| (format!("crds/{name}"), text)).collect();
    let mut files = BTreeMap::from([("herald.yaml".to_owned(), install::one_file(&root(), &crds)?)]);
    files.extend(chart::generate(&root(), &crds)?);
    files.extend(crds);
    Ok(files)
}

fn root() -> PathBuf {
    workspace::root().join("manifests")
}

/// What is there of the wanted files, and whatever else lies in the generated folders.
fn existing(wanted: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let root = root();
    let mut paths: BTreeSet<String> =
        wanted.keys().filter(|path| root.join(path).is_file()).cloned().collect();
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading manifests/{folder}"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !chart::BY_HAND.contains(&name.as_str()) {
                paths.insert(format!("{folder}/{name}"));
            }
        }
    }
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(root.join(&path)).with_context(|| format!("reading {path}"))?;
            Ok((path, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_up_to_date() {
        super::check().expect("generated files are up to date");
    }
}
