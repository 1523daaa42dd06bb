//! `speakerctl`, also installed as `kubectl-herald`: asks Herald's speakers about their BGP peers.
//!
//! Reads only; nothing here changes the cluster or a speaker. `args` decides where to ask, `source` asks, `row` and
//! `render` make text of the answer.

mod args;
mod failure;
mod peers;
mod render;
mod row;
mod source;
mod span;

use std::io::Write;
use std::process::ExitCode;

use crate::args::Command;
use crate::failure::Failure;

/// The program: reads the command line, answers on standard output, and gives the exit code (0 answered, 1 failed,
/// 2 wrong usage).
#[must_use]
pub fn main() -> ExitCode {
    let (cli, said) = args::read();
    let done = match &cli.command {
        Command::Peers(peers) => peers::run(&cli.reach, said, peers),
        Command::Version => version(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn version() -> Result<(), Failure> {
    writeln!(std::io::stdout(), "speakerctl {}", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
