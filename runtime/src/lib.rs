//! The process shell that Herald's daemons share.
//!
//! Holds the Kubernetes client stack, watches with fallback, the leader lease, logging, the admin server, signals,
//! events, status writes, metrics and the common flags. Leaves out every decision: which address a Service gets and
//! what is announced where is decided by the crates above.

pub mod admin;
pub mod chance;
pub mod client;
pub mod complaint;
pub mod event;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod settings;
pub mod status;
pub mod stop;
pub mod unready;
pub mod version;
pub mod watch;
