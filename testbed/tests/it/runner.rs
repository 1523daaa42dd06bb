//! Runs the stories, a few labs side by side, and takes every lab away whatever happens.
//! The standard test runner cannot: it has no "after all" for what the tests share, prints nothing for a test that
//! skips itself, and would let a story that waits for a minute block a processor.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use testbed::lab::{Lab, LabPlan};
use testbed::machine::{self, Machine};
use testbed::run::Run;
use testbed::stage::until_stopped;

/// The gate sets this: then a test that cannot run is a failure, and what is missing is installed.
const REQUIRE: &str = "HERALD_REQUIRE_SYSTEM_TESTS";
/// A lab needs about 700 MB and, while it starts, a processor.
const LABS_AT_ONCE: usize = 3;
/// The longest story waits for a minute on purpose.
const LONGEST: Duration = Duration::from_secs(240);

pub(crate) type Told<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// A test: the lab it needs and what it does there.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) plan: fn() -> LabPlan,
    pub(crate) story: for<'a> fn(&'a mut Lab) -> Told<'a>,
}

/// Runs the tests that the command line selects (names or parts of names, `--exact`, `--skip NAME`, `--list`, `--test-threads N`).
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let wish = Wish::from_arguments(std::env::args().skip(1));
    let chosen: Vec<Test> = tests.iter().filter(|test| wish.includes(test.name)).copied().collect();
    if wish.list {
        chosen.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    let tally = runtime.block_on(run_all(chosen, required, wish.labs));
    runtime.shutdown_timeout(Duration::from_secs(5));
    tally
}

async fn run_all(tests: Vec<Test>, required: bool, labs: usize) -> ExitCode {
    println!("\nrunning {} system tests", tests.len());
    if tests.is_empty() {
        return finish(0, 0, 0, Duration::ZERO);
    }
    let lacks = machine::probe();
    if !required && !lacks.is_empty() {
        for test in &tests {
            println!("test {} ... ignored, this machine cannot run it", test.name);
        }
        for lack in &lacks {
            println!("  missing: {lack}");
        }
        println!(
            "  `cargo demo` installs what can be installed; with {REQUIRE}=1 these tests do so, and fail if they cannot run."
        );
        return finish(0, 0, tests.len(), Duration::ZERO);
    }
    let machine = match machine::prepare(&|line| println!("{line}")).await {
        Ok(machine) => machine,
        Err(why) => {
            tests.iter().for_each(|test| println!("test {} ... FAILED, it could not run", test.name));
            println!("  {why:#}");
            return finish(0, tests.len(), 0, Duration::ZERO);
        }
    };
    match until_stopped(run_side_by_side(tests, &machine, labs)).await.expect("a handler can be set") {
        Ok(code) => code,
        Err(stop) => ExitCode::from(stop.code()),
    }
}

async fn run_side_by_side(tests: Vec<Test>, machine: &Machine, labs: usize) -> ExitCode {
    let start = Instant::now();
    let run = match Run::begin() {
        Ok(run) => Arc::new(run),
        Err(why) => {
            println!("no run can begin: {why:#}");
            return finish(0, tests.len(), 0, start.elapsed());
        }
    };
    let (mut passed, mut failed) = (0, Vec::new());
    let mut waiting = VecDeque::from(tests);
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < labs {
            let Some(test) = waiting.pop_front() else { break };
            running.push(run_one(test, machine, &run));
        }
        let Some((test, took, outcome)) = running.next().await else { break };
        let seconds = took.as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", test.name);
            }
            Err(report) => {
                println!("test {} ... FAILED ({seconds:.1} s)\n{report}", test.name);
                // Once more at the end, where the reader of a long log looks first.
                let why = report.lines().next().unwrap_or_default().trim();
                failed.push(format!("    {}\n      {why}", test.name));
            }
        }
    }
    if !failed.is_empty() {
        println!("\nfailures:\n{}", failed.join("\n"));
    }
    finish(passed, failed.len(), 0, start.elapsed())
}

async fn run_one(test: Test, machine: &Machine, run: &Arc<Run>) -> (Test, Duration, Result<(), String>) {
    let start = Instant::now();
    let mut lab = match Lab::start(run, machine, &(test.plan)()).await {
        Ok(lab) => lab,
        Err(why) => return (test, start.elapsed(), Err(format!("  the lab did not start: {why:#}"))),
    };
    let told = tokio::time::timeout(LONGEST, AssertUnwindSafe((test.story)(&mut lab)).catch_unwind()).await;
    let why = match told {
        Ok(Ok(Ok(()))) => match lab.forbidden_requests() {
            None => return (test, start.elapsed(), Ok(())),
            Some(line) => format!("the manifests lack a permission: {line}"),
        },
        Ok(Ok(Err(why))) => format!("{why:#}"),
        Ok(Err(panic)) => panic_text(panic.as_ref()),
        Err(_) => format!("the story took longer than {LONGEST:?}"),
    };
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failed").join(test.name);
    let kept = match lab.collect_evidence(&folder).await {
        Ok(()) => format!("logs and state: {}", folder.display()),
        Err(why) => format!("the logs could not be kept: {why:#}"),
    };
    (test, start.elapsed(), Err(format!("  {why}\n{}  {kept}", lab.tails())))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn finish(passed: usize, failed: usize, ignored: usize, took: Duration) -> ExitCode {
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        took.as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// What the command line asks for.
struct Wish {
    names: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    labs: usize,
}

impl Wish {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut wish =
            Self { names: Vec::new(), skipped: Vec::new(), exact: false, list: false, labs: LABS_AT_ONCE };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => wish.exact = true,
                "--list" => wish.list = true,
                "--skip" => wish.skipped.extend(arguments.next()),
                "--test-threads" => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    wish.labs = number.filter(|labs| *labs > 0).unwrap_or(LABS_AT_ONCE);
                }
                flag if flag.starts_with('-') => {}
                name => wish.names.push(name.to_owned()),
            }
        }
        wish
    }

    fn includes(&self, name: &str) -> bool {
        let fits = |wanted: &String| if self.exact { name == wanted } else { name.contains(wanted.as_str()) };
        (self.names.is_empty() || self.names.iter().any(fits)) && !self.skipped.iter().any(fits)
    }
}
