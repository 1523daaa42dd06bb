//! Controller, speaker and speakerctl as one program that acts as the one by whose name it is called.
//!
//! They share most of their code (client, TLS, JSON, the async runtime), so one file holds all three for little more
//! than the size of one; the image has it once and a link for each name. Whoever wants single programs builds the
//! packages of those names.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// What the program can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Controller,
    Speaker,
    Speakerctl,
}

impl Role {
    /// The role that belongs to the path by which the program was called. A kubectl plugin is called `kubectl-herald`.
    fn called(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_stem()?.to_str()? {
            "controller" => Some(Self::Controller),
            "speaker" => Some(Self::Speaker),
            "speakerctl" | "kubectl-herald" | "kubectl_complete-herald" => Some(Self::Speakerctl),
            _ => None,
        }
    }
}

fn main() -> ExitCode {
    let program = std::env::args_os().next().unwrap_or_default();
    match Role::called(&program) {
        Some(Role::Controller) => controller::program::main(),
        Some(Role::Speaker) => speaker::program::main(),
        Some(Role::Speakerctl) => speakerctl::main(),
        None => {
            eprintln!(
                "herald {}: call this program by the name controller, speaker, speakerctl or kubectl-herald, \
                 through a link of that name",
                env!("CARGO_PKG_VERSION")
            );
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_path_chooses_the_role() {
        for (program, role) in [
            ("/controller", Some(Role::Controller)),
            ("speaker", Some(Role::Speaker)),
            ("./bin/speakerctl", Some(Role::Speakerctl)),
            ("/usr/local/bin/kubectl-herald", Some(Role::Speakerctl)),
            ("/usr/local/bin/kubectl_complete-herald", Some(Role::Speakerctl)),
            ("/herald", None),
            ("", None),
            ("/speaker/", Some(Role::Speaker)),
            ("/", None),
        ] {
            assert_eq!(Role::called(OsStr::new(program)), role, "{program}");
        }
    }
}
