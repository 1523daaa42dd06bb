//! The speaker's process: flags, log, run, exit code (0 asked to stop, 1 failed, 2 wrong usage).

use std::process::ExitCode;

use clap::Parser;
use speaker::app;
use speaker::args::{Args, Settings};

fn main() -> ExitCode {
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
