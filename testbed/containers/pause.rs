//! The first process of a Pod: it holds the Pod's namespaces and does nothing else. containerd ends it with SIGKILL.
//! Not part of the package: the test bed compiles it alone and statically (`testbed/src/kubelet/image.rs`).

fn main() {
    loop {
        std::thread::park();
    }
}
