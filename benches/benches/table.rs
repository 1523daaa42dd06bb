//! One change in a table of 100,000 routes, and what a session pays for it.

use std::sync::Arc;
use std::time::Instant;

use bgp_proto::{PathAttrs, Prefix, RouteSet};
use yardstick::memory::{self, PEER};
use yardstick::{Measured, Size, Table, floor};

const CHANGES: usize = 1_000;

fn main() {
    let size = Size::from_args();
    let count = size.pick(10_000, 100_000);
    let full = memory::routes(count);
    let fresh = Prefix::host([172, 16, 0, 1].into());
    let attrs = Arc::new(PathAttrs::default());
    let one_more = Arc::new(full.with(fresh, Arc::clone(&attrs)));
    assert_eq!((one_more.len(), one_more.without(&fresh).len()), (count + 1, count));

    let table = Table::new(&format!("a table of {count} routes"), size);
    table.row("build it", Measured::rounds(size, count, || (), |()| memory::routes(count)));
    let repeated = |work: &dyn Fn() -> usize| {
        Measured::rounds(size, CHANGES, || (), |()| (0..CHANGES).map(|_| work()).sum::<usize>())
    };
    table.row("with one route more", repeated(&|| full.with(fresh, Arc::clone(&attrs)).len()));
    table.row("with one route less", repeated(&|| one_more.without(&fresh).len()));
    assert_eq!(RouteSet::diff(&full, &one_more).count(), 1);
    table.row("diff of one change", repeated(&|| RouteSet::diff(&full, &one_more).count()));
    let rebuilt = memory::routes(count);
    table.row(
        "diff of an equal table that shares nothing",
        Measured::rounds(size, count, || (), |()| RouteSet::diff(&full, &rebuilt).count()),
    );
    one_change_on_a_session(size, &table, [&full, &one_more]);
}

/// From `set_routes` to the octets of the one UPDATE.
fn one_change_on_a_session(size: Size, table: &Table, versions: [&Arc<RouteSet>; 2]) {
    let now = Instant::now();
    let mut speaker = memory::established(now);
    speaker.set_routes(PEER, Arc::clone(versions[0]));
    memory::drain(&mut speaker, now);
    let mut prefixes = 0;
    let measured = Measured::rounds(
        size,
        CHANGES,
        || (),
        |()| {
            for version in versions.iter().rev().cycle().take(CHANGES) {
                speaker.set_routes(PEER, Arc::clone(version));
                let (out, _) = memory::drain(&mut speaker, now);
                prefixes += floor::walk(&out).expect("whole messages").prefixes;
            }
        },
    );
    table.row("one change, from set_routes to octets", measured);
    let rounds = size.pick(1, 15);
    assert_eq!(
        prefixes,
        u64::try_from(CHANGES * rounds).expect("fits"),
        "each change is one prefix on the wire"
    );
}
