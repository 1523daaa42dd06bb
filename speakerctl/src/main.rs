//! The program of its own; the image has it together with the daemons in one file.

use std::process::ExitCode;

fn main() -> ExitCode {
    speakerctl::main()
}
