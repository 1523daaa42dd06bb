//! What is missing when the daemons start: each is said in words, none ends a process, and each heals when it comes. A node name
//! that no Node object has is told on real kubelets (`tests/kubelet`), because the tokens here are bound to the Node.

use anyhow::{Context as _, Result, ensure};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::machine::repository;
use testbed::process::run_to_end;

use crate::home::{FIRST, SOON, apply_sample};
use crate::runner::Test;

/// The name of a Pod is given to the daemons by the lab; the kubelet would add this.
const POD_UID: &str = "--pod-uid=7d1d3a6e-0000-4000-8000-000000000001";
const NO_POOLS: &str = "CustomResourceDefinition ipaddresspools.metallb.io is not installed";

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "daemons_that_start_before_the_definitions_wait_for_them_and_go_on_by_themselves",
        plan: one_node,
        story: |lab| Box::pin(no_definitions(lab)),
    },
    Test {
        name: "without_the_definition_of_speaker_states_the_daemons_say_so_and_take_it_up_when_it_comes",
        plan: one_node,
        story: |lab| Box::pin(no_speaker_states(lab)),
    },
    Test {
        name: "a_missing_right_is_said_with_verb_and_object_and_heals_when_it_is_given",
        plan: one_node,
        story: |lab| Box::pin(missing_rights(lab)),
    },
    Test {
        name: "a_speaker_whose_clock_is_far_off_at_boot_waits_for_the_right_time",
        plan: one_node,
        story: |lab| Box::pin(wrong_clock(lab)),
    },
];

fn one_node() -> LabPlan {
    LabPlan { nodes: vec![1], data_path: false, ..LabPlan::default() }
}

async fn no_definitions(lab: &mut Lab) -> Result<()> {
    for name in ["namespace.yaml", "rbac.yaml", "controller.yaml", "speaker.yaml"] {
        let file = repository().join("manifests").join(name).display().to_string();
        kubectl(lab, &["apply", "-f", &file]).await?;
    }
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.add_argument("n1", daemon, POD_UID);
    }
    lab.start_daemons().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        for words in [NO_POOLS, "kubectl apply -f herald.yaml"] {
            says(lab, daemon, words).await?;
        }
        readiness_says(lab, daemon, NO_POOLS).await?;
        events_say(lab, daemon, NO_POOLS).await?;
        let told = lab.herald().process("n1", daemon)?.tail(2_000);
        let told = told.lines().filter(|line| line.contains("watch is broken") && line.contains(NO_POOLS));
        ensure!(told.count() == 1, "the {} does not say once what is missing", daemon.program());
    }
    lab.check_daemons()?;
    lab.cluster().apply_manifests().await?;
    eventually(SOON, "the sample to be accepted", async || apply_sample(lab, "home-network.yaml").await)
        .await?;
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

/// MetalLB's definitions are there and Herald's own is not, as after `crds.enabled=false`.
async fn no_speaker_states(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    kubectl(lab, &["delete", "crd", "speakerstates.herald-lb.io"]).await?;
    apply_sample(lab, "home-network.yaml").await?;
    lab.start_daemons().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        says(lab, daemon, "CustomResourceDefinition speakerstates.herald-lb.io is not installed").await?;
    }
    // What the daemons are for goes on without.
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    let file = repository().join("manifests/crds/herald-lb.io_speakerstates.yaml").display().to_string();
    kubectl(lab, &["apply", "-f", &file]).await?;
    says(lab, Daemon::Speaker, "own status is written again").await?;
    says(lab, Daemon::Controller, "a kind that was missing can be read").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

/// Each daemon lacks one right: the controller may not read its lease, the speaker may not watch EndpointSlices.
async fn missing_rights(lab: &mut Lab) -> Result<()> {
    lab.expect_missing_rights();
    lab.cluster().apply_manifests().await?;
    apply_sample(lab, "home-network.yaml").await?;
    take_verbs(lab, &["-n", HERALD_NAMESPACE, "role/controller"], "leases").await?;
    take_verbs(lab, &["clusterrole/metallb-system:speaker"], "endpointslices").await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.add_argument("n1", daemon, POD_UID);
    }
    lab.start_daemons().await?;
    for (daemon, words) in [
        (Daemon::Controller, "cannot get resource \"leases\""),
        (Daemon::Speaker, "cannot watch resource \"endpointslices\""),
    ] {
        // In the log the quotation marks are those of JSON.
        says(lab, daemon, &words.replace('"', "\\\"")).await?;
        readiness_says(lab, daemon, words).await?;
        events_say(lab, daemon, words).await?;
    }
    lab.check_daemons()?;
    lab.cluster().apply_manifests().await?;
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        readiness_says(lab, daemon, "ok").await?;
    }
    lab.check_daemons()
}

