//! What reading and announcing ask of the heap, counted in every test run: nothing for a received message, next to
//! nothing for a burst. A program of its own with one test, because the allocator counts for the whole process.

use std::alloc::System;
use std::sync::Arc;
use std::time::Instant;

use bgp_proto::{Receive, RouteSet, Speaker};
use bytes::BytesMut;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use yardstick::memory::{self, CONNECTION, PEER};
use yardstick::stream;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Host routes that are announced.
const ROUTES: usize = 20_000;

#[test]
fn reading_allocates_nothing_and_a_burst_next_to_nothing() {
    for receive in [Receive::Discard, Receive::Inspect] {
        assert_eq!(reading(receive), 0, "{receive:?}");
    }
    let calls = announcing();
    assert!(calls * 1_000 <= ROUTES, "{calls} allocations for {ROUTES} routes");
}

/// A session that has read the stream before reads it again. Its faults, if any, are kept from the first time.
fn reading(receive: Receive) -> usize {
    let stream = stream::generated(2_000);
    let now = Instant::now();
    let mut speaker = memory::established_with(now, receive);
    let mut read = || {
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let chunk = rest.get(..64 * 1024).unwrap_or(rest);
            let consumed = speaker.handle_input(now, CONNECTION, chunk);
            assert!(consumed > 0, "whole messages are consumed");
            rest = rest.get(consumed..).unwrap_or_default();
        }
    };
    read();
    least(read)
}

/// Buffers have their size, attributes are encoded; the table is said from the start.
fn announcing() -> usize {
    let (routes, none) = (memory::routes(ROUTES), Arc::default());
    let mut speaker = memory::established(Instant::now());
    let mut out = BytesMut::with_capacity(ROUTES * 8);
    let mut least = usize::MAX;
    for _ in 0..4 {
        let region = Region::new(HEAP);
        announce(&mut speaker, &routes, &mut out);
        let change = region.change();
        least = least.min(change.allocations + change.reallocations);
        assert!(out.len() > ROUTES * 5, "all routes are said");
        announce(&mut speaker, &none, &mut out);
    }
    least
}

fn announce(speaker: &mut Speaker, routes: &Arc<RouteSet>, out: &mut BytesMut) {
    let now = Instant::now();
    out.clear();
    speaker.set_routes(PEER, Arc::clone(routes));
    memory::drain_into(speaker, now, out);
}

/// The quietest of three times: the test's own runner may need something at the same moment.
fn least(mut work: impl FnMut()) -> usize {
    let mut count = || {
        let region = Region::new(HEAP);
        work();
        let change = region.change();
        change.allocations + change.reallocations
    };
    (0..3).map(|_| count()).min().unwrap_or(usize::MAX)
}
