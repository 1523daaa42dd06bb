//! Herald beside others that do the same work, in one run, as Markdown on standard output.
//!
//! `rivals codec` compares with the published crates, `rivals daemons ANNOUNCER` with the daemons of Debian, where
//! ANNOUNCER is Herald's driver as its own program, `rivals beside ANNOUNCER` is the part of it about peers that never read
//! alone; `rivals interop SPOKESMAN` runs Herald's driver against the same daemons as routers. `cargo xtask performance` and
//! `cargo xtask interop` build them, run them and keep the tables. Progress goes to standard error. Leaves out targets and
//! judgement: those are the reader's.

mod absorb;
mod allocation;
mod announce;
mod burden;
mod codec;
mod daemon;
mod day;
mod goal;
mod interop;
mod latency;
mod library;
mod markdown;
mod rounds;
mod sink;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["codec"] => codec::run().map(|goals| goal::print(&goals)),
        ["daemons", announcer] => daemons(Path::new(announcer)),
        ["beside", announcer] => burden::beside_deaf(Path::new(announcer)).map(|goal| goal::print(&[goal])),
        ["interop", spokesman] => interop::run(Path::new(spokesman)),
        _ => {
            eprintln!(
                "usage: rivals codec | rivals daemons ANNOUNCER | rivals beside ANNOUNCER | rivals interop SPOKESMAN"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("rivals: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn daemons(announcer: &Path) -> anyhow::Result<()> {
    daemon::installer::install()?;
    let mut goals = announce::run(announcer)?;
    latency::run(announcer)?;
    goals.extend(absorb::run(announcer)?);
    goals.extend(burden::run(announcer)?);
    goal::print(&goals);
    Ok(())
}

/// Lets time pass.
#[allow(clippy::disallowed_methods, reason = "the other programs tell nobody when they are done")]
fn pause(duration: std::time::Duration) {
    std::thread::sleep(duration);
}
