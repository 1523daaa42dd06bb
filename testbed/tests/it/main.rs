//! The system tests: each tells a story on a lab of its own, with real parts. See `testbed::lab`.

mod attendance;
mod attribute;
mod bfd;
mod data_path;
mod failure;
mod family;
mod fixture;
mod home;
mod impostor;
mod install;
mod ipam;
mod ipam_conformance;
mod ipam_crash;
mod ipam_crd;
mod ipam_guide;
mod ipam_network;
mod ipam_takeover;
mod latency;
mod login;
mod moving;
mod outage;
mod peers;
mod rejection;
mod restart;
mod rights;
mod runner;
mod service_status;
mod session;
mod trouble;
mod upgrade;
mod why;
mod width;
mod witness;

use runner::Test;

fn main() -> std::process::ExitCode {
    // The longest first: it then runs beside all others.
    let groups = [
        outage::TESTS,
        failure::TESTS,
        bfd::TESTS,
        home::TESTS,
        restart::TESTS,
        upgrade::TESTS,
        service_status::TESTS,
        session::TESTS,
        peers::TESTS,
        latency::TESTS,
        login::TESTS,
        moving::TESTS,
        ipam_crash::TESTS,
        ipam::TESTS,
        ipam_conformance::TESTS,
        ipam_guide::TESTS,
        ipam_network::TESTS,
        ipam_takeover::TESTS,
        ipam_crd::TESTS,
        impostor::TESTS,
        install::TESTS,
        family::TESTS,
        rejection::TESTS,
        data_path::TESTS,
        rights::TESTS,
        trouble::TESTS,
        fixture::TESTS,
        why::TESTS,
        width::TESTS,
        attribute::TESTS,
        attendance::TESTS,
    ];
    let soak = std::env::var_os("HERALD_SOAK").map_or(&[][..], |_| failure::SOAK);
    let tests: Vec<Test> = groups.into_iter().chain([soak]).flatten().copied().collect();
    runner::run(&tests)
}
