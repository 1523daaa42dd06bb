//! What only the benches need: a cluster's configuration. Sizes, timing, streams and sinks are in `yardstick`.

pub mod cluster;
