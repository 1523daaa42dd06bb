//! How to look around in a lab that is left running.

use super::Screen;
use crate::lab::Lab;

/// Prints the commands for another terminal.
pub fn look_around(lab: &Lab, screen: &Screen) {
    let program = |name: &str| lab.machine().daemons.program(name);
    let inside = |namespace: &str| format!("ip netns exec {namespace}");
    screen.chapter("It stays, until Ctrl-C. In another terminal:");
    screen.text(&format!("    export KUBECONFIG={}", lab.cluster().kubeconfig().text()));
    screen.text(&format!("    alias kubectl={}", lab.machine().kubernetes.program("kubectl")));
    screen.text("    kubectl get svc -A");
    screen.text("    kubectl get speakerstates -A");
    screen.text("    kubectl get nodes -o wide");
    screen.text(&format!("    alias speakerctl={}", program("speakerctl")));
    screen.text("    speakerctl peers -o wide");
    screen.text(&format!("    vtysh --vty_socket {}", lab.router().sockets().display()));
    screen.text(&format!("    {} curl http://10.0.4.1", inside(lab.client().namespace().name())));
    screen.text(&format!("    {} ip route", inside(lab.router().namespace().name())));
    for node in lab.nodes() {
        screen.text(&format!("    {} nft list ruleset        # kube-proxy on {}", inside(node.namespace().name()), node.name()));
    }
    screen.text(&format!("    ls {}        # the logs", lab.logs().display()));
}
