//! The controller beside a bare loop and beside MetalLB's, and the allocator alone: measured here, written down in
//! `docs/performance-ipam.md`.

use std::fs;

use anyhow::{Context, Result};

use crate::{cargo, performance, workspace};

const DOCUMENT: &str = "docs/performance-ipam.md";

/// Builds the release controller, measures on the real parts and in the pure core, prints and writes the document.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    eprintln!("building the controller as it ships (minutes)");
    cargo::run(&["build", "--release", "--package", "controller"])?;
    let mut burst = cargo::command(&["run", "--quiet", "--package", "testbed", "--bin", "burst", "--"]);
    burst.args(arguments).env("HERALD_TESTBED_DAEMONS", cargo::target().join("release"));
    let tables = cargo::printed(&mut burst, "burst")?;
    eprintln!("the pure core");
    let mut bench = cargo::command(&["bench", "--quiet", "--package", "benches", "--bench", "alloc"]);
    let core = cargo::printed(&mut bench, "bench")?;
    let text = [HEAD, &performance::machine()?, &tables, CORE, core.trim(), "\n```\n"].concat();
    print!("{text}");
    fs::write(workspace::root().join(DOCUMENT), text).with_context(|| format!("writing {DOCUMENT}"))
}

const HEAD: &str = "\
# Performance of the address pools

`cargo xtask burst` measures all of this in one run and writes this file. It needs what `cargo demo` needs: a real etcd
and kube-apiserver on loopback, the controller's release build as the manifests run it, and MetalLB's controller, built
from its published Go module, in the same place on the same way to the API server.

The **bare loop** is the yardstick: the same server-side applies to Services that said before that they wait, sixteen at a
time, by a client that need not think, on the same way to the API server. It takes turns with the controller, so that what else
the machine does meets both; the controller runs and watches meanwhile.
Herald has three turns, of which the median counts (lowest and highest in brackets), MetalLB one. Both ends of a time are seen
by one client's watch. Services that wait for a pool say so in a condition, which is Herald's one request before the pool comes.
Requests are counted by the API server (`apiserver_request_total`), CPU time and memory by the kernel.

";

const CORE: &str = "
## The pure core

`cargo bench -p benches --bench alloc`:

```text
";
