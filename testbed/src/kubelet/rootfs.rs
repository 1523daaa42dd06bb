//! A root file system out of programs of this machine: each with its shared libraries, at the same paths.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::process::{output, run_to_end};

/// A root file system that is being put together.
#[derive(Debug)]
pub struct Rootfs {
    folder: PathBuf,
}

impl Rootfs {
    /// Begins with an empty folder.
    ///
    /// # Errors
    /// When the folder is there already or cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
        let rootfs = Self { folder: folder.to_owned() };
        for name in ["dev", "etc", "proc", "run", "sys", "tmp", "var/log", "var/run"] {
            rootfs.add_folder(name, 0o755)?;
        }
        rootfs.add_folder("tmp", 0o1777)?;
        Ok(rootfs)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a folder with the given mode.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn add_folder(&self, path: &str, mode: u32) -> Result<()> {
        let place = self.place(path);
        fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).context("setting a mode")
    }

    /// Writes a file with the given mode.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn add_file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let place = self.place(path);
        let parent = place.parent().context("a file is in a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        fs::write(&place, content).with_context(|| format!("writing {}", place.display()))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).context("setting a mode")
    }

    /// Copies a program of this machine, and the libraries that the loader would give it.
    ///
    /// # Errors
    /// When the program is missing.
    pub async fn add_program(&self, path: &str) -> Result<()> {
        self.add_tree(path).await?;
        self.add_libraries(path).await
    }

    /// Copies the libraries of a program, and not the program.
    ///
    /// # Errors
    /// When one of them is missing.
    pub async fn add_libraries(&self, path: &str) -> Result<()> {
        // `ldd` says no for a static program, which needs nothing.
        let loaded = run_to_end(Command::new("ldd").arg(path)).await?;
        let text = String::from_utf8_lossy(&loaded.stdout).into_owned();
        for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
            if !self.place(library).exists() {
                self.add_tree(library).await?;
            }
        }
        Ok(())
    }

    /// Copies a program that has many names under one of them.
    ///
    /// # Errors
    /// When it is missing.
    pub fn add_program_as(&self, program: &str, path: &str) -> Result<()> {
        let content = fs::read(program).with_context(|| format!("reading {program}"))?;
        self.add_file(path, content, 0o755)
    }

    /// Copies a file, or a folder with all that is in it; a link becomes what it points to.
    ///
    /// # Errors
    /// When it is missing.
    pub async fn add_tree(&self, path: &str) -> Result<()> {
        let place = self.place(path);
        let parent = place.parent().context("every path has a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        output(Command::new("cp").args(["-aLT", path]).arg(&place)).await.map(drop)
    }

    fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }
}
