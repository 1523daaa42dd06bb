//! SHA-256, as images and checksum files write it.

use std::fmt;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of some bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hex = String::with_capacity(64);
        for octet in Sha256::digest(bytes) {
            write!(hex, "{octet:02x}").expect("a String takes every text");
        }
        Self(hex)
    }

    /// The 64 digits alone.
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}
