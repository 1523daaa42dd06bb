//! What the benches and the rivals share: sizes, timing, BGP streams and their floor, a session in memory, a bare sink.
//!
//! It leaves out everything that needs a cluster's configuration (package `benches`) and every published crate
//! (package `rivals`). `cargo bench -p benches` measures at full size and prints tables. `cargo test -p benches --benches` (and
//! `cargo bench -- --test`) runs the same code at a small size in seconds. Counts are asserted, times never are:
//! machines differ, so compare ratios within one run. Real BGP streams are read from the folder that
//! `HERALD_BGP_VECTORS` names, else from `../shared/bgp-vectors` beside the repository; without them only generated
//! streams are measured, and the bench says so.

pub mod floor;
pub mod memory;
pub mod router;
pub mod sink;
pub mod stream;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How much a bench is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Enough to see that it works.
    Test,
    /// What the figures are made of.
    Full,
}

impl Size {
    /// `cargo bench` passes `--bench`; everything else, and `--test`, is a test.
    #[must_use]
    pub fn from_args() -> Self {
        let args: Vec<String> = std::env::args().collect();
        let asked = |flag: &str| args.iter().any(|arg| arg == flag);
        if asked("--bench") && !asked("--test") { Self::Full } else { Self::Test }
    }

    /// One of two numbers.
    #[must_use]
    pub fn pick(self, test: usize, full: usize) -> usize {
        match self {
            Self::Test => test,
            Self::Full => full,
        }
    }
}

/// The best of several rounds: on a noisy machine the least disturbed one says most.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Time of the best round.
    pub best: Duration,
    /// Things done in a round.
    pub items: usize,
}

impl Measured {
    /// Times `work`, which handles `items` things. `prepare` is not timed.
    pub fn rounds<S, T>(
        size: Size,
        items: usize,
        mut prepare: impl FnMut() -> S,
        mut work: impl FnMut(S) -> T,
    ) -> Self {
        let mut best = Duration::MAX;
        for _ in 0..size.pick(1, 15) {
            let input = prepare();
            let start = Instant::now();
            let output = work(input);
            best = best.min(start.elapsed());
            black_box(output);
        }
        Self { best, items }
    }

    /// Nanoseconds for one thing.
    #[must_use]
    pub fn nanoseconds_each(&self) -> f64 {
        self.best.as_secs_f64() * 1e9 / to_float(self.items.max(1))
    }
}

/// Rows of one bench, printed as they come.
#[derive(Debug)]
pub struct Table {
    yardstick: Option<Measured>,
}

impl Table {
    /// Prints the head.
    #[must_use]
    pub fn new(title: &str, size: Size) -> Self {
        println!("\n{title} ({size:?} size)");
        println!("{:<52} {:>12} {:>12} {:>12} {:>9}", "", "items", "best", "each", "x floor");
        Self { yardstick: None }
    }

    /// Prints a row and makes it the yardstick of the rows below.
    pub fn floor(&mut self, name: &str, measured: Measured) {
        self.yardstick = Some(measured);
        self.row(name, measured);
    }

    /// Prints a row.
    pub fn row(&self, name: &str, measured: Measured) {
        let ratio = self.yardstick.map_or_else(String::new, |floor| {
            format!("{:.2}", measured.nanoseconds_each() / floor.nanoseconds_each().max(f64::MIN_POSITIVE))
        });
        let best = format!("{:.1?}", measured.best);
        let each = format!("{:.1} ns", measured.nanoseconds_each());
        println!("{name:<52} {:>12} {best:>12} {each:>12} {ratio:>9}", measured.items);
    }
}

fn to_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
