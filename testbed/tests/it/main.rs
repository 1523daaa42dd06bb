//! The system tests: each tells a story on a lab of its own, with real parts. See `testbed::lab`.

mod data_path;
mod family;
mod fixture;
mod home;
mod impostor;
mod ipam;
mod outage;
mod rejection;
mod restart;
mod rights;
mod runner;

use runner::Test;

fn main() -> std::process::ExitCode {
    // The longest first: it then runs beside all others.
    let groups = [
        outage::TESTS,
        home::TESTS,
        restart::TESTS,
        ipam::TESTS,
        impostor::TESTS,
        family::TESTS,
        rejection::TESTS,
        data_path::TESTS,
        rights::TESTS,
        fixture::TESTS,
    ];
    let tests: Vec<Test> = groups.into_iter().flatten().copied().collect();
    runner::run(&tests)
}
