//! Settings of the whole machine that a kubelet changes at its start: noted before, restored after.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::run::Run;

/// What the kubelet's container manager sets.
const CHANGED_BY_KUBELET: [&str; 6] = [
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
];

/// Writes the present values into the ledger, so that even a crash of ours loses none.
///
/// # Errors
/// When the ledger cannot be written.
pub fn note(run: &Run) -> Result<()> {
    for key in CHANGED_BY_KUBELET {
        // A kernel without the setting has nothing that could be changed.
        if let Ok(value) = fs::read_to_string(file(key)) {
            run.note_setting(key, value.trim())?;
        }
    }
    Ok(())
}

/// Puts a value back, where it differs.
pub fn restore(key: &str, value: &str) {
    let path = file(key);
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
        let _ = fs::write(path, value);
    }
}

fn file(key: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(key.replace('.', "/"))
}
