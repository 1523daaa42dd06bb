//! MetalLB's API as Rust types, and the checked form of it that Herald's parts act on.
//!
//! Here are the wire types of every `metallb.io` kind and of Herald's own `SpeakerState`, every name that both daemons
//! and the command line agree on, and [`config::Config`]: what the objects mean once each of them has been checked.
//! Everything is data and pure functions. There is no client, no clock, no socket and no randomness in this crate:
//! times are arguments, and equal inputs give equal outputs in equal order.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![allow(clippy::duplicated_attributes, reason = "two printer columns may well have one type")]

mod absent;
pub mod community;
pub mod config;
pub mod duration;
pub mod herald;
pub mod json;
pub mod names;
pub mod range;
pub mod report;
mod schema;
pub mod selector;
pub mod service;
mod stand_in;
pub mod v1beta1;
pub mod v1beta2;
