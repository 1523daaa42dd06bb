//! What a log level text means.
//!
//! Leaves out where the level is applied.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Herald's own crates: a plain level is about them.
const OWN: [&str; 9] =
    ["api", "bgp_proto", "bfd_proto", "runtime", "controller", "speaker", "speakerctl", "testbed", "demo"];
/// Libraries that warn about what Herald handles and logs itself.
const QUIET: [&str; 2] = ["kube_client", "kube_runtime"];

/// Why a level is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LevelFault {
    /// Not a level.
    #[error(
        "\"{0}\" is no log level: use off, error, warn, info, debug or trace, or a list such as info,speaker=debug"
    )]
    Unknown(String),
    /// The log is gone.
    #[error("this process has no log whose level could change")]
    NoLog,
}

/// Whether `text` is a log level.
///
/// # Errors
/// [`LevelFault`] when it is not.
pub fn check_level(text: &str) -> Result<(), LevelFault> {
    parse(text).map(drop)
}

pub(super) fn parse(text: &str) -> Result<Targets, LevelFault> {
    let unknown = || LevelFault::Unknown(text.to_owned());
    let mut targets = Targets::new();
    let mut named = Vec::new();
    let mut plain = None;
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            Some((target, level)) if !target.trim().is_empty() => {
                named.push((target.trim().to_owned(), word(level).ok_or_else(unknown)?));
            }
            Some(_) => return Err(unknown()),
            None => plain = Some(word(part).ok_or_else(unknown)?),
        }
    }
    let plain = plain.unwrap_or(LevelFilter::INFO);
    if plain == LevelFilter::TRACE {
        targets = targets.with_default(LevelFilter::TRACE);
    } else {
        targets = targets.with_default(plain.min(LevelFilter::WARN));
        targets = targets.with_targets(QUIET.map(|target| (target, plain.min(LevelFilter::ERROR))));
        targets = targets.with_targets(OWN.map(|target| (target, plain)));
    }
    Ok(targets.with_targets(named))
}

/// One level; `all` and `none` are MetalLB's words.
fn word(text: &str) -> Option<LevelFilter> {
    match text.trim().to_ascii_lowercase().as_str() {
        "off" | "none" => Some(LevelFilter::OFF),
        "error" => Some(LevelFilter::ERROR),
        "warn" | "warning" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" | "all" => Some(LevelFilter::TRACE),
        _ => None,
    }
}
