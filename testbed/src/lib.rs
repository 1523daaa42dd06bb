//! Real clusters, routers and packets on one machine, for `cargo demo` and the system tests.
//!
//! A [`lab::Lab`] is a home network: a router (FRR), a client behind it, nodes with kube-proxy in network namespaces of
//! their own, a control plane (etcd, kube-apiserver, kube-controller-manager), and Herald's daemons as real processes.
//! Everything a [`run::Run`] makes is written in its ledger, so that nothing stays behind, not even after a crash.
//! Left out: product code. The library knows Herald only from outside, as its users do.

pub mod chronicle;
pub mod cluster;
pub mod demo;
pub mod door;
pub mod eventually;
pub mod evidence;
pub mod gate;
pub mod herald;
pub mod kubelet;
pub mod lab;
pub mod ledger;
pub mod machine;
pub mod namespace;
pub mod network;
pub mod process;
pub mod run;
pub mod service;
pub mod stage;
pub mod traffic;

/// Where the manifests put Herald. A constant of its own: were `api` to change its default, existing clusters would break,
/// and a test must say so.
pub const HERALD_NAMESPACE: &str = "metallb-system";
