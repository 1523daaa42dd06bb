//! Files that are generated from the code: the test says when they are stale, `cargo xtask bless` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{crds, workspace};

/// Writes every generated file and removes those that are no longer generated.
pub(crate) fn bless() -> Result<()> {
    let wanted = crds::generate()?;
    let folder = folder();
    fs::create_dir_all(&folder)?;
    for name in existing()?.into_keys().filter(|name| !wanted.contains_key(name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, text) in &wanted {
        fs::write(folder.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    println!("bless: {} files in manifests/crds", wanted.len());
    Ok(())
}

/// Fails with the names of the stale files.
pub(crate) fn check() -> Result<()> {
    let wanted = crds::generate()?;
    let existing = existing()?;
    let names = wanted.keys().chain(existing.keys());
    let mut stale: Vec<&String> = names.filter(|name| wanted.get(*name) != existing.get(*name)).collect();
    stale.sort();
    stale.dedup();
    if stale.is_empty() {
        return Ok(());
    }
    bail!("stale in manifests/crds: {stale:?}; run `cargo xtask bless` and look at the difference")
}

fn folder() -> PathBuf {
    workspace::root().join("manifests/crds")
}

fn existing() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder()).context("reading manifests/crds")? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let name = path.file_name().expect("a listed file has a name").to_string_lossy().into_owned();
            files.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_up_to_date() {
        super::check().expect("generated files are up to date");
    }
}
