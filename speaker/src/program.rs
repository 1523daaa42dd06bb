//! The speaker's process: flags, log, run, exit code (0 asked to stop, 1 failed, 2 wrong usage).

use std::process::ExitCode;

use crate::app;
use crate::args::{Args, Settings};
use clap::Parser;

/// Runs the speaker and gives the exit code: 0 asked to stop, 1 failed, 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
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

fn fail(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(%error, "speaker cannot run");
    ExitCode::FAILURE
}
