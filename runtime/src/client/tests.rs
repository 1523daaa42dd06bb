//! The client stack against plain web servers on loopback: tokens, certificates, connections, times; and kubeconfig
//! text as data.
//!
//! The certificates in `testdata` are made for these tests and trusted by nothing.

mod kubeconfig;
mod stack;
