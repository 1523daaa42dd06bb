//! The speaker from outside: octets, events and virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod feature;
mod garbage;
mod matrix;
mod open;
mod pair;
mod rfc7606;
mod sim;
mod vectors;
