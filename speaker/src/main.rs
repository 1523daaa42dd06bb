//! The program of its own; the image has it together with the others in one file.

use std::process::ExitCode;

fn main() -> ExitCode {
    speaker::program::main()
}
