//! `cargo xtask release`: everything that a release is made of, in one folder, with checksums.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, GzBuilder};

use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::{self, VERSION};
use crate::{cargo, dependency, generated, workspace};

/// Where the files go, below the target folder.
const FOLDER: &str = "release-files";

/// Makes the files of a release. `arguments` go to `cargo xtask image`; without any, the image is for all platforms.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    generated::check()?;
    ensure_described()?;
    ensure_named(&guide()?)?;
    let folder = cargo::target().join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    let archive = folder.join(format!("herald-{VERSION}.tar"));
    let mut order = arguments.to_vec();
    order.extend(["--output".to_owned(), archive.to_string_lossy().into_owned()]);
    image::run(&order)?;
    let manifests = workspace::root().join("manifests");
    copy(&manifests.join("herald.yaml"), &folder.join("herald.yaml"))?;
    copy(&workspace::root().join("LICENSE"), &folder.join("LICENSE"))?;
    let time = image::time()?;
    write(&folder.join(format!("herald-chart-{VERSION}.tgz")), &chart(&manifests, time)?)?;
    write(&folder.join("licences.txt"), dependency::shipped(&Platform::ALL)?.licences()?.as_bytes())?;
    let sums = checksums(&folder)?;
    write(&folder.join("SHA256SUMS"), sums.as_bytes())?;
    print!("\n{}\n{sums}", folder.display());
    Ok(())
}

/// A release without words about it is none.
fn ensure_described() -> Result<()> {
    let changes =
        fs::read_to_string(workspace::root().join("CHANGELOG.md")).context("reading CHANGELOG.md")?;
    let heads: Vec<&str> = changes.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    ensure!(
        heads.iter().any(|head| *head == "Unreleased" || head.starts_with(VERSION)),
        "CHANGELOG.md has neither a section {VERSION} nor one that is unreleased, but {heads:?}"
    );
    Ok(())
}

fn guide() -> Result<String> {
    fs::read_to_string(workspace::root().join("docs/install.md")).context("reading docs/install.md")
}

/// The guide names files and tags with their version, and people type them as they stand there.
fn ensure_named(guide: &str) -> Result<()> {
    let mut named = 0;
    for before in ["herald-", "herald:", "newTag: "] {
        for after in guide.split(before).skip(1) {
            let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
            let version = after.get(..end).unwrap_or_default().trim_end_matches('.');
            if version.contains('.') {
                named += 1;
                ensure!(version == VERSION, "docs/install.md names {before}{version}, this is {VERSION}");
            }
        }
    }
    ensure!(named > 0, "docs/install.md names no version: is it read wrongly?");
    Ok(())
}

/// The chart as `helm package` packs it.
fn chart(manifests: &Path, time: u64) -> Result<Vec<u8>> {
    let root = manifests.join("charts");
    let mut files = Vec::new();
    collect(&root.join("herald"), &mut files)?;
    files.sort();
    let gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_mtime(time);
        header.set_size(bytes.len() as u64);
        let name = file.strip_prefix(&root).context("the walk began there")?;
        tar.append_data(&mut header, name, bytes.as_slice()).context("packing the chart")?;
    }
    tar.into_inner().and_then(|gzip| gzip.finish()).context("packing the chart")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// As `sha256sum` writes them.
fn checksums(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut lines = String::new();
    for file in files {
        let name = file.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        lines.push_str(&format!("{}  {name}\n", Digest::of(&bytes).hex()));
    }
    Ok(lines)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {}", from.display())).map(drop)
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_packed_under_its_name_and_the_same_twice() {
        let manifests = workspace::root().join("manifests");
        let packed = chart(&manifests, 7).expect("packs");
        assert_eq!(packed, chart(&manifests, 7).expect("packs"));
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let names: Vec<String> = archive
            .entries()
            .expect("a tar")
            .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
            .collect();
        for name in ["herald/Chart.yaml", "herald/values.yaml", "herald/templates/speaker.yaml"] {
            assert!(names.contains(&name.to_owned()), "{names:?}");
        }
    }

    #[test]
    fn the_guide_names_this_version() {
        ensure_named(&guide().expect("a guide")).expect("this version everywhere");
        for other in ["load herald-99.0.0.tar", "localhost/herald:99.1.0`", "newTag: 99.0.1}"] {
            ensure_named(other).expect_err(other);
        }
        ensure_named("herald-lb.io and herald-system").expect_err("no version at all");
    }

    #[test]
    fn the_changes_of_this_version_are_described() {
        ensure_described().expect("a section");
    }
}
