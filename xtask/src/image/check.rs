//! What shows that an archive is good: each platform's programs run, foreign ones under qemu, and a second build from a
//! copy of the sources gives the same bytes.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::archive::{NAMES, PROGRAM};
use super::build::{self, Place};
use super::digest::Digest;
use super::platform::Platform;
use super::{VERSION, git};
use crate::{cargo, workspace};

/// The story of the test bed that a foreign speaker plays: sessions with FRR in both families, routes, withdrawal.
const STORY: &str = "external_bgp_announces_both_families_of_the_sample";

/// Runs the programs of every platform in the archive, and lets those of the foreign ones peer with FRR.
pub(super) fn run_programs(archive: &[u8]) -> Result<()> {
    let folder = Scratch::make("herald-image")?;
    for (platform, program) in programs(archive)? {
        let place = folder.path.join(platform.target());
        unpack(platform, &program, &place)?;
        for name in NAMES {
            let said = says_its_version(platform, &place, name)?;
            println!("image: {platform}: {said}");
        }
        if !platform.is_native() {
            println!("image: {platform}: its controller and speakers in the test bed, under emulation");
            let mut story = cargo::command(&["test", "--quiet", "--package", "testbed", "--test", "it"]);
            story.args(["--", STORY]).env("HERALD_REQUIRE_SYSTEM_TESTS", "1");
            story.env("HERALD_TESTBED_DAEMONS", &place);
            cargo::finish(&mut story, "the story of the test bed")
                .with_context(|| format!("{platform} does not announce"))?;
        }
    }
    Ok(())
}

/// Builds once more, elsewhere, and compares.
pub(super) fn build_twice(platform: Platform, first: &[u8]) -> Result<()> {
    let folder = Scratch::make("herald-again")?;
    let sources = folder.path.join("sources");
    for file in git(&["ls-files", "--cached", "--others", "--exclude-standard"])?.lines() {
        let (from, to) = (workspace::root().join(file), sources.join(file));
        if from.is_file() {
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::copy(&from, &to).with_context(|| format!("copying {file}"))?;
        }
    }
    let second = build::program(platform, &Place { root: sources, target: folder.path.join("target") })?;
    let (first, second) = (Digest::of(first), Digest::of(&second));
    ensure!(first == second, "{platform}: a second build gave {second} where the first gave {first}");
    println!("image: {platform}: a second build, from other folders, gives the same {first}");
    Ok(())
}

/// The program of each platform, read from the archive as an engine reads it.
fn programs(archive: &[u8]) -> Result<Vec<(Platform, Vec<u8>)>> {
    let inner = descriptors(&json(archive, "index.json")?, "manifests");
    let [inner] = inner.as_slice() else { bail!("index.json must name one image index") };
    let mut found = Vec::new();
    for descriptor in descriptors(&blob(archive, inner)?, "manifests") {
        let platform = Platform::ALL
            .into_iter()
            .find(|platform| descriptor["platform"] == platform.fields())
            .with_context(|| format!("no platform of ours: {}", descriptor["platform"]))?;
        let layers = descriptors(&blob(archive, &descriptor)?, "layers");
        let [layer] = layers.as_slice() else { bail!("{platform} must have one layer") };
        let packed = file(archive, &path(layer)?)?;
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut plain)
            .context("unpacking a layer")?;
        found.push((platform, file(&plain, PROGRAM)?));
    }
    Ok(found)
}

fn descriptors(body: &Value, key: &str) -> Vec<Value> {
    body[key].as_array().cloned().unwrap_or_default()
}

fn path(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().context("a descriptor without digest")?;
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

fn blob(archive: &[u8], descriptor: &Value) -> Result<Value> {
    json(archive, &path(descriptor)?)
}

fn json(archive: &[u8], path: &str) -> Result<Value> {
    serde_json::from_slice(&file(archive, path)?).with_context(|| format!("{path} is no JSON"))
}

fn file(tar: &[u8], path: &str) -> Result<Vec<u8>> {
    for entry in tar::Archive::new(tar).entries().context("reading a tar")? {
        let mut entry = entry.context("reading a tar")?;
        if entry.path().context("a path in a tar")? == Path::new(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).with_context(|| format!("reading {path}"))?;
            return Ok(bytes);
        }
    }
    bail!("no {path} in the archive")
}

/// The program with its names, as in the image; where the machine cannot run it, the names start the emulator.
fn unpack(platform: Platform, program: &[u8], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join(PROGRAM);
    fs::write(&file, program)?;
    runnable(&file)?;
    for name in NAMES {
        let called = folder.join(name);
        if platform.is_native() {
            symlink(PROGRAM, &called)?;
            continue;
        }
        let emulator = installed(platform)?;
        let script = format!("#!/bin/sh\nexec {} -0 {name} {} \"$@\"\n", emulator.display(), file.display());
        fs::write(&called, script)?;
        runnable(&called)?;
    }
    Ok(())
}

fn runnable(file: &Path) -> Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).context("making a program runnable")
}

fn says_its_version(platform: Platform, folder: &Path, name: &str) -> Result<String> {
    let output = Command::new(folder.join(name))
        .arg("--version")
        .output()
        .with_context(|| format!("starting {name} of {platform}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success() && said == format!("{name} {VERSION}"),
        "{name} of {platform} says {said:?}, {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(said)
}

/// The emulator of a platform, from the distribution.
fn installed(platform: Platform) -> Result<PathBuf> {
    let program = Path::new("/usr/bin").join(platform.emulator());
    if !program.is_file() {
        println!("image: apt-get install qemu-user-static (runs the programs of {platform} here)");
        let mut install = Command::new("apt-get");
        install
            .args(["install", "--yes", "--quiet", "qemu-user-static"])
            .env("DEBIAN_FRONTEND", "noninteractive");
        cargo::finish(&mut install, "apt-get install qemu-user-static")?;
    }
    ensure!(program.is_file(), "{} is missing: without it {platform} cannot be tried", program.display());
    Ok(program)
}

/// A folder that the daemons' user can reach, gone in the end.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("image: {} could not be removed: {error}", self.path.display());
        }
    }
}
