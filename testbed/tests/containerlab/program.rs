//! containerlab's program: the one on the path, or built from its Go module into the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::machine::{self, Say};
use testbed::process::output;
use tokio::process::Command;

const MODULE: &str = "github.com/srl-labs/containerlab";
const VERSION: &str = "v0.60.0";
/// The domain of this module answers no more; the code is where it always was.
const MOVED: &str = "inet.af/netaddr=github.com/inetaf/netaddr@v0.0.0-20230525184311-b8eac61e914a";
/// Minutes with a cold cache.
const BUILD: Duration = Duration::from_secs(1500);

/// Where the program is, built if need be.
pub(crate) async fn containerlab(say: Say<'_>) -> Result<PathBuf> {
    if let Some(found) = machine::find_program("containerlab") {
        say(&format!("taking the containerlab that is installed, {}", found.display()));
        return Ok(found);
    }
    let folder = machine::cache()?.join(format!("containerlab-{VERSION}"));
    let program = folder.join("containerlab");
    if program.is_file() {
        return Ok(program);
    }
    let go = machine::find_program("go").context("Go is missing; it builds containerlab")?;
    say(&format!(
        "building containerlab {VERSION} from its Go module (minutes the first time, then kept in {})",
        folder.display()
    ));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let source = folder.join(format!("source.{}", std::process::id()));
    let built = build(&go, &source, &folder).await;
    let _ = fs::remove_dir_all(&source);
    built?;
    Ok(program)
}

/// Builds the module as the main one, so that its own sums and replacements count.
async fn build(go: &Path, source: &Path, folder: &Path) -> Result<()> {
    let mut download = Command::new(go);
    download.args(["mod", "download", "-json", &format!("{MODULE}@{VERSION}")]).current_dir(folder);
    let said: Value =
        serde_json::from_str(&long(&mut download).await?).context("reading what Go downloaded")?;
    let module = said["Dir"].as_str().context("Go says where the module is")?;
    output(Command::new("cp").args(["-r", "--no-preserve=mode", module]).arg(source)).await?;
    if !Path::new("/proc/modules").exists() {
        tolerate_no_modules(source)?;
    }
    let mut edit = Command::new(go);
    edit.args(["mod", "edit", "-replace", MOVED]).current_dir(source);
    output(&mut edit).await?;
    let unfinished = folder.join(format!("containerlab.{}", std::process::id()));
    let mut compile = Command::new(go);
    compile
        .args(["build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&unfinished)
        .arg(".")
        .current_dir(source);
    long(&mut compile).await?;
    fs::rename(&unfinished, folder.join("containerlab")).context("keeping containerlab")
}

/// A kernel that cannot load modules has no list of them, which this version takes for an error. What such a kernel can
/// do is built in, so whatever is asked for counts as loaded.
fn tolerate_no_modules(source: &Path) -> Result<()> {
    let place = source.join("utils/kernel_module.go");
    let text = fs::read_to_string(&place).with_context(|| format!("reading {}", place.display()))?;
    let patched = text.replacen("return false, err", "return true, nil", 1);
    ensure!(patched != text, "{} is not as it was in {VERSION}", place.display());
    fs::write(&place, patched).with_context(|| format!("writing {}", place.display()))
}

async fn long(command: &mut Command) -> Result<String> {
    let done = tokio::time::timeout(BUILD, command.kill_on_drop(true).output());
    let done = done.await.context("Go took too long")?.context("starting Go")?;
    ensure!(done.status.success(), "Go: {}", String::from_utf8_lossy(&done.stderr).trim());
    String::from_utf8(done.stdout).context("Go says text")
}
