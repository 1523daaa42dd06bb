//! The platforms that an image is for.

use std::fmt;

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// A processor and its instruction set, as image indexes name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Platform {
    Amd64,
    Arm64,
    ArmV7,
}

impl Platform {
    pub(crate) const ALL: [Self; 3] = [Self::Amd64, Self::Arm64, Self::ArmV7];

    /// Reads `linux/arm/v7` and its like.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let Some(found) = Self::ALL.into_iter().find(|platform| platform.name() == text) else {
            bail!("no platform {text:?}: there are {}", Self::ALL.map(Self::name).join(", "));
        };
        Ok(found)
    }

    /// As `docker --platform` says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
            Self::ArmV7 => "linux/arm/v7",
        }
    }

    /// As `platform` of a descriptor and the head of an image configuration say it.
    pub(crate) fn fields(self) -> Value {
        match self {
            Self::Amd64 => json!({"os": "linux", "architecture": "amd64"}),
            Self::Arm64 => json!({"os": "linux", "architecture": "arm64"}),
            Self::ArmV7 => json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
        }
    }

    /// Rust's name of the target: musl, so that the programs are static.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
            Self::ArmV7 => "armv7-unknown-linux-musleabihf",
        }
    }

    /// Whether rustup knows the target, and brings the C library and the objects that start its programs.
    pub(crate) const fn is_with_rustup(self) -> bool {
        match self {
            Self::Amd64 | Self::Arm64 => true,
            Self::ArmV7 => false,
        }
    }

    /// The program that runs the platform's programs on another one.
    pub(crate) const fn emulator(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-x86_64-static",
            Self::Arm64 => "qemu-aarch64-static",
            Self::ArmV7 => "qemu-arm-static",
        }
    }

    /// Whether this machine runs the platform's programs itself. A 64-bit ARM may or may not run 32-bit programs: it
    /// emulates them.
    pub(crate) fn is_native(self) -> bool {
        match self {
            Self::Amd64 => std::env::consts::ARCH == "x86_64",
            Self::Arm64 => std::env::consts::ARCH == "aarch64",
            Self::ArmV7 => std::env::consts::ARCH == "arm",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
