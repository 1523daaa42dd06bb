//! `cargo xtask image`: the programs, static, for three platforms, in one OCI archive, made without a container engine.
//!
//! Beside the archive lies the list of what is inside (`*.cdx.json`, CycloneDX). Leaves out pushing it anywhere:
//! `skopeo copy --all oci-archive:FILE docker://…` does that.

mod archive;
mod build;
mod check;
pub(crate) mod digest;
mod layer;
pub(crate) mod platform;
mod size;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use self::archive::{Image, labels, pack_image};
use self::build::Place;
use self::platform::Platform;
use crate::{cargo, dependency, workspace};

/// Herald's version: the workspace has one.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const USAGE: &str = "usage: cargo xtask image [--platform linux/amd64|linux/arm64|linux/arm/v7]... [--tag REPOSITORY:TAG] [--output FILE] [--check] [--twice] [--document]";

/// The repository that the manifests name. `localhost` is nobody's registry, so no node ever fetches from there.
pub(crate) const REPOSITORY: &str = "localhost/herald";

/// The names of the one program.
const NAMES: [&str; 3] = ["controller", "speaker", "speakerctl"];

/// The program of each platform.
type Programs = Vec<(Platform, Vec<u8>)>;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    platforms: Vec<Platform>,
    name: String,
    output: PathBuf,
    /// Run the programs of every platform afterwards.
    check: bool,
    /// Build the first platform once more, elsewhere, and compare.
    twice: bool,
    /// Write the sizes down for people.
    document: bool,
}

/// Builds what `arguments` say; without any, everything.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let order = Order::read(arguments)?;
    let (programs, table) = make(&order)?;
    if order.document {
        size::write(&table)?;
    }
    if order.twice {
        let (platform, program) = programs.first().context("an order is for a platform at least")?;
        check::build_twice(*platform, program)?;
    }
    if order.check {
        let file = &order.output;
        check::run_programs(&fs::read(file).with_context(|| format!("reading {}", file.display()))?)?;
    }
    Ok(())
}

/// Builds the image's program for this machine, and gives a folder with its three names: what is measured is what ships.
pub(crate) fn shipped() -> Result<PathBuf> {
    let here = Platform::ALL.into_iter().find(|platform| platform.is_native());
    let here = here.context("the image has no program for this machine's processor")?;
    build::prepare(&[here])?;
    let program = build::program(here, &Place::here())?;
    let folder = cargo::target().join("shipped");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for name in NAMES {
        let path = folder.join(name);
        let new = folder.join(format!("{name}.new"));
        // Renamed into its place: one that still runs keeps its own.
        fs::write(&new, &program).with_context(|| format!("writing {}", new.display()))?;
        fs::set_permissions(&new, Permissions::from_mode(0o755))?;
        fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(folder)
}

/// Builds and packs; gives the programs and the table of their sizes.
fn make(order: &Order) -> Result<(Programs, String)> {
    // Before the build, which takes long: what is built is what is named.
    let image = image(&order.name)?;
    build::prepare(&order.platforms)?;
    let place = Place::here();
    let mut programs = Vec::new();
    for platform in &order.platforms {
        programs.push((*platform, build::program(*platform, &place)?));
    }
    let archive = pack_image(&image, &programs)?;
    if let Some(folder) = order.output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(&order.output, &archive.bytes)
        .with_context(|| format!("writing {}", order.output.display()))?;
    let materials = order.output.with_extension("cdx.json");
    fs::write(&materials, dependency::shipped(&order.platforms)?.materials()?)
        .with_context(|| format!("writing {}", materials.display()))?;
    let rows: Vec<_> = programs
        .iter()
        .zip(&archive.sizes)
        .map(|((platform, program), (_, compressed))| (*platform, program.len(), *compressed))
        .collect();
    let table = size::table(&rows);
    println!("\n{table}\n{} {}@{}", order.output.display(), order.name, archive.index);
    Ok((programs, table))
}

impl Order {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut order = Self {
            platforms: Vec::new(),
            name: format!("{REPOSITORY}:{VERSION}"),
            output: cargo::target().join(format!("image/herald-{VERSION}.tar")),
            check: false,
            twice: false,
            document: false,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            match flag.as_str() {
                "--check" => order.check = true,
                "--twice" => order.twice = true,
                "--document" => order.document = true,
                _ => order.set(flag, rest.next())?,
            }
        }
        if order.platforms.is_empty() {
            order.platforms = Platform::ALL.to_vec();
        }
        if order.document && order.platforms != Platform::ALL {
            bail!("the document is about all platforms: leave --platform out\n{USAGE}");
        }
        order.platforms.sort();
        order.platforms.dedup();
        Ok(order)
    }

    fn set(&mut self, flag: &str, value: Option<&String>) -> Result<()> {
        let value = value.with_context(|| format!("{flag} needs a value, or is none of ours\n{USAGE}"))?;
        match flag {
            "--platform" => {
                for name in value.split(',') {
                    self.platforms.push(Platform::parse(name)?);
                }
            }
            "--tag" => self.name = complete(value)?,
            "--output" => self.output = Path::new(value).to_path_buf(),
            _ => bail!("there is no {flag}\n{USAGE}"),
        }
        Ok(())
    }
}

