//! `speakerctl`, also installed as `kubectl-herald`: asks Herald's speakers about peers, routes and reasons.
//!
//! Reads only; nothing here changes the cluster or a speaker. `args` decides where to ask, `source` asks, `row` and
//! `render` make text of the answer.

mod absence;
mod advice;
mod args;
#[cfg(test)]
mod document;
mod duplicate;
mod failure;
mod manual;
mod peers;
mod render;
mod routes;
mod row;
mod source;
mod span;
mod suggestion;
mod version;
mod why;

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::args::{Command, DEFAULT_SOCKET, Place, ReachArgs, Said};
use crate::failure::Failure;

/// The exit code of an answer that is not what a script hopes for.
const NOT_WELL: u8 = 3;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It answered, and nobody asked how things stand, or they stand well.
    Well,
    /// It answered that something is not as it should be.
    NotWell,
}

impl Outcome {
    fn of(well: bool) -> Self {
        if well { Self::Well } else { Self::NotWell }
    }
}

/// The program: reads the command line, answers on standard output, and gives the exit code (0 answered, 1 failed,
/// 2 wrong usage, 3 answered and not well).
#[must_use]
pub fn main() -> ExitCode {
    if args::asks_for_suggestions() {
        let words: Vec<String> =
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        // kubectl has nobody to tell that its pipe is closed.
        let _ = write(&suggestion::answer(args::command(None), &words));
        return ExitCode::SUCCESS;
    }
    let (cli, said) = args::read();
    let done = match &cli.command {
        Command::Peers(peers) => peers::run(&cli.reach, said, peers),
        Command::Routes(routes) => routes::run(&cli.reach, said, routes),
        Command::Why(question) => why::run(&cli.reach, said, question),
        Command::Version(version) => version::run(&cli.reach, said, version),
        Command::Completion(completion) => manual::completion(completion.shell),
        Command::Man(man) => manual::pages(&man.folder),
    };
    match done {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::NotWell) => ExitCode::from(NOT_WELL),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint(args::called(), &cli.reach.namespace) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs a question to its end, at the place that the flags choose.
fn ask<'a, F, T>(
    reach: &'a ReachArgs,
    said: Said,
    question: impl FnOnce(Place<'a>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let place = reach.place(said, Path::new(DEFAULT_SOCKET).exists())?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start)?;
    tokio.block_on(question(place))
}

/// An API that answers, and knows of no speaker at all.
fn nobody_reports(namespace: &str) -> String {
    format!(
        "No speaker reports in namespace {namespace}. Where does Herald run? kubectl get speakerstates -A"
    )
}

/// Remarks go to stderr, so that what scripts read stays clean.
fn notice(text: &str) {
    eprintln!("{text}");
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
