//! Completion scripts and manual pages, made from the command line's own definition.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

use crate::failure::Failure;
use crate::{Outcome, args, write};

/// Prints the script for a shell, for the name `speakerctl`; as a plugin, kubectl asks for suggestions (`suggestion`).
///
/// # Errors
/// When it could not be written.
pub(crate) fn completion(shell: Shell) -> Result<Outcome, Failure> {
    let mut command = args::command(None);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "speakerctl", &mut script);
    write(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Well)
}

/// Writes one page for the program and one for each command.
///
/// # Errors
/// When the folder or a page could not be written.
pub(crate) fn pages(folder: &Path) -> Result<Outcome, Failure> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(args::command(None), folder)?;
    Ok(Outcome::Well)
}
