//! Herald's controller: it gives Services of type LoadBalancer their addresses.
//!
//! [`alloc`] and [`plan`] are pure and hold every decision; the rest of the crate reads and writes the API server.
//! Nothing here knows of BGP.

pub mod alloc;
pub mod args;
mod clock;
mod cluster;
mod contest;
pub mod daemon;
mod desk;
mod input;
mod metrics;
mod neighbour;
mod overlap;
mod patch;
pub mod plan;
mod pool_condition;
pub mod program;
mod queue;
mod reconcile;
mod report;
mod sheet;
mod status;
