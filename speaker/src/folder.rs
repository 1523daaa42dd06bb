//! Makes a folder of the node usable for speakers, which are nobody's root: run once before them, as root without any
//! capability, by `speaker prepare-folder PATH`.
//!
//! The owner of a folder may give it to a group that it belongs to and change its mode; that is all that is used here.
//! Leaves out who may start it: the manifests.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// For owner and group, and nobody else.
const MODE: u32 = 0o770;

/// Why a folder cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// It belongs to somebody else, who may have put anything there.
    #[error(
        "it belongs to user {found}, not to user {own} who prepares it: remove it or give it to that user"
    )]
    Owner {
        /// Whose it is.
        found: u32,
        /// Who we are.
        own: u32,
    },
    /// There is something else at the path.
    #[error("it is no folder")]
    NoFolder,
    /// The kernel refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Makes the folder, gives it to our group and shuts it for all others.
///
/// # Errors
/// [`FolderFault`]; the folder is left as it was found then.
pub fn prepare(folder: &Path) -> Result<(), FolderFault> {
    fs::create_dir_all(folder)?;
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(FolderFault::NoFolder);
    }
    let (own, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if found.uid() != own {
        return Err(FolderFault::Owner { found: found.uid(), own });
    }
    if found.gid() != group {
        chown(folder, None, Some(group))?;
    }
    if found.permissions().mode() & 0o7777 != MODE {
        fs::set_permissions(folder, fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// Makes a folder inside the prepared one. A speaker that needs capabilities is another user of the same group, and
/// follows or is followed by one that needs none: both may use it.
///
/// # Errors
/// When it cannot be made.
pub fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let found = fs::metadata(folder)?;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    if own && found.permissions().mode() & 0o7777 != MODE {
        fs::set_permissions(folder, fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_inside_is_for_the_group() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state/metallb-system");
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, MODE);
        fs::write(folder.join("plan"), "kept").unwrap();
        make(&folder).unwrap();
        assert!(folder.join("plan").exists());
    }

    #[test]
    fn a_folder_is_made_and_shut_for_others_and_a_second_time_changes_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("run/herald");
        for _ in 0..2 {
            prepare(&folder).unwrap();
            let found = fs::metadata(&folder).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, MODE);
            assert_eq!(found.gid(), rustix::process::getegid().as_raw());
        }
    }

    #[test]
    fn what_is_no_folder_of_ours_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let (file, link) = (outer.path().join("file"), outer.path().join("link"));
        fs::write(&file, "").unwrap();
        assert!(prepare(&file).is_err());
        std::os::unix::fs::symlink(outer.path(), &link).unwrap();
        assert!(matches!(prepare(&link), Err(FolderFault::NoFolder)), "a link may lead anywhere");
    }
}
