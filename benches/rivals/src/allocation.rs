//! What a piece of work asks of the heap.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Calls and octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heap {
    /// Allocations, and reallocations too.
    pub(crate) calls: usize,
    /// Octets asked for.
    pub(crate) octets: usize,
}

/// Counts while `work` runs. One thread: whatever else runs would be counted, too.
pub(crate) fn count<T>(work: impl FnOnce() -> T) -> (T, Heap) {
    let region = Region::new(HEAP);
    let done = work();
    let change = region.change();
    let heap = Heap { calls: change.allocations + change.reallocations, octets: change.bytes_allocated };
    (done, heap)
}
