//! What all watches of the process count, and what they have learned about the server.
//!
//! Process-wide on purpose: one server answers all watches, and one registry shows all counters.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

static RESTARTS: LazyLock<Family<Kind, Counter>> = LazyLock::new(Family::default);
static UNREADABLE: LazyLock<Family<Kind, Counter>> = LazyLock::new(Family::default);
static BROKEN: LazyLock<Family<Kind, Gauge>> = LazyLock::new(Family::default);

/// Set when the server refused a streaming list and then served a paged one.
static PAGED: AtomicBool = AtomicBool::new(false);

/// Adds the counters of all watches to `registry`.
pub fn register_metrics(registry: &mut Registry) {
    registry.register(
        "herald_watch_restarts",
        "Times that a watch broke and was started again",
        RESTARTS.clone(),
    );
    registry.register(
        "herald_watch_unreadable_objects",
        "Times that an object could not be read and was skipped",
        UNREADABLE.clone(),
    );
    registry.register(
        "herald_watch_broken",
        "1 while a watch has no connection to the server",
        BROKEN.clone(),
    );
}

/// The counters of one kind.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    restarts: Counter,
    unreadable: Counter,
    broken: Gauge,
}

impl Tally {
    pub(super) fn of(kind: &str) -> Self {
        let label = Kind { kind: kind.to_owned() };
        Self {
            restarts: RESTARTS.get_or_create_owned(&label),
            unreadable: UNREADABLE.get_or_create_owned(&label),
            broken: BROKEN.get_or_create_owned(&label),
        }
    }

    pub(super) fn restarted(&self) {
        self.restarts.inc();
    }

    pub(super) fn skipped_unreadable(&self) {
        self.unreadable.inc();
    }

    pub(super) fn broke(&self) {
        self.broken.set(1);
    }

    pub(super) fn healed(&self) {
        self.broken.set(0);
    }
}

/// Whether this process has learned that the server serves no streaming lists.
pub(super) fn only_paged() -> bool {
    PAGED.load(Ordering::Relaxed)
}

/// Remembers that the server serves no streaming lists. `true` for the first one who says so.
pub(super) fn remember_paged() -> bool {
    !PAGED.swap(true, Ordering::Relaxed)
}
