//! Runs the work of a program until it is done or a signal ends it. Either way the work is dropped before the program
//! ends, so that whatever it holds (labs, clusters, containers) is taken away.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// What is left on the runtime's threads after the work may take so long to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// The signal that ended a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Stop {
    /// The exit status that a shell gives to a program which this signal ended.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        })
    }
}

/// Waits for the work or for a signal, whichever comes first.
///
/// # Errors
/// When signals cannot be listened for.
pub async fn until_stopped<T>(work: impl Future<Output = T>) -> Result<Result<T, Stop>> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    Ok(tokio::select! {
        done = work => Ok(done),
        _ = interrupted.recv() => Err(Stop::Interrupted),
        _ = terminated.recv() => Err(Stop::Terminated),
    })
}

/// Does the work on a runtime of its own.
///
/// # Errors
/// Those of the work.
pub fn play(work: impl Future<Output = Result<()>>) -> Result<Result<(), Stop>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting a runtime")?;
    let outcome = runtime.block_on(until_stopped(work));
    runtime.shutdown_timeout(FAREWELL);
    match outcome? {
        Ok(done) => done.map(Ok),
        Err(stop) => Ok(Err(stop)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says that it was dropped.
    struct Held<'a>(&'a std::cell::Cell<bool>);

    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_failure_of_the_work_is_that_of_the_program() {
        let why = play(async { anyhow::bail!("the lab did not start") }).expect_err("it fails");
        assert_eq!(why.to_string(), "the lab did not start");
    }

    #[test]
    fn work_that_a_signal_ends_lets_go_of_what_it_holds() {
        let dropped = std::cell::Cell::new(false);
        let outcome = play(async {
            let _held = Held(&dropped);
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
            std::future::pending::<Result<()>>().await
        });
        assert_eq!(outcome.expect("the work itself did not fail"), Err(Stop::Terminated));
        assert!(dropped.get());
    }
}
