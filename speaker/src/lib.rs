//! Herald's speaker: decides which LoadBalancer addresses this node announces, and tells the routers over BGP.
//!
//! ```text
//! API server ─► watch ─► decide ─► Plan ─┬─► peering ⇄ routers
//!                                        └─► status, events, metrics, local socket
//! ```
//! `watch` and `peering` do not know each other: they meet through the channels of [`plan`], and [`app`] connects
//! them. `decide` and `watch::convert` are pure. The crate leaves out address allocation, which is the controller's.

mod admin;
pub mod app;
pub mod args;
pub mod bfd;
pub mod decide;
pub mod folder;
mod front;
mod hash;
pub mod journal;
pub mod key_record;
pub mod mark;
pub mod metrics;
pub mod peering;
pub mod plan;
pub mod program;
pub mod route_list;
pub mod state;
pub mod status;
pub mod takeover;
pub mod termination;
pub mod watch;