/// Leaves a role's rule about a resource without a verb that the daemons use.
async fn take_verbs(lab: &Lab, role: &[&str], resource: &str) -> Result<()> {
    let read = [&["get"][..], role, &["-o", "json"]].concat();
    let object: serde_json::Value = serde_json::from_str(&kubectl(lab, &read).await?)?;
    let rules = object["rules"].as_array().context("a role has rules")?;
    for (place, rule) in rules.iter().enumerate() {
        if rule["resources"][0] == resource {
            let cut = format!(
                r#"[{{"op": "replace", "path": "/rules/{place}/verbs", "value": ["deletecollection"]}}]"#
            );
            kubectl(lab, &[&["patch"][..], role, &["--type=json", "--patch", &cut]].concat()).await?;
        }
    }
    Ok(())
}

/// A board without a battery starts in the past, where no certificate is valid yet, and NTP takes its time.
async fn wrong_clock(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    apply_sample(lab, "home-network.yaml").await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.set_clock("n1", daemon, "-900d")?;
    }
    lab.start_daemons().await?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        says(lab, daemon, "not valid yet").await?;
        says(lab, daemon, "check the clock of this node").await?;
        readiness_says(lab, daemon, "check the clock of this node").await?;
    }
    lab.check_daemons()?;
    for daemon in [Daemon::Controller, Daemon::Speaker] {
        lab.set_clock("n1", daemon, "+0")?;
    }
    lab.start_pod("nginx", "n1").await?;
    lab.wait_for_paths(FIRST, &["n1"], SOON).await?;
    lab.check_daemons()
}

async fn says(lab: &Lab, daemon: Daemon, words: &str) -> Result<()> {
    eventually(SOON, &format!("the {} to say {words:?}", daemon.program()), async || {
        let log = lab.herald().process("n1", daemon)?.tail(200);
        ensure!(log.contains(words), "it says\n{log}");
        Ok(())
    })
    .await
    .map(drop)
}

async fn readiness_says(lab: &Lab, daemon: Daemon, words: &str) -> Result<()> {
    eventually(SOON, &format!("readiness of the {} to say {words:?}", daemon.program()), async || {
        let answer = readiness(lab, daemon).await?;
        ensure!(answer.contains(words), "it says {answer}");
        Ok(())
    })
    .await
    .map(drop)
}

/// What `kubectl describe pod` shows beside the kubelet's own words.
async fn events_say(lab: &Lab, daemon: Daemon, words: &str) -> Result<()> {
    let pod = format!("n1-{}", daemon.program());
    let selector = format!("involvedObject.kind=Pod,involvedObject.name={pod},reason=NotReady");
    let question = [
        "get",
        "events",
        "-n",
        HERALD_NAMESPACE,
        "--field-selector",
        &selector,
        "-o",
        "jsonpath={.items[*].message}",
    ];
    eventually(SOON, &format!("an event on {pod} to say {words:?}"), async || {
        let text = kubectl(lab, &question).await?;
        ensure!(text.contains(words), "events say {text:?}");
        Ok(())
    })
    .await
    .map(drop)
}

/// What `/readyz?verbose` answers on the node.
async fn readiness(lab: &Lab, daemon: Daemon) -> Result<String> {
    let url = format!("http://127.0.0.1:{}/readyz?verbose", daemon.admin_port());
    let mut ask = lab.node("n1")?.namespace().command("curl");
    let answer = run_to_end(ask.args(["--silent", "--max-time", "2", &url])).await?;
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

async fn kubectl(lab: &Lab, words: &[&str]) -> Result<String> {
    let answer = lab.cluster().kubectl(words).await?;
    ensure!(answer.accepted, "kubectl {}: {}", words.join(" "), answer.text.trim());
    Ok(answer.text)
}