/// A name with its tag. Engines look images up by the complete name, so a missing registry would make it another one.
fn complete(name: &str) -> Result<String> {
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        Some(_) | None => (name, VERSION),
    };
    let host = repository.split('/').next().unwrap_or_default();
    if !repository.contains('/') || !(host == "localhost" || host.contains(['.', ':'])) {
        bail!(
            "{name:?} names no registry: write registry.example.org/{name}, or localhost/{name} for an image that is only loaded"
        );
    }
    Ok(format!("{repository}:{tag}"))
}

fn image(name: &str) -> Result<Image> {
    let time = time()?;
    let revision = git(&["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"])?;
    let created = rfc3339(time);
    let labels = labels([
        ("title", "Herald".to_owned()),
        ("description", "BGP load balancer for Kubernetes: controller, speaker and speakerctl".to_owned()),
        ("version", VERSION.to_owned()),
        ("revision", revision),
        ("created", created.clone()),
        ("licenses", "Apache-2.0".to_owned()),
    ]);
    Ok(Image { name: name.to_owned(), time, created, labels })
}

/// The time that every date in a release is: `SOURCE_DATE_EPOCH`, or that of the commit. Seconds since 1970.
pub(crate) fn time() -> Result<u64> {
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => git(&["log", "-1", "--format=%ct"])?,
    };
    time.trim().parse().context("SOURCE_DATE_EPOCH is no number of seconds")
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(workspace::root())
        .output()
        .context("starting git, which knows the commit and its time")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Seconds since 1970 as a date, in UTC. The calendar repeats every 400 years, and a year that begins in March has its
/// leap day last.
fn rfc3339(time: u64) -> String {
    let (days, second) = (time / 86_400 + 719_468, time % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        for (time, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_764_028_800, "2025-11-25T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(time), text);
        }
    }

    #[test]
    fn a_name_without_registry_is_refused_and_a_missing_tag_is_the_version() {
        assert_eq!(complete("localhost/herald:ci").expect("complete"), "localhost/herald:ci");
        assert_eq!(complete("10.0.0.1:5000/a/b").expect("complete"), format!("10.0.0.1:5000/a/b:{VERSION}"));
        for name in ["herald", "herald:1", "someone/herald:1"] {
            assert!(complete(name).expect_err("refused").to_string().contains("localhost/"), "{name}");
        }
    }

    #[test]
    fn platforms_may_be_repeated_listed_and_left_out() {
        let read = |text: &str| {
            Order::read(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).map(|o| o.platforms)
        };
        assert_eq!(read("").expect("all"), Platform::ALL);
        assert_eq!(
            read("--platform linux/arm/v7,linux/amd64 --platform linux/amd64").expect("two"),
            [Platform::Amd64, Platform::ArmV7]
        );
        for wrong in ["--platform", "--platform linux/riscv64", "--colour red"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
