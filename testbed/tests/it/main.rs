//! The system tests: each tells a story on a lab of its own, with real parts. See `testbed::lab`.

mod attribute;
mod bfd;
mod data_path;
mod failure;
mod family;
mod fixture;
mod home;
mod impostor;
mod ipam;
mod moving;
mod outage;
mod rejection;
mod restart;
mod rights;
mod runner;
mod session;
mod why;

use runner::Test;

fn main() -> std::process::ExitCode {
    // The longest first: it then runs beside all others.
    let groups = [
        outage::TESTS,
        failure::TESTS,
        bfd::TESTS,
        home::TESTS,
        restart::TESTS,
        session::TESTS,
        moving::TESTS,
        ipam::TESTS,
        impostor::TESTS,
        family::TESTS,
        rejection::TESTS,
        data_path::TESTS,
        rights::TESTS,
        fixture::TESTS,
        why::TESTS,
        attribute::TESTS,
    ];
    let soak = std::env::var_os("HERALD_SOAK").map_or(&[][..], |_| failure::SOAK);
    let tests: Vec<Test> = groups.into_iter().chain([soak]).flatten().copied().collect();
    runner::run(&tests)
}
