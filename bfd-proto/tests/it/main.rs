//! The endpoint from outside: packets octet by octet, the state table, polls, two ends on virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adoption;
mod discards;
mod garbage;
mod octets;
mod pair;
mod polls;
mod states;
mod world;
