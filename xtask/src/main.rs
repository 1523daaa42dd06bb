//! Herald's build steps: `cargo xtask STEP`.
//!
//! | step | what it does |
//! |---|---|
//! | `verify` | the whole gate; `.ci/run` and `cargo verify` call it |
//! | `tidy` | the repository's own rules (file length, import borders, purity, names) |
//! | `bless` | writes the generated files (CRDs, `manifests/herald.yaml`) anew |
//! | `chart` | lints the Helm chart, renders it and compares it with `manifests/herald.yaml` |
//! | `image` | builds static programs for three platforms and packs them into one OCI archive |
//! | `burst` | measures the controller beside a bare loop and MetalLB's, and writes `docs/performance-ipam.md` |
//! | `kubelet` | installs the image and the YAML on real kubelets, and writes `docs/performance-kubelet.md` |
//! | `failures` | makes failures on the real parts, and writes `docs/failures.md` |
//! | `soak` | for so many minutes: fresh seeds of the simulation, and the large system tests |
//! | `measure` | prints latency, memory and size of the release build as Markdown |
//! | `containerlab` | plays the labs of `testbed/containerlab`, in namespaces and with containerlab |
//! | `interop` | runs Herald's driver against the routers of Debian, and writes `docs/interop.md` |
//! | `release` | makes the files of a release: image, YAML, chart, licences, list of materials, checksums |
//! | `performance` | measures the BGP core beside crates and daemons, and writes `docs/performance.md` |

mod burst;
mod cargo;
mod chart;
mod containerlab;
mod crds;
mod dependency;
mod failures;
mod generated;
mod image;
mod install;
mod interop;
mod kubelet;
mod measure;
mod performance;
mod release;
mod soak;
mod tidy;
mod tools;
mod verify;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let step = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let done = match step.as_deref() {
        Some("verify") => verify::run(),
        Some("tidy") => tidy::run(),
        Some("bless") => generated::bless(),
        Some("chart") if rest.is_empty() => chart::check(),
        Some("image") => image::run(&rest),
        Some("burst") => burst::run(&rest),
        Some("containerlab") => containerlab::run(&rest),
        Some("kubelet") => kubelet::run(&rest),
        Some("failures") => failures::run(&rest),
        Some("soak") => soak::run(&rest),
        Some("measure") => measure::run(&rest),
        Some("interop") => interop::run(),
        Some("release") => release::run(&rest),
        Some("performance") => performance::run(),
        Some(other) => return wrong_usage(&format!("there is no step `{other}`")),
        None => return wrong_usage("which step?"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("xtask: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_usage(why: &str) -> ExitCode {
    eprintln!(
        "xtask: {why}\nusage: cargo xtask verify|tidy|bless|chart|image|release|kubelet|containerlab|\
         failures|soak|measure|burst|performance|interop"
    );
    ExitCode::from(2)
}
