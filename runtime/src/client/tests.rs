//! The client stack against plain web servers on loopback: tokens, certificates, connections, times; kubeconfig
//! text as data; login programs.
//!
//! The certificates in `testdata` are made for these tests and trusted by nothing.

mod kubeconfig;
mod login;
mod pool;
mod server;
mod stack;
