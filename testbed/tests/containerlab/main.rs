//! The labs of `testbed/containerlab`, each played twice: in network namespaces, and with the real containerlab. One
//! description of topology and scenario, two drivers. `cargo xtask containerlab` builds the image and runs this.

mod containers;
mod engine;
mod frr;
mod program;
mod scenario;
mod spaces;
mod topology;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::machine::{self, Machine, repository};
use testbed::run::Run;
use testbed::stage;

use containers::Parts;
use engine::{Driver, Engine};
use world::World;

/// The archive with Herald's image; the programs of the same build are named by `HERALD_TESTBED_DAEMONS`.
const IMAGE: &str = "HERALD_CONTAINERLAB_IMAGE";
/// Where what was played goes.
const REPORT: &str = "HERALD_CONTAINERLAB_REPORT";
/// One lab with one driver.
const LONGEST: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) else {
        println!(
            "\ntest the_labs_of_containerlab ... ignored, `cargo xtask containerlab` builds their image and plays them\n"
        );
        return ExitCode::SUCCESS;
    };
    let why = match stage::play(play_all(&image)) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(stop)) => stop.to_string(),
        Err(why) => format!("{why:#}"),
    };
    println!("\ncontainerlab: {why}");
    ExitCode::FAILURE
}

async fn play_all(image: &Path) -> Result<()> {
    let say = |line: &str| println!("{line}");
    let machine = machine::prepare(&say).await?;
    let run = Arc::new(Run::begin()?);
    let mut drivers = vec![Driver::Namespaces];
    let mut report = String::new();
    match parts(&run, image, &say).await? {
        Ok(parts) => drivers.push(Driver::Containerlab(parts)),
        Err(why) => {
            println!("containerlab NOT RUN on this machine: {why}; its labs are played in namespaces only");
            report.push_str(&format!("not run: {why}\n"));
        }
    }
    let mut failed = Vec::new();
    for lab in labs()? {
        for driver in &drivers {
            let name =
                format!("{}, {}", lab.file_name().unwrap_or_default().to_string_lossy(), driver.name());
            println!("\n{name}");
            let start = Instant::now();
            let played = tokio::time::timeout(LONGEST, play(&run, &machine, &lab, driver)).await;
            let seconds = start.elapsed().as_secs_f64();
            match played.unwrap_or_else(|_| bail!("it took longer than {LONGEST:?}")) {
                Ok(()) => {
                    println!("test {name} ... ok ({seconds:.1} s)");
                    report.push_str(&format!("ok: {name} ({seconds:.1} s)\n"));
                }
                Err(why) => {
                    println!("test {name} ... FAILED ({seconds:.1} s)\n  {why:#}");
                    failed.push(name);
                }
            }
        }
    }
    if let Some(place) = std::env::var_os(REPORT) {
        std::fs::write(&place, &report).context("writing the report")?;
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(())
}

async fn play(run: &Arc<Run>, machine: &Machine, lab: &Path, driver: &Driver) -> Result<()> {
    let steps = scenario::read(lab)?;
    let mut world = World::start(run, machine, lab, driver).await.context("building the lab")?;
    let played = scenario::play(&mut world, &steps).await;
    if let Err(why) = played {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failed/containerlab");
        let words = world.keep_logs(&folder).await?;
        return Err(why.context(format!("{words}\nlogs: {}", folder.display())));
    }
    match &mut world.engine {
        Engine::Containerlab(containers) => containers.destroy().await.context("destroying the lab"),
        Engine::Namespaces(_) => Ok(()),
    }
}

/// The folders with a lab; the words of the command line choose some.
fn labs() -> Result<Vec<PathBuf>> {
    let home = repository().join("testbed/containerlab");
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let entries = std::fs::read_dir(&home).with_context(|| format!("reading {}", home.display()))?;
    let mut labs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    labs.retain(|lab| {
        let name = lab.file_name().unwrap_or_default().to_string_lossy();
        lab.join("topology.clab.yml").is_file()
            && (words.is_empty() || words.iter().any(|word| name.contains(word.as_str())))
    });
    labs.sort();
    ensure!(!labs.is_empty(), "there is no such lab in {}", home.display());
    Ok(labs)
}

/// What containerlab needs, or the reason why it cannot run here.
async fn parts(run: &Run, image: &Path, say: machine::Say<'_>) -> Result<Result<Parts, String>> {
    if let Some(lack) = machine::probe_kubelet().first() {
        return Ok(Err(lack.to_string()));
    }
    if let Err(why) = machine::install_docker(say).await {
        return Ok(Err(format!("{why:#}")));
    }
    let program = match program::containerlab(say).await {
        Ok(program) => program,
        Err(why) => return Ok(Err(format!("{why:#}"))),
    };
    let frr = frr::image(run.folder()).await.context("making the image of FRR")?;
    Ok(Ok(Parts {
        program,
        archives: vec![frr, image.to_owned()],
        bounded_runc: PathBuf::from(env!("CARGO_BIN_EXE_runc-bounded")),
    }))
}
