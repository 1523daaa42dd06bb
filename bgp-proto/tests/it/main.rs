//! The speaker from outside: octets, events and virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chance;
mod collision;
mod damage;
mod feature;
mod field;
mod garbage;
mod hostile;
mod matrix;
mod mutation;
mod open;
mod pair;
mod requirement;
mod rfc7606;
mod round_trip;
mod script;
mod sim;
mod takeover;
mod trial;
mod vectors;
