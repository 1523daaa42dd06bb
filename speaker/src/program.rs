//! The speaker's process: flags, log, run, exit code (0 asked to stop, 1 failed, 2 wrong usage).

use std::path::Path;
use std::process::ExitCode;

use crate::app;
use crate::args::{Args, Settings};
use clap::Parser;

/// The word with which the program prepares a folder, and does nothing else.
const PREPARE: &str = "prepare-folder";

/// Runs the speaker and gives the exit code: 0 asked to stop, 1 failed, 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == PREPARE) {
        return words.next().map_or_else(|| ExitCode::from(2), |folder| prepare(Path::new(&folder)));
    }
    let settings = Settings::from(Args::parse());
    let level = match runtime::log::init(&settings.common.log_level, settings.common.log_format) {
        Ok(level) => level,
        Err(fault) => return fail(&fault),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(async { app::run(settings, level, runtime::stop::on_signals()).await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// A folder that cannot be prepared is no reason to keep the speaker from starting: it lives without one.
fn prepare(folder: &Path) -> ExitCode {
    if let Err(error) = crate::folder::prepare(folder) {
        eprintln!(
            "{}: {error}; the speaker runs without this folder: upgrades restart the sessions, and a start while the API \
             server is away announces nothing",
            folder.display()
        );
    }
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(%error, "speaker cannot run");
    ExitCode::FAILURE
}
