//! The controller's process: flags, logs, run, exit code (0 asked to stop, 1 failed, 2 wrong usage).

use std::process::ExitCode;

use crate::args::{Args, Settings};
use crate::daemon::run;
use clap::Parser;

/// Runs the controller and gives the exit code: 0 asked to stop, 1 failed, 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let level = match runtime::log::init(&args.common.log_level, args.common.log_format) {
        Ok(level) => level,
        Err(fault) => {
            eprintln!("controller: {fault}");
            return ExitCode::from(2);
        }
    };
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return failed(&error),
    };
    let settings = Settings::from(args);
    match tokio.block_on(async { run(settings, level, runtime::stop::on_signals()).await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(%error, "the controller cannot run");
    ExitCode::FAILURE
}
