//! Rounds of several pieces of work, one after the other again and again: what disturbs the machine disturbs all.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rounds of which the best counts.
const ROUNDS: usize = 25;

/// A named piece of work that times itself.
pub(crate) struct Work<'a> {
    name: &'a str,
    round: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Work<'a> {
    /// Work that needs nothing beforehand.
    pub(crate) fn new<T>(name: &'a str, mut work: impl FnMut() -> T + 'a) -> Self {
        Self::prepared(name, || (), move |()| work())
    }

    /// What `prepare` makes and what `work` leaves behind is not timed.
    pub(crate) fn prepared<S, T>(
        name: &'a str,
        mut prepare: impl FnMut() -> S + 'a,
        mut work: impl FnMut(S) -> T + 'a,
    ) -> Self {
        let round = move || {
            let input = prepare();
            let start = Instant::now();
            let output = work(input);
            let taken = start.elapsed();
            black_box(output);
            taken
        };
        Self { name, round: Box::new(round) }
    }
}

/// The best round of each.
#[derive(Default)]
pub(crate) struct Best(Vec<(String, Duration)>);

impl Best {
    /// Runs all rounds.
    pub(crate) fn of(mut works: Vec<Work<'_>>) -> Self {
        let mut best = Self(works.iter().map(|work| (work.name.to_owned(), Duration::MAX)).collect());
        for _ in 0..ROUNDS {
            for (work, (_, least)) in works.iter_mut().zip(&mut best.0) {
                *least = (work.round)().min(*least);
            }
        }
        best
    }

    /// Adds the times of the same work on another piece.
    pub(crate) fn add(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
        } else {
            self.0.iter_mut().zip(other.0).for_each(|((_, sum), (_, more))| *sum += more);
        }
    }

    /// Seconds of the best round.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|(of, _)| of == name);
        found.map_or(f64::NAN, |(_, best)| best.as_secs_f64())
    }
}
